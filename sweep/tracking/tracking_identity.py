"""The name under which services know a sweep: drawn once, and kept in its folder."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from results.schema import ANYTHING, TEXT, fault
from results.store import JsonLines, RunFolder, write_atomically


def identity_of(folder: RunFolder) -> str:
    """Eight hexadecimal digits, the same whenever the folder's sweep goes on, another in another folder. Raises
    ResultsError where the file that keeps them was changed.
    """
    kept = JsonLines(folder.tracking).read(_fault)
    if not kept:
        kept = [{"sweep": secrets.token_hex(4)}]
        write_atomically(folder.tracking, json.dumps(kept[0]) + "\n")
    return kept[0]["sweep"]


def _fault(record: Mapping[str, Any]) -> str | None:
    return fault(record, {"sweep": TEXT}, ("sweep",), lambda name: ANYTHING)
