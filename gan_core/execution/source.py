"""Translates a traced function to C that computes one lane after the other.

A lane of a small GAN fits the cache of a core and a whole array does not, and C spends no time between two operations,
where torch takes microseconds. The text that is compiled is about one lane and does not depend on how many there are:
so no lane's bits can depend on other lanes, and arrays of any number of lanes share one library.

Consecutive elementwise calls on one shape become one loop. Products are computed in tiles that fit the registers
(`gan_core.native.kernels.products`). Intermediate results lie in memory for one lane, which the next lane uses again.
"""

import operator
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_arg

from gan_core.execution.assembly import assembled
from gan_core.execution.c_text import Loop, Operation, Place, Reduction, in_order, loop_text, number
from gan_core.execution.formulas import ALLOCATIONS, COPIES, FORMULAS, PARTS, REDUCTIONS, ZEROS, NotInC
from gan_core.execution.function_calls import (
    CONVOLUTIONS,
    SOFTMAX,
    FunctionCall,
    convolution_call,
    product_call,
    softmax_call,
)
from gan_core.execution.trace import form_of, is_view, owners
from gan_core.native.compiler import target
from gan_core.native.native_source import NativeSource

aten = torch.ops.aten


def native_source(graph: fx.Graph, name: str, *, rounded: bool = False) -> NativeSource:
    """A graph that was traced on one lane, translated to a function in C of this name. rounded: whether factors of
    large products are rounded to bfloat16. Raises NotInC, and NoCompiler where there are no kernels for this processor.
    """
    return _Writer(graph, rounded).source(name)


