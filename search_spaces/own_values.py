"""The types of the values that hyperparameters of a person's own code have, in bases and ranges.

Those of an argument whose constructor declares them are of the declared type. Of any other, the values themselves say:
a text that spells a number is that number, and where a hyperparameter has any number with a fraction (1.0 is one), in
its range or in its base, all its numbers are such. A range without a base value gives one: its first choice, or its
middle, on the scale on which it is drawn.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from gan_core.config.arguments import is_own, plain_value
from gan_core.files.own_arguments import Argument

NUMBERS = ("low", "high", "step")  # keys of a range with one number each


def typed(
    so_far: Mapping[str, Any],
    given: Mapping[str, Any],
    ranges: Mapping[str, Any],
    argument: Callable[[str], Argument],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Base values and ranges as written, in which those of own code have their types. so_far: the base values that they
    change. argument: from the dotted name of a hyperparameter to what its constructor declares, which raises InputError
    for a name that there is not. Raises InputError for a value of another type.
    """
    values, typed_ranges = dict(given), dict(ranges)
    for name in dict.fromkeys(name for name in (*given, *ranges) if is_own(name)):
        known, written, value, before = argument(name), ranges.get(name), given.get(name), so_far.get(name)
        if name in given and value is None:  # which leaves it to the constructor, if that has null itself
            before = None if known.default is None else plain_value(name, value)
        convert = _conversion(name, known, [*_values_in(written), value, before])
        written = _converted(written, convert)
        value = before if value is None else convert(value)
        if value is None and isinstance(written, Mapping):
            value = _middle(written)
        if name in ranges:
            typed_ranges[name] = written
        if name in given or (name in ranges and value != before):
            values[name] = value
    return values, typed_ranges


def _conversion(name: str, known: Argument, values: list[Any]) -> Callable[[Any], Any]:
    """What makes of a value of a hyperparameter, as written, one of its type. values: all that it has."""
    if known.is_declared:
        return lambda value: known.value(name, value)
    if any(isinstance(_number_in(value), float) for value in values):
        return lambda value: _as_float(_number_in(value))
    return _number_in


def _number_in(value: Any) -> Any:
    """The number that a text spells; anything else as it is."""
    if isinstance(value, str):
        for kind in (int, float):
            with suppress(ValueError):
                number = kind(value)
                return number if math.isfinite(number) else value
    return value


def _as_float(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _has_choices(written: Any) -> bool:
    return isinstance(written, Mapping) and isinstance(written.get("choices"), list)


def _values_in(written: Any) -> list[Any]:
    """All values of a range as written."""
    if not isinstance(written, Mapping):
        return []
    return [*(written.get(key) for key in NUMBERS), *(written["choices"] if _has_choices(written) else [])]


def _converted(written: Any, convert: Callable[[Any], Any]) -> Any:
    """A range as written, with its values converted."""
    if not isinstance(written, Mapping):
        return written
    choices = {"choices": [convert(one) for one in written["choices"]]} if _has_choices(written) else {}
    return {**written, **{key: convert(written[key]) for key in NUMBERS if written.get(key) is not None}, **choices}


def _middle(written: Mapping[str, Any]) -> Any:
    """The base value of a range that has none; None where the range is no valid one, which parsing it says."""
    if _has_choices(written):
        return next(iter(written["choices"]), None)
    low, high = written.get("low"), written.get("high")
    if not isinstance(low, int | float) or not isinstance(high, int | float) or not low <= high:
        return None
    if written.get("log") is True and low > 0:
        middle = math.sqrt(low) * math.sqrt(high)
    else:
        middle = low + (high - low) / 2
    if step := written.get("step"):
        middle = low + (middle - low) // step * step
    return round(middle) if isinstance(low, int) and isinstance(high, int) else min(max(middle, low), high)
