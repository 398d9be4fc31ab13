"""Reads the YAML files of a run, as plain values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_core.files.plain_yaml import read_yaml
from results.store import ResultsError


def read_mapping(path: Path) -> Mapping[str, Any]:
    """A YAML file with a mapping, such as a run's spec. Raises ResultsError if it cannot be read or holds none."""
    try:
        return read_yaml(path)
    except ValueError as error:  # an InputError, whose message is complete
        raise ResultsError(str(error)) from error
