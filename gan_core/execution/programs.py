"""How the functions of a step are carried out.

eager: as they stand. replayed: traced, and their calls repeated in planned memory; the same bits. compiled: traced, and
made into C, a lane after the other; other bits, the same in every array. What is not compiled is replayed: a step with
a product that a matrix library makes faster, bfloat16 where a processor has AMX, and all where no C compiler works.
auto: compiled or replayed, whichever is faster on this machine (`gan_core.training.fastest`). On a GPU these three are
one, a CUDA graph.
"""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx

from gan_core.config.arithmetic import Carried
from gan_core.config.conditions import Execution
from gan_core.execution.formulas import NotInC
from gan_core.execution.pace import Pace
from gan_core.execution.replay import Pool, Replay
from gan_core.execution.source import native_source
from gan_core.execution.trace import trace, unchanged
from gan_core.lanes.axis import in_full_precision, plain_calls
from gan_core.native.library import LaneMemory
from gan_core.native.native_source import NativeSource

Program = Callable[[], None]
Function = Callable[[dict[str, Tensor]], None]
WARM_UP_CALLS = 3  # before a capture: libraries allocate, kernels are built


class ProgramMaker:
    """Makes programs of functions for the chunks of arrays of one structure, which run one at a time and share traces,
    memory, and what was found out about their pace. execution: what was asked for, and from the first step on what is
    done.
    """

    def __init__(self, execution: Execution, pace: Pace) -> None:
        self.execution: Execution = execution
        self.lost_compiler = False  # whether steps are replayed for want of one, and not since they are not known in C
        self.pace = pace
        self._traces: dict[Hashable, fx.Graph] = {}
        self._sources: dict[Hashable, NativeSource | None] = {}
        self._pool, self.lane_memory = Pool(), LaneMemory()
        self._graph_memory: Any = None

    @property
    def memory_bytes(self) -> int:
        """What programs need beside their tensors."""
        return self._pool.bytes + self.lane_memory.bytes

    def uncompiled(self, like: Tensor) -> Carried:
        """How programs on like's device are carried out that are not compiled."""
        if self.execution == "eager":
            return "eager"
        return "cuda graph" if like.device.type == "cuda" else "replayed"

    def build(self, function: Function, tensors: dict[str, Tensor], baked: Hashable) -> Program:
        """`function(tensors)` as a program. baked: all that the function's Python depends on; functions with an equal
        one, of tensors of equal names and shapes, are traced once.
        """
        if self.execution == "eager":
            return partial(function, tensors)
        if next(iter(tensors.values())).device.type == "cuda":
            return self._captured(function, tensors)
        key = (baked, tuple(tensors))
        if key not in self._traces:
            self._traces[key] = trace(function, tensors)
        return Replay(self._traces[key], tensors, self._pool)

    def source(self, function: Function, tensors: dict[str, Tensor], baked: Hashable, name: str) -> NativeSource | None:
        """The function in C, by this name; None where there is no C of it. tensors: of one lane, which tells of all."""
        rounded = not in_full_precision()
        key = (baked, tuple(tensors), rounded)
        if key not in self._sources:
            with plain_calls():
                graph = trace(function, tensors)
            try:
                self._sources[key] = native_source(graph, name, rounded=rounded)
            except NotInC:
                self._sources[key] = None
            for node in graph.nodes:  # a ring of references, which is found at some time: its constants go now
                node.meta.clear()
        return self._sources[key]

    def _captured(self, function: Function, tensors: dict[str, Tensor]) -> Program:
        """A CUDA graph of `function(tensors)`, autograd included: one launch, whatever it is made of."""
        stream = torch.cuda.Stream()
        with unchanged(tensors):  # which copies on the current stream: each waits for the other
            stream.wait_stream(torch.cuda.current_stream())
            try:
                with torch.cuda.stream(stream):
                    for _ in range(WARM_UP_CALLS):
                        function(tensors)
            finally:
                torch.cuda.current_stream().wait_stream(stream)
        if self._graph_memory is None:
            self._graph_memory = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._graph_memory):  # records, and changes no tensor
            function(tensors)
        return graph.replay
