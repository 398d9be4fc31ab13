"""Everything that a lane and a structure may ask of our layers, a person's own modules do as well: spectral
normalisation as torch's, and all options as the `mlp` family does them, float64.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from plain_loop import PlainLoop
from published_modules import DcganGenerator, HalvingDiscriminator, MlpDiscriminator, MlpGenerator
from tiny_arrays import LANES, OPTIONS, train
from torch import Tensor, nn
from torch.nn.utils import spectral_norm as older_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm

from gan_core.config.gan import GanConfig
from gan_core.config.lane import LaneConfig
from gan_core.config.structure import StructureConfig
from gan_core.data.dataset import Dataset
from gan_core.networks.call import Call
from gan_core.networks.own_calls import OwnCalls
from gan_core.training.lane_array import LaneArray

SMALL: dict[str, Any] = {"latent_size": 7, "batch_size": 13}
ASKED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "r1": ({"gradient_penalty": "r1", "loss_reduction": "sum"}, ("penalty", "smoothing")),
    "wgan_gp": ({"loss": "wasserstein_gp"}, ("penalty", "noise")),
    "generator first": ({"update_order": "generator_first", "loss": "minimax_clamped"}, ("noise",)),
}


def give(ours: LaneArray, own: LaneArray) -> None:
    """Both arrays begin with the same weights; torch keeps a linear layer's transposed."""
    for mine, theirs in (
        (ours.state.generator, own.state.generator),
        (ours.state.discriminator, own.state.discriminator),
    ):
        for view, other in zip(mine.views.values(), theirs.views.values(), strict=True):
            other.copy_(view.mT if view.ndim == 3 else view)
    own.state.average.copy_(own.state.generator.flat.unsqueeze(1))


@pytest.mark.parametrize("asked", ASKED)
def test_own_modules_do_all_that_our_layers_do(asked: str, few: Callable[[str], Dataset]):
    changes, options = ASKED[asked]
    structure = StructureConfig(generator_width=16, discriminator_width=16, **SMALL, **changes)
    columns = {**LANES, "lr_schedule_images": (0, 117.0, 156.0, 520.0)}
    for option in options:
        columns |= OPTIONS[option]
    lanes = [LaneConfig(**{name: values[i] for name, values in columns.items()}) for i in range(4)]
    configs = [GanConfig(structure=structure, lane=lane, seed=i, data_seed=i % 2) for i, lane in enumerate(lanes)]
    theirs = [replace(config, structure=StructureConfig(**SMALL, **changes)) for config in configs]
    ours, own = (
        LaneArray(given, few("digits"), dtype=torch.float64, execution="eager", networks=networks)
        for given, networks in ((configs, None), (theirs, (MlpGenerator, MlpDiscriminator)))
    )
    give(ours, own)
    for array in (ours, own):
        train(array, 6)
    for mine, theirs in zip(ours.state.watch.read(), own.state.watch.read(), strict=True):
        assert theirs == pytest.approx(mine, rel=1e-8, abs=1e-10, nan_ok=True)
    np.testing.assert_allclose(own.sample(5, 1), ours.sample(5, 1), rtol=1e-8, atol=1e-9)


class Spectral(HalvingDiscriminator):
    """Both ways in which torch normalises a weight by its largest singular value."""

    def __init__(self) -> None:
        super().__init__()
        layers = cast(nn.Sequential, self.model)
        layers[0], layers[2] = spectral_norm(layers[0]), older_spectral_norm(cast(nn.Linear, layers[2]))


def test_spectral_norm_is_torchs(few: Callable[[str], Dataset]):
    config = GanConfig(structure=StructureConfig(**SMALL), seed=4)
    networks = DcganGenerator, Spectral
    array = LaneArray([config], few("digits"), dtype=torch.float64, networks=networks, execution="replayed")
    generator, discriminator = DcganGenerator(7).double(), Spectral().double()
    for module, rows in ((generator, array.state.generator), (discriminator, array.state.discriminator)):
        module.load_state_dict({name: view[0] for name, view in rows.views.items()})
    loop = PlainLoop(config, array.dataset, generator, discriminator, labels=False)
    train(array, 20)
    loop.train(20)
    theirs = discriminator.state_dict()
    assert {"model.0.parametrizations.weight.0._u", "model.2.weight_u"} <= theirs.keys()
    for name, view in array.state.discriminator.views.items():
        np.testing.assert_allclose(view[0], theirs[name], rtol=1e-9, atol=1e-9, err_msg=name)


