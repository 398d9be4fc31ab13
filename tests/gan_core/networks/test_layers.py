"""Layers: outputs, gradients and buffers of torch.nn's modules in every lane, and torch's initial weights."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch_twins import LANES, all_pairs, call, drawn, give, lane_weights

from gan_core.lanes.streams import Stream, stream
from gan_core.networks.build import Branches, Network
from gan_core.networks.call import Call
from gan_core.networks.layers import BatchNorm, Convolution, Layer, Linear, SpectralNorm, Weights
from gan_core.networks.weightless_layers import Maxout, Reshape, elu, leaky_relu, relu, sigmoid, tanh

assert_close = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)


@dataclass(frozen=True)
class Twin:
    """A layer, the shape of what one of its rows takes, torch's module, and the way to compute it that is meant."""

    layer: Layer
    row_shape: tuple[int, ...]
    module: Callable[[], nn.Module]
    path: str = "__call__"

    def __call__(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        return getattr(self.layer, self.path)(weights, x, call)


def convolution(path: str, *sizes: int, transposed: bool = False, bias: bool = False) -> Twin:
    module = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = Convolution(*sizes, transposed=transposed, bias=bias)  # pyright: ignore[reportArgumentType]
    side_pixels = 5 if transposed else 8
    return Twin(layer, (sizes[0], side_pixels, side_pixels), lambda: module(*sizes, bias=bias), path)


TWINS = {
    "linear": Twin(Linear(7, 5), (7,), lambda: nn.Linear(7, 5)),
    "linear_to_1": Twin(Linear(7, 1), (7,), lambda: nn.Linear(7, 1)),
    "linear_from_1": Twin(Linear(1, 5), (1,), lambda: nn.Linear(1, 5)),
    "linear_without_bias": Twin(Linear(7, 5, bias=False), (7,), lambda: nn.Linear(7, 5, bias=False)),
    "spectral_linear": Twin(SpectralNorm(Linear(7, 5)), (7,), lambda: spectral_norm(nn.Linear(7, 5))),
    "spectral_linear_to_1": Twin(SpectralNorm(Linear(7, 1)), (7,), lambda: spectral_norm(nn.Linear(7, 1))),
    "spectral_convolution": Twin(
        SpectralNorm(Convolution(3, 5, 4, 2, 1)), (3, 8, 8), lambda: spectral_norm(nn.Conv2d(3, 5, 4, 2, 1, bias=False))
    ),
    "spectral_convolution_with_bias": Twin(
        SpectralNorm(Convolution(3, 5, 4, 2, 1, bias=True)),
        (3, 8, 8),
        lambda: spectral_norm(nn.Conv2d(3, 5, 4, 2, 1)),
    ),
}
for path in ("__call__", "together"):
    name = "" if path == "__call__" else "_together"
    TWINS |= {
        f"convolution{name}": convolution(path, 3, 5, 4, 2, 1),
        f"convolution_with_bias{name}": convolution(path, 3, 5, 4, 2, 1, bias=True),
        f"convolution_3_1_0{name}": convolution(path, 1, 2, 3, 1, 0, bias=True),
        f"transposed{name}": convolution(path, 3, 5, 4, 2, 1, transposed=True),
        f"transposed_with_bias{name}": convolution(path, 5, 1, 4, 2, 1, transposed=True, bias=True),
        f"batch_norm{name}": Twin(BatchNorm(7), (7,), lambda: nn.BatchNorm1d(7), path),
        f"batch_norm_of_maps{name}": Twin(BatchNorm(3), (3, 4, 5), lambda: nn.BatchNorm2d(3), path),
    }
EVERY_TWIN = pytest.mark.parametrize("twin", TWINS.values(), ids=TWINS)


def modules_of(twin: Twin, weights: Weights) -> list[nn.Module]:
    modules = [twin.module().double() for _ in range(LANES)]
    for lane, module in enumerate(modules):
        give(twin.layer, weights, lane, module)
    return modules


def gradients_of(output: Tensor, x: Tensor, weights: list[Tensor], seed: int) -> list[Tensor]:
    """Of a loss that weighs each number of the output by its own, and its square."""
    factors = drawn(*output.shape, seed=seed)
    return list(torch.autograd.grad((factors * output + output * output).sum(), [x, *weights]))


@EVERY_TWIN
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_a_layer_its_gradients_and_its_buffers_are_those_of_torch_in_every_lane(twin, training):
    layer, weights = twin.layer, lane_weights(twin.layer)
    modules = modules_of(twin, weights)
    leaves = [weights[name].requires_grad_() for name in layer.shapes()]
    for i in range(3):
        x = drawn(LANES, 13, *twin.row_shape, seed=10 + i).requires_grad_()
        output = twin(weights, x, call(training))
        x_gradient, *gradients = gradients_of(output, x, leaves, seed=20 + i)
        assert not torch.equal(output[0], output[1])
        for lane, module in enumerate(modules):
            row = x[lane].detach().requires_grad_()
            expected = module.train(training)(row)
            assert_close(output[lane].detach(), expected.detach())
            factors = drawn(*output.shape, seed=20 + i)[lane]
            module.zero_grad()
            (factors * expected + expected * expected).sum().backward()
            assert row.grad is not None
            assert_close(x_gradient[lane], row.grad)
            mine = dict(zip(layer.shapes(), gradients, strict=True))
            for theirs, ours in all_pairs(layer, mine, lane, module):
                assert theirs.grad is not None
                assert_close(ours, theirs.grad)
            for theirs, ours in all_pairs(layer, weights, lane, module):
                assert_close(ours.detach(), theirs.detach())


@EVERY_TWIN
def test_eval_moves_no_buffer_and_training_moves_every_one(twin):
    weights = lane_weights(twin.layer)
    before = {name: value.clone() for name, value in weights.items()}
    x = drawn(LANES, 13, *twin.row_shape)
    twin(weights, x, call(False))
    assert all(torch.equal(weights[name], value) for name, value in before.items())
    twin(weights, x, call(True))
    for name, value in before.items():
        moved = (weights[name] != value).flatten(1).any(1)
        assert moved.tolist() == [name in twin.layer.buffers() and not _has_one_value(twin, name)] * LANES


def _has_one_value(twin: Twin, name: str) -> bool:
    """A unit vector of one number stays."""
    return name == "u" and math.prod(twin.layer.buffers()["u"]) == 1


@EVERY_TWIN
def test_a_lane_that_rests_keeps_its_buffers_and_answers_the_same(twin):
    x, active = drawn(LANES, 13, *twin.row_shape), [True, False, True]
    results = []
    for mask in (None, active, [False] * LANES):
        weights = lane_weights(twin.layer)
        results.append((twin(weights, x, call(True, mask)), weights))
    (whole, moved), (part, some), (nothing, still) = results
    start = lane_weights(twin.layer)
    assert_close(part, whole)
    assert_close(nothing, whole)
    for name in twin.layer.buffers():
        assert torch.equal(some[name][1], start[name][1])
        assert torch.equal(still[name], start[name])
        assert torch.equal(some[name][[0, 2]], moved[name][[0, 2]])


@pytest.mark.parametrize("row_shape", [(7,), (7, 3, 3)], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_batch_norm_of_all_lanes_together_is_that_of_each(training, row_shape):
    layer, x = BatchNorm(7), drawn(LANES, 13, *row_shape) * 3 + 1
    one, other = lane_weights(layer), lane_weights(layer)
    for i in range(3):
        assert_close(layer.together(one, x + i, call(training)), layer.lane_by_lane(other, x + i, call(training)))
        for name, value in one.items():
            assert_close(value, other[name])


def test_batch_norm_by_its_own_moments_has_mean_0_and_variance_1_and_keeps_the_unbiased_one():
    layer, x = BatchNorm(2), drawn(1, 5, 2) * 3 + 1
    weights = {name: torch.from_numpy(value)[None] for name, value in layer.initial(np.random.default_rng(0)).items()}
    made = layer(weights, x, Call([1e-12], [1.0], training=True))
    assert_close(made.mean(1), 0)
    assert_close(made.var(1, correction=0), 1, rtol=1e-10)
    assert_close(weights["running_mean"], x.mean(1))
    assert_close(weights["running_var"], x.var(1, correction=1))


def test_a_spectral_norm_divides_by_the_largest_singular_value():
    layer = SpectralNorm(Linear(7, 5, bias=False))
    weights, identity = lane_weights(layer), torch.eye(7, dtype=torch.float64).expand(LANES, 7, 7)
    for _ in range(200):
        layer(weights, identity, call(True))
    made = layer(weights, identity, call(False))
    assert_close(torch.linalg.matrix_norm(made, 2), 1)
    assert_close(made, weights["weight"] / torch.linalg.matrix_norm(weights["weight"], 2)[:, None, None])


@pytest.mark.parametrize("layer", [Linear(7, 5), Linear(6, 1), Convolution(3, 5, 4, 2, 1)], ids=repr)
def test_singular_vectors_start_as_unit_vectors_after_15_power_iterations(layer):
    made = SpectralNorm(layer).initial(np.random.default_rng(3))
    columns = made["v"].size
    matrix = made["weight"].T if isinstance(layer, Linear) else made["weight"].reshape(-1, columns)
    largest = np.linalg.norm(matrix, 2)
    assert_close([np.linalg.norm(made["u"]), np.linalg.norm(made["v"])], 1)
    assert 0.97 * largest < made["u"] @ matrix @ made["v"] <= largest * (1 + 1e-12)
    random = np.random.default_rng(4).standard_normal((2, 1000, max(matrix.shape)))
    guesses = np.einsum("nr,rc,nc->n", random[0, :, : len(matrix)], matrix, random[1, :, :columns])
    lengths = [np.linalg.norm(random[i, :, :size], axis=1) for i, size in enumerate(matrix.shape)]
    assert np.median(np.abs(guesses / lengths[0] / lengths[1])) < 0.8 * largest


def linears_and_convolutions() -> list[tuple[Linear | Convolution, Callable[[], nn.Module]]]:
    return [
        (Linear(1, 4000), lambda: nn.Linear(1, 4000)),
        (Linear(7, 4000), lambda: nn.Linear(7, 4000)),
        (Linear(256, 1000), lambda: nn.Linear(256, 1000)),
        (Convolution(3, 400, 4, 2, 1, bias=True), lambda: nn.Conv2d(3, 400, 4, 2, 1)),
        (
            Convolution(40, 60, 4, 2, 1, transposed=True, bias=True),
            lambda: nn.ConvTranspose2d(40, 60, 4, 2, 1),
        ),
        (Linear(30, 20 * 16, False, 20 * 16), lambda: nn.ConvTranspose2d(30, 20, 4, bias=False)),
    ]


@pytest.mark.parametrize(("layer", "module"), linears_and_convolutions(), ids=lambda x: repr(x) if x is Layer else None)
def test_initial_weights_are_distributed_as_torchs(layer, module):
    made = layer.initial(stream(5, Stream.GENERATOR_WEIGHTS))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = dict(module().named_parameters())
    levels = np.linspace(0, 1, 21)
    assert set(made) == set(theirs)
    bounds = []
    for name, other in theirs.items():
        mine, other = made[name].ravel(), other.detach().numpy().ravel()
        assert mine.size == other.size
        bounds.append(np.abs(other).max())
        slack = min(0.2, 12 / mine.size)
        assert (1 - slack) * bounds[-1] < np.abs(mine).max() < bounds[-1] / (1 - slack)
        assert abs(mine.mean()) < 5 * bounds[-1] / math.sqrt(3 * mine.size)
        tolerance = 5 * bounds[-1] * math.sqrt(2 / mine.size)  # five deviations of the difference of two medians
        np.testing.assert_allclose(np.quantile(mine, levels), np.quantile(other, levels), atol=tolerance)


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (Linear(7, 4000), 7),
        (Convolution(3, 400, 4, 2, 1, bias=True), 3 * 16),
        (Convolution(40, 60, 4, 2, 1, transposed=True, bias=True), 60 * 16),
        (Linear(30, 320, initial_inputs=320), 320),
    ],
    ids=repr,
)
def test_initial_weights_fill_plus_minus_1_over_the_root_of_the_inputs(layer, inputs):
    made = layer.initial(stream(6, Stream.GENERATOR_WEIGHTS))["weight"]
    assert 0.999 / math.sqrt(inputs) < np.abs(made).max() <= 1 / math.sqrt(inputs)


