"""Configuration fields that know their range, and the type and range checks of every value a person writes.

A field is declared once, by `ranged`, and checked when its configuration is made. Imports no torch.
"""

import math
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cache
from types import NoneType
from typing import Any, Literal, TypeGuard, get_args, get_origin, get_type_hints

from gan_core.config.input_error import InputError, closest, shown
from gan_core.config.own_names import is_reference


def is_whole(value: Any, low: float = -math.inf, high: float = math.inf) -> TypeGuard[int]:
    """Whether a value is an integer with low <= value <= high. True and False are not integers here."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_number(value: Any, low: float = -sys.float_info.max, high: float = sys.float_info.max) -> TypeGuard[float]:
    """Whether a value is a finite integer or float with low <= value <= high. True and False are not numbers here."""
    return (is_whole(value) or isinstance(value, float)) and low <= value <= high


def check_whole(name: str, value: Any, low: int, *, or_auto: bool = False) -> None:
    """Raises InputError unless a value is an integer of at least `low`, or, with `or_auto`, the text `auto`."""
    if not (is_whole(value, low) or (or_auto and value == "auto")):
        choice = "'auto' or " if or_auto else ""
        raise InputError(f"{name} must be {choice}a whole number of at least {low}, got {shown(value)}")


def check_flag(name: str, value: Any) -> None:
    """Raises InputError unless a value is True or False."""
    if not isinstance(value, bool):
        raise InputError(f"{name} must be true or false, got {shown(value)}")


def ranged(
    default: Any,
    says: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    below: float = math.inf,
    follows: str = "",
    own: bool = False,
) -> Any:
    """A dataclass field with its range: low <= value <= high, and value < below.

    says: what the field means, for messages and lists. follows: the field that provides the value where this one is
    None; without it, None is refused. own: whether a reference to a person's own code may stand in the place of a name.
    """
    given = {"says": says, "low": low, "high": high, "below": below, "follows": follows, "own": own}
    return field(default=default, metadata=given)


@dataclass(frozen=True)
class Hyperparameter:
    """What is known about one dotted name. `choices` is empty for a number; the range is low <= value <= high and
    value < below. `follows`: the dotted name that provides the value where this one is None; empty where None is
    refused. own: whether a reference to a person's own code may stand in the place of a choice.
    """

    name: str
    kind: type
    choices: tuple[str, ...]
    default: Any
    says: str
    low: float
    high: float
    below: float
    follows: str = ""
    own: bool = False


@cache
def describe(cls: type) -> Mapping[str, Hyperparameter]:
    """The fields of a dataclass that were declared by `ranged`, by name."""
    hints = get_type_hints(cls)
    known = {}
    for item in fields(cls):
        if "says" in item.metadata:
            hint = hints[item.name]
            if item.metadata["follows"]:
                hint = next(kind for kind in get_args(hint) if kind is not NoneType)
            choices = get_args(hint) if get_origin(hint) is Literal else ()
            known[item.name] = Hyperparameter(
                item.name, str if choices else hint, choices, item.default, **item.metadata
            )
    return known


def as_number(kind: type, value: Any) -> Any:
    """A value from a file or a command line as the given kind, int or float; unchanged where it cannot be one.

    This is the only rule for numbers: a text that spells a number becomes that number (YAML 1.1 reads `1e4` and `1e-4`
    as texts), and an integer may be written in any way that has no fraction: `100000`, `1e5`, `1.0e+5`.
    """
    if isinstance(value, bool | kind):
        return value
    with suppress(TypeError, ValueError, OverflowError):  # the check that follows refuses what is not a number
        if kind is float:
            return float(value)
        if isinstance(value, str):
            with suppress(ValueError):
                return int(value)  # keeps every digit, where a float would round
        if (number := float(value)).is_integer():
            return int(number)
    return value


def fitted(name: str, known: Hyperparameter, value: Any) -> Any:
    """A value from a file or a command line, converted to the field's type and checked against its range.

    Raises InputError for a wrong type or a value out of range.
    """
    if known.kind in (int, float):
        value = as_number(known.kind, value)
    check_value(name, known, value)
    return value


def check_fields(prefix: str, config: Any) -> None:
    """Raises InputError for the first field of a dataclass that has the wrong type or is out of range."""
    for name, known in describe(type(config)).items():
        check_value(f"{prefix}.{name}" if prefix else name, known, getattr(config, name))


def check_value(name: str, known: Hyperparameter, value: Any) -> None:
    """Raises InputError when a value has the wrong type or is out of range."""
    if value is None and known.follows:
        return
    if known.choices:
        if value not in known.choices and not (known.own and is_reference(value)):
            close = closest(value, known.choices) if isinstance(value, str) else None
            hint = f"; did you mean {close!r}?" if close else ""
            raise InputError(f"{name} must be one of {', '.join(known.choices)}, got {shown(value)}{hint}")
        return
    if known.kind is str:
        if not isinstance(value, str):
            raise InputError(f"{name} must be text ({known.says}), got {shown(value)}")
        return
    if not (is_whole(value) or (known.kind is float and isinstance(value, float))):
        noun = "a whole number" if known.kind is int else "a number"
        raise InputError(f"{name} must be {noun} ({known.says}), got {shown(value)}")
    if not (known.low <= value <= known.high and value < known.below):
        upper = f"below {known.below:g}" if math.isfinite(known.below) else f"at most {known.high:g}"
        raise InputError(f"{name} must be at least {known.low:g} and {upper} ({known.says}), got {shown(value)}")