class _Writer:
    def __init__(self, graph: fx.Graph, rounded: bool) -> None:
        self._graph = graph
        self._dtype = next(iter(graph.nodes)).meta["val"].dtype
        self._isa = target()
        self._rounded = rounded and self._dtype == torch.float32
        self._owners = owners(graph)
        self._forms: dict[fx.Node, Any] = {}  # on the meta device, with their offset in their owner's memory
        self._literals: dict[fx.Node, str] = {}
        self._readers: dict[fx.Node, set[fx.Node]] = {}
        for node in graph.nodes:
            if not (node.target is operator.getitem or is_view(node.target)):
                for used in node.all_input_nodes:
                    self._readers.setdefault(self._owners[used], set()).add(node)
        self._operations: list[Operation] = []
        self._loop: Loop | None = None
        self._packed = 0
        self._given: dict[fx.Node, int | Tensor] = {}

    def source(self, name: str) -> NativeSource:
        placeholders = 0
        for node in self._graph.nodes:
            if node.op == "placeholder":
                if node.meta["val"].dtype != self._dtype:
                    raise NotInC(f"numbers of {node.meta['val'].dtype}")
                self._forms[node], self._given[node] = node.meta["val"], placeholders
                placeholders += 1
            elif node.op == "get_attr":
                self._know_constant(node)
            elif node.op == "call_function":
                self._write(node)
        self._close()
        return assembled(name, self._operations, self._given, self._forms, self._packed)

    # ---- values

    def _know_constant(self, node: fx.Node) -> None:
        value = node.meta["val"]
        self._forms[node] = form_of(value)
        if value.ndim == 0:
            self._literals[node] = number(value.item())
        else:
            self._given[node] = value

    def _write(self, node: fx.Node) -> None:
        target: Any = node.target
        if target is operator.getitem or is_view(target):
            args, kwargs = map_arg((node.args, node.kwargs), self._forms.__getitem__)
            self._forms[node] = target(*args, **kwargs)
            return
        made = node.meta["val"]
        if not isinstance(made, Tensor):
            raise NotInC(str(target))
        if made.ndim and made.shape[0] != 1:
            raise NotInC(f"{target} without lanes")
        self._forms[node] = form_of(made)
        if target is aten.copy_.default:
            self._copy(node)
        elif target in ALLOCATIONS:
            pass
        elif target in ZEROS and not self._is_written(node):
            self._literals[node] = number(0.0)
        elif target is aten.scalar_tensor.default:
            self._literals[node] = number(node.args[0])
        elif target is aten.bmm.default:
            self._product(node)
        elif target in CONVOLUTIONS:
            self._convolution(node)
        elif target in REDUCTIONS:
            self._reduce(node)
        elif target in (aten.cat.default, aten.stack.default):
            self._join(node)
        elif target in SOFTMAX:
            self._softmax(node)
        elif target in PARTS:
            self._embed(node)
        elif target in FORMULAS:
            self._elementwise(node)
        else:
            raise NotInC(str(target))

    def _is_written(self, node: fx.Node) -> bool:
        return any(self._owners[other] is node for other in self._graph.nodes if other.target is aten.copy_.default)

    def _place(self, node: fx.Node, shape: Sequence[int] | None = None) -> Place:
        """Where a value of a lane lies. shape: the shape that it is broadcast to. Axes of one number are left out."""
        form: Tensor = self._forms[node]
        if shape is not None and form.ndim:
            form = form.expand(form.shape[0], *shape)
        sizes, strides = form.shape[1:], form.stride()[1:]
        kept = tuple(s for n, s in zip(sizes, strides, strict=True) if n != 1)
        return Place(
            self._owners[node],
            int(form.storage_offset()),
            kept if form.ndim else (0,) * sum(n != 1 for n in shape or ()),
        )

    # ---- elementwise

    def _elementwise(self, node: fx.Node) -> None:
        formula = FORMULAS[node.target]
        values = list(node.args)
        if node.kwargs.get("dtype", self._dtype) != self._dtype or (node.kwargs and node.target not in COPIES):
            raise NotInC(f"{node.target} with {sorted(node.kwargs)}")
        tensors = [v for v in values if isinstance(v, fx.Node)]
        if all(self._owners[v] in self._literals for v in tensors):
            self._literals[node] = formula(
                *(self._literals[self._owners[v]] if v in tensors else number(v) for v in values)
            )
            return
        owner = self._owners[node]
        if self._place(node) != self._place(owner):
            raise NotInC(f"{node.target} of a part")
        if owner in self._given:
            raise NotInC(f"{node.target} of what is given")
        loop, variable = self._compute(formula, values, tuple(self._forms[node].shape[1:]))
        loop.variables[owner] = variable
        loop.inside.add(node)

    def _compute(self, formula: Callable[..., str], values: Sequence[Any], shape: tuple[int, ...]) -> tuple[Loop, str]:
        """Adds a line to the loop over this shape of a lane. Returns the loop, and the variable that the line sets."""
        walked = tuple(n for n in shape if n != 1)
        if self._loop is not None and self._loop.shape != walked:
            self._close()
        operands = [self._operand(value, shape) for value in values]
        if self._loop is None:
            self._loop = Loop(walked)
            operands = [self._operand(value, shape) for value in values]
        places = [o for o in operands if isinstance(o, Place)]
        marks = [f"\0{i}\0" if isinstance(o, Place) else o for i, o in enumerate(operands)]
        self._loop.places += places
        self._loop.lines.append((formula(*marks), operands))
        return self._loop, f"v{len(self._loop.lines) - 1}"

    def _operand(self, value: Any, shape: tuple[int, ...]) -> Place | str:
        """How a formula refers to a value: as a number, a variable of the open loop, or a place in memory."""
        if value is None:
            return None  # pyright: ignore[reportReturnType]
        if not isinstance(value, fx.Node):
            return number(value)
        owner = self._owners[value]
        if owner in self._literals:
            return self._literals[owner]
        place = self._place(value, shape)
        if self._loop is not None and owner in self._loop.variables:
            if place == self._place(owner):
                return self._loop.variables[owner]
            self._close()
        return place

    def _close(self) -> None:
        """Ends the open loop. Those of its values that are read outside of it are stored."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        for node, variable in loop.variables.items():
            if self._readers.get(node, set()) - loop.inside:
                loop.stored.append((self._place(node), variable))
        reads, writes = [place.owner for place in loop.places], [place.owner for place, _ in loop.stored]
        self._operations.append(Operation(reads, writes, lambda at: loop_text(loop, at)))

    def _copy(self, node: fx.Node) -> None:
        """A copy is made at the end of the loop that computes its source, or in a separate loop."""
        destination, source = node.args[:2]
        assert isinstance(destination, fx.Node)
        assert isinstance(source, fx.Node)
        place = self._place(destination)
        if self._loop is not None and any(self._may_meet(read, place) for read in self._loop.places):
            self._close()
        loop, variable = self._compute("{}".format, [source], tuple(self._forms[destination].shape[1:]))
        loop.stored.append((place, variable))
        if self._owners[source] in loop.variables:
            loop.inside.add(node)
        self._close()

    def _may_meet(self, read: Place, written: Place) -> bool:
        """Whether one iteration of a loop may read what another one has written. Two tensors that the program is given
        may lie in the same memory.
        """
        given = read.owner in self._given and written.owner in self._given
        return read != written and (given or read.owner is written.owner)

    def _join(self, node: fx.Node) -> None:
        parts, axis = node.args[0], (node.args[1] if len(node.args) > 1 else 0)
        form: Tensor = self._forms[node]
        assert isinstance(axis, int)
        assert isinstance(parts, list | tuple)
        axis %= form.ndim
        if axis == 0:
            raise NotInC(f"{node.target} of lanes")
        self._close()
        begin = 0
        for part in parts:
            assert isinstance(part, fx.Node)
            length = 1 if node.target is aten.stack.default else self._forms[part].shape[axis]
            within = form.narrow(axis, begin, length)
            self._fill(node, within.view(self._forms[part].shape), "{}".format, [part])
            begin += length

    def _embed(self, node: fx.Node) -> None:
        """The gradient with respect to a tensor of which only a part was used: zero elsewhere."""
        form, part = self._forms[node], node.args[0]
        self._close()
        self._fill(node, form, lambda: number(0.0), [])
        self._fill(node, PARTS[node.target](form, *node.args[2:]), "{}".format, [part])  # pyright: ignore[reportArgumentType]

    def _fill(self, node: fx.Node, within: Tensor, formula: Callable[..., str], values: Sequence[Any]) -> None:
        """Computes a part of a value, or all of it, in a separate loop."""
        loop, variable = self._compute(formula, values, tuple(within.shape[1:]))
        strides = tuple(s for n, s in zip(within.shape[1:], within.stride()[1:], strict=True) if n != 1)
        loop.stored.append((Place(node, int(within.storage_offset()), strides), variable))
        self._close()

    # ---- sums and products

    def _reduce(self, node: fx.Node) -> None:
        self._close()
        target: Any = node.target
        before, after = REDUCTIONS[target]
        source, *rest = node.args
        assert isinstance(source, fx.Node)
        if node.target is aten.linalg_vector_norm.default:
            if rest[0] != 2:
                raise NotInC(f"a norm of order {rest[0]}")
            rest = rest[1:]
        form: Tensor = self._forms[source]
        axes = {axis % form.ndim for axis in rest[0]} if rest and rest[0] else set(range(form.ndim))  # pyright: ignore
        if 0 in axes or node.kwargs:
            raise NotInC(f"{node.target} over {sorted(axes)}")
        self._write_out(source)
        if not in_order(self._forms[node]):
            raise NotInC("a sum that is not laid out in order")
        strides, step = [0] * form.ndim, 1
        for axis in reversed(range(1, form.ndim)):
            if axis not in axes:
                strides[axis], step = step, step * form.shape[axis]
        walked = [axis for axis in range(1, form.ndim) if form.shape[axis] != 1]
        loop = Reduction(
            tuple(form.shape[a] for a in walked),
            self._place(source),
            Place(node, 0, tuple(strides[a] for a in walked)),
            step,
            before,
            after.replace("{count}", str(prod(form.shape[a] for a in axes))),
        )
        self._operations.append(Operation([self._owners[source]], [node], loop.text))

    def _product(self, node: fx.Node) -> None:
        values = self._in_memory(node)
        a, b = (self._forms[value] for value in values)
        self._call(node, values, product_call(a, b, self._isa, rounded=self._rounded))

    def _softmax(self, node: fx.Node) -> None:
        values = self._in_memory(node)
        axis = node.args[len(values)]
        self._call(node, values, softmax_call(node.target, [self._forms[value] for value in values], axis))

    def _convolution(self, node: fx.Node) -> None:
        values = self._in_memory(node)
        forms = [self._forms[value] for value in (*values, node)]
        self._call(node, values, convolution_call(node.target, forms, node.args[2:], self._isa, rounded=self._rounded))

    def _in_memory(self, node: fx.Node) -> list[fx.Node]:
        """The values that a function in C is given, all of them in memory. Raises NotInC where its result would not be
        contiguous.
        """
        self._close()
        values = [value for value in node.args if isinstance(value, fx.Node)]
        for value in values:
            self._write_out(value)
        if not in_order(self._forms[node]):
            raise NotInC(f"{node.target} that is not laid out in order")
        return values

    def _call(self, node: fx.Node, values: list[fx.Node], call: FunctionCall) -> None:
        """A call of a function in C on the values, which makes this node."""
        places = [Place(self._owners[v], int(self._forms[v].storage_offset()), ()) for v in values]
        self._packed = max(self._packed, call.packed)

        def written(at: Callable[[Place], str]) -> str:
            return call.text(*(f"&{at(place)}" for place in (*places, Place(node, 0, ()))))

        self._operations.append(Operation([place.owner for place in places], [node], written))

    def _write_out(self, value: fx.Node) -> None:
        """Stores a constant, for functions that read their values from memory."""
        owner = self._owners[value]
        literal = self._literals.pop(owner, None)
        if literal is not None:
            loop, variable = self._compute(lambda: literal, [], tuple(self._forms[owner].shape[1:]))
            loop.stored.append((self._place(owner), variable))
            self._close()
