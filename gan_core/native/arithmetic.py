"""What this process computes with: its instruction set, its C compiler, its processor, its packages.

Loads without torch.
"""

import platform
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gan_core.config.arithmetic import Arithmetic, Carried
from gan_core.config.version import code_version
from gan_core.native.compiler import compiler
from gan_core.native.isa import this_isa
from gan_core.native.toolchain import NoCompiler

PACKAGES = ("gan-sweep", "torch", "numpy", "optuna", "ray")


def arithmetic_here(execution: Carried, processor: str, *, in_c: bool) -> Arithmetic:
    """What is computed in this process. in_c: whether any of it is computed in C."""
    isa = this_isa() if in_c else None
    return Arithmetic(
        execution=execution,
        isa=isa.name if isa else "",
        compiler=compiler_here() if in_c else "",
        processor=processor,
        code_version=code_here(),
        versions=", ".join(f"{name} {number}" for name, number in installed_versions().items()),
    )


def compiler_here() -> str:
    """The machine's C compiler, as `compiler_name` has it; "" where there is none."""
    try:
        return compiler_name(compiler().version)
    except NoCompiler:
        return ""


def compiler_name(said: str) -> str:
    """`gcc 12.2.0` or `clang 14.0.6`, of what a compiler answers to --version; of another its first line.

    Distributions put their own name before it or their own number behind it, and `cc` calls gcc by that name.
    """
    line = said.partition("\n")[0]
    if found := re.search(r"clang version (\d+(?:\.\d+)*)", line):
        return f"clang {found[1]}"
    found = re.search(r"\b\d+\.\d+(?:\.\d+)*", re.sub(r"\([^)]*\)", "", line))
    return f"gcc {found[0]}" if found and "Free Software Foundation" in said else line.strip()


@cache
def installed_versions() -> dict[str, str]:
    """Package -> version, of those that are installed among PACKAGES."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def code_here() -> str:
    """`code_version` of this process's."""
    return code_version()


@cache
def processor_name() -> str:
    """What the CPU calls itself: on Linux by its first core, elsewhere by what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    arm = [
        f"{name} {said[name]}" for name in ("CPU implementer", "CPU part") if name in said
    ]  # which has no name there
    return said.get("model name") or ", ".join(arm) or platform.processor() or platform.machine()
