"""The stock trial of the benchmarks does the work of a lane of ours: fed the same numbers, it takes the same steps."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.contestants import lane_step_flops
from benchmarks.stock import StockGan
from gan_core.config.gan import GanConfig
from gan_core.config.lane import LaneConfig
from gan_core.config.structure import StructureConfig
from gan_core.data.dataset import Dataset, load_dataset
from gan_core.lanes.streams import Stream
from gan_core.training.draws import Draws
from gan_core.training.lane_array import LaneArray

DENSE: dict[str, Any] = {"generator_width": 7, "discriminator_width": 9, "latent_size": 5, "batch_size": 13}
GAUSSIAN = DENSE | {"architecture": "gaussian", "dataset": "gaussian"}
DCGAN = DENSE | {"architecture": "dcgan", "generator_width": 3, "discriminator_width": 5}
# Name -> structure, lane.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "gaussian": (GAUSSIAN | {"latent_distribution": "uniform"}, {"discriminator_steps": 2}),
    "gaussian minibatch": (GAUSSIAN | {"discriminator_input": "minibatch", "loss": "minimax"}, {}),
    "gaussian moments": (GAUSSIAN | {"discriminator_input": "moments", "loss": "least_squares"}, {}),
    "mlp": (DENSE | {"architecture": "mlp"}, {"ema_half_life_images": 20.0, "label_smoothing": 0.1}),
    "mlp spectral": (DENSE | {"architecture": "mlp", "discriminator_norm": "spectral", "loss": "hinge"}, {}),
    "mlp batch": (DENSE | {"architecture": "mlp", "discriminator_norm": "batch"}, {"generator_steps": 2}),
    "mlp_bn": (
        DENSE | {"architecture": "mlp_bn", "update_order": "generator_first"},
        {"batch_norm_eps": 0.8, "discriminator_steps": 2, "ema_half_life_images": 20.0},
    ),
    "mlp_minimax": (
        DENSE | {"architecture": "mlp_minimax", "loss": "minimax_clamped", "latent_distribution": "symmetric_uniform"},
        {},
    ),
    "mlp_dropout": (DENSE | {"architecture": "mlp_dropout", "loss_reduction": "sum"}, {}),
    "cgan": (DENSE | {"architecture": "cgan"}, {"batch_norm_momentum": 0.5}),
    "dcgan": (DCGAN, {"ema_half_life_images": 20.0}),
    "infogan": (
        DCGAN | {"architecture": "infogan", "categorical_codes": 10, "continuous_codes": 2},
        {"information_weight": 0.5},
    ),
}


class FedGan(StockGan):
    """The stock trial on the batches and latents that the core draws."""

    def __init__(self, array: LaneArray, **options: Any) -> None:
        super().__init__(array.configs[0], array.dataset, dtype=torch.float64, **options)
        self.draws = Draws(array.configs, array.networks, array.samples, torch.empty(0, dtype=torch.float64))
        self.number, self.latents_drawn = 0, 0  # of this step, and in it

    def step(self) -> None:
        self.number, self.latents_drawn = self.steps, 0
        self.draws.begin_step(self.number)
        super().step()

    def real_batch(self) -> tuple[Tensor, Tensor | None]:
        real, condition = self.draws.tensors["real"][0].clone(), self.draws.tensors.get("condition")
        return real, None if condition is None else condition[0].clone()

    def latents(self, condition: Tensor | None = None, count: int | None = None) -> Tensor:
        j = self.latents_drawn - (self.structure.update_order == "discriminator_first")
        self.latents_drawn += 1
        if self.latents_drawn == 1:
            return self.draws.tensors["latents"][0].clone()
        self.draws.begin_turn(self.number, j)
        return self.draws.tensors["generator_latents"][0].clone()


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def known() -> dict[str, Dataset]:
    cut = {}
    for name in ("gaussian", "digits"):
        whole = load_dataset(name)
        labels = None if whole.train_labels is None else whole.train_labels[:41]
        cut[name] = replace(whole, train_samples=whole.train[:41], train_labels=labels)
    return cut


def config_of(case: str) -> GanConfig:
    structure, lane = CASES[case]
    rates = {"generator_lr": 2e-3, "discriminator_lr": 3e-3, "beta1": 0.5}
    return GanConfig(structure=StructureConfig(**structure), lane=LaneConfig(**rates, **lane), seed=3, data_seed=4)


def pairs(views: dict[str, Tensor], module: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Name of ours -> the core's tensor of lane 0 in torch's layout, and the module's, in the order of the layers."""
    state, found = module.state_dict(), {}
    ends = {"original": "weight", "_u": "u", "_v": "v", "0._u": "u"}
    theirs: dict[str, list[Tensor]] = {}
    for name, tensor in state.items():
        last = ends.get(name.rpartition(".")[2], name.rpartition(".")[2])
        theirs.setdefault(last, []).append(tensor)
    theirs.pop("num_batches_tracked", None)
    for name, view in views.items():
        ours, kind = view[0], name.rpartition(".")[2]
        found[name] = ours.mT if ours.ndim == 2 else ours, theirs[kind].pop(0)
    assert not any(theirs.values())
    assert all(ours.shape == other.shape for ours, other in found.values())
    return found


