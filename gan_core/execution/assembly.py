"""Puts the operations of a lane together to a program in C, and gives each value its place in memory."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor, fx

from gan_core.execution.c_text import Memory, Operation, Place, span
from gan_core.execution.formulas import NotInC
from gan_core.native.native_source import NativeSource


def assembled(
    name: str,
    operations: Sequence[Operation],
    given: Mapping[fx.Node, int | Tensor],
    forms: Mapping[fx.Node, Tensor],
    packed: int,
) -> NativeSource:
    """The program of this name. given: the values that it does not compute itself; packed: how many numbers of memory
    the functions of `products.h` and `convolutions.h` need. Raises NotInC.
    """
    last = {owner: i for i, operation in enumerate(operations) for owner in operation.owners}
    memory = Memory()
    memory.take(packed)
    offsets: dict[fx.Node, int] = {}
    pointers: dict[fx.Node, str] = {}
    functions: dict[str, str] = {}
    body: list[str] = []

    def base(owner: fx.Node) -> str:
        if owner in given:
            return pointers.setdefault(owner, f"p{len(pointers)}")
        if owner not in offsets:
            raise NotInC("a value that is nowhere kept")
        return f"m{offsets[owner]}"

    for i, operation in enumerate(operations):
        for owner in operation.writes:
            if owner not in given and owner not in offsets:
                offsets[owner] = memory.take(span(forms[owner]))
        body.append(_call(operation, base, functions))
        for owner in operation.owners:
            if last[owner] == i and owner in offsets:
                memory.give(offsets[owner], span(forms[owner]))
    lines = [
        f"static __attribute__((noinline)) void {name}(long lane, T *const *given, const long *pitch, T *memory) {{"
    ]
    for i, (owner, pointer) in enumerate(pointers.items()):
        of_lane = f" + lane * pitch[{i}]" if owner.op == "placeholder" else ""  # constants are the same for all lanes
        lines.append(f"T *const {pointer} = given[{i}]{of_lane};")
    lines += [f"T *const m{offset} = memory + {offset};" for offset in sorted(set(offsets.values()))]
    text = "\n".join([*lines, *body, "}", ""])
    return NativeSource(text, functions, [given[owner] for owner in pointers], memory.size)


def _call(operation: Operation, base: Callable[[fx.Node], str], functions: dict[str, str]) -> str:
    """The call of a function that does the operation and is told where its values lie, so that equal operations are
    compiled once.
    """
    names: dict[tuple[str, int], str] = {}

    def at(place: Place, indices: Sequence[str] = ()) -> str:
        name = names.setdefault((base(place.owner), place.offset), f"a{len(names)}")
        return f"{name}[{replace(place, offset=0).at(indices)}]"

    text = operation.text(at)  # pyright: ignore[reportArgumentType]
    head = ", ".join(["T *const packed", *(f"T *const {name}" for name in names.values())])
    called = f"do_{hashlib.sha256(f'{head}{text}'.encode()).hexdigest()[:16]}"
    functions[called] = f"static __attribute__((noinline)) void {called}({head}) {{\n{text}\n}}\n"
    return f"{called}({', '.join(['memory', *(f'{of} + {offset}' for of, offset in names)])});"
