"""The values of one range in a full grid."""

from decimal import Decimal
from typing import Any

from gan_core.config.fields import is_whole
from gan_core.config.input_error import InputError, shown
from search_spaces.ranges import Range

MOST_POINTS = 1000  # per parameter


def grid_values(name: str, scope: Range, points: int | None) -> list[Any]:
    """The values of a range in a grid: all of its choices, whole numbers or steps, or else `points` values.

    The latter are evenly spaced on the scale of the range and include both ends. Whole numbers on a log scale are
    thinned to about `points` values too, if it is given. Raises InputError if points are needed and None, if they are
    not from 2 to 1000, and if there would be more than 1000 values.
    """
    if points is not None and not is_whole(points, 2, MOST_POINTS):
        raise InputError(f"the points of a grid must be a whole number from 2 to {MOST_POINTS}, got {shown(points)}")
    if scope.choices:
        return list(scope.choices)
    if scope.low == scope.high:
        return [scope.low]
    if scope.step or (scope.is_whole and not (scope.log and points)):
        return _steps(name, scope)
    if points is None:
        raise InputError(
            f"a grid needs points for {name}, whose range {scope} has no steps; set points, a step, or choices"
        )
    spaced = [_between(scope, place / (points - 1)) for place in range(points)]
    return list(dict.fromkeys(round(value) for value in spaced)) if scope.is_whole else spaced


def _steps(name: str, scope: Range) -> list[Any]:
    low, step = Decimal(str(scope.low)), Decimal(str(scope.step or 1))
    count = round((scope.high - scope.low) / float(step)) + 1
    if count > MOST_POINTS:
        raise InputError(
            f"a grid would take {count:,} values of {name}, whose range is {scope}, and at most {MOST_POINTS}; "
            "set a larger step"
        )
    return [type(scope.low)(low + place * step) for place in range(count)]


def _between(scope: Range, share: float) -> float:
    """The number at this share of the way from low to high; exactly the ends at 0 and 1."""
    if share in (0, 1):
        return scope.high if share else scope.low
    if scope.log:
        return scope.low * (scope.high / scope.low) ** share
    return scope.low + share * (scope.high - scope.low)