def test_an_unfolded_linear_layer_is_a_transposed_convolution_of_one_pixel():
    first, x = Linear(7, 5 * 16, bias=False), drawn(LANES, 13, 7)
    weights = lane_weights(first)
    made = Reshape((5, 4, 4))({}, first(weights, x, call()), call())
    for lane in range(LANES):
        kernel = weights["weight"][lane].reshape(7, 5, 4, 4)
        assert_close(made[lane], F.conv_transpose2d(x[lane, :, :, None, None], kernel, stride=1, padding=0))


def test_a_linear_layer_on_a_whole_feature_map_is_a_convolution_of_its_size():
    last, x = Linear(5 * 16, 1), drawn(LANES, 13, 5, 4, 4)
    weights = lane_weights(last)
    made = last(weights, Reshape((80,))({}, x, call()), call())
    for lane in range(LANES):
        kernel = weights["weight"][lane].mT.reshape(1, 5, 4, 4)
        assert_close(made[lane], F.conv2d(x[lane], kernel, weights["bias"][lane]).flatten(1))


@pytest.mark.parametrize(
    ("layer", "reference"),
    [
        (relu, F.relu),
        (elu, F.elu),
        (sigmoid, torch.sigmoid),
        (tanh, torch.tanh),
        (leaky_relu(0.2), lambda x: torch.maximum(x, 0.2 * x)),
        (leaky_relu(0.0), F.relu),
        (Reshape((1, 10)), lambda x: x.unsqueeze(2)),
        (Maxout(5), lambda x: x.view(LANES, 13, 2, 5).max(dim=3)[0]),
        (Maxout(1), lambda x: x),
        (Maxout(10), lambda x: x.amax(2, keepdim=True)),
    ],
    ids=["relu", "elu", "sigmoid", "tanh", "leaky_relu", "leaky_0", "reshape", "maxout_5", "maxout_1", "maxout_10"],
)
def test_a_layer_without_weights_and_its_gradient_are_those_of_its_torch_function(layer, reference):
    x = drawn(LANES, 13, 10).requires_grad_()
    assert layer.shapes() == layer.buffers() == layer.initial(stream(0, Stream.GENERATOR_WEIGHTS)) == {}
    made, expected = layer({}, x, call()), reference(x)
    assert_close(made.detach(), expected.detach(), atol=0)
    assert_close(gradients_of(made, x, [], 1)[0], gradients_of(expected, x, [], 1)[0], atol=0)


