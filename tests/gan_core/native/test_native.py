"""Functions of tensors in C: elementwise calls, sums and products of every layout, against torch, with the kernels of
each instruction set that this processor can execute.
"""

import pytest
import torch
import torch.nn.functional as F
from native_cases import (
    CONVOLUTIONS,
    ELEMENTWISE,
    FEWER_MULTIPLICATIONS,
    Function,
    Tensors,
    assert_is_product,
    convolving,
    drawn,
    multiplying,
    ran,
    source,
    writes,
)
from torch import Tensor

from gan_core.execution.formulas import NotInC
from gan_core.lanes.precision import host_rounds
from gan_core.native.compiler import target
from gan_core.native.isa import executable_isas
from gan_core.native.kernels import winograd
from gan_core.native.library import LaneMemory, NativeProgram

PAIRED = [isa.name for isa in executable_isas() if isa.bfloat16_pairs and not host_rounds()]
in_pairs = pytest.mark.parametrize("each_isa", PAIRED, indirect=True)  # which alone multiply in bfloat16
pytestmark = pytest.mark.usefixtures("each_isa")


def assert_is_torch(function: Function, tensors: Tensors, rtol: float = 1e-13, atol: float = 1e-13) -> None:
    mine = ran(function, tensors)
    function(tensors)
    for name, tensor in tensors.items():
        torch.testing.assert_close(mine[name], tensor, rtol=rtol, atol=atol, equal_nan=True)


@pytest.mark.parametrize("shape", [(3, 5), (3, 4, 1), (1, 40), (3, 1, 1), (2,)], ids=str)
def test_elementwise_calls(shape: tuple[int, ...]):
    """All in one program: a program of each would be hundreds to compile."""

    def function(tensors: Tensors) -> None:
        for name, of_two in ELEMENTWISE.items():
            tensors[name].copy_(of_two(tensors["x"], tensors["y"]))

    made = {name: torch.zeros(shape).double() for name in ELEMENTWISE}
    assert_is_torch(function, {"x": drawn(*shape), "y": drawn(*shape, seed=1), **made})


@pytest.mark.parametrize(("name", "ulps"), [("exp", 2), ("tanh", 2), ("sigmoid", 3), ("elu", 1)])
def test_functions_of_float32_are_exact_to_ulps(name: str, ulps: int):
    x = torch.cat(
        (torch.linspace(-100, 88.7, 100_001), torch.linspace(-2, 2, 100_001), torch.tensor([0.0, -0.0, 1e-30]))
    )
    tensors = {"x": x[None], "y": x[None], "out": torch.zeros(1, len(x))}
    function = F.elu if name == "elu" else getattr(torch, name)
    mine = ran(writes(lambda x, y: function(x)), tensors)["out"][0]
    true = function(x.double())
    normal = true.abs() > 1.2e-38
    unit = torch.tensor(2.0).double() ** (true.abs().log2().floor() - 23)
    assert float(((mine.double() - true).abs() / unit)[normal].max()) <= ulps
    assert float(mine[~normal].abs().max()) <= 1.2e-38


@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "relu", "clamps", "elu", "elu of clamps"])
def test_what_is_not_finite_stays_what_it_is_to_torch(name: str):
    x = torch.tensor([[torch.nan, torch.inf, -torch.inf, 1e4, -1e4, 3.0]])
    tensors = {"x": x, "y": torch.ones_like(x), "out": torch.zeros_like(x)}
    mine = ran(writes(ELEMENTWISE[name]), tensors)["out"]
    torch.testing.assert_close(mine, ELEMENTWISE[name](x, torch.ones_like(x)), equal_nan=True, rtol=1e-6, atol=1e-37)


def test_a_part_of_a_value_a_column_and_a_turned_one():
    def function(tensors: Tensors) -> None:
        x = tensors["x"] * 2
        left, right = x.split(3, 2)
        tensors["out"].copy_((left.mT + tensors["column"].unsqueeze(2)) * right.mT)
        tensors["part"][:, 1:3].copy_(left[:, :2] + 1)

    shapes = {"x": (2, 5, 6), "column": (2, 3), "out": (2, 3, 5), "part": (2, 4, 3)}
    assert_is_torch(function, {name: drawn(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())})


