"""Fields of a configuration that know their range: declared once, checked when the configuration is made. No torch."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from gan_core.config.input_error import InputError, closest, shown


def ranged(
    default: Any,
    says: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    below: float = math.inf,
    follows: str = "",
) -> Any:
    """A dataclass field with its range: low <= value <= high, and value < below. follows: the field whose value it has
    where it is None.
    """
    return field(default=default, metadata={"says": says, "low": low, "high": high, "below": below, "follows": follows})


@dataclass(frozen=True)
class Hyperparameter:
    """What is known of one dotted name. `choices` is empty for a number; bounds are low <= value <= high, < below.
    `follows`: the dotted name whose value it has where it is None, or empty where it cannot be None.
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


@cache
def describe(cls: type) -> Mapping[str, Hyperparameter]:
    """What the fields of a dataclass that were declared by `ranged` say of themselves, by name."""
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
    """A number as a file or a command line gives it -> one of this kind, int or float; what is none, as it is.

    The one rule for numbers: a text that is a number is taken for one (YAML 1.1 reads `1e4` and `1e-4` as texts), and a
    whole number may be written in any way that has no fraction: `100000`, `1e5`, `1.0e+5`.
    """
    if isinstance(value, bool | kind):
        return value
    with suppress(TypeError, ValueError, OverflowError):  # what is no number is the check's to refuse
        if kind is float:
            return float(value)
        if isinstance(value, str):
            with suppress(ValueError):
                return int(value)  # to its last digit
        if (number := float(value)).is_integer():
            return int(number)
    return value


def fitted(name: str, known: Hyperparameter, value: Any) -> Any:
    """A value as a file or a command line gives it -> the field's own type, checked against its range.

    Raises InputError on a wrong type or a value out of range.
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
    if _is_missing(known, value):
        return
    if known.choices:
        if value not in known.choices:
            close = closest(value, known.choices) if isinstance(value, str) else None
            hint = f"; did you mean {close!r}?" if close else ""
            raise InputError(f"{name} must be one of {', '.join(known.choices)}, got {shown(value)}{hint}")
        return
    if known.kind is str:
        if not isinstance(value, str):
            raise InputError(f"{name} must be text ({known.says}), got {shown(value)}")
        return
    right_type = isinstance(value, int) if known.kind is int else isinstance(value, int | float)
    if not right_type or isinstance(value, bool):
        noun = "a whole number" if known.kind is int else "a number"
        raise InputError(f"{name} must be {noun} ({known.says}), got {shown(value)}")
    if not (known.low <= value <= known.high and value < known.below):
        upper = f"below {known.below:g}" if math.isfinite(known.below) else f"at most {known.high:g}"
        raise InputError(f"{name} must be at least {known.low:g} and {upper} ({known.says}), got {shown(value)}")


def _is_missing(known: Hyperparameter, value: Any) -> bool:
    return value is None and bool(known.follows)
