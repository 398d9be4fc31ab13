"""The precision of products: what is rounded and what never is, and that lanes stay as independent as in float32."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_arrays import assert_same, configs_of, lane_results, train
from torch import Tensor

from gan_core.config.conditions import PRECISIONS, Conditions, Execution, Precision, ScoringConfig
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.lane import LaneConfig
from gan_core.config.structure import StructureConfig
from gan_core.data.dataset import Dataset
from gan_core.fidelity.scorers import build_scorer
from gan_core.lanes.precision import SMALL_PRODUCTS, host_pairs, host_rounds, library_precision
from gan_core.lanes.products import lane_matmul
from gan_core.networks.call import Call
from gan_core.networks.layers import Convolution
from gan_core.training.lane_array import LaneArray
from gan_core.workshop.saved_generator import SampleKind, sample_generator
from gan_core.workshop.workshop import Workshop

pytestmark = pytest.mark.usefixtures("arithmetic")
ROUNDING = 2.0**-8  # of a product of two numbers of 8 bits each: each is off by 2**-9 at most
KNOWN = host_rounds() or host_pairs()
rounds_here = pytest.mark.skipif(not KNOWN, reason="this processor has no products in bfloat16")


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def settings() -> list[Any]:
    return [
        torch.backends.cuda.matmul.fp32_precision,
        torch.backends.cudnn.conv.fp32_precision,  # pyright: ignore[reportAttributeAccessIssue]
        torch.backends.mkldnn.matmul.fp32_precision,  # pyright: ignore[reportAttributeAccessIssue]
        torch.backends.mkldnn.conv.fp32_precision,  # pyright: ignore[reportAttributeAccessIssue]
    ]


def product(a: Tensor, b: Tensor, precision: Precision) -> Tensor:
    with library_precision(precision):
        return lane_matmul(a, b, precision)


@rounds_here
@pytest.mark.parametrize("shape", [(64, 784, 64), (128, 64, 257), (13, 33, 50), (784, 128, 64)], ids=str)
def test_a_product_in_bfloat16_is_that_of_rounded_factors_summed_in_float32(shape):
    rows, inner, columns = shape
    a, b = drawn(3, rows, inner), drawn(3, inner, columns, seed=1)
    found, exact = product(a, b, "bfloat16"), a.double() @ b.double()
    scale = a.double().abs() @ b.double().abs()
    assert found.dtype == torch.float32
    assert ((found - exact).abs() / scale).max() <= 1.01 * ROUNDING
    assert ((found - exact).abs() / scale).max() >= ROUNDING / 64  # it is no product in float32
    of_rounded = a.bfloat16().double() @ b.bfloat16().double()
    assert ((found - of_rounded).abs() / scale).max() <= 1e-6


@pytest.mark.parametrize("shape", [(16, 16, 16), (1, 784, 64), (128, 256, 1), (257, 66, 1)], ids=str)
def test_small_products_and_those_of_vectors_are_never_rounded(shape):
    rows, inner, columns = shape
    assert math.prod(shape) <= SMALL_PRODUCTS or 1 in (rows, columns)
    a, b = drawn(3, rows, inner), drawn(3, inner, columns, seed=1)
    exact, scale = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    assert ((product(a, b, "bfloat16") - exact).abs() / scale).max() <= 1e-6


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_float32_and_tf32_are_one_on_the_cpu_whatever_was_set_outside(precision: Precision):
    a, b = drawn(2, 64, 100), drawn(2, 100, 64, seed=1)
    plain = lane_matmul(a, b)
    with library_precision("bfloat16"):
        assert torch.equal(product(a, b, precision), plain)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_float64_is_never_rounded(precision: Precision):
    a, b = drawn(2, 64, 100, dtype=torch.float64), drawn(2, 100, 64, dtype=torch.float64)
    assert torch.equal(product(a, b, precision), lane_matmul(a, b))


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("float32", ["ieee"] * 4), ("tf32", ["tf32"] * 2 + ["ieee"] * 2), ("bfloat16", ["ieee"] * 2 + ["bf16", "ieee"])],
)
def test_what_torch_is_told_ends_with_the_context_also_after_an_error(precision: Precision, expected: list[str]):
    before = settings()
    with pytest.raises(KeyError), library_precision(precision):
        assert settings() == expected
        raise KeyError
    assert settings() == before


def test_a_product_and_its_derivatives_are_of_the_precision_that_they_are_given_and_of_no_setting():
    a, b = drawn(2, 64, 100), drawn(2, 100, 64, seed=1)
    exact = derivatives(lane_matmul, a, b)
    rounded = derivatives(lambda x, w: lane_matmul(x, w, "bfloat16"), a, b)
    with library_precision("float32"):
        again = derivatives(lambda x, w: lane_matmul(x, w, "bfloat16"), a, b)
    if host_pairs():  # with AMX torch has to be told
        assert not any(torch.equal(one, other) for one, other in zip(exact, rounded, strict=True))
    assert all(torch.equal(one, other) for one, other in zip(rounded, again, strict=True))


# Shapes that a library has several paths for; the vectors differed by the number of lanes once.
@pytest.mark.parametrize("by_columns", [False, True])
@pytest.mark.parametrize(
    "shape",
    [(64, 100, 64), (13, 33, 50), (50, 100, 1), (257, 66, 1), (1, 257, 50), (5, 16, 64), (16, 16, 16), (7, 5, 3)],
    ids=str,
)
def test_a_product_in_bfloat16_has_the_same_bits_among_any_number_of_lanes_and_beside_nan(shape, by_columns):
    rows, inner, columns = shape
    b = drawn(8, inner, columns, seed=1)
    a = drawn(8, inner, rows).mT if by_columns else drawn(8, rows, inner)
    together = product(a, b, "bfloat16")
    for start, stop in ((0, 1), (7, 8), (0, 2), (2, 5), (1, 8)):
        assert torch.equal(product(a[start:stop], b[start:stop], "bfloat16"), together[start:stop])
    poisoned = a.clone()
    poisoned[3] = math.nan
    beside = product(poisoned, b, "bfloat16")
    assert torch.equal(beside[[0, 1, 2, 4, 5, 6, 7]], together[[0, 1, 2, 4, 5, 6, 7]])


def derivatives(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor) -> list[Tensor]:
    """A map's value, its first derivatives, and those of the squared first."""
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    value = function(x, weight)
    first = torch.autograd.grad(value.square().sum(), (x, weight), create_graph=True)
    second = torch.autograd.grad(first[0].square().sum(), (x, weight))
    return [value.detach(), *(part.detach() for part in (*first, *second))]


