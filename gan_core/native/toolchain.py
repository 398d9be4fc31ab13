"""The C compiler that works on this machine, and the folder that its libraries can be run from. No torch.

What can be wrong with either shows where a tiny program is compiled, loaded and called, so that is done first, once in
a process; on disk the program is kept as others are. The first compiler is taken that works, in the first folder.
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

LONGEST_REASON = 300  # characters of what a compiler says
LONGEST_SECONDS = 600.0  # in which any program is compiled; the largest takes three on a machine that is not busy
PROBE_SECONDS = 60.0  # in which a compiler that works has said its version, or compiled the probe
PROBE = """
long probed(const double *numbers, long count) {
    double total = 0;
    for (long i = 0; i < count; i++) total += numbers[i] * numbers[count - 1 - i];
    return (long)total;
}
"""


ADVICE = "install gcc or clang, or set $CC"


class NoCompiler(Exception):
    """There is none that works, or it refuses a program, or no kernels are written for the processor; the message says
    why, in one line.
    """


@dataclass(frozen=True)
class Toolchain:
    """A compiler and the folder where its libraries are kept. command: how it is called, without flags; version: what
    it says of itself; trouble: what was passed over for this one, in one line, or nothing.
    """

    command: tuple[str, ...]
    version: str
    folder: Path
    trouble: str = ""

    def library(self, text: str, flags: Sequence[str], seconds: float = LONGEST_SECONDS) -> Path:
        """The library of a text, made once on a machine. seconds: that the compiler may take. Raises NoCompiler, and
        OSError where the folder cannot be written.
        """
        key = "\n".join([*self.command, self.version, *flags, text])  # flags name the instruction set
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
    """The first that works with these flags. Raises NoCompiler where none does: at once, where that is known."""
    found = _found(flags)
    if isinstance(found, str):
        raise NoCompiler(found)
    return found


def tell_replayed(error: NoCompiler) -> None:
    """Tells that, and why, steps are not compiled."""
    advice = "" if this_isa() is None else f" ({ADVICE})"
    tell(f"{error}; steps are replayed instead, more slowly{advice}")


def tell(line: str) -> None:
    """Warns, once in a process: what is wrong with its compiler is wrong for every structure and lane."""
    if line not in told():
        told().append(line)
        warnings.warn(line, stacklevel=3)


@cache
def told() -> list[str]:
    """The lines that this process was warned with, for who looks at another."""
    return []


@cache
def _found(flags: tuple[str, ...]) -> Toolchain | str:
    """That, or why there is none."""
    troubles: dict[str, None] = {}  # each once, in the order they were met
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
    """Makes, loads and calls a program. Raises NoCompiler where that is the compiler's fault, OSError the folder's."""
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
    """Those that are installed: $CC, then cc, gcc and clang."""
    commands = [_asked(), ["cc"], ["gcc"], ["clang"]]
    found = [(shutil.which(command[0]), command[1:]) for command in commands if command]
    return list(dict.fromkeys((str(Path(path).absolute()), *rest) for path, rest in found if path is not None))


def _asked() -> list[str]:
    """The words of $CC, which may hold arguments."""
    asked = os.environ.get("CC", "")
    try:
        return shlex.split(asked)
    except ValueError:  # a quotation without an end: no such program is found then
        return [asked]


@cache
def _version(command: tuple[str, ...]) -> str:
    return _ran([*command, "--version"], Path("/"), PROBE_SECONDS).stdout


def _ran(command: Sequence[str], folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    """Raises NoCompiler where it does not start, or not end in so many seconds."""
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
    """The line of a compiler's words that says what is wrong, without where that is."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["it does not say why"]
    line = next((line for line in lines if "error" in line.lower()), lines[0])
    return line.partition("error: ")[2][:LONGEST_REASON] or line[:LONGEST_REASON]