def joined_branches(inputs: tuple[int, ...]) -> tuple[Branches, list[nn.Sequential]]:
    """Two branches, with batch norm and a spectral norm, in ours and in torch's for each lane."""
    first, second = inputs or (7, 7)
    layer = Branches(
        (
            Network((Linear(first, 4), BatchNorm(4), leaky_relu(0.2))),
            Network((SpectralNorm(Linear(second, 3)), tanh, Linear(3, 2))),
        ),
        inputs,
    )
    modules = [
        nn.Sequential(
            nn.Sequential(nn.Linear(first, 4), nn.BatchNorm1d(4), nn.LeakyReLU(0.2)),
            nn.Sequential(spectral_norm(nn.Linear(second, 3)), nn.Tanh(), nn.Linear(3, 2)),
        ).double()
        for _ in range(LANES)
    ]
    return layer, modules


@pytest.mark.parametrize("inputs", [(4, 3), ()], ids=["split", "shared"])
def test_branches_are_torchs_modules_side_by_side(inputs):
    layer, modules = joined_branches(inputs)
    weights, x = lane_weights(layer), drawn(LANES, 13, 7).requires_grad_()
    for lane, module in enumerate(modules):
        give(layer, weights, lane, module)
    leaves = [weights[name].requires_grad_() for name in layer.shapes()]
    output = layer(weights, x, call())
    x_gradient, *gradients = gradients_of(output, x, leaves, 5)
    assert output.shape == (LANES, 13, 6)
    for lane, module in enumerate(modules):
        row = x[lane].detach().requires_grad_()
        taken = row.split(inputs, 1) if inputs else (row, row)
        expected = torch.cat([part(given) for part, given in zip(module, taken, strict=True)], 1)
        assert_close(output[lane].detach(), expected.detach())
        parts = [theirs for theirs, _ in all_pairs(layer, dict(zip(layer.shapes(), leaves, strict=True)), lane, module)]
        loss = (drawn(*output.shape, seed=5)[lane] * expected + expected * expected).sum()
        row_gradient, *theirs = torch.autograd.grad(loss, [row, *parts])
        assert_close(x_gradient[lane], row_gradient)
        mine = [ours for _, ours in all_pairs(layer, dict(zip(layer.shapes(), gradients, strict=True)), lane, module)]
        for ours, other in zip(mine, theirs, strict=True):
            assert_close(ours, other)
        for other, ours in all_pairs(layer, weights, lane, module):
            assert_close(ours.detach(), other.detach())


