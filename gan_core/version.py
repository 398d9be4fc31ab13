"""Which code made a number: the package's version and a digest of the training core's sources."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def code_version() -> str:
    """For example `0.1.0+5f2c9a1b`: equal strings mean the same training core."""
    try:
        number = version("gan-sweep")
    except PackageNotFoundError:  # used from a checkout that is not installed
        number = "0"
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return f"{number}+{digest.hexdigest()[:8]}"
