"""Makes programs of the functions of a training step.

eager: the function is called as it is. replayed: it is traced once, and its calls are repeated in planned memory, with
bitwise the same results. compiled: it is traced and translated to C, which computes one lane after the other; results
differ from eager ones in their last bits, and a lane's do not depend on the array that it is in. Steps that cannot be
compiled are replayed: those with a product that a matrix library computes faster, those with a loss or another call
that is not known in C, those in bfloat16 on a processor with AMX, and all where no C compiler works. auto: compiled or
replayed, whichever is faster on this machine (`gan_core.training.fastest`). On a GPU all but eager are the same, a CUDA
graph.
"""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx

from gan_core.config.arithmetic import Carried
from gan_core.config.conditions import Execution, Precision
from gan_core.execution.formulas import NotInC
from gan_core.execution.pace import Pace
from gan_core.execution.replay import Pool, Replay
from gan_core.execution.source import native_source
from gan_core.execution.trace import trace, unchanged
from gan_core.lanes.axis import plain_calls
from gan_core.lanes.torch_internals import SEES_CALLS
from gan_core.native.library import LaneMemory
from gan_core.native.native_source import NativeSource

Program = Callable[[], None]
Function = Callable[[dict[str, Tensor]], None]
WARM_UP_CALLS = 3  # before a capture, in which libraries allocate memory and kernels are built


class ProgramMaker:
    """Makes programs for all arrays of one structure in a process. Their programs run one at a time, so they share
    traces and memory, and the measured number of lanes a call (`pace`). execution: the way that was asked for; from the
    first step on, the way that is used.
    """

    def __init__(self, execution: Execution, pace: Pace) -> None:
        self.execution: Execution = execution if SEES_CALLS else "eager"
        self.lost_compiler = False  # whether steps are replayed because no compiler works
        self.pace = pace
        self._traces: dict[Hashable, fx.Graph] = {}
        self._sources: dict[Hashable, NativeSource | None] = {}
        self._pool, self.lane_memory = Pool(), LaneMemory()
        self._graph_memory: Any = None

    def uncompiled(self, like: Tensor) -> Carried:
        """How programs that are not compiled are carried out on like's device."""
        if self.execution == "eager":
            return "eager"
        return "cuda graph" if like.device.type == "cuda" else "replayed"

    def build(self, function: Function, tensors: dict[str, Tensor], baked: Hashable) -> Program:
        """A program that computes `function(tensors)`: eager, replayed, or as a CUDA graph. baked: a key of everything
        that the Python code of the function depends on. Functions with equal keys, of tensors with equal names and
        shapes, are traced once.
        """
        if self.execution == "eager":
            return partial(function, tensors)
        if next(iter(tensors.values())).device.type == "cuda":
            return self._captured(function, tensors)
        key = (baked, tuple(tensors))
        if key not in self._traces:
            self._traces[key] = trace(function, tensors)
        return Replay(self._traces[key], tensors, self._pool)

    def source(
        self, function: Function, tensors: dict[str, Tensor], baked: Hashable, name: str, precision: Precision
    ) -> NativeSource | None:
        """The function translated to C under this name, or None where that is not possible. tensors: of one lane, which
        is enough because C computes lanes one by one. precision: of products and convolutions.
        """
        rounded = precision == "bfloat16"
        key = (baked, tuple(tensors), rounded)
        if key not in self._sources:
            with plain_calls():
                graph = trace(function, tensors)
            try:
                self._sources[key] = native_source(graph, name, rounded=rounded)
            except NotInC:
                self._sources[key] = None
            for node in graph.nodes:  # a graph is a cycle of references, which would keep its constants alive
                node.meta.clear()
        return self._sources[key]

    def _captured(self, function: Function, tensors: dict[str, Tensor]) -> Program:
        """A CUDA graph of `function(tensors)`, autograd included: one launch for all of its kernels."""
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