@rounds_here
@pytest.mark.parametrize("transposed", [False, True], ids=["forward", "transposed"])
@pytest.mark.parametrize("channels", [(1, 5), (16, 8)], ids=str)
@pytest.mark.parametrize("way", ["lane_by_lane", "together"])
def test_a_convolution_in_bfloat16_and_its_derivatives_follow_float64(transposed, channels, way):
    inputs, outputs = reversed(channels) if transposed else channels
    layer = Convolution(inputs, outputs, 4, 2, 1, transposed=transposed, bias=True)
    x, bias = drawn(2, 6, inputs, 8, 8), drawn(2, outputs, seed=2)
    weight = drawn(2, *layer.shapes()["weight"], seed=1)

    def convolved(precision: Precision, dtype: torch.dtype) -> list[Tensor]:
        with library_precision(precision):
            run = getattr(layer, way)
            return derivatives(
                lambda x, w: run({"weight": w, "bias": bias.to(dtype)}, x, Call((), precision=precision)),
                x.to(dtype),
                weight.to(dtype),
            )

    exact, plain = convolved("float32", torch.float64), convolved("float32", torch.float32)
    for found, near, reference in zip(convolved("bfloat16", torch.float32), plain, exact, strict=True):
        assert found.dtype == torch.float32
        assert (found - reference).norm() <= 4 * ROUNDING * reference.norm()
        assert (near - reference).norm() <= 1e-5 * reference.norm()
    assert not torch.equal(convolved("bfloat16", torch.float32)[0], plain[0])