@pytest.mark.parametrize(
    "layer",
    [
        Network((Linear(3, 4), tanh, Linear(4, 2), sigmoid)),
        Network((Linear(3, 4), elu, Linear(4, 2))),
        Network((Linear(3, 4), leaky_relu(0.2), Maxout(2), Linear(2, 1))),
        Network((Reshape((3, 1, 1)), Convolution(3, 2, 2, 1, 1, bias=True), leaky_relu(0.2))),
        Network((Reshape((3, 1, 1)), Convolution(3, 2, 2, 1, 0, transposed=True), Reshape((8,)), elu)),
        SpectralNorm(Linear(3, 2)),
        Branches((Network((Linear(2, 2),)), Network((Linear(1, 2), tanh))), (2, 1)),
    ],
    ids=["tanh", "elu", "maxout", "convolution", "transposed", "spectral", "branches"],
)
def test_layers_have_right_first_and_second_derivatives(layer):
    weights, x = lane_weights(layer, 2), drawn(2, 3, 3).requires_grad_()
    names = list(layer.shapes())

    def function(*values: Tensor) -> Tensor:
        return layer({**weights, **dict(zip(names, values[1:], strict=True))}, values[0], call(False))

    values = (x, *(weights[name].requires_grad_() for name in names))
    assert torch.autograd.gradcheck(function, values)
    assert torch.autograd.gradgradcheck(function, values)