def matched(array: LaneArray, gan: StockGan) -> dict[str, tuple[Tensor, Tensor]]:
    """Every number of both networks, the core's and the stock trial's."""
    of_generator = pairs(dict(array.state.generator.views), gan.generator)
    of_discriminator = pairs(dict(array.state.discriminator.views), gan.discriminator)
    return {f"G {name}": pair for name, pair in of_generator.items()} | {
        f"D {name}": pair for name, pair in of_discriminator.items()
    }


def given_weights(case: str, known: dict[str, Dataset], **options: Any) -> tuple[LaneArray, FedGan]:
    config = config_of(case)
    array = LaneArray([config], known[config.structure.dataset], dtype=torch.float64, execution="replayed")
    gan = FedGan(array, **options)
    with torch.no_grad():
        for ours, theirs in matched(array, gan).values():
            theirs.copy_(ours)
    if gan.average is not None:
        gan.average.load_state_dict(gan.generator.state_dict())
    return array, gan


def assert_followed(array: LaneArray, gan: FedGan) -> None:
    """The bias before a batch norm has no gradient but rounding, which Adam divides by its size: hence the slack."""
    slack = 1e-7 if gan.structure.norm == "batch" and gan.structure.architecture == "mlp" else 1e-9
    for name, (ours, theirs) in matched(array, gan).items():
        scale = slack * theirs.abs().max().item()
        np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=slack, atol=scale, err_msg=name)
    latents = array.shared_latents(Stream.SAMPLE_LATENTS, 8, 0)
    np.testing.assert_allclose(array.generate(latents)[0], gan.draw(latents[0]), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_stock_takes_the_steps_of_a_lane(case: str, known: dict[str, Dataset]):
    array, gan = given_weights(case, known)
    start = {name: theirs.clone() for name, (_, theirs) in matched(array, gan).items()}
    array.train_to(4 * 13)
    gan.train_to(3 * 13 + 1)
    assert gan.images_seen == array.state.images_seen == 4 * 13
    assert_followed(array, gan)
    still = [name for name, (_, theirs) in matched(array, gan).items() if theirs.equal(start[name])]
    assert all(start[name].numel() == 1 for name in still)  # hinge moves no last bias, nor u of one number


def test_channels_last_changes_the_layout_alone(known: dict[str, Dataset]):
    array, gan = given_weights("dcgan", known, channels_last=True)
    kernels = [module.weight for module in gan.generator.modules() if isinstance(module, nn.ConvTranspose2d)]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    array.train_to(26)
    gan.train_to(26)
    assert_followed(array, gan)


def test_dropout_stands_where_the_lane_has_it(known: dict[str, Dataset]):
    base = config_of("mlp_dropout")
    lane = replace(base.lane, generator_dropout=0.25, discriminator_dropout=0.5)
    gan = StockGan(replace(base, lane=lane), known["digits"])
    shares = [
        [module.p for module in network.modules() if isinstance(module, nn.Dropout)]
        for network in (gan.generator, gan.discriminator)
    ]
    assert shares == [[0.25] * 3, [0.5] * 2]
    gan.train_to(26)
    latents = gan.latents()
    assert gan.draw(latents).equal(gan.draw(latents))
    assert not gan.generator(latents).equal(gan.generator(latents))


@pytest.mark.parametrize("distribution", ["normal", "uniform", "symmetric_uniform"])
def test_own_latents_have_the_moments_of_their_distribution(distribution: Any, known: dict[str, Dataset]):
    base = config_of("infogan")
    gan = StockGan(replace(base, structure=replace(base.structure, latent_distribution=distribution)), known["digits"])
    noise, one_hot, codes = gan.latents(count=20_000).split((5, 10, 2), 1)
    mean, variance = {"normal": (0, 1), "uniform": (1 / 2, 1 / 12), "symmetric_uniform": (0, 1 / 3)}[distribution]
    assert noise.mean().item() == pytest.approx(mean, abs=0.02)
    assert noise.var().item() == pytest.approx(variance, abs=0.03)
    assert one_hot.sum(1).eq(1).all()
    assert one_hot.mean(0).numpy() == pytest.approx(0.1, abs=0.02)
    assert codes.mean().item() == pytest.approx(0, abs=0.02)
    assert codes.var().item() == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("case", ["gaussian", "mlp_minimax", "cgan", "dcgan"])
def test_own_batches_are_real_samples_with_their_classes(case: str, known: dict[str, Dataset]):
    config = config_of(case)
    data = known[config.structure.dataset]
    gan = StockGan(config, data)
    samples, condition = gan.real_batch()
    rows = data.train.flatten(1)
    same = (samples.flatten(1)[:, None] == rows[None]).all(2)  # [N, n]
    assert same.any(1).all()
    assert (condition is not None) == (case == "cgan")
    if condition is not None:
        assert data.train_labels is not None
        assert data.train_labels[same.float().argmax(1)].equal(condition.argmax(1))


@pytest.mark.parametrize(
    ("structure", "lane"),
    [({"gradient_penalty": "r1"}, {}), ({"loss": "wasserstein_gp"}, {}), ({}, {"instance_noise": 0.1})],
)
def test_what_it_cannot_train_is_refused(structure: Any, lane: Any, known: dict[str, Dataset]):
    config = GanConfig(structure=StructureConfig(**structure), lane=LaneConfig(**lane))
    with pytest.raises(ValueError, match="no gradient penalty and no instance noise"):
        StockGan(config, known["digits"])


def test_flops_of_a_step_are_those_of_its_products(known: dict[str, Dataset]):
    config = config_of("mlp_minimax")
    batch, latent, width, hidden, pixels = 13, 5, 7, 9, 64
    generator, discriminator = latent * width + width * pixels, pixels * hidden + hidden
    of_d = generator + 2 * (2 * discriminator + hidden)  # fakes; both batches forward, to weights, and to hidden units
    of_g = generator + discriminator + discriminator + generator + width * pixels
    assert lane_step_flops(config, known["digits"]) == 2 * batch * (of_d + of_g)


def test_autocast_rounds_forward_passes_alone():
    structure, dataset = StructureConfig(architecture="mlp", dataset="digits"), load_dataset("digits")
    weights = {}
    for autocast in (False, True):
        gan = StockGan(GanConfig(structure=structure, seed=1), dataset, autocast=autocast)
        begun = nn.utils.parameters_to_vector(gan.discriminator.parameters()).detach().clone()
        gan.train_to(3 * structure.batch_size)
        weights[autocast] = nn.utils.parameters_to_vector(gan.discriminator.parameters()).detach()
        assert {weight.dtype for weight in gan.generator_weights} == {torch.float32}
        assert {weight.grad.dtype for weight in gan.generator_weights if weight.grad is not None} == {torch.float32}
    way = weights[False] - begun
    assert 0 < (weights[True] - weights[False]).norm() < 0.2 * way.norm()
