"""What decides the last bits of a lane's numbers beside its configuration: how they were computed, and on what."""

from dataclasses import asdict, dataclass
from sys import intern
from typing import Literal

Carried = Literal["", "compiled", "replayed", "eager", "cuda graph"]


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """How a lane was trained and scored, as it really was; "" is what is not known, or had no part in it.

    execution: of steps, `compiled` (to C), `replayed`, `eager` or `cuda graph`. isa, compiler: the instruction set
    (`gan_core.native.isa`) and the compiler with its version, `gcc 12.2.0`, of what was computed in C: compiled steps,
    and on the CPU the pairs of features that scores are made of. processor: a GPU's name, or the CPU's and the
    instruction set of torch's own kernels, "AMD EPYC 9R14, AVX512". code_version: of the training core. versions: of
    packages, "gan-sweep 0.1.0, torch 2.14.0, ...".
    """

    execution: Carried = ""
    isa: str = ""
    compiler: str = ""
    processor: str = ""
    code_version: str = ""
    versions: str = ""

    def known(self) -> dict[str, str]:
        """Field -> value, of those that are not empty."""
        return {name: intern(value) for name, value in asdict(self).items() if value}  # a sweep keeps them row by row
