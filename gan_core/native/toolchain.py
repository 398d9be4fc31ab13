"""The C compiler that works on this machine, and the folder from which its libraries can be run. Loads without torch.

Whatever is wrong with a compiler or a folder shows when a tiny program is compiled, loaded and called, so this is tried
first, once in a process. The first compiler that works is used, with the first folder that works.
"""

import ctypes
import os
import shlex
import shutil
import subprocess
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gan_core.native.isa import this_isa
from gan_core.native.kept import claim, kept_library, library_folders, load

LONGEST_REASON = 300  # characters of a compiler's message
LONGEST_SECONDS = 600.0  # for compiling any program; the largest takes three seconds on an idle machine
PROBE_SECONDS = 60.0  # for printing a compiler's version, or for compiling the probe
PROBE = """
long probed(const double *numbers, long count) {
    double total = 0;
    for (long i = 0; i < count; i++) total += numbers[i] * numbers[count - 1 - i];
    return (long)total;
}
"""


ADVICE = "install gcc or clang, or set $CC"


class NoCompiler(Exception):
    """No compiler works, or it refuses a program, or there are no kernels for the processor; the message says why, in
    one line.
    """


@dataclass(frozen=True)
class Toolchain:
    """A compiler and the folder where its libraries are kept.

    command: the call, without flags; version: its answer to --version; trouble: in one line, why compilers or folders
    that come before this choice were not used, or nothing.
    """

    command: tuple[str, ...]
    version: str
    folder: Path
    trouble: str = ""

    def library(self, text: str, flags: Sequence[str], seconds: float = LONGEST_SECONDS) -> Path:
        """The library of a text, compiled once on a machine. seconds: the compiler's time limit. Raises NoCompiler, and
        OSError where the folder cannot be written.
        """
        key = "\n".join([*self.command, self.version, *flags, text])  # the flags name the instruction set
        return kept_library(self.folder, key, lambda library: self._compile(text, flags, library, seconds))

    def _compile(self, text: str, flags: Sequence[str], library: Path, seconds: float) -> None:
        library.with_name("program.c").write_text(text)
        called = [*self.command, *flags, "-o", library.name, "program.c", "-lm"]
        done = _ran(called, library.parent, seconds)
        if done.returncode < 0:
            raise NoCompiler(f"{self} was ended by signal {-done.returncode}")
        if done.returncode:
            raise NoCompiler(f"{self} refuses a program: {_reason(done.stderr)}")
        if not library.is_file():
            raise NoCompiler(f"{self} says nothing and makes no program")

    def __str__(self) -> str:
        return " ".join(self.command)


def working_toolchain(flags: tuple[str, ...]) -> Toolchain:
    """The first toolchain that works with these flags. Raises NoCompiler where none does; the search is made once."""
    found = _found(flags)
    if isinstance(found, str):
        raise NoCompiler(found)
    return found


def tell_replayed(error: NoCompiler) -> None:
    """Warns that steps are not compiled, and why."""
    advice = "" if this_isa() is None else f" ({ADVICE})"
    tell(f"{error}; steps are replayed instead, more slowly{advice}")


def tell(line: str) -> None:
    """Warns once in a process, since trouble with its compiler concerns every structure and lane."""
    if line not in told():
        told().append(line)
        warnings.warn(line, stacklevel=3)


@cache
def told() -> list[str]:
    """The lines that this process has warned with, so that another process can show them."""
    return []


@cache
def _found(flags: tuple[str, ...]) -> Toolchain | str:
    """The toolchain, or why there is none."""
    troubles: dict[str, None] = {}  # used as an ordered set
    asked = _asked()
    if asked and shutil.which(asked[0]) is None:
        troubles[f"{shlex.join(asked)[:LONGEST_REASON]}, which is in $CC, is not installed"] = None
    for command in _compilers():
        for folder in library_folders():
            try:
                claim(folder)
                found = Toolchain(command, _version(command), folder)
                _probe(found, flags)
            except NoCompiler as error:
                troubles[str(error)] = None
                break
            except OSError as error:
                troubles[f"programs cannot be run in {folder} ({error.strerror or error})"] = None
                continue
            if troubles:
                trouble = f"{'; '.join(troubles)}; {found} is used, in {folder}"
                return Toolchain(command, found.version, folder, trouble)
            return found
    return "; ".join(troubles) or "no C compiler is installed"


def _probe(toolchain: Toolchain, flags: tuple[str, ...]) -> None:
    """Compiles, loads and calls a program. Raises NoCompiler for a fault of the compiler, OSError for the folder's."""
    numbers = [float(i) for i in range(1, 65)]
    library = load(toolchain.library(PROBE, flags, PROBE_SECONDS))
    try:
        function = library.probed
    except AttributeError as error:
        raise NoCompiler(f"{toolchain} leaves out what it compiles") from error
    function.restype = ctypes.c_long
    given = (ctypes.c_double * len(numbers))(*numbers)
    if function(given, ctypes.c_long(len(numbers))) != sum(a * b for a, b in zip(numbers, numbers[::-1], strict=True)):
        raise NoCompiler(f"a program of {toolchain} computes something else than was written")


def _compilers() -> list[tuple[str, ...]]:
    """The commands of installed compilers: $CC, then cc, gcc and clang."""
    commands = [_asked(), ["cc"], ["gcc"], ["clang"]]
    found = [(shutil.which(command[0]), command[1:]) for command in commands if command]
    return list(dict.fromkeys((str(Path(path).absolute()), *rest) for path, rest in found if path is not None))


def _asked() -> list[str]:
    """The words of $CC, which may hold arguments."""
    asked = os.environ.get("CC", "")
    try:
        return shlex.split(asked)
    except ValueError:  # a quotation mark is missing: no such program will be found
        return [asked]


@cache
def _version(command: tuple[str, ...]) -> str:
    return _ran([*command, "--version"], Path("/"), PROBE_SECONDS).stdout


def _ran(command: Sequence[str], folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    """Runs a command. Raises NoCompiler where it does not start, or does not end in so many seconds."""
    try:
        return subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NoCompiler(f"{command[0]} does not end within {seconds:g} s") from error
    except OSError as error:
        raise NoCompiler(f"{command[0]} does not start ({error.strerror or error})") from error


def _reason(said: str) -> str:
    """The line of a compiler's message that says what is wrong, without its position in the program."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["it does not say why"]
    line = next((line for line in lines if "error" in line.lower()), lines[0])
    return line.partition("error: ")[2][:LONGEST_REASON] or line[:LONGEST_REASON]