DROPOUTS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "numbers": (nn.Dropout(0.3), (6, 5)),
    "channels": (nn.Dropout2d(0.4), (6, 5, 3, 3)),
    "channels of sequences": (nn.Dropout1d(0.4), (6, 5, 3)),
    "channels of volumes": (nn.Dropout3d(0.4), (6, 5, 2, 2, 2)),
    "alpha": (nn.AlphaDropout(0.3), (6, 5)),
    "alpha of channels": (nn.FeatureAlphaDropout(0.3), (6, 5, 3)),
    "in place": (nn.Dropout(0.3, inplace=True), (6, 5)),
    "all": (nn.Dropout(1.0), (6, 5)),
}


@pytest.mark.parametrize("name", DROPOUTS)
def test_dropout_is_torchs_with_other_masks(name: str):
    """The mask is read from what torch makes of ones, or for alpha dropout of zeros and ones."""
    layer, shape = DROPOUTS[name]
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    layer.train()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = layer(x.clone())
        torch.manual_seed(3)
        made = layer(torch.stack((torch.zeros(shape), torch.ones(shape)))[1].double())

    def mask_of(share: float, small: tuple[int, ...]) -> Tensor:
        kept = (made > made.min() + 1e-9) | (made.max() - made.min() < 1e-9)
        index = tuple(slice(None) if n != 1 else slice(0, 1) for n in small)
        return kept.double()[index] / (1 - share)

    given = x.clone()
    with OwnCalls(mask_of) as calls:
        dropped = layer(given)
    np.testing.assert_allclose(dropped, expected, rtol=1e-12, atol=1e-14)
    assert calls.dropouts == 1
    assert (dropped.data_ptr() == given.data_ptr()) == (name == "in place")


def test_masks_are_keyed_by_the_lanes_seed_and_what_it_has_seen():
    x = torch.ones(2, 50)

    def mask(**changed: Any) -> Tensor:
        given = {"seeds": (3, 4), "seen": (64, 1), **changed}
        return Call([0.0, 0.0], training=True, **given).mask(x, 0.5, (50,))

    assert mask()[0].equal(mask(seeds=(3, 9))[0])
    assert not mask()[0].equal(mask()[1])
    assert not mask()[0].equal(mask(seen=(128, 1))[0])


class Drawing(MlpGenerator):
    """Draws from all global generators, in training and in scoring."""

    def forward(self, x: Tensor) -> Tensor:
        import random

        scale = 1 + 0.1 * random.random() + 0.1 * float(np.random.rand())  # noqa: NPY002
        return scale * super().forward(x + 0.1 * torch.randn_like(x))


def test_what_a_module_draws_is_a_function_of_the_seed_alone(few: Callable[[str], Dataset]):
    config = GanConfig(structure=StructureConfig(**SMALL))
    arrays = [
        LaneArray([replace(config, seed=seed) for seed in seeds], few("digits"), networks=(Drawing, MlpDiscriminator))
        for seeds in ((1, 2), (2, 3), (2,))
    ]
    for i, array in enumerate(arrays):
        torch.manual_seed(i)
        train(array, 2)
        if i == 1:  # goes on after a stop
            array.release()
        train(array, 2)
    before = torch.get_rng_state()
    first, second, third = (array.sample(3, 1) for array in arrays)
    assert torch.get_rng_state().equal(before)
    assert first[1].equal(second[0])
    assert first[1].equal(third[0])
    assert arrays[0].carried_out == "eager"
    assert not arrays[2].sample(3, 2).equal(third)