def test_joined_parts():
    def function(tensors: Tensors) -> None:
        x, y = tensors["x"], tensors["y"]
        tensors["wide"].copy_(torch.cat((x + 1, y, x), 2))
        tensors["high"].copy_(torch.stack((x, x * x), 1))

    shapes = {"x": (2, 5, 3), "y": (2, 5, 1), "wide": (2, 5, 7), "high": (2, 2, 5, 3)}
    assert_is_torch(function, {name: drawn(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())})


def test_given_tensors_that_lie_in_one_memory():
    """`flat` is `first` and `last`, as weights are of a row; what is read after a write is what was written."""

    def function(tensors: Tensors) -> None:
        tensors["first"].copy_(tensors["last"].mT * 2)
        tensors["out"].copy_(tensors["flat"] + 1)
        tensors["last"].copy_(tensors["first"].mT + tensors["last"])

    def given() -> Tensors:
        flat = drawn(2, 18)
        return {
            "flat": flat,
            "first": flat[:, :9].view(2, 3, 3),
            "last": flat[:, 9:].view(2, 3, 3),
            "out": drawn(2, 18),
        }

    mine, theirs = given(), given()
    program = NativeProgram(source(function, mine), "tested", list(mine.values()), LaneMemory())
    program()
    function(theirs)
    for name, tensor in theirs.items():
        torch.testing.assert_close(mine[name], tensor, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("axes", [(1,), (2,), (1, 2), (3,), (1, 3), (2, 3), (1, 2, 3)], ids=str)
@pytest.mark.parametrize("kind", ["sum", "mean", "norm"])
def test_sums_over_axes(axes: tuple[int, ...], kind: str):
    def function(tensors: Tensors) -> None:
        x = tensors["x"] * 1.5
        made = {
            "sum": lambda: x.sum(axes, keepdim=True),
            "mean": lambda: x.mean(axes, keepdim=True),
            "norm": lambda: torch.linalg.vector_norm(x, dim=axes).view(tensors["out"].shape),
        }[kind]()
        tensors["out"].copy_(made)

    x = drawn(2, 4, 5, 33)
    assert_is_torch(function, {"x": x, "out": torch.zeros_like(x.sum(axes, keepdim=True))})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)], ids=str)
@pytest.mark.parametrize(
    "sizes",
    [
        *[(1, 1, 1), (1, 5, 9), (17, 40, 16), (20, 33, 70)],
        *[pytest.param(sizes, marks=pytest.mark.slow) for sizes in ((7, 3, 1), (9, 1, 17), (5, 64, 130), (3, 16, 1))],
        *[(32, 32, 1), (19, 40, 1), (5, 1, 32)],  # of a vector, by whole vectors and not
        (17, 1030, 520),  # of far rows, and more than a panel
    ],
    ids=str,
)
def test_products_of_every_layout(sizes: tuple[int, int, int], turned: tuple[bool, bool], dtype: torch.dtype):
    mine, a, b = multiplied(sizes, turned, dtype)
    assert_is_product(mine, a, b)


@in_pairs
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)], ids=str)
@pytest.mark.parametrize(
    "sizes", [(17, 40, 16), (20, 33, 70), (5, 65, 130), (70, 96, 33), (97, 2, 48), (9, 784, 64)], ids=str
)
def test_products_in_bfloat16_of_every_layout_are_of_rounded_factors(sizes: tuple[int, int, int], turned):
    mine, a, b = multiplied(sizes, turned, torch.float32, rounded=True)
    assert_is_product(mine, a.bfloat16(), b.bfloat16())
    with pytest.raises(AssertionError):
        assert_is_product(mine, a, b)


@pytest.mark.parametrize("sizes", [(16, 16, 16), (1, 784, 64), (128, 256, 1)], ids=str)
def test_small_products_and_those_of_vectors_are_not_rounded_in_c_either(sizes: tuple[int, int, int]):
    assert_is_product(*multiplied(sizes, (False, False), torch.float32, rounded=True))


def test_float64_is_never_rounded_in_c():
    assert_is_product(*multiplied((20, 33, 70), (False, False), torch.float64, rounded=True))


