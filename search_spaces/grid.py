"""The values that a full grid takes of one range."""

from decimal import Decimal
from typing import Any

from gan_core.config.fields import is_whole
from gan_core.config.gan import InputError, shown
from search_spaces.ranges import Range

MOST_POINTS = 1000  # of one parameter


def grid_values(name: str, scope: Range, points: int | None) -> list[Any]:
    """Choices; whole numbers and numbers in steps, every one; else `points` values, both ends among them, evenly spaced
    on the range's scale. Whole numbers on a log scale are thinned to about so many too, where points is given.

    Raises InputError where points are needed and are None, fewer than 2, or where values would be more than 1000.
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
    """The number at a share of the way from low to high; the ends themselves at 0 and 1."""
    if share in (0, 1):
        return scope.high if share else scope.low
    if scope.log:
        return scope.low * (scope.high / scope.low) ** share
    return scope.low + share * (scope.high - scope.low)
