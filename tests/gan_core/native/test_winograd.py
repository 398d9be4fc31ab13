"""Convolutions with fewer multiplications. That they are convolutions is stated in test_native."""

from fractions import Fraction
from itertools import product

import pytest

from gan_core.native.isa import ISAS
from gan_core.native.kernels.convolutions import Geometry
from gan_core.native.kernels.winograd import POINTS, TAPS, TILE, filtering


def test_the_matrices_filter_exactly():
    """Each product of an input and a tap goes into its output once, and into no other, in exact arithmetic."""
    small, kernel, large = filtering()
    for i, u, out in product(range(POINTS), range(TAPS), range(TILE)):
        weight = sum((small[out][p] * kernel[p][u] * large[p][i] for p in range(POINTS)), start=Fraction(0))
        assert weight == (1 if i == out + u else 0)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("channels", "side", "filters", "kernel", "stride", "by_points"),
    [
        (16, 14, 32, 4, 2, True),
        (64, 8, 128, 4, 2, True),
        (1, 28, 64, 4, 2, False),  # a whole vector of channels would be computed for one
        (64, 4, 128, 4, 2, False),  # tiles are larger than the map
        (32, 14, 64, 5, 2, False),
        (128, 4, 1, 4, 1, False),
    ],
)
def test_fewer_multiplications_are_made_where_they_are_fewer(
    channels: int, side: int, filters: int, kernel: int, stride: int, by_points: bool, isa: str
):
    rows = (side + 2 - kernel) // stride + 1
    geometry = Geometry(64, channels, side, side, filters, rows, rows, kernel, stride, 1)
    assert geometry.by_points(ISAS[isa]) is by_points
