"""The laws of lanes hold for a person's own modules: looped bit for bit, vmapped to rounding where lanes are computed
alone, else bit for bit too.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gan_core.config.gan import GanConfig
from gan_core.config.lane import LaneConfig
from gan_core.config.structure import StructureConfig
from gan_core.data.dataset import Dataset, load_dataset
from gan_core.networks.own_lanes import OwnNetwork
from gan_core.training.lane_array import LaneArray

pytestmark = pytest.mark.usefixtures("arithmetic")
STEPS = 6


class Maker(nn.Module):
    def __init__(self, latent_size: int) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(latent_size, 4 * 16), nn.BatchNorm2d(4)
        self.last = nn.ConvTranspose2d(4, 1, 4, 2, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(z).view(-1, 4, 4, 4)))
        return self.last(F.dropout(x, 0.2, self.training)).tanh()


class Judge(nn.Module):
    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.first, self.last = spectral_norm(nn.Conv2d(1, 4, 4, 2, 1)), nn.Linear(64, 1)
        self.dropout, self.noise = nn.Dropout(0.3), noise

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(x), 0.2)
        x = x + self.noise * torch.randn_like(x) if self.noise else x
        return torch.sigmoid(self.last(self.dropout(x.flatten(1))))


class NoisyJudge(Judge):
    def __init__(self) -> None:
        super().__init__(0.1)


class Labelled(nn.Module):
    """Any of the two networks, with a scale for each label."""

    def __init__(self, classes: int, latent_size: int = 0) -> None:
        super().__init__()
        self.inner = Maker(latent_size) if latent_size else Judge()
        self.scale = nn.Embedding(classes, 64 if latent_size == 0 else latent_size)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.inner(x * self.scale(labels).view(x.shape))


class LabelledMaker(Labelled):
    def __init__(self, classes: int, latent_size: int) -> None:
        super().__init__(classes, latent_size)


class LabelledJudge(Labelled):
    def __init__(self, classes: int) -> None:
        super().__init__(classes)


CASES: dict[str, tuple[tuple[type[nn.Module], type[nn.Module]], dict[str, Any]]] = {
    "generator first": ((Maker, Judge), {"update_order": "generator_first", "gradient_penalty": "r1"}),
    "conditional": ((LabelledMaker, LabelledJudge), {"loss": "hinge"}),
    "random": ((Maker, NoisyJudge), {"gradient_penalty": "wgan_gp"}),
}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, arithmetic: None) -> str:
    return request.param


@pytest.fixture(scope="module")
def together(case: str, digits: Dataset) -> list[dict[str, Tensor]]:
    """All lanes of a case, trained as one array."""
    return results(trained(case, configs_of(case), digits))


def configs_of(case: str) -> list[GanConfig]:
    structure = StructureConfig(latent_size=5, batch_size=12, **CASES[case][1])
    lanes = [
        LaneConfig(generator_lr=1e-3),
        LaneConfig(discriminator_lr=3e-3, discriminator_steps=2, ema_half_life_images=30.0),
        LaneConfig(beta1=0.5, generator_steps=2),
    ]
    return [GanConfig(structure=structure, lane=lane, seed=7 + i, data_seed=i % 2) for i, lane in enumerate(lanes)]


def array_of(case: str, configs: Sequence[GanConfig], digits: Dataset, **given: Any) -> LaneArray:
    """Eager, which is quick to begin and gives the bits of a replay (a test below)."""
    return LaneArray(configs, digits, networks=CASES[case][0], **{"execution": "eager", **given})


def trained(case: str, configs: Sequence[GanConfig], digits: Dataset, **given: Any) -> LaneArray:
    array = array_of(case, configs, digits, **given)
    array.train_to(STEPS * 12)
    return array


def results(array: LaneArray) -> list[dict[str, Tensor]]:
    """All that is known of each lane."""
    state, samples = array.state.tensors(), array.sample(9, 1)
    return [
        {name: tensor[lane] for name, tensor in state.items() if name not in ("average", "layout", "counters")}
        | {f"scored.{name}": tensor for name, tensor in array.generator_tensors(lane).items()}
        | {"samples": samples[lane]}
        for lane in range(array.lanes)
    ]


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert [name for name in one if not one[name].equal(other[name])] == []


def test_a_lane_is_its_configuration_trained_alone_bit_for_bit(
    case: str, digits: Dataset, together: list[dict[str, Tensor]]
):
    for lane, config in enumerate(configs_of(case)):
        assert_same(results(trained(case, [config], digits))[0], together[lane])
    assert not together[0]["generator"].equal(together[1]["generator"])


def test_the_order_of_lanes_only_orders_their_results(case: str, digits: Dataset, together: list[dict[str, Tensor]]):
    backwards = results(trained(case, configs_of(case)[::-1], digits))
    for one, other in zip(together, backwards[::-1], strict=True):
        assert_same(one, other)


def test_a_replay_has_the_bits_of_eager_steps(case: str, digits: Dataset, together: list[dict[str, Tensor]]):
    replayed = trained(case, configs_of(case), digits, execution="replayed")
    assert replayed.carried_out == ("eager" if case == "random" else "replayed")
    for one, other in zip(results(replayed), together, strict=True):
        assert_same(one, other)


def test_a_lane_of_nan_harms_no_other(case: str, digits: Dataset, together: list[dict[str, Tensor]]):
    poisoned = array_of(case, configs_of(case), digits)
    poisoned.state.generator.flat[1].fill_(float("nan"))
    poisoned.train_to(STEPS * 12)
    for lane in (0, 2):
        assert_same(results(poisoned)[lane], together[lane])
    assert results(poisoned)[1]["generator"].isnan().any()


def test_going_on_from_a_checkpoint_is_not_having_stopped(
    case: str, digits: Dataset, together: list[dict[str, Tensor]]
):
    first, second = (array_of(case, configs_of(case), digits) for _ in range(2))
    first.train_to(2 * 12)
    second.state.load({name: tensor.clone() for name, tensor in first.state.tensors().items()})
    second.train_to(STEPS * 12)
    for one, other in zip(together, results(second), strict=True):
        assert_same(one, other)


def test_lanes_can_be_dropped_and_copied(digits: Dataset):
    configs = configs_of("conditional")
    array, whole = array_of("conditional", configs, digits), trained("conditional", configs, digits)
    array.train_to(2 * 12)
    array.keep([2, 0])
    array.train_to(4 * 12)
    array.take_over([0, 0], [array.configs[0]] * 2)
    array.train_to(STEPS * 12)
    for lane in range(2):
        assert_same(results(array)[lane], results(whole)[2])


VMAPPED = [name for name in CASES if name != "random"]


@pytest.fixture
def vmapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes are carried on this CPU as on a GPU."""
    monkeypatch.setattr("gan_core.networks.own_lanes.lanes_together", lambda x: True)
    monkeypatch.setattr(LaneArray, "_hold_to", lambda array, own: None)


