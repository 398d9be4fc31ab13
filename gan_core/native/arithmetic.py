"""What this process computes with: its instruction set, C compiler, processor and packages. Loads without torch."""

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
    """The arithmetic of this process. in_c: whether any part of it is computed in C."""
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
    """The name of the machine's C compiler, in the form of `compiler_name`; "" where there is none."""
    try:
        return compiler_name(compiler().version)
    except NoCompiler:
        return ""


def compiler_name(said: str) -> str:
    """`gcc 12.2.0` or `clang 14.0.6`, from a compiler's answer to --version; the first line for any other compiler.

    Distributions put their own name in front or their own version behind, and a gcc called as `cc` reports that name.
    """
    line = said.partition("\n")[0]
    if found := re.search(r"clang version (\d+(?:\.\d+)*)", line):
        return f"clang {found[1]}"
    found = re.search(r"\b\d+\.\d+(?:\.\d+)*", re.sub(r"\([^)]*\)", "", line))
    return f"gcc {found[0]}" if found and "Free Software Foundation" in said else line.strip()


@cache
def installed_versions() -> dict[str, str]:
    """Package -> version, for the installed ones among PACKAGES."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def code_here() -> str:
    """`code_version` of the code that this process runs."""
    return code_version()


@cache
def processor_name() -> str:
    """The CPU's name: of its first core on Linux, elsewhere what Python's `platform` knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    arm = [f"{name} {said[name]}" for name in ("CPU implementer", "CPU part") if name in said]  # ARM gives no name
    return said.get("model name") or ", ".join(arm) or platform.processor() or platform.machine()
