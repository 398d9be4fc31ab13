"""C text -> a function in this process, by the machine's C compiler; libraries are kept between runs."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from gan_core.cache import writable_cache_folder
from gan_core.native.assembly import NativeSource, text_of
from gan_core.native.convolutions import MAP, convolutions_text
from gan_core.native.products import products_text

FLAGS = [
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-fopenmp-simd",
    "-shared",
    "-fPIC",
]
X86_FLAGS = ["-mprefer-vector-width=512"]  # compilers take half of it by themselves
TYPES = {torch.float32: "#define SINGLE\n#define T float\n", torch.float64: "#define T double\n"}
PRODUCT, CONVOLUTIONS = "product", ("convolve", "convolve_transposed", "convolution_weight")
MEMORY_BYTES = 64  # what a lane's memory starts at a multiple of


class NoCompiler(Exception):
    """There is none, or it refuses the text; the message says why, in its words."""


class LaneMemory:
    """What programs that never run at the same time compute a lane in; grows with the largest of them."""

    def __init__(self) -> None:
        self.pointer = ctypes.c_void_p()
        self._buffer: Tensor | None = None

    @property
    def bytes(self) -> int:
        return 0 if self._buffer is None else self._buffer.nbytes

    def reserve(self, size: int) -> None:
        """At least so many bytes from `pointer` on; what was there is lost."""
        if size + MEMORY_BYTES > self.bytes:
            self._buffer = torch.empty(size + MEMORY_BYTES, dtype=torch.uint8)
            self.pointer.value = -(-self._buffer.data_ptr() // MEMORY_BYTES) * MEMORY_BYTES


class Given:
    """What a source's pointers point to, where its placeholders are these, in C: `pointers` and `pitches`."""

    def __init__(self, source: NativeSource, placeholders: Sequence[Tensor]) -> None:
        self._keeps = [placeholders[given] if isinstance(given, int) else given for given in source.given]
        self.pointers = (ctypes.c_void_p * len(self._keeps))(*(tensor.data_ptr() for tensor in self._keeps))
        self.pitches = (ctypes.c_long * len(self._keeps))(*(tensor.stride(0) for tensor in self._keeps))


LANES_IN_TURN = """
void program(long lanes, const unsigned char *goes, T *const *given, const long *pitch, T *memory) {
    for (long lane = 0; lane < lanes; lane++)
        if (goes[lane]) lane_of(lane, given, pitch, memory);
}
"""


class NativeProgram:
    """A source on these very tensors, lane after lane, again and again."""

    def __init__(self, source: NativeSource, name: str, tensors: Sequence[Tensor], memory: LaneMemory) -> None:
        """name: of the source's function; tensors: of its placeholders, in their order. Raises NoCompiler."""
        lanes, like = len(tensors[0]), tensors[0]
        memory.reserve(source.numbers * like.element_size())
        self._given = Given(source, tensors)
        self._function = native_function(text_of([source]) + LANES_IN_TURN.replace("lane_of", name), like.dtype)
        self._memory = memory
        self._lanes = lanes

    def __call__(self, active: Sequence[bool] | None = None) -> None:
        """active: the lanes that go; None: all."""
        goes = bytes(active or [True] * self._lanes)
        given = self._given.pointers, self._given.pitches
        self._function(ctypes.c_long(self._lanes), goes, *given, self._memory.pointer)


@cache
def native_function(text: str, dtype: torch.dtype) -> "ctypes._NamedFuncPointer":
    """The function `program` of a text over `lane.h`, with T for numbers of this type. Raises NoCompiler."""
    library = _library(MAP + _read("lane.h") + text, dtype)
    for name in (PRODUCT, *CONVOLUTIONS):
        if f"{name}(" in text:
            ctypes.c_void_p.in_dll(library, name).value = _multiplying(name, dtype)
    return library.program


@cache
def _multiplying(name: str, dtype: torch.dtype) -> int | None:
    """Where one of the functions is that multiply. They alone add to a product without rounding that; elementwise
    arithmetic is rounded call by call, as torch's is: there a factor of 1 changes no bit.
    """
    if name == PRODUCT:
        text = products_text(_read("products.h"))
    else:
        text = MAP + convolutions_text(_read("convolutions.h"))
    return ctypes.cast(getattr(_library(text, dtype, "-ffp-contract=fast"), name), ctypes.c_void_p).value


def _read(name: str) -> str:
    return files("gan_core.native").joinpath(name).read_text()


@cache
def _library(text: str, dtype: torch.dtype, *more: str) -> ctypes.CDLL:
    """Kept for good, in the process and on disk."""
    named, processor = compiler()
    flags = [*FLAGS, *(X86_FLAGS if platform.machine() == "x86_64" else []), *more]
    whole = TYPES[dtype] + text
    name = hashlib.sha256("\n".join([named, processor, *flags, whole]).encode()).hexdigest()[:32]
    library = kept_libraries() / f"{name}.so"
    if not library.exists():
        # Written aside and moved: another process may make the same one.
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            source, made = Path(folder, "program.c"), Path(folder, "program.so")
            source.write_text(whole)
            command = [named.split("\n")[0], *flags, "-o", str(made), str(source), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise NoCompiler(f"{command[0]} refuses a program: {done.stderr.strip()[:1000]}")
            made.replace(library)
    return ctypes.CDLL(str(library))


@cache
def compiler() -> tuple[str, str]:
    """The compiler's path and version, and what the processor can do: what libraries depend on beside their text."""
    found = shutil.which(os.environ.get("CC") or "cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        raise NoCompiler("no C compiler is installed")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    try:
        processor = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):
        processor = platform.processor()
    return f"{found}\n{version}", f"{platform.machine()} {processor}"


@cache
def kept_libraries() -> Path:
    """A folder that is this user's alone: what lies there is run. Where the cache is not, one of this process."""
    folder = writable_cache_folder() / "programs"
    folder.mkdir(mode=0o700, exist_ok=True)
    owner = folder.stat()
    if owner.st_uid != os.getuid() or owner.st_mode & 0o022:
        return Path(tempfile.mkdtemp(prefix="gan-sweep-"))
    return folder