def multiplied(
    sizes: tuple[int, int, int], turned: tuple[bool, bool], dtype: torch.dtype, rounded: bool = False
) -> tuple[Tensor, ...]:
    """A product in C, [2, rows, columns], and its factors."""
    function, tensors, a, b = multiplying(sizes, turned, dtype)
    return ran(function, tensors, rounded)["out"], a, b


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda t: t["x"].copy_(t["x"].cumsum(1)), "cumsum"),
        (lambda t: t["x"].copy_(t["x"].sum(0, keepdim=True).expand_as(t["x"])), "sum"),
        (lambda t: t["x"].copy_(torch.add(t["x"], t["x"], alpha=2)), "alpha"),
        (lambda t: t["x"].copy_(t["x"] ** 0.5), "a power of 0.5"),
        (lambda t: t["x"].mul_(2), "mul_"),
    ],
    ids=["unknown", "over lanes", "an option", "a power", "in place"],
)
def test_what_is_not_known_in_c_is_refused(function: Function, says: str):
    with pytest.raises(NotInC, match=says):
        source(function, {"x": drawn(2, 4)})


@pytest.mark.parametrize(
    ("dtype", "rtol"), [(torch.float64, 1e-13), (torch.float32, 2e-5)]
)  # rows are copied otherwise
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_and_their_derivatives(name: str, dtype: torch.dtype, rtol: float):
    function, tensors = convolving(name)
    assert_is_torch(function, {of: tensor.to(dtype) for of, tensor in tensors.items()}, rtol, 10 * rtol)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_which_convolutions_take_fewer_multiplications(name: str):
    text = "".join(source(*convolving(name)).functions.values())
    assert ("winograd_convolution_weight(" in text) is (name in FEWER_MULTIPLICATIONS)


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [((40, 14, 16, 16, 10, 4, 2, 1), 1), ((13, 40, 40, 40, 80, 4, 2, 1), 0)],
    ids=["weights are kept at all points", "weights are made for one point after the other"],
)
def test_images_that_are_not_all_transformed_at_once(monkeypatch, sizes: tuple[int, ...], kept: int):
    monkeypatch.setitem(CONVOLUTIONS, "in parts", sizes)
    images, channels, height, width, filters, kernel, stride, _ = sizes
    tiling = winograd.tiling(
        images, channels, height, width, filters, height // 2, width // 2, kernel, stride, target()
    )
    assert tiling["weights_kept"] == kept
    assert tiling["at_once"] < images
    assert images % tiling["at_once"]
    assert_is_torch(*convolving("in parts"), 1e-12, 1e-12)


def test_fewer_multiplications_round_little():
    """Of many channels, whose products take panels of their own."""
    function, tensors = convolving("of a family", more_channels=114)
    mine = ran(function, {of: tensor.float() for of, tensor in tensors.items()})
    assert_is_torch(function, tensors, 1e-12, 1e-12)
    function(tensors)
    for of in "abc":
        error = (mine[of].double() - tensors[of]).square().mean().sqrt()
        assert error < 2e-6 * tensors[of].std()


@in_pairs
@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("more_channels", [4, 5])
def test_convolutions_in_bfloat16_are_of_rounded_factors(name: str, more_channels: int):
    function, tensors = convolving(name, more_channels)
    mine = ran(function, {of: tensor.float() for of, tensor in tensors.items()}, rounded=True)
    rounded = {of: tensor.float().bfloat16().double() for of, tensor in tensors.items()}
    function(rounded)
    function(tensors)
    for of in "abc":
        scale = rounded[of].abs().max()
        torch.testing.assert_close(mine[of].double(), rounded[of], rtol=0, atol=float(2e-6 * scale))
        assert (mine[of] - tensors[of]).abs().max() > 2e-4 * scale


def test_convolutions_of_few_channels_are_not_rounded():
    function, tensors = convolving("of long rows")
    single = {of: tensor.float() for of, tensor in tensors.items()}
    mine, plain = ran(function, single, rounded=True), ran(function, single)
    assert all(torch.equal(mine[of], plain[of]) for of in "abc")
