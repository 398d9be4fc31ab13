"""A program of a lane as C text, with what its pointers point to."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class NativeSource:
    """text: of a function in C, `void name(long lane, T *const *given, const long *pitch, T *memory)`. functions: what
    it calls, by name. given: what its pointers point to, in their order: numbers of placeholders, whose lanes are
    `pitch` apart, or constants. numbers: that a lane's memory holds.
    """

    text: str
    functions: dict[str, str]
    given: list[int | Tensor]
    numbers: int


def text_of(sources: Iterable[NativeSource]) -> str:
    """All of them, and what they call, each once."""
    sources = list(sources)
    functions = {name: text for source in sources for name, text in source.functions.items()}
    return "".join([*functions.values(), *(source.text for source in sources)])
