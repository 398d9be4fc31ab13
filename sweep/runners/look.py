"""What a process finds on its machine that a sweep needs there.

This module travels to the nodes of a cluster as a whole, because the package may be missing or another one there: it
imports nothing but the standard library until it is asked to look, and gives plain values.
"""

import importlib
import importlib.metadata
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "ray")
TORCH_SECONDS = 60.0  # for loading torch with the driver of a GPU, from a disk that is slow
TORCH = """
import json, torch
cuda = torch.cuda
seen = [cuda.get_device_properties(n) for n in range(cuda.device_count())] if cuda.is_available() else []
print(json.dumps([[one.name, one.total_memory] for one in seen]))
"""


def look(mark: tuple[str, str] | None, paths: Sequence[str], gpus: bool) -> dict[str, Any]:
    """What is here. mark: the path of a file in the run's folder and what it holds, where there is one. paths: of data
    that training reads. gpus: whether to ask torch for the GPUs that it sees, which takes seconds.

    Returns `host`; `seconds`, by the clock of this machine; `versions`, of Python and packages; `code`, the
    `code_version` of the package; `compiler` and `isa`; `gpus`, of which each is a name and bytes of memory; `folder`,
    whether the mark is seen; `missing`, those of the paths that are not here; `unread`, in words, those of the
    addresses of object stores that cannot be read from here; and `faults`, in words.
    """
    addresses = [path for path in paths if "://" in path]
    faults: list[str] = []
    found = {
        "host": socket.gethostname(),
        "seconds": time.time(),
        "versions": _versions(),
        "code": _code(faults),
        "folder": mark is None or _holds(*mark),
        "missing": [path for path in paths if path not in addresses and not os.path.exists(path)],
    }
    if found["code"]:
        found |= _compiling(faults) | {"unread": _unread(addresses)}
    if gpus:
        found["gpus"] = _gpus(faults)
    return {**found, "faults": faults}


def _holds(path: str, text: str) -> bool:
    """Whether a file is here and holds this text. Without a shared disk, an earlier run may have left another."""
    try:
        return Path(path).read_text() == text
    except (OSError, ValueError):
        return False


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _code(faults: list[str]) -> str:
    try:
        return importlib.import_module("gan_core.config.version").code_version()
    except (ImportError, AttributeError) as error:  # it is not installed, or it is none that a sweep can use
        faults.append(f"gan-sweep is not installed there ({type(error).__name__}: {error})")
        return ""


def _compiling(faults: list[str]) -> dict[str, str]:
    """The compiler and the instruction set of kernels in C; an empty text for none."""
    try:
        isa = importlib.import_module("gan_core.native.isa").this_isa()
        compiler = importlib.import_module("gan_core.native.arithmetic").compiler_here()
    except (ImportError, ValueError, OSError) as error:  # a package is missing, GAN_SWEEP_ISA is wrong, no folder
        faults.append(f"{type(error).__name__}: {error}")
        return {}
    return {"isa": isa.name if isa else "", "compiler": compiler}


def _unread(addresses: Sequence[str]) -> list[str]:
    """In one line each why an object store cannot be read from here."""
    if not addresses:
        return []
    found, stores = [], importlib.import_module("gan_core.files.object_store")
    for address in addresses:
        try:
            stores.open_store(address).look("-")  # of an object that is not there: to list all may take minutes
        except stores.StoreError as error:
            found.append(str(error))
    return found


def _gpus(faults: list[str]) -> list[list[Any]]:
    """The name and the memory in bytes of each GPU that torch sees, in the order of CUDA."""
    # Ray hides the GPUs from what asks for none, in the environment of a process that has started.
    environment: Mapping[str, str] = {**os.environ, "CUDA_VISIBLE_DEVICES": _started_with("CUDA_VISIBLE_DEVICES")}
    if not environment["CUDA_VISIBLE_DEVICES"]:
        environment = {name: value for name, value in environment.items() if name != "CUDA_VISIBLE_DEVICES"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", TORCH],
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=TORCH_SECONDS,
            check=False,
        )
        if done.returncode == 0:
            return json.loads(done.stdout)
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        why = f"it took longer than {TORCH_SECONDS:g} seconds"
    faults.append(f"torch does not load there ({why})")
    return []


def _started_with(name: str) -> str:
    """The value of a variable when this process was started; what it is now where the system does not tell."""
    try:
        given = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return os.environ.get(name, "")
    return next((os.fsdecode(one.partition(b"=")[2]) for one in given if one.startswith(name.encode() + b"=")), "")