@pytest.mark.usefixtures("vmapped")
@pytest.mark.parametrize("case", VMAPPED)
def test_vmapped_lanes_are_those_trained_alone_to_rounding(case: str, digits: Dataset, monkeypatch: pytest.MonkeyPatch):
    configs, calls = configs_of(case), list[int]()
    together = OwnNetwork.together
    monkeypatch.setattr(
        OwnNetwork,
        "together",
        lambda network, weights, x, call: calls.append(len(x)) or together(network, weights, x, call),
    )
    array = results(trained(case, configs, digits, dtype=torch.float64))
    assert max(calls) == 3
    monkeypatch.setattr(OwnNetwork, "together", OwnNetwork.lane_by_lane)
    for lane, config in enumerate(configs):
        alone = results(trained(case, [config], digits, dtype=torch.float64))[0]
        for name, tensor in alone.items():
            scale = float(tensor.abs().max())
            np.testing.assert_allclose(array[lane][name], tensor, rtol=1e-9, atol=1e-9 * scale, err_msg=name)


@pytest.mark.usefixtures("vmapped")
@pytest.mark.parametrize("case", VMAPPED)
def test_other_lanes_change_nothing_in_a_vmapped_one(case: str, digits: Dataset):
    configs = configs_of(case)
    others = [*configs[:1], *(GanConfig(structure=c.structure, lane=c.lane, seed=c.seed + 50) for c in configs[1:])]
    way: Any = "replayed" if case == "conditional" else "eager"
    clean, changed, poisoned = (array_of(case, c, digits, execution=way) for c in (configs, others, configs))
    poisoned.state.discriminator.flat[1].fill_(float("nan"))
    for array in (clean, changed, poisoned):
        array.train_to(STEPS * 12)
    assert_same(results(changed)[0], results(clean)[0])
    for lane in (0, 2):
        assert_same(results(poisoned)[lane], results(clean)[lane])
