"""Which code made a number: the package's version and a digest of the training core's sources."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

SOURCES = (".py", ".h")  # C is written as headers, and by Python


def code_version(package: Path | None = None) -> str:
    """For example `0.1.0+5f2c9a1b`: equal strings mean the same training core, from a checkout or installed. package:
    the folder of its sources, which counts with all below it; None: this one.
    """
    try:
        number = version("gan-sweep")
    except PackageNotFoundError:  # used from a checkout that is not installed
        number = "0"
    home = package or Path(__file__).parents[1]
    found = {path.relative_to(home).as_posix(): path for path in home.rglob("*") if path.suffix in SOURCES}
    digest = hashlib.sha256()
    for name in sorted(found):
        content = found[name].read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())  # else a part of one file could stand in the next
        digest.update(content)
    return f"{number}+{digest.hexdigest()[:8]}"
