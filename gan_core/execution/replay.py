"""Replays a traced function of tensors: its arithmetic without autograd, without allocating memory, without views.

`torch.autograd` is a good way to write a training step and a slow way to repeat one: at the sizes of small GANs most of
a step's time goes into building a graph that is the same every time. So the step is written once, with autograd; it is
traced into the flat list of ATen calls that it makes; these are given memory that is reused within a replay and from
one replay to the next; and they are repeated. The same kernels compute the same numbers, so a replay is bitwise equal
to the function.

All that the function reads and writes must be in the tensors that it is given, and its Python code must not depend on
their values.
"""

import operator
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import BuiltinFunctionType
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx import map_arg

from gan_core.execution.trace import Tensors, is_view, owners, unchanged, written_values
from gan_core.lanes.torch_internals import OpOverload, arguments_of, is_mutable

ALLOCATIONS = (torch.ops.aten.new_empty.default, torch.ops.aten.empty_like.default)
FILLED = (torch.ops.aten.ones_like.default, torch.ops.aten.zeros_like.default, torch.ops.aten.new_zeros.default)
RESHAPES = (
    torch.ops.aten.view.default,
    torch.ops.aten.alias.default,
    torch.ops.aten.detach.default,
    torch.ops.aten.squeeze.dim,
    torch.ops.aten.unsqueeze.default,
)

# Operators whose `out` form copies its result -> an operator with the same results, and its further arguments.
SAME_WITH_OUT = {torch.ops.aten.relu.default: (torch.ops.aten.clamp_min.default, (0,))}