@pytest.mark.parametrize("path", ["lane_by_lane", "together"])
def test_batch_norm_has_right_first_and_second_derivatives(path):
    layer, x = BatchNorm(2), drawn(2, 5, 2).requires_grad_()
    weights = lane_weights(layer, 2)

    def function(*values: Tensor) -> Tensor:
        nobody = Call((1e-5, 0.8), (0.1, 0.5), training=True, active=[False, False])
        return getattr(layer, path)({**weights, "weight": values[1], "bias": values[2]}, values[0], nobody)

    values = (x, weights["weight"].requires_grad_(), weights["bias"].requires_grad_())
    assert torch.autograd.gradcheck(function, values)
    assert torch.autograd.gradgradcheck(function, values)


def test_elu_is_torchs_with_its_gradient_and_the_gradient_of_that():
    x = torch.cat((drawn(1, 1, 60)[0, 0] * 3, torch.tensor([-60.0, -1e-9, 1e-9, 30.0]).double()))
    mine, theirs = (x.view(1, 1, 64).clone().requires_grad_() for _ in range(2))
    found = []
    for made, leaf in ((elu({}, mine, call()), mine), (F.elu(theirs), theirs)):
        (gradient,) = torch.autograd.grad((made * torch.arange(1.0, 65)).sum(), leaf, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), leaf)
        found.append([tensor.detach().numpy() for tensor in (made, gradient, second)])
    for ours, others in zip(*found, strict=True):
        assert_close(ours, others)
    assert bool((mine < -1).any())
    away = mine.detach().where(mine.abs() > 0.01, 0.5).requires_grad_()  # its second derivative jumps at 0
    assert torch.autograd.gradcheck(lambda v: elu({}, v, call()), away)
    assert torch.autograd.gradgradcheck(lambda v: elu({}, v, call()), away)
