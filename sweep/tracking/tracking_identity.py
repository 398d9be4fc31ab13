"""The identifier of a sweep in MLflow and Weights & Biases: drawn once and stored in the run's folder."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from results.schema import ANYTHING, TEXT, fault
from results.store import JsonLines, RunFolder, write_atomically


def identity_of(folder: RunFolder) -> str:
    """Eight hexadecimal digits, the same each time the sweep in this folder is resumed. Raises ResultsError when the
    file that stores them was changed by hand.
    """
    kept = JsonLines(folder.tracking).read(_fault)
    if not kept:
        kept = [{"sweep": secrets.token_hex(4)}]
        write_atomically(folder.tracking, json.dumps(kept[0]) + "\n")
    return kept[0]["sweep"]


def _fault(record: Mapping[str, Any]) -> str | None:
    return fault(record, {"sweep": TEXT}, ("sweep",), lambda name: ANYTHING)