class Pool:
    """Buffers that are taken and given back while memory is planned. Replays that never run at the same time share a
    pool.
    """

    def __init__(self) -> None:
        self._free: list[Tensor] = []
        self.bytes = 0

    def take(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Memory with like's size, strides and type, and the buffer that it lies in, which is to be given back."""
        numel = like.untyped_storage().nbytes() // like.element_size()
        fitting = [b for b in self._free if b.dtype == like.dtype and numel <= b.numel() <= 2 * numel]
        if fitting:
            buffer = min(reversed(fitting), key=Tensor.numel)  # of equal ones the last, which is in the cache
            self._free = [b for b in self._free if b is not buffer]
        else:
            buffer = torch.empty(numel, dtype=like.dtype, device=like.device)
            self.bytes += buffer.nbytes
        return buffer.as_strided(like.shape, like.stride()), buffer

    def give(self, buffer: Tensor) -> None:
        """The numbers in the buffer are not read any more."""
        self._free.append(buffer)


class Replay:
    """Repeats a traced function on these tensors, into which it writes its results.

    graph: as `trace` returns it, traced on tensors with the same names, shapes and strides.
    """

    def __init__(self, graph: fx.Graph, tensors: Tensors, pool: Pool) -> None:
        with unchanged(tensors):
            self._calls = _Plan(graph, list(tensors.values()), pool).calls

    def __call__(self) -> None:
        with torch.no_grad():
            for call in self._calls:
                call()


class _Plan:
    """The calls of a graph with planned memory: a buffer is free again after the last call that reads it."""

    def __init__(self, graph: fx.Graph, inputs: list[Tensor], pool: Pool) -> None:
        self.pool = pool
        self.calls: list[Callable[[], Any]] = []
        self._owners = owners(graph)
        self._written = {self._owners[node] for node in graph.nodes for node in written_values(node)}
        given = dict(zip(graph.find_nodes(op="placeholder"), inputs, strict=True))
        found = _elided(graph, self._owners).items()
        self._elided = {made: copy for made, copy in found if _undisturbed(graph, self._owners, given, made, copy)}
        self._values: dict[fx.Node, Any] = {}
        self._constants: set[fx.Node] = set()
        last_read = {self._owners[used]: node for node in graph.nodes for used in node.all_input_nodes}
        buffers: dict[fx.Node, list[Tensor]] = {}
        remaining = iter(inputs)
        with torch.no_grad():
            for node in graph.nodes:
                if node.op == "placeholder":
                    self._values[node] = next(remaining)
                elif node.op == "get_attr":
                    self._values[node] = node.meta["val"]
                    self._constants.add(node)
                dying = {o for o in map(self._owners.__getitem__, node.all_input_nodes) if last_read[o] is node}
                in_place = {owner for owner in dying if self._may_overwrite(node, owner, buffers.get(owner, []))}
                self._give_back(buffers, in_place)
                if node.op == "call_function":
                    buffers[node] = self._place(node)
                self._give_back(buffers, dying - in_place)
            for buffer in [b for left in buffers.values() for b in left]:
                pool.give(buffer)

    def _give_back(self, buffers: dict[fx.Node, list[Tensor]], owners: set[fx.Node]) -> None:
        for owner in owners:
            for buffer in buffers.pop(owner, ()):
                self.pool.give(buffer)

    def _may_overwrite(self, node: fx.Node, owner: fx.Node, buffers: list[Tensor]) -> bool:
        """Whether an elementwise call may write its result over an input that no later call reads. Not where that is
        whole numbers: planning computes a call several times, and of an index nothing else may become.
        """
        if len(buffers) != 1 or not isinstance(node.target, OpOverload) or torch.Tag.pointwise not in node.target.tags:
            return False
        made, read = node.meta["val"], [self._values[n] for n in node.all_input_nodes if self._owners[n] is owner]
        return (
            isinstance(made, Tensor)
            and made.is_floating_point()
            and all(
                (value.shape, value.stride(), value.data_ptr()) == (made.shape, made.stride(), buffers[0].data_ptr())
                for value in read
            )
        )

    def _place(self, node: fx.Node) -> list[Tensor]:
        """Gives a node its value and its calls. Returns the buffers that were taken for it."""
        target = node.target
        args, kwargs = map_arg((node.args, node.kwargs), self._values.__getitem__)
        if target is operator.getitem:
            self._values[node] = operator.getitem(*args)  # pyright: ignore[reportCallIssue, reportArgumentType]
            return []
        assert isinstance(target, OpOverload)
        if is_view(target):
            self._values[node] = target(*args, **kwargs)
            return []
        if node in self._elided.values():
            self._values[node] = args[0]
            return []
        if is_mutable(target):
            self.calls.append(_lightest(target, args, kwargs))
            self.calls[-1]()  # so that later constants are computed from the numbers of a replay
            self._values[node] = self._values[written_values(node)[0]]
            return []
        result = target(*args, **kwargs)
        if self._is_constant(node):
            self._constants.add(node)
            self._values[node] = result
            return []
        return self._place_result(node, target, result, args, kwargs)

    def _is_constant(self, node: fx.Node) -> bool:
        """Whether a node has the same value in every replay, because it is computed from constants alone."""
        read = () if node.target in FILLED else node.all_input_nodes
        known = {self._owners[used] for used in read} <= self._constants
        return known and node.target not in ALLOCATIONS and node not in self._written

    def _place_result(
        self, node: fx.Node, target: OpOverload, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Tensor]:
        """Takes memory for the results of a call, and adds the call that writes them. Returns the buffers taken."""
        several = isinstance(result, tuple | list)
        taken: list[Tensor] = []
        places: list[Tensor | None] = []
        for part in result if several else (result,):
            place, buffer = self._memory(node, part)
            places.append(place)
            taken += [] if buffer is None else [buffer]
        self._values[node] = tuple(places) if several else places[0]
        if target not in ALLOCATIONS:
            self.calls.append(_call_into(target, args, kwargs, places))
            self.calls[-1]()
        return taken

    def _memory(self, node: fx.Node, result: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        if result is None:
            return None, None
        if node in self._elided:
            destination = self._values[self._elided[node].args[0]]  # pyright: ignore[reportArgumentType]
            return destination.view(result.shape), None
        return self.pool.take(result)


def _elided(graph: fx.Graph, owner_of: dict[fx.Node, fx.Node]) -> dict[fx.Node, fx.Node]:
    """Maps each value that can be computed directly in an input to the `copy_` that this saves. Such a value is only
    copied into that input, no other call uses the input, and between the value and the copy there are only reshapes and
    writes into the whole value.
    """
    elided = {}
    for copy in graph.find_nodes(op="call_function", target=torch.ops.aten.copy_.default):
        destination, source = copy.args[:2]
        owner = owner_of[source]
        chain, value = [], source
        while value is not owner and len(chain) < 9:
            chain.append(value)
            value = written_values(value)[0] if written_values(value) else value.all_input_nodes[0]
        reshaped = all(written_values(n) or n.target in RESHAPES for n in chain)
        apart = destination.op == "placeholder" and len(destination.users) == 1
        shape = source.meta["val"].shape
        same = tuple(destination.meta["val"].shape) == tuple(shape)
        same = same and shape[-1:] > (1,)  # kernels of products and sums treat one column by its strides
        made = owner.meta["val"] if owner.op == "call_function" else None
        whole = isinstance(made, Tensor) and made.numel() == shape.numel()
        if apart and reshaped and same and whole and owner not in elided:
            elided[owner] = copy
    return elided


def _undisturbed(
    graph: fx.Graph, owner_of: dict[fx.Node, fx.Node], given: dict[fx.Node, Tensor], made: fx.Node, copy: fx.Node
) -> bool:
    """Whether no call from `made` up to `copy` uses the memory of the copy's destination by another tensor."""
    nodes = list(graph.nodes)
    between = nodes[nodes.index(made) : nodes.index(copy)]
    met = {owner_of[used] for node in between for used in node.all_input_nodes}
    destination = copy.args[0]
    return not any(_overlap(given[node], given[destination]) for node in met & given.keys())  # pyright: ignore[reportArgumentType]


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors may share memory. If their lanes lie equally far apart, the first lanes decide."""
    if one.untyped_storage().data_ptr() != other.untyped_storage().data_ptr():
        return False
    if one.stride()[:1] == other.stride()[:1]:
        one, other = one[0], other[0]
    spans = [sum((n - 1) * s for n, s in zip(t.shape, t.stride(), strict=True)) for t in (one, other)]
    starts = one.storage_offset(), other.storage_offset()
    return bool(starts[0] <= starts[1] + spans[1]) and bool(starts[1] <= starts[0] + spans[0])


def _call_into(
    target: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], places: list[Tensor | None]
) -> Callable[[], Any]:
    """A call that writes its results to these places: by the operator's `out` form, or else by copying."""
    target, args = SAME_WITH_OUT.get(target, (target, ()))[0], (*args, *SAME_WITH_OUT.get(target, (target, ()))[1])
    form = _out_form(target, len(places))
    if form is None or None in places:
        return partial(_copied, partial(target, *args, **kwargs), places)
    names = [a.name for a in arguments_of(form) if a.alias_info is not None and a.alias_info.is_write]
    return _lightest(form, args, {**kwargs, **dict(zip(names, places, strict=True))})


def _lightest(target: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Any]:
    """The call by torch's Python binding where there is one, which takes a microsecond less than the operator."""
    function = getattr(torch, target.overloadpacket.__name__, None)
    if "out" in kwargs and isinstance(function, BuiltinFunctionType):
        call = partial(function, *args, **kwargs)
        with suppress(TypeError):
            call()
            return call
    return partial(target, *args, **kwargs)


def _copied(call: Callable[[], Any], places: list[Tensor | None]) -> None:
    result = call()
    for place, part in zip(places, result if isinstance(result, tuple | list) else (result,), strict=True):
        if place is not None:
            place.copy_(part)


def _out_form(target: OpOverload, results: int) -> OpOverload | None:
    """The overload that takes the same arguments and writes its results to given tensors; None where there is none."""
    wanted = [(argument.name, str(argument.type)) for argument in arguments_of(target)]
    packet = target.overloadpacket
    for name in packet.overloads():
        arguments = arguments_of(getattr(packet, name))
        written = [a for a in arguments if a.alias_info is not None and a.alias_info.is_write]
        others = [(a.name, str(a.type)) for a in arguments if a not in written]
        if len(written) == results and others == [w for w in wanted if w[0] != "pin_memory"]:
            return getattr(packet, name)
    return None
