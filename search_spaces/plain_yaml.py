"""Plain YAML, read by the safe loader alone, and how what is wrong in it is answered."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gan_core.config import InputError, nearest


def parse_yaml(text: str, source: str) -> Mapping[str, Any]:
    """YAML text -> a mapping, by the safe loader alone: a tag that would build a Python object is refused."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{source} is not plain YAML{where}: {problem}") from error
    except ValueError as error:  # what looks like a date, or is tagged a number, and is none
        raise InputError(f"{source} is not plain YAML: {error}") from error
    if not isinstance(values, Mapping):
        raise InputError(f"{source} must hold 'key: value' lines, got {type(values).__name__}")
    return values


def read_yaml(path: Path) -> Mapping[str, Any]:
    """A YAML file -> a mapping. Raises InputError when it cannot be read or is not plain YAML."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InputError(f"cannot read {path}: {reason}") from error
    return parse_yaml(text, str(path))


def check_keys(values: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raises InputError for the first key that is not known, naming the nearest right one."""
    for key in values:
        if key not in known:
            raise InputError(f"unknown key {str(key)!r} in {where}; {nearest(str(key), known)}")