def after_steps(configs: list[GanConfig], dataset: Dataset, execution: Execution = "eager", **given: Any) -> LaneArray:
    array = LaneArray(configs, dataset, execution=execution, precision="bfloat16", **given)
    train(array, 3)
    return array


@pytest.mark.parametrize(
    ("case", "execution"),
    [
        *((case, "eager") for case in ("gaussian", "mlp wide minimax", "mlp", "cgan", "dcgan")),
        *((case, "compiled") for case in ("mlp wide minimax", "mlp", "dcgan")),
    ],
)
def test_a_lane_in_bfloat16_has_the_same_bits_alone_in_chunks_and_in_any_place(case, execution: Execution, few):
    configs = configs_of(case)
    dataset = few(configs[0].structure.dataset)
    together = lane_results(after_steps(configs, dataset, execution))
    for results, lanes in (
        (lane_results(after_steps(configs, dataset, execution, lanes_per_call=3)), [0, 1, 2, 3]),
        (lane_results(after_steps([configs[2], configs[0]], dataset, execution)), [2, 0]),
        *((lane_results(after_steps([configs[lane]], dataset, execution)), [lane]) for lane in range(4)),
    ):
        for mine, lane in zip(results, lanes, strict=True):
            assert_same(mine, together[lane])


@pytest.mark.parametrize("case", ["gaussian", "mlp", "dcgan"])
def test_a_replay_in_bfloat16_equals_the_step_that_it_was_traced_from(case, few):
    configs = configs_of(case)[: 1 if case == "dcgan" else 2]  # what is traced takes its time by lane and layer
    dataset = few(configs[0].structure.dataset)
    replayed, plain = after_steps(configs, dataset, "replayed"), after_steps(configs, dataset)
    for mine, theirs in zip(lane_results(replayed), lane_results(plain), strict=True):
        assert_same(mine, theirs)


@pytest.mark.skipif(not host_pairs(), reason="bfloat16 is not compiled on this processor")
@pytest.mark.parametrize("case", ["mlp wide minimax", "mlp"])
def test_what_is_compiled_rounds_what_the_step_as_it_stands_rounds(case, few):
    """A sum that ends a bit apart may round to another factor next: beside what rounding at all changes, little."""
    configs = configs_of(case)[:2]
    dataset = few(configs[0].structure.dataset)
    weights: dict[tuple[Precision, Execution], Tensor] = {}
    ways: list[tuple[Precision, Execution]] = [("float32", "eager"), ("bfloat16", "eager"), ("bfloat16", "compiled")]
    for precision, execution in ways:
        array = LaneArray(configs, dataset, execution=execution, precision=precision)
        train(array, 3)
        assert array.carried_out == execution
        weights[precision, execution] = torch.cat((array.state.generator.flat, array.state.discriminator.flat), 1)
    eager = weights["bfloat16", "eager"]
    rounding = (eager - weights["float32", "eager"]).norm()
    assert (eager - weights["bfloat16", "compiled"]).norm() < 0.1 * rounding


@pytest.mark.skipif(not host_pairs(), reason="bfloat16 is not compiled on this processor")
def test_convolutional_networks_are_compiled_in_bfloat16_too(few):
    configs = configs_of("dcgan")[:1]
    array = after_steps(configs, few(configs[0].structure.dataset), "compiled")
    assert array.carried_out == "compiled"


@rounds_here
@pytest.mark.parametrize("execution", ["eager", "replayed", "compiled"])
def test_networks_are_trained_in_the_precision_that_is_asked_for(few, execution: Execution):
    configs, dataset = configs_of("mlp")[:1], few("digits")
    weights: dict[Precision, Tensor] = {}
    for precision in PRECISIONS:
        array = LaneArray(configs, dataset, execution=execution, precision=precision)
        train(array, 2)
        weights[precision] = torch.cat((array.state.generator.flat, array.state.discriminator.flat), 1)
    begun = LaneArray(configs, dataset).state
    way = weights["float32"] - torch.cat((begun.generator.flat, begun.discriminator.flat), 1)
    assert torch.equal(weights["tf32"], weights["float32"])
    assert 0 < (weights["bfloat16"] - weights["float32"]).norm() < 0.2 * way.norm()


