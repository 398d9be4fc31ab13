"""The eight architectures are the published networks: sizes, outputs, gradients, and what a discriminator is shown."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.stats
import torch
from published_networks import Discriminator, Pass, drop, published
from torch import Tensor, nn
from torch_twins import EPS, LANES, MOMENTUM, all_pairs, drawn, give, lane_weights

from gan_core.config.input_error import InputError
from gan_core.config.structure import GradientPenalty, LossName, StructureConfig
from gan_core.game.losses import LOSSES, information_loss
from gan_core.game.penalties import PENALTIES
from gan_core.lanes.streams import Stream
from gan_core.networks.architectures import ARCHITECTURES, build_networks
from gan_core.networks.build import (
    AnyNetwork,
    Network,
    Networks,
    conditional_view,
    flat_view,
    minibatch_view,
    moments_view,
    samples_view,
)
from gan_core.networks.call import Call
from gan_core.networks.layers import Linear, Weights
from gan_core.networks.weightless_layers import relu
from gan_core.training.optim import Rows

IMAGES = [name for name in ARCHITECTURES if name not in ("gaussian", "own")]
CODES = {"categorical_codes": 10, "continuous_codes": 2}
CLASSES = 10


class Case(NamedTuple):
    """What is built: a structure, the shape of one sample, and the classes of the data."""

    structure: StructureConfig
    shape: tuple[int, ...]
    classes: int = CLASSES

    def __str__(self) -> str:
        s = self.structure
        return f"{s.architecture}-{'x'.join(map(str, self.shape))}-{s.norm}-{s.discriminator_input}"


def case(
    architecture: str, widths: tuple[int, int], noise: int, side_pixels: int = 0, channels: int = 1, **others: Any
) -> Case:
    """Without batch norm in D where `others` say nothing of it, and with the published codes."""
    fields: dict[str, Any] = {
        "architecture": architecture,
        "dataset": "mnist" if side_pixels else "gaussian",
        "image_size_pixels": side_pixels,
        "generator_width": widths[0],
        "discriminator_width": widths[1],
        "latent_size": noise,
        "discriminator_norm": "none",
        **(CODES if architecture == "infogan" else {}),
        **others,
    }
    return Case(StructureConfig(**fields), (channels, side_pixels, side_pixels) if side_pixels else (1,))


def numbers(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("of", "generator_numbers", "discriminator_numbers"),
    [
        (case("gaussian", (50, 50), 1, batch_size=100, discriminator_input="minibatch"), 2_701, 12_651),
        (case("gaussian", (5, 10), 1, batch_size=500, discriminator_input="minibatch"), 46, 10_131),
        (case("mlp", (256, 256), 100, side_pixels=28), 293_136, 267_009),
        (case("mlp_bn", (128, 256), 100, side_pixels=28), 1_510_032, 533_505),
        (case("mlp_minimax", (128, 128), 16, side_pixels=8), 10_432, 8_449),
        (case("mlp_dropout", (128, 256), 100, side_pixels=28), 1_506_448, 533_505),
        (case("cgan", (200, 240), 200, side_pixels=28), 2_438_784, 1_224_351),
        (case("dcgan", (64, 64), 100, side_pixels=32, discriminator_norm="batch"), 1_066_881, 661_313),
        (case("dcgan", (64, 64), 100, side_pixels=28, discriminator_norm="batch"), 759_681, 138_689),
        (case("dcgan", (64, 64), 100, side_pixels=64, channels=3, discriminator_norm="batch"), 3_576_707, 2_765_633),
        (case("infogan", (64, 64), 62, side_pixels=28, discriminator_norm="batch"), 6_632_833, 6_822_221),
    ],
)
def test_networks_have_the_published_number_of_parameters(of, generator_numbers, discriminator_numbers):
    networks = build_networks(*of)
    counted = tuple(numbers(network) for network in published(*of))
    assert (networks.generator.parameter_count(), networks.discriminator.parameter_count()) == counted
    assert counted == (generator_numbers, discriminator_numbers)


def tiny_cases() -> list[Case]:
    """Every family at every side and norm of D that it has, grey and in colour."""
    cases = []
    for norm in ("none", "batch", "spectral"):
        cases.append(case("gaussian", (5, 3), 2, discriminator_norm=norm))
        if norm != "batch":
            cases.append(
                case("gaussian", (2, 4), 1, discriminator_norm=norm, batch_size=6, discriminator_input="minibatch")
            )
        for name in IMAGES:
            for side_pixels, channels in ((8, 1), (28, 1), (32, 3), (64, 3)):
                exists = (name, norm) != ("mlp_minimax", "batch") and (side_pixels < 64 or name == "dcgan")
                widths = (3, 2) if channels == 1 else (2, 5)
                if exists:
                    cases.append(case(name, widths, 4, side_pixels, channels, discriminator_norm=norm))
    return cases


def latents(of: Case, batch: int, seed: int) -> Tensor:
    """[L, N, Z]: noise, one-hot choices, codes."""
    s = of.structure
    parts = [drawn(LANES, batch, s.latent_size, seed=seed)]
    choices = of.classes if s.architecture == "cgan" else s.categorical_codes
    if choices:
        chosen = np.random.default_rng(seed).integers(0, choices, (LANES, batch))
        parts.append(torch.nn.functional.one_hot(torch.from_numpy(chosen), choices).double())
    if s.continuous_codes:
        parts.append(drawn(LANES, batch, s.continuous_codes, seed=seed + 1))
    return torch.cat(parts, 2)


SHARES = {"generator": (0.0, 0.25, 0.5), "discriminator": (0.5, 0.0, 0.3)}
SEEDS, SEEN = (3, 4, 5), (128, 2)


def context(network: str, training: bool) -> Call:
    return Call(EPS, MOMENTUM, SHARES[network], training=training, seeds=SEEDS, seen=SEEN)


def twins_of(of: Case, weights: tuple[dict, dict], networks: Networks) -> list[tuple[nn.Sequential, Discriminator]]:
    """G and D of each lane in torch, with its weights."""
    twins = [published(*of) for _ in range(LANES)]
    for lane, (paints, judges) in enumerate(twins):
        give(networks.generator, weights[0], lane, paints)
        give(networks.discriminator, weights[1], lane, judges)
    return twins


def assert_same(net: AnyNetwork, weights: Weights, gradients: Weights, lane: int, module: nn.Module) -> None:
    """A lane's weights, buffers and gradients are the module's. Biases before batch norm have none but rounding's."""
    scale = max(parameter.grad.abs().max().item() for parameter in module.parameters() if parameter.grad is not None)
    for theirs, ours in all_pairs(net, weights, lane, module):
        np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=1e-11, atol=1e-12)
    for theirs, ours in all_pairs(net, gradients, lane, module):
        assert theirs.grad is not None
        np.testing.assert_allclose(ours, theirs.grad, rtol=1e-8, atol=1e-12 * (1 + scale))


