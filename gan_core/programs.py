"""How the functions of a step are carried out: as they stand, replayed, compiled, or as a CUDA graph."""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx

from gan_core.conditions import Execution
from gan_core.pace import Pace
from gan_core.replay import Pool, Replay
from gan_core.trace import trace, unchanged

Program = Callable[[], None]
Function = Callable[[dict[str, Tensor]], None]
WARM_UP_CALLS = 3  # before a capture: libraries allocate, kernels are built


class Workplace:
    """Makes programs of functions for the chunks of arrays of one structure, which run one at a time and share traces,
    memory, and what was found out about their pace.
    """

    def __init__(self, execution: Execution, pace: Pace) -> None:
        self.execution: Execution = execution
        self.pace = pace
        self._traces: dict[Hashable, fx.Graph] = {}
        self._pool = Pool()
        self._graph_memory: Any = None

    @property
    def memory_bytes(self) -> int:
        """What replays need beside their tensors."""
        return self._pool.bytes

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

    def _captured(self, function: Function, tensors: dict[str, Tensor]) -> Program:
        """A CUDA graph of `function(tensors)`, autograd included: one launch, whatever it is made of."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with unchanged(tensors), torch.cuda.stream(stream):
            for _ in range(WARM_UP_CALLS):
                function(tensors)
        torch.cuda.current_stream().wait_stream(stream)
        if self._graph_memory is None:
            self._graph_memory = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._graph_memory):  # records, and changes no tensor
            function(tensors)
        return graph.replay
