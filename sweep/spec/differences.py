"""Which keys of two specs differ, where their difference forbids going on with the run of one as the other."""

from collections.abc import Mapping
from typing import Any

from gan_core.config.dataset_name import same_name
from gan_core.config.own_names import parse_reference, same_but_for_text

DATASET_KEY = "space.base.structure.dataset"
WHERE_IT_RUNS = (
    "checkpoint_minutes",
    "data_root",
    "lanes_per_call",
    "resources",
    "tracking",
    "code",  # what refers to it has its digest
)  # keys that may differ when a run is resumed
EXTENDED = ("trials", "ladder.rungs_images", "budget", "confirm", "keep_checkpoints")  # the same with --extend


def differing_keys(mine: Mapping[str, Any], theirs: Mapping[str, Any], *, extended: bool) -> list[str]:
    """The dotted keys of two plain specs that differ; WHERE_IT_RUNS may differ, and where `extended` also EXTENDED. A
    file of a person's own code that has changed is named.
    """
    mine, theirs = _flat(mine), _flat(theirs)
    free = (*WHERE_IT_RUNS, *(EXTENDED if extended else ()))
    found = [k for k in {**mine, **theirs} if k not in free and k.split(".")[0] not in free]
    found = [k for k in found if mine.get(k) != theirs.get(k) and not _moved(k, mine.get(k), theirs.get(k))]
    return [f"{k} ({changed} has changed)" if (changed := _edited(mine, theirs, k)) else k for k in found]


def _moved(key: str, mine: Any, theirs: Any) -> bool:
    """Whether both values name folders of images, or the same data set; folders are compared by their digest."""
    return key == DATASET_KEY and same_name(str(mine), str(theirs))


def _edited(mine: Mapping[str, Any], theirs: Mapping[str, Any], key: str) -> str:
    """The file of own code, where both values of a key name the same one, with different texts; else ""."""
    one, other = mine.get(key), theirs.get(key)
    return parse_reference(key, one).place if same_but_for_text(one, other) and one != other else ""


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{name}."))
        else:
            flat[name] = value
    return flat
