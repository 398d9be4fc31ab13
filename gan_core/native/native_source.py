"""A program for one lane as C text, with the data that its pointers refer to."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class NativeSource:
    """text: a C function `void name(long lane, T *const *given, const long *pitch, T *memory)`. functions: those that
    it calls, by name. given: for each pointer the index of a placeholder, whose lanes are `pitch` apart, or a
    constant. numbers: the size of a lane's memory.
    """

    text: str
    functions: dict[str, str]
    given: list[int | Tensor]
    numbers: int


def text_of(sources: Iterable[NativeSource]) -> str:
    """The text of all sources and of the functions they call, each function once."""
    sources = list(sources)
    functions = {name: text for source in sources for name, text in source.functions.items()}
    return "".join([*functions.values(), *(source.text for source in sources)])
