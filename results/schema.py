"""Schemas of the records in a run's files, and messages for records that do not match."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gan_core.config.input_error import shown
from results.printable import printable

LARGEST_WHOLE = 2**53  # up to it a float64, and so every reader of JSON, holds whole numbers exactly
SURROGATE = re.compile("[\ud800-\udfff]")  # half of a character: JSON can write it, but a UTF-8 file cannot hold it


@dataclass(frozen=True)
class Kind:
    """A kind of values of JSON. says: in words, what a value must be; fits: whether a value is that."""

    says: str
    fits: Callable[[Any], bool]

    def or_none(self) -> "Kind":
        """The kind that also allows null."""
        return Kind(f"{self.says} or null", lambda value: value is None or self.fits(value))


def whole_number(low: int = 0, high: int = LARGEST_WHOLE) -> Kind:
    """Whole numbers from `low` to `high`, both included."""
    most = "" if high == LARGEST_WHOLE else f" and at most {high}"
    return Kind(f"a whole number of at least {low}{most}", lambda value: type(value) is int and low <= value <= high)


def is_json_number(value: Any) -> bool:
    """Whether a value that was read from JSON is a finite number, and if it is a whole one, at most LARGEST_WHOLE. What
    people write in a spec has another rule, `gan_core.config.fields.is_number`: whole numbers have no limit there.
    """
    return abs(value) <= LARGEST_WHOLE if type(value) is int else type(value) is float and math.isfinite(value)


def is_text(value: Any) -> bool:
    """Whether a value is text that can be written to a file."""
    return isinstance(value, str) and (value.isascii() or SURROGATE.search(value) is None)


def list_of(kind: Kind) -> Kind:
    """Lists whose items are all of one kind."""
    return Kind(f"a list, each of it {kind.says}", lambda value: isinstance(value, list) and all(map(kind.fits, value)))


def mapping_of(kind: Kind) -> Kind:
    """Mappings from text to values of one kind."""
    return Kind(
        f"a mapping, each value {kind.says}",
        lambda value: isinstance(value, dict) and all(map(is_text, value)) and all(map(kind.fits, value.values())),
    )


def one_of(values: Iterable[str]) -> Kind:
    """One of these texts."""
    known = tuple(values)
    return Kind(f"one of {', '.join(known)}", lambda value: isinstance(value, str) and value in known)


NUMBER = Kind("a finite number (a whole one at most 2^53)", is_json_number)
AMOUNT = Kind("a finite number of at least 0", lambda value: is_json_number(value) and value >= 0)
ANY_NUMBER = Kind(
    "a number", lambda value: is_json_number(value) or (type(value) is float and not math.isfinite(value))
)
TEXT = Kind("text", is_text)
FLAG = Kind("true or false", lambda value: type(value) is bool)
SCALAR = Kind(
    "a finite number (a whole one at most 2^53), text, true or false",
    lambda value: is_json_number(value) or is_text(value) or type(value) is bool,
)
ANYTHING = Kind("anything", lambda value: True)


def fault(
    record: Mapping[str, Any], kinds: Mapping[str, Kind], required: Collection[str], other: Callable[[str], Kind | None]
) -> str | None:
    """In words what is wrong with a record, or None. kinds: of the known keys; other: returns the kind of another key,
    or None if there must be no such key.
    """
    for name in required:
        if name not in record:
            return f"it lacks {name!r}"
    for name, value in record.items():
        kind = kinds.get(name) or (other(name) if is_text(name) else None)
        if kind is None:
            return f"it has {shown(name)}, which is not known"
        if not kind.fits(value):
            return f"{printable(name)} must be {kind.says}, got {shown(value)}"
    return None
