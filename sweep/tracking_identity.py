"""The name under which services know a sweep: drawn once, and kept in its folder."""

import json
import secrets

from results.store import RunFolder, write_atomically


def identity_of(folder: RunFolder) -> str:
    """Eight hexadecimal digits, the same whenever the folder's sweep goes on, another in another folder."""
    if not folder.tracking.exists():
        write_atomically(folder.tracking, json.dumps({"sweep": secrets.token_hex(4)}) + "\n")
    return json.loads(folder.tracking.read_text())["sweep"]
