"""The instruction sets that C kernels are written for. Loads without torch.

Every kernel takes its vector type, tile sizes, unrolling and packing width from here and from nowhere else. The
environment variable GAN_SWEEP_ISA names one of ISAS, to use another than the best one that the processor can execute.
"""

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gan_core.config.input_error import InputError, nearest

VARIABLE = "GAN_SWEEP_ISA"
FLOAT32_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Isa:
    """An instruction set.

    vector_bytes: size of a vector register; registers: their number; fma: whether a multiplication and an addition can
    be rounded once; bfloat16_pairs: whether pairs of bfloat16 can be multiplied (`rounding.h`). machines: values of
    `platform.machine()`; needs: features that the processor must report; flags: the compiler's.
    """

    name: str
    vector_bytes: int
    registers: int
    fma: bool = True
    bfloat16_pairs: bool = False
    machines: tuple[str, ...] = ("x86_64", "AMD64")
    needs: frozenset[str] = frozenset()
    flags: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """The float32 numbers in a vector. Kernels take as many float64 numbers at once, in two vectors."""
        return self.vector_bytes // FLOAT32_BYTES

    def whole(self, numbers: int) -> int:
        """A count of numbers, rounded up to whole vectors."""
        return -(-numbers // self.width) * self.width

    def text(self) -> str:
        """The first lines of every C program."""
        defined = {"VECTOR_BYTES": self.vector_bytes, "WIDTH": self.width}
        lines = [f"#define {name} {value}" for name, value in defined.items()]
        return "\n".join([*lines, *(["#define HAS_FMA"] if self.fma else []), ""])


# The features that a processor must report, and the compiler flags for exactly these. Names of whole levels, such as
# x86-64-v3, are newer than some compilers in use and allow instructions that kernels do not need.
_V2 = frozenset({"sse4_1", "sse4_2", "ssse3", "popcnt"})
_AVX2 = _V2 | {"avx2", "fma", "bmi1", "bmi2", "f16c"}
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_V2_FLAGS = ("-msse4.2", "-mpopcnt")
_AVX2_FLAGS = (*_V2_FLAGS, "-mavx2", "-mfma", "-mbmi", "-mbmi2", "-mf16c")
_AVX512_FLAGS = (
    *(*_AVX2_FLAGS, "-mavx512f", "-mavx512bw", "-mavx512cd", "-mavx512dq", "-mavx512vl"),
    "-mprefer-vector-width=512",  # the default of compilers is half of it
)
ISAS = {
    isa.name: isa
    for isa in (  # for each kind of machine, the best first
        Isa(
            name="avx512_bf16",
            vector_bytes=64,
            registers=32,
            bfloat16_pairs=True,
            needs=_AVX512 | {"avx512_bf16"},
            flags=(*_AVX512_FLAGS, "-mavx512bf16"),
        ),
        Isa(name="avx512", vector_bytes=64, registers=32, needs=_AVX512, flags=_AVX512_FLAGS),
        Isa(name="avx2", vector_bytes=32, registers=16, needs=_AVX2, flags=_AVX2_FLAGS),
        Isa(name="x86_64_v2", vector_bytes=16, registers=16, fma=False, needs=_V2, flags=_V2_FLAGS),
        Isa(name="neon", vector_bytes=16, registers=32, machines=("aarch64", "arm64"), flags=("-march=armv8-a",)),
    )
}


def executable_isas() -> list[Isa]:
    """Those that this processor can execute, the best first; none for an unknown kind of processor."""
    machine, features = platform.machine(), _processor_features()
    return [isa for isa in ISAS.values() if machine in isa.machines and isa.needs <= features]


def this_isa() -> Isa | None:
    """The instruction set that kernels are compiled for: $GAN_SWEEP_ISA or the best one; None where there is none.
    Raises InputError where the variable names an unknown one, or one that this processor cannot execute.
    """
    able, asked = executable_isas(), os.environ.get(VARIABLE, "")
    if not asked:
        return able[0] if able else None
    if asked not in ISAS:
        raise InputError(f"unknown {VARIABLE} {asked!r}; {nearest(asked, ISAS)}")
    if ISAS[asked] not in able:
        names = ", ".join(isa.name for isa in able) or "none of them"
        raise InputError(f"{VARIABLE} is {asked!r}, and this processor cannot execute it; it can: {names}")
    return ISAS[asked]


@cache
def _processor_features() -> frozenset[str]:
    """What Linux reports of the first processor. Other systems need none: 64-bit ARM always has NEON."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    words = next((line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(words.split())
