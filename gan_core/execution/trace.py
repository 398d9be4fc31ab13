"""Records the ATen calls that a function of tensors makes, as a graph.

A dispatch mode sees every call below autograd, those of the backward pass included. `make_fx` records the same and
takes longer, because it supports symbolic shapes, which are not needed where shapes are known. A value is identified by
where it lies: two tensors with equal memory, shape and strides are one value.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import getitem
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate

from gan_core.lanes.torch_internals import OpOverload, TorchDispatchMode, arguments_of, is_mutable

AS_STRIDED = torch.ops.aten.as_strided.default
Tensors = Mapping[str, Tensor]
Function = Callable[[dict[str, Tensor]], None]


def trace(function: Function, tensors: Tensors) -> fx.Graph:
    """The calls that `function` makes on these tensors, each of which is a placeholder. `meta["val"]` of a node is its
    value on the meta device, and for a constant its value. The tensors have their former values at the end, also where
    the function raises.
    """
    with unchanged(tensors):
        recorder = _Recorder(tensors)
        with recorder:
            function(dict(tensors))
    recorder.graph.output(None)
    _fix_ones(recorder.graph)
    nodes = list(recorder.graph.nodes)
    recorder.graph.eliminate_dead_code()
    for node in nodes:  # dead ones too: they are part of a cycle of references, and would hold their values for long
        if node.op != "get_attr" and "val" in node.meta:
            node.meta["val"] = map_aggregate(node.meta["val"], lambda v: form_of(v) if isinstance(v, Tensor) else v)
    return recorder.graph


def _fix_ones(graph: fx.Graph) -> None:
    """Replaces the ones that a backward pass begins with by constants. They are made with `ones_like` of the loss, so
    the whole computation of the loss would be kept, though often nothing else reads it.
    """
    written = {_memory(v.meta["val"]) for node in graph.nodes for v in written_values(node)}
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.ones_like.default):
        if _memory(node.meta["val"]) not in written:
            with graph.inserting_before(node):
                constant = graph.create_node("get_attr", f"ones_{node.name}")
            constant.meta["val"] = node.meta["val"]
            node.replace_all_uses_with(constant)


def written_values(node: fx.Node) -> list[fx.Node]:
    """The values that a call writes into."""
    if not isinstance(node.target, OpOverload) or not is_mutable(node.target):
        return []
    named = dict(zip((argument.name for argument in arguments_of(node.target)), node.args, strict=False))
    named |= node.kwargs
    written = []
    for argument in arguments_of(node.target):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = named.get(argument.name)
            values = value if isinstance(value, list | tuple) else (value,)
            written += [v for v in values if isinstance(v, fx.Node)]
    return written


def is_view(target: Any) -> bool:
    """Whether a call returns views of the memory that it is given."""
    if not isinstance(target, OpOverload):
        return False
    aliases = [argument.alias_info for argument in arguments_of(target)]
    return any(alias is not None and not alias.is_write for alias in aliases) and not is_mutable(target)


def owners(graph: fx.Graph) -> dict[fx.Node, fx.Node]:
    """For each value the one whose memory it lies in: itself, unless it is a view or made by an in-place call."""
    found: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        names = node.target is getitem or is_view(node.target)
        within = node.all_input_nodes[:1] if names else written_values(node)
        found[node] = found[within[0]] if within else node
    return found


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def form_of(tensor: Tensor) -> Tensor:
    """A tensor's shape, strides and type without its numbers, which a graph must not keep alive."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


@contextmanager
def unchanged(tensors: Tensors) -> Iterator[None]:
    """Gives the tensors their former values back at the end, also after an exception: where memory ran out, the next
    attempt with fewer lanes in a call must begin from running moments that have not moved.
    """
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    try:
        yield
    finally:
        for name, tensor in tensors.items():
            tensor.copy_(before[name])


class _Recorder(TorchDispatchMode):
    """Records every call. Values stay alive in their nodes, so that no memory is used for two of them."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False, because nothing here is compiled by Dynamo; for True torch would import it, which takes a second."""
        return False

    def __init__(self, tensors: Tensors) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self._nodes: dict[tuple[Any, ...], fx.Node] = {}
        for name, tensor in tensors.items():
            self._know(self.graph.placeholder(name.replace(".", "_")), tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = map_aggregate((args, kwargs or {}), lambda v: self._node(v) if isinstance(v, Tensor) else v)
        if torch.Tag.inplace_view in func.tags:  # such as `x.unsqueeze_(1)`, which a replay would do again each time
            changed = given[0][0]
            changed.meta["val"] = args[0].as_strided(*_geometry(args[0]))  # as it was
            result = func(*args, **(kwargs or {}))
            func, given = AS_STRIDED, ((changed, *_geometry(result)), {})
        else:
            result = func(*args, **(kwargs or {}))
        node = self.graph.call_function(func, *given)
        node.meta["val"] = result
        if isinstance(result, tuple | list):
            for place, part in enumerate(result):
                if isinstance(part, Tensor):
                    self._know(self.graph.call_function(getitem, (node, place)), part)
        elif isinstance(result, Tensor):
            self._know(node, result)
        return result

    def _know(self, node: fx.Node, tensor: Tensor) -> None:
        node.meta["val"] = tensor
        self._nodes[_place(tensor)] = node

    def _node(self, tensor: Tensor) -> fx.Node:
        """The newest value there. A value that no recorded call has made is a constant."""
        if _place(tensor) not in self._nodes:
            self._know(self.graph.create_node("get_attr", f"constant_{len(self._nodes)}"), tensor)
        return self._nodes[_place(tensor)]


def _place(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.untyped_storage().data_ptr(), tensor.dtype, *_geometry(tensor)


def _geometry(tensor: Tensor) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    return tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset())
