"""A person's own training in a space: the hyperparameters `trainer.*`, whose types follow from their values."""

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError, shown
from gan_core.config.own_names import TRAINER
from search_spaces.ranges import Range

PREFIX = "trainer."
NUMBERS = ("low", "high", "step")  # keys of a range with one number each


def base_with_training(base: GanConfig, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """All base values, given these changes, where there is a training of a person's own afterwards; None otherwise.
    Where there was a GAN before, nothing of it stays.
    """
    after = given.get(TRAINER, base.structure.trainer)
    if not after:
        return None
    before = base.flatten() if base.structure.trainer else {}
    return {**before, **given, TRAINER: after}


def typed_training(
    base: Mapping[str, Any], given: Mapping[str, Any], ranges: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Base values and ranges as written, in which those of `trainer.*` have a type. Nobody declares it, so a text that
    spells a number is that number, and where a hyperparameter has any number with a fraction (1.0 is one), in its range
    or in its base, all its numbers are such. A range without a base value gives one: its first choice, or its middle,
    on the scale on which it is drawn. base: the values so far.
    """
    values, typed = dict(given), dict(ranges)
    for name in dict.fromkeys(name for name in (*given, *ranges) if str(name).startswith(PREFIX)):
        written = _numbers_in(ranges[name]) if isinstance(ranges.get(name), Mapping) else ranges.get(name)
        value = _number_in(values[name]) if name in values else base.get(name)
        numbers = [*_values_in(written), value, base.get(name)]
        if any(isinstance(one, float) for one in numbers):
            written, value = _as_floats(written), _as_float(value)
        if name in ranges:
            typed[name] = written
        if value is None and isinstance(written, Mapping):
            value = _middle(written)
        if name in values or (name in ranges and value != base.get(name)):
            values[name] = value
    return values, typed


def _number_in(value: Any) -> Any:
    """The number that a text spells; anything else as it is."""
    if isinstance(value, str):
        for kind in (int, float):
            with suppress(ValueError):
                number = kind(value)
                return number if math.isfinite(number) else value
    return value


def _numbers_in(written: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {key: _number_in(written[key]) for key in NUMBERS if key in written}
    choices = {"choices": [_number_in(one) for one in written["choices"]]} if _has_choices(written) else {}
    return {**written, **numbers, **choices}


def _has_choices(written: Any) -> bool:
    return isinstance(written, Mapping) and isinstance(written.get("choices"), list)


def _values_in(written: Any) -> list[Any]:
    """All values of a range as written."""
    if not isinstance(written, Mapping):
        return []
    return [*(written.get(key) for key in NUMBERS), *(written["choices"] if _has_choices(written) else [])]


def _as_float(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_floats(written: Any) -> Any:
    if not isinstance(written, Mapping):
        return written
    choices = {"choices": [_as_float(one) for one in written["choices"]]} if _has_choices(written) else {}
    return {**written, **{key: _as_float(written[key]) for key in NUMBERS if key in written}, **choices}


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


def check_of_training(space: str, ranges: Mapping[str, Range], base: Mapping[str, Any]) -> None:
    """Raises InputError for a range of a hyperparameter that a training of a person's own does not have."""
    for name in ranges:
        if TRAINER in base and not name.startswith(PREFIX):
            raise InputError(
                f"space {shown(space)}: {name} is of GANs, and has no effect on your own training; take its range out, "
                f"or make it {PREFIX}NAME"
            )
