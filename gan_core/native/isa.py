"""The processor, as far as kernels in C are shaped by it. No torch.

Every kernel takes its vector type, its tiles, its unrolling and the width of what it packs from here, and from nowhere
else. GAN_SWEEP_ISA names one of ISAS, to take another than the best that the processor can execute.
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
    """An instruction set. vector_bytes: of a register; registers: how many of them; fma: whether it multiplies and adds
    in one rounding; bfloat16_pairs: whether it multiplies pairs in bfloat16 (`rounding.h`). machines: names of the
    platform, as `platform.machine()` has them; needs: what the processor must say of itself; flags: the compiler's.
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
        """Numbers of float32 in a vector. Of float64 a kernel takes as many, in two vectors."""
        return self.vector_bytes // FLOAT32_BYTES

    def whole(self, numbers: int) -> int:
        """Numbers, rounded up to whole vectors."""
        return -(-numbers // self.width) * self.width

    def text(self) -> str:
        """What every program in C begins with."""
        defined = {"VECTOR_BYTES": self.vector_bytes, "WIDTH": self.width}
        lines = [f"#define {name} {value}" for name, value in defined.items()]
        return "\n".join([*lines, *(["#define HAS_FMA"] if self.fma else []), ""])


# What a processor must say of itself, and the compiler's flags for just that: the names of whole levels, x86-64-v3 and
# its like, are newer than compilers in use, and allow instructions that kernels do not need.
_V2 = frozenset({"sse4_1", "sse4_2", "ssse3", "popcnt"})
_AVX2 = _V2 | {"avx2", "fma", "bmi1", "bmi2", "f16c"}
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_V2_FLAGS = ("-msse4.2", "-mpopcnt")
_AVX2_FLAGS = (*_V2_FLAGS, "-mavx2", "-mfma", "-mbmi", "-mbmi2", "-mf16c")
_AVX512_FLAGS = (
    *(*_AVX2_FLAGS, "-mavx512f", "-mavx512bw", "-mavx512cd", "-mavx512dq", "-mavx512vl"),
    "-mprefer-vector-width=512",  # compilers take half of it by themselves
)
ISAS = {
    isa.name: isa
    for isa in (  # the better of one machine first
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
    """Those that this processor can execute, the best first; none on a kind of processor that is not known here."""
    machine, features = platform.machine(), _processor_features()
    return [isa for isa in ISAS.values() if machine in isa.machines and isa.needs <= features]


def this_isa() -> Isa | None:
    """The one that kernels are made for: $GAN_SWEEP_ISA, or the best; None where there is none. Raises InputError where
    the variable names one that there is not, or that this processor cannot execute.
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
    """What Linux says of the first processor; on others none is needed, for ARM's 64 bits always have NEON."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    words = next((line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(words.split())
