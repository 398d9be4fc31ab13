"""`KEY=VALUE` as it is typed after `--set`, and mappings of a spec as YAML gives them."""

from collections.abc import Mapping
from typing import Any

from gan_core.config import HYPERPARAMETERS, InputError, nearest
from search_spaces.plain_yaml import check_keys, parse_yaml

HYPERPARAMETER_GROUPS = {name.partition(".")[0] for name in HYPERPARAMETERS if "." in name}


def parse_mapping(value: Any, known: tuple[str, ...], where: str) -> Mapping[str, Any]:
    """A mapping with these keys and no others. Raises InputError, naming the nearest right key."""
    if not isinstance(value, Mapping):
        raise InputError(f"{where} must map {', '.join(known)} to values, got {value!r}")
    check_keys(value, known, where)
    return value


def parse_assignment(assignment: str) -> tuple[str, Any]:
    """`lane.beta1=0.5` -> its key and its value, read as YAML. Raises InputError where it is none."""
    key, equals, text = assignment.partition("=")
    if not equals or not key:
        raise InputError(f"--set needs KEY=VALUE, got {assignment!r}; for example --set trials=8")
    return key.strip(), parse_yaml(f"value: {text}", f"--set {key}")["value"]


def assign(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets a spec's key, or one inside a mapping of it (`ladder.keep_fraction`), in place. Raises InputError for a
    hyperparameter that there is not, and where the first part is no mapping.
    """
    head, dot, rest = key.partition(".")
    if head in HYPERPARAMETER_GROUPS:
        raise InputError(f"unknown hyperparameter {key!r}; {nearest(key, HYPERPARAMETERS)}")
    if not dot:
        values[key] = value
        return
    inner = values.get(head, {})
    if not isinstance(inner, Mapping):
        raise InputError(f"--set {key}: {head} is {inner!r} and has no key {rest!r}")
    values[head] = {**inner, rest: value}
