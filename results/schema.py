"""What a line of a run's files may hold: kinds of values, and what is said of a record that does not keep to them."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gan_core.config.input_error import shown
from results.printable import printable

LARGEST_WHOLE = 2**53  # what a float64 holds exactly, and so every reader of JSON
SURROGATE = re.compile("[\ud800-\udfff]")  # half of a character, which JSON can spell and no file can hold


@dataclass(frozen=True)
class Kind:
    """Of values, as JSON gives them. says: what a value must be, in words; fits: whether it is."""

    says: str
    fits: Callable[[Any], bool]

    def or_none(self) -> "Kind":
        """The same, or null."""
        return Kind(f"{self.says} or null", lambda value: value is None or self.fits(value))


def whole(low: int = 0, high: int = LARGEST_WHOLE) -> Kind:
    """Whole numbers, `low` and `high` included."""
    most = "" if high == LARGEST_WHOLE else f" and at most {high}"
    return Kind(f"a whole number of at least {low}{most}", lambda value: type(value) is int and low <= value <= high)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; a whole one no larger than a float holds exactly."""
    return abs(value) <= LARGEST_WHOLE if type(value) is int else type(value) is float and math.isfinite(value)


def is_text(value: Any) -> bool:
    """Whether a value is a text that can be written to a file."""
    return isinstance(value, str) and (value.isascii() or SURROGATE.search(value) is None)


def list_of(kind: Kind) -> Kind:
    """Lists of one kind."""
    return Kind(f"a list, each of it {kind.says}", lambda value: isinstance(value, list) and all(map(kind.fits, value)))


def mapping_of(kind: Kind) -> Kind:
    """Mappings from text to one kind."""
    return Kind(
        f"a mapping, each value {kind.says}",
        lambda value: isinstance(value, dict) and all(map(is_text, value)) and all(map(kind.fits, value.values())),
    )


def one_of(values: Iterable[str]) -> Kind:
    """One of these texts."""
    known = tuple(values)
    return Kind(f"one of {', '.join(known)}", lambda value: isinstance(value, str) and value in known)


NUMBER = Kind("a finite number (a whole one at most 2^53)", is_number)
AMOUNT = Kind("a finite number of at least 0", lambda value: is_number(value) and value >= 0)
ANY_NUMBER = Kind("a number", lambda value: is_number(value) or (type(value) is float and not math.isfinite(value)))
TEXT = Kind("text", is_text)
SCALAR = Kind(
    "a finite number (a whole one at most 2^53), text, true or false",
    lambda value: is_number(value) or is_text(value) or type(value) is bool,
)
ANYTHING = Kind("anything", lambda value: True)


def fault(
    record: Mapping[str, Any], kinds: Mapping[str, Kind], required: Collection[str], other: Callable[[str], Kind | None]
) -> str | None:
    """What is wrong with a record, or None. kinds: of its keys; other: of keys that are not among them, or None where
    there may be no such key.
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
