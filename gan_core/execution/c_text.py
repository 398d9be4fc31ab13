"""The text of loops in C over the numbers of one lane, and where in memory its values lie."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx

PIECE = 16  # values in a lane's memory take a multiple of so many numbers: a cache line of float32, the longest vector


@dataclass(frozen=True)
class Place:
    """Where numbers of a lane lie: in the memory of `owner`, from an offset on, with a stride for each axis of the
    loop.
    """

    owner: fx.Node
    offset: int
    strides: tuple[int, ...]

    def at(self, indices: Sequence[str]) -> str:
        """The index into its owner's memory in C, given an index for each axis."""
        terms = [f"{i} * {s}" if s != 1 else i for i, s in zip(indices, self.strides, strict=True) if s]
        return " + ".join([*terms, *([str(self.offset)] if self.offset or not terms else [])])


@dataclass
class Operation:
    """A piece of a program: the values that it reads and writes, and its text, given how each place is written."""

    reads: list[fx.Node]
    writes: list[fx.Node]
    text: Callable[[Callable[[Place], str]], str]

    @property
    def owners(self) -> list[fx.Node]:
        """The owners of all that is read or written, each once. Their order is the same in every run, so that the text
        is, by which libraries are kept.
        """
        return list(dict.fromkeys((*self.reads, *self.writes)))


@dataclass
class Loop:
    """A loop that further elementwise calls of the same shape may still join. Each call sets one variable."""

    shape: tuple[int, ...]
    lines: list[tuple[str, list[Place | str]]] = field(default_factory=list)
    inside: set[fx.Node] = field(default_factory=set)
    variables: dict[fx.Node, str] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    stored: list[tuple[Place, str]] = field(default_factory=list)


def number(value: Any) -> str:
    """A number of a trace, written in C."""
    return f"(T){float(value)!r}".replace("inf", "INFINITY") if not isinstance(value, bool) else str(int(value))


def span(form: Tensor) -> int:
    """How many numbers of memory a lane extends over, from its first number to its last."""
    return 1 + sum((n - 1) * s for n, s in zip(form.shape[1:], form.stride()[1:], strict=True))


def in_order(form: Tensor) -> bool:
    """Whether a lane's numbers lie one after the other without gaps."""
    return form[0].is_contiguous() if form.ndim else True


class Memory:
    """Offsets into a lane's memory. Memory that is given back is used again."""

    def __init__(self) -> None:
        self.size = 0
        self._free: list[tuple[int, int]] = []

    def take(self, numbers: int) -> int:
        """The offset of so many numbers that are not in use."""
        numbers = -(-numbers // PIECE) * PIECE
        for i, (offset, size) in enumerate(self._free):
            if size >= numbers:
                self._free[i : i + 1] = [(offset + numbers, size - numbers)] if size > numbers else []
                return offset
        self.size += numbers
        return self.size - numbers

    def give(self, offset: int, numbers: int) -> None:
        """These numbers are not read any more."""
        numbers = -(-numbers // PIECE) * PIECE
        merged: list[tuple[int, int]] = []
        for start, size in sorted([*self._free, (offset, numbers)]):
            if merged and sum(merged[-1]) == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + size)
            else:
                merged.append((start, size))
        self._free = merged


def _merged(shape: tuple[int, ...], places: Sequence[Place]) -> tuple[tuple[int, ...], list[Place]]:
    """The same loop over as few axes as possible: neighbouring axes are joined where all places allow it."""
    sizes, walks = list(shape), [list(p.strides) for p in places]
    for axis in reversed(range(len(sizes) - 1)):
        if all(w[axis] == w[axis + 1] * sizes[axis + 1] for w in walks):
            sizes[axis : axis + 2] = [sizes[axis] * sizes[axis + 1]]
            for w in walks:
                w[axis : axis + 2] = [w[axis + 1]]
    return tuple(sizes), [Place(p.owner, p.offset, tuple(w)) for p, w in zip(places, walks, strict=True)]


def _nested(sizes: Sequence[int], lines: Sequence[str], *, vectors: bool = True) -> str:
    """Lines within loops over i0, i1, ...; the innermost loop uses vector instructions."""
    text = []
    for axis, size in enumerate(sizes):
        if vectors and axis == len(sizes) - 1:
            text.append("#pragma omp simd")
        text.append(f"for (int i{axis} = 0; i{axis} < {size}; i{axis}++) {{")
    return "\n".join([*text, *lines, "}" * len(sizes)])


def loop_text(loop: Loop, at: Callable[..., str]) -> str:
    """The text of an elementwise loop. at: the text of a place, given an index for each axis."""
    stored = [place for place, _ in loop.stored]
    sizes, places = _merged(loop.shape, [*loop.places, *stored])
    indices = [f"i{axis}" for axis in range(len(sizes))]
    walks = iter(places)
    lines = []
    for i, (text, operands) in enumerate(loop.lines):
        for j, operand in enumerate(operands):
            if isinstance(operand, Place):
                text = text.replace(f"\0{j}\0", at(next(walks), indices))
        lines.append(f"const __typeof__({text}) v{i} = {text};")
    lines += [f"{at(place, indices)} = {variable};" for place, (_, variable) in zip(walks, loop.stored, strict=True)]
    return "{\n" + _nested(sizes, lines) + "\n}"


@dataclass(frozen=True)
class Reduction:
    """Sums over some axes of a place. before: the formula of what is added; after: the formula of the result, given the
    sum; results: how many sums there are.
    """

    shape: tuple[int, ...]
    source: Place
    result: Place
    results: int
    before: str
    after: str

    def text(self, at: Callable[..., str]) -> str:
        flat = Place(self.result.owner, 0, (1,))
        sizes, (source, result) = _merged(self.shape, [self.source, self.result])
        indices = [f"i{axis}" for axis in range(len(sizes))]
        term = self.before.format(at(source, indices))
        zero = _nested([self.results], [f"{at(flat, ['i0'])} = 0;"])
        if not sizes or result.strides[-1]:
            total = _nested(sizes, [f"{at(result, indices)} += {term};"])
        else:
            last = indices[-1]
            head = f"for (int {last} = 0; {last} < {sizes[-1]}; {last}++)"
            inner = f"#pragma omp simd reduction(+ : total)\n{head} total += {term};"
            total = _nested(sizes[:-1], ["T total = 0;", inner, f"{at(result, indices)} += total;"], vectors=False)
        done = self.after.format(at(flat, ["i0"]))
        end = "" if self.after == "{}" else _nested([self.results], [f"{at(flat, ['i0'])} = {done};"])
        return "{\n" + "\n".join([zero, total, end]) + "\n}"
