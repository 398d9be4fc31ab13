"""The version of the code that computes results: the package's version and a digest of the training core's sources."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

SOURCES = (".py", ".h")  # C code is in headers and in Python strings


def code_version(package: Path | None = None) -> str:
    """For example `0.2.0+5f2c9a1b`. Equal strings mean equal sources of the training core, from a checkout or
    installed. package: the folder whose sources count, with all folders below it; None: that of this package.
    """
    try:
        number = version("gan-sweep")
    except PackageNotFoundError:  # a checkout that is not installed
        number = "0"
    home = package or Path(__file__).parents[1]
    found = {path.relative_to(home).as_posix(): path for path in home.rglob("*") if path.suffix in SOURCES}
    digest = hashlib.sha256()
    for name in sorted(found):
        content = found[name].read_bytes()
        digest.update(
            f"{name}\0{len(content)}\0".encode()
        )  # the length keeps the end of one file from being mistaken for the start of the next
        digest.update(content)
    return f"{number}+{digest.hexdigest()[:8]}"
