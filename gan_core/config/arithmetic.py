"""How and on what a lane's numbers were computed, which decides their last bits beside its configuration."""

from dataclasses import asdict, dataclass
from sys import intern
from typing import Literal

Carried = Literal["", "compiled", "replayed", "eager", "cuda graph"]


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """How a lane was actually trained and scored; "" stands for what is unknown or was not involved.

    execution: how steps were carried out: `compiled` (to C), `replayed`, `eager` or `cuda graph`.
    isa, compiler: the instruction set (`gan_core.native.isa`) and the compiler with its version, such as `gcc 12.2.0`,
    of the parts computed in C: compiled steps and, on the CPU, the pairs of features from which scores are computed.
    processor: the GPU's name, or the CPU's and the instruction set of torch's kernels, as in "AMD EPYC 9R14, AVX512".
    code_version: of the training core. versions: of packages, "gan-sweep 0.1.0, torch 2.14.0, ...".
    """

    execution: Carried = ""
    isa: str = ""
    compiler: str = ""
    processor: str = ""
    code_version: str = ""
    versions: str = ""

    def known(self) -> dict[str, str]:
        """Field -> value, for the fields that are not empty."""
        return {
            name: intern(value) for name, value in asdict(self).items() if value
        }  # the same strings are kept in every row of a sweep
