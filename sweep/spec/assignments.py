"""Parses `KEY=VALUE`, the argument of `--set`, and the mappings of a spec."""

from collections.abc import Callable, Mapping
from typing import Any

from gan_core.config.arguments import OWN_GROUPS
from gan_core.config.gan import HYPERPARAMETERS
from gan_core.config.input_error import InputError, nearest, shortened, shown
from gan_core.files.plain_yaml import check_keys, parse_yaml_value

NO_FOLDER = ("", "null", "~")
WRITTEN_IN_YAML = ("'", '"', "[", "{")
HYPERPARAMETER_GROUPS = {name.partition(".")[0] for name in HYPERPARAMETERS if "." in name} | {*OWN_GROUPS}


def parse_mapping(value: Any, known: tuple[str, ...], where: str) -> Mapping[str, Any]:
    """Checks that a value is a mapping with known keys. Raises InputError, with the most similar key."""
    if not isinstance(value, Mapping):
        raise InputError(f"{where} must map {', '.join(known)} to values, got {shown(value)}")
    check_keys(value, known, where)
    return value


def parse_assignment(assignment: str, is_text: Callable[[str], bool]) -> tuple[str, Any]:
    """The key and the value of an assignment such as `lane.beta1=0.5`. Raises InputError for anything else.

    is_text: whether a key takes a text. Its value is taken literally (`--set name=007`, a folder with ` #` or `: ` in
    its name), unless it is quoted, a list or a mapping. All other values are parsed as YAML.
    """
    key, equals, text = assignment.partition("=")
    key, text = key.strip(), text.strip()
    if not equals or not key:
        raise InputError(f"--set needs KEY=VALUE, got {shown(assignment)}; for example --set trials=8")
    if is_text(key) and not text.startswith(WRITTEN_IN_YAML):
        return key, None if key == "data_root" and text in NO_FOLDER else text
    return key, parse_yaml_value(text, f"--set {shortened(key)}")


def assign(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets a key of a spec, or a key of one of its mappings (`ladder.keep_fraction`), in place.

    Raises InputError for an unknown hyperparameter, and if the first part of the key is not a mapping.
    """
    head, dot, rest = key.partition(".")
    if head in HYPERPARAMETER_GROUPS:
        raise InputError(f"unknown hyperparameter {shown(key)}; {nearest(key, HYPERPARAMETERS)}")
    if not dot:
        values[key] = value
        return
    inner = values.get(head, {})
    if not isinstance(inner, Mapping):
        raise InputError(f"--set {shortened(key)}: {head} is {shown(inner)} and has no key {shown(rest)}")
    values[head] = {**inner, rest: value}
