"""What differs between two specs, key by key."""

from collections.abc import Mapping
from typing import Any

from gan_core.config.dataset_name import same_name
from gan_core.config.own_names import is_reference, parse_reference

DATASET_KEY = "space.base.structure.dataset"


def moved(key: str, mine: Any, theirs: Any) -> bool:
    """Whether both values name folders of images, or the same data set; folders are compared by their digest."""
    return key == DATASET_KEY and same_name(str(mine), str(theirs))


def edited(mine: Mapping[str, Any], theirs: Mapping[str, Any], key: str) -> str:
    """The file of own code, where both values of a key name the same one, with different texts; else ""."""
    one, other = mine.get(key), theirs.get(key)
    if not (is_reference(one) and is_reference(other)):
        return ""
    before, after = parse_reference(key, one), parse_reference(key, other)
    return before.place if (before.place, before.name) == (after.place, after.name) else ""


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found.update(flat(value, f"{name}."))
        else:
            found[name] = value
    return found