@rounds_here
def test_weights_and_moments_stay_in_float32_and_what_is_sampled_follows_the_precision(few):
    array = after_steps(configs_of("mlp")[:2], few("digits"))
    floating = {name: x.dtype for name, x in array.state.tensors().items() if x.is_floating_point()}
    assert {"generator", "discriminator", "generator_mean", "discriminator_mean_square", "average"} <= set(floating)
    assert torch.bfloat16 not in floating.values()
    assert {array.state.generator.flat.dtype, array.state.discriminator.grad.dtype} == {torch.float32}
    kind, weights = SampleKind(array.dataset.sample_shape, 0), array.generator_tensors(1)
    drawn_in: dict[Precision, Tensor] = {
        precision: sample_generator(array.configs[1], kind, weights, 50, seed=1, precision=precision)
        for precision in PRECISIONS
    }
    assert torch.equal(drawn_in["bfloat16"], array.sample(50, seed=1)[1])
    assert not torch.equal(drawn_in["bfloat16"], drawn_in["float32"])
    assert torch.equal(drawn_in["tf32"], drawn_in["float32"])


@rounds_here
def test_a_workshop_builds_arrays_as_its_conditions_say():
    conditions = Conditions(dataset="gaussian", precision="bfloat16", execution="eager", lanes_per_call=2)
    gaussian = [
        GanConfig(structure=StructureConfig(architecture="gaussian", dataset="gaussian"), seed=i) for i in (1, 2)
    ]
    array = Workshop(conditions, "cpu").build(gaussian).array
    assert (array.precision, array.programs.execution, array.programs.pace.size) == ("bfloat16", "eager", 2)
    array = Workshop(Conditions(dataset="gaussian"), "cpu").build(gaussian).array
    assert (array.precision, array.programs.execution, array.programs.pace.size) == ("float32", "auto", None)


def test_a_processor_that_does_not_multiply_in_bfloat16_is_refused(monkeypatch):
    for way in ("host_rounds", "host_pairs"):
        monkeypatch.setattr(f"gan_core.lanes.precision.{way}", lambda: False)
    with pytest.raises(InputError, match="precision bfloat16 needs a processor that multiplies in it.*; take float32"):
        Workshop(Conditions(dataset="gaussian", precision="bfloat16"), "cpu")
    assert Workshop(Conditions(dataset="gaussian", precision="tf32"), "cpu").device == "cpu"


@rounds_here
def test_final_scores_in_bfloat16_differ_by_less_than_seeds_do(digits):
    """Median fid of four seeds, of averages (which do not swing as the weights do), against twice their spread in
    float32 (largest less smallest).
    """
    structure = StructureConfig(architecture="mlp", dataset="digits", generator_width=64, discriminator_width=64)
    lane = LaneConfig(generator_lr=1e-3, discriminator_lr=1e-3, beta1=0.5, ema_half_life_images=4000)
    configs = [GanConfig(structure=structure, lane=lane, seed=seed) for seed in range(4)]
    scorer = build_scorer(digits, ScoringConfig(features="pca", samples=500))

    def scores(precision: Precision) -> Tensor:
        array = LaneArray(configs, digits, precision=precision)
        assert array.train_to(24_000)
        return torch.tensor([report.values["fid"] for report in scorer.score(array)])

    untrained = torch.tensor([r.values["fid"] for r in scorer.score(LaneArray(configs, digits))])
    exact, rounded = scores("float32"), scores("bfloat16")
    spread = exact.max() - exact.min()
    assert max(exact.max(), rounded.max()) < untrained.min()
    assert not torch.equal(exact, rounded)
    assert (exact.median() - rounded.median()).abs() < 2 * spread