@pytest.mark.parametrize("of", tiny_cases(), ids=str)
def test_outputs_gradients_and_buffers_are_those_of_the_published_networks(of):
    networks, s = build_networks(*of), of.structure
    decides_once = s.discriminator_input == "minibatch"
    batch = s.batch_size if decides_once else 3
    paint, judge = networks.generator, networks.discriminator
    painting, judging = lane_weights(paint), lane_weights(judge, seed=2)
    twins = twins_of(of, (painting, judging), networks)
    leaves = [painting[name].requires_grad_() for name in paint.shapes()]
    leaves += [judging[name].requires_grad_() for name in judge.shapes()]
    for training in (True, True, False):
        z = latents(of, batch, seed=int(training))
        condition = z[:, :, s.latent_size :] if s.architecture == "cgan" else None
        samples = paint(painting, z, context("generator", training))
        answers = judge(judging, networks.view(samples, condition), context("discriminator", training))
        assert answers.shape == (LANES, 1 if decides_once else batch, 13 if s.continuous_codes else 1)
        assert not torch.equal(answers[0], answers[1])
        factors = drawn(*answers.shape)
        gradients = torch.autograd.grad((answers * factors).sum(), leaves)
        painted = dict(zip(paint.shapes(), gradients, strict=False))
        judged = dict(zip(judge.shapes(), gradients[len(painted) :], strict=True))
        for lane, (paints, judges) in enumerate(twins):
            drop(paints, SHARES["generator"][lane], Pass(SEEDS[lane], *SEEN))
            drop(judges, SHARES["discriminator"][lane], Pass(SEEDS[lane], *SEEN))
            expected = paints.train(training)(z[lane])
            answer = judges.train(training)(expected, None if condition is None else condition[lane])
            np.testing.assert_allclose(samples[lane].detach(), expected.detach(), rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(answers[lane].detach(), answer.detach(), rtol=1e-11, atol=1e-12)
            paints.zero_grad()
            judges.zero_grad()
            (answer * factors[lane]).sum().backward()
            assert_same(paint, painting, painted, lane, paints)
            assert_same(judge, judging, judged, lane, judges)


def test_every_architecture_is_compared_with_its_published_networks():
    assert {of.structure.architecture for of in tiny_cases()} == set(ARCHITECTURES) - {"own"}


def test_batch_norm_in_a_discriminator_of_one_hidden_layer_is_refused():
    with pytest.raises(InputError, match="mlp_minimax.* has one, got .*'batch'; set it to 'none' or 'spectral'"):
        StructureConfig(architecture="mlp_minimax", discriminator_norm="batch")


@pytest.mark.parametrize("classes", [0, 1])
def test_a_conditional_architecture_refuses_data_without_classes(classes):
    with pytest.raises(InputError, match=f"at least 2 classes, got {classes}; use class subfolders"):
        build_networks(StructureConfig(architecture="cgan"), (1, 8, 8), classes)


@pytest.mark.parametrize("width", [8, 24, 240, 1000])
def test_cgan_scales_units_and_keeps_pieces(width):
    shapes = build_networks(*case("cgan", (200, width), 200, side_pixels=8)).discriminator.shapes()
    label_units = round(width * 50 / 240)
    assert [shape for name, shape in shapes.items() if name.endswith("weight")] == [
        (64, 5 * width),
        (10, 5 * label_units),
        (width + label_units, 4 * width),
        (width, 1),
    ]


@pytest.mark.parametrize("architecture", IMAGES)
def test_generated_images_lie_between_minus_1_and_1(architecture):
    of = case(architecture, (3, 3), 4, side_pixels=8)
    network = build_networks(*of).generator
    weights = {name: 100 * value for name, value in lane_weights(network).items()}
    assert network(weights, latents(of, 50, 0), context("generator", True)).abs().max() == 1


def keyed(network: AnyNetwork, seeds: list[int], purpose: Stream) -> list[dict[str, np.ndarray]]:
    return [network.keyed_initial(seed, purpose) for seed in seeds]


@pytest.mark.parametrize(
    ("of", "place"),
    [
        (case("dcgan", (3, 2), 4, side_pixels=8), 1),
        (case("infogan", (2, 2), 4, side_pixels=8), 1),
        (case("infogan", (2, 2), 4, side_pixels=8), 4),
        (case("dcgan", (3, 2), 4, side_pixels=32), 4),
    ],
    ids=["dcgan_first", "infogan_first", "infogan_second", "dcgan_second"],
)
def test_generators_start_in_the_bounds_of_the_published_transposed_convolutions(of, place):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generators = [published(*of)[0] for _ in range(20)]
    theirs = [dict(generator.named_parameters())[f"{place}.weight"] for generator in generators]
    convolutions = [i for i, layer in enumerate(generators[0]) if isinstance(layer, nn.ConvTranspose2d)]
    ours = build_networks(*of).generator
    names = [name for name, shape in ours.shapes().items() if len(shape) in (2, 4)]
    name = names[convolutions.index(place)]
    made = [np.abs(lane[name]).max() for lane in keyed(ours, list(range(20)), Stream.GENERATOR_WEIGHTS)]
    np.testing.assert_allclose(max(made), max(x.abs().max().item() for x in theirs), rtol=0.01)


def test_a_networks_weights_are_named_by_the_place_of_their_layer():
    network = Network((Linear(3, 5), relu, Linear(5, 2)))
    assert network.shapes() == {"0.weight": (3, 5), "0.bias": (5,), "2.weight": (5, 2), "2.bias": (2,)}
    assert network.buffers() == {}
    assert network.parameter_count() == 3 * 5 + 5 + 5 * 2 + 2


def test_initial_weights_differ_by_seed_by_network_and_by_layer_and_repeat():
    network = Network((Linear(4, 4), Linear(4, 4)))
    purposes = (Stream.GENERATOR_WEIGHTS, Stream.DISCRIMINATOR_WEIGHTS)
    made, again = ([lane for purpose in purposes for lane in keyed(network, [0, 1], purpose)] for _ in range(2))
    tensors = [value for lane in made for value in lane.values()]
    assert len({tensor.tobytes() for tensor in tensors}) == len(tensors) == 16
    assert [tensor.tobytes() for lane in again for tensor in lane.values()] == [tensor.tobytes() for tensor in tensors]


def test_each_sample_is_seen_as_it_is_or_as_a_row_or_with_its_class():
    samples, classes = drawn(2, 3, 1, 8, 8), drawn(2, 3, 5, seed=1)
    assert samples_view(samples, None) is samples
    assert torch.equal(flat_view(samples, None), samples.reshape(2, 3, 64))
    seen = conditional_view(samples, classes)
    assert torch.equal(seen[:, :, :64], samples.reshape(2, 3, 64))
    assert torch.equal(seen[:, :, 64:], classes)


@pytest.mark.parametrize("numbers_each", [1, 2])
@pytest.mark.parametrize("batch", [2, 13, 100])
def test_the_minibatch_view_is_the_values_and_their_squared_deviations(batch, numbers_each):
    samples = drawn(3, batch, numbers_each) * 2 + 4
    seen, count = minibatch_view(samples, None), batch * numbers_each
    assert seen.shape == (3, 1, 2 * count)
    for lane, values in zip(seen.numpy(), samples.numpy(), strict=True):
        np.testing.assert_array_equal(lane[0, :count], values.ravel())
        expected = ((values - values.mean(0)) ** 2).ravel()
        np.testing.assert_allclose(lane[0, count:], expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("numbers_each", [1, 2])
@pytest.mark.parametrize("batch", [4, 13, 100])
def test_the_moments_view_is_mean_deviation_skewness_and_excess_kurtosis(batch, numbers_each):
    samples = torch.exp(drawn(3, batch, numbers_each)) + 4
    seen = moments_view(samples, None)
    assert seen.shape == (3, 1, 4 * numbers_each)
    for lane, values in zip(seen.numpy()[:, 0], samples.numpy(), strict=True):
        expected = values.mean(0), values.std(0), scipy.stats.skew(values), scipy.stats.kurtosis(values)
        np.testing.assert_allclose(lane, np.concatenate(expected), rtol=1e-8)


def test_a_collapsed_minibatch_has_finite_moments_with_a_finite_gradient():
    samples = torch.full((1, 13, 1), 4.0, dtype=torch.float64).requires_grad_()
    seen = moments_view(samples, None)
    seen.sum().backward()
    np.testing.assert_allclose(seen.detach().numpy()[0, 0], [4, 0, 0, -3], atol=1e-5)
    assert samples.grad is not None
    assert bool(samples.grad.isfinite().all())


def trainable(network: AnyNetwork, purpose: Stream) -> dict[str, Tensor]:
    """The weights of two lanes by name, of which the parameters require gradients."""
    lanes = keyed(network, [0, 1], purpose)
    rows = Rows.stack(network.shapes(), network.buffers(), lanes, torch.empty(0, dtype=torch.float64))
    return {name: view.detach().requires_grad_(name in rows.shapes) for name, view in rows.views.items()}


def gradients(loss: Tensor, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the sum of the lanes' losses, by the parameters' names."""
    leaves = {name: weight for name, weight in weights.items() if weight.requires_grad}
    return dict(zip(leaves, torch.autograd.grad(loss.sum(), list(leaves.values())), strict=True))


def without_gradient(found: dict[str, Tensor]) -> set[str]:
    """Names of the weights, biases aside, to which no lane has a gradient."""
    return {name for name, value in found.items() if name.endswith("weight") and not value.any()}


def families() -> list[Case]:
    """Each family once; where D has batch norm, or decides on minibatches, once more without."""
    images = [case(name, (3, 3), 4, side_pixels=8) for name in IMAGES]
    normed = [case(name, (3, 3), 4, side_pixels=8, discriminator_norm="batch") for name in ("dcgan", "infogan")]
    minibatch = case("gaussian", (3, 3), 4, batch_size=5, discriminator_input="minibatch")
    return [case("gaussian", (3, 3), 4), minibatch, *images, *normed]


def penalties_of(of: Case, loss: LossName) -> tuple[GradientPenalty, ...]:
    if loss == "wasserstein_gp":
        return () if of.structure.norm == "batch" else ("wgan_gp",)
    return ("none",) if of.structure.norm == "batch" else ("none", *PENALTIES)


@pytest.mark.parametrize("information_weight", [1.0, 0.0])
@pytest.mark.parametrize("of", families(), ids=str)
def test_every_loss_and_penalty_has_a_gradient_for_every_weight(of, information_weight):
    """As `gan_core.game.step` adds them; InfoGAN's heads have gradients of 0 where the information has no weight."""
    networks, s = build_networks(*of), of.structure
    made = trainable(networks.generator, Stream.GENERATOR_WEIGHTS)
    judged = trainable(networks.discriminator, Stream.DISCRIMINATOR_WEIGHTS)
    context = Call([1e-5] * 2, [0.1] * 2, [0.0] * 2, training=True)
    z, weight = latents(of, 5, 0)[:2], torch.full((2,), information_weight, dtype=torch.float64)
    condition = z[:, :, s.latent_size :] if s.architecture == "cgan" else None
    fake = networks.generator(made, z, context)
    real, mix = drawn(*fake.shape, seed=3), drawn(*fake.shape[:2]).sigmoid()

    def answers(samples: Tensor) -> Tensor:
        return networks.discriminator(judged, networks.view(samples, condition), context)

    def logits_of(samples: Tensor) -> Tensor:
        return answers(samples)[:, :, 0]

    def information(samples: Tensor) -> Tensor | int:
        heads = answers(samples)[:, :, 1:]
        return weight * information_loss(heads, z[:, :, s.latent_size :], 10, weight) if s.continuous_codes else 0

    for loss, pair in LOSSES.items():
        of_generator = gradients(
            pair.generator(logits_of(fake), *([logits_of(real)] if pair.sees_real else [])) + information(fake), made
        )
        fake = networks.generator(made, z, context)
        assert without_gradient(of_generator) == set()
        for penalty in penalties_of(of, loss):
            total = pair.discriminator(logits_of(real), logits_of(fake.detach()), torch.zeros_like(weight))
            total = total + (PENALTIES[penalty](logits_of, real, fake, mix) if penalty != "none" else 0)
            found = gradients(total + information(fake.detach()), judged)
            assert all(bool(gradient.isfinite().all()) for gradient in found.values())
            silent = without_gradient(found)
            assert isinstance(networks.discriminator, Network)
            last = len(networks.discriminator.layers) - 1
            heads = {name for name in found if name.startswith((f"{last}.1.", f"{last}.2."))}
            idle = {name for name in heads if name.endswith("weight")} if not information_weight else set()
            assert silent == (idle if s.continuous_codes else set())
