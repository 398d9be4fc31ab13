"""What a table was measured on, and `--isa`, which makes a machine of an older instruction set of the one at hand. No
torch: what its libraries read when they are loaded is set before.
"""

import argparse
import datetime
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from gan_core.native.arithmetic import compiler_here, processor_name
from gan_core.native.isa import ISAS, VARIABLE, executable_isas, this_isa

ROOT = Path(__file__).absolute().parent.parent
# What holds torch, its matrix library and its convolutions to an instruction set that is not the processor's best.
LIBRARY_SETTINGS = {
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "x86_64_v2": {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    },
}


def add_isa_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--isa",
        help=f"the instruction set that our kernels are made for, and torch is held to: {', '.join(ISAS)} "
        f"(default: ${VARIABLE}, or the processor's best)",
    )


def set_isa(asked: str | None) -> None:
    """Has kernels made for this instruction set, and torch held to it where the processor could do better, in all
    processes that are started from now on, and in this one if torch is not loaded yet. None: what is set already, or
    the best. Raises InputError for a name that is unknown, or that this processor cannot execute.
    """
    before = os.environ.get(VARIABLE)
    if asked is not None:
        os.environ[VARIABLE] = asked
    try:
        os.environ.update(library_settings())
    except ValueError:
        os.environ.pop(VARIABLE, None)
        os.environ.update({VARIABLE: before} if before is not None else {})
        raise


def library_settings() -> dict[str, str]:
    """The environment that holds torch to the instruction set of our kernels; empty where that is the best one. Raises
    InputError as `this_isa` does.
    """
    isa = this_isa()
    if isa is None or isa == executable_isas()[0]:
        return {}
    return LIBRARY_SETTINGS.get(isa.name, {})


def machine(packages: Sequence[str] = ("torch",)) -> str:
    """Two lines or three: when and what was measured, on what, and what holds torch back."""
    isa = this_isa()
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    where = f"{cores()} cores, {processor_name()}; isa {isa.name if isa else 'unknown'}; {compiler_name()}"
    lines = [
        f"{datetime.date.today()}, commit {commit()}; Python {platform.python_version()}, {versions}",
        f"{where}; load {os.getloadavg()[0]:.1f} at the start",
    ]
    return "\n".join([*lines, *_held()])


def _held() -> list[str]:
    settings = library_settings()
    if not settings:
        return []
    held = "torch is held to it by " + " ".join(f"{name}={value}" for name, value in settings.items())
    if _cpuinfo("vendor_id") == "AuthenticAMD":
        held += "; on AMD's processors MKL, which makes torch's products, heeds nothing and makes them in AVX2"
    return [held]


def compiler_name() -> str:
    """The C compiler and its version, or that there is none."""
    return compiler_here() or "no C compiler"


def commit() -> str:
    """The checkout's commit, `-dirty` where files differ from it; unknown where there is no git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    if shutil.which("git") is None:
        return "unknown"
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpuinfo(field: str) -> str:
    """What Linux says of the first processor under this name; empty where it says nothing."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field), "")
