"""Layers over [L, N, ...]: frozen descriptions of a map and of its parameters' shapes; no layer holds a tensor.

L lanes, N rows of a batch, F features.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from gan_core.lanes import lane_matmul, lanewise

Parameters = Mapping[str, Tensor]


class Layer(Protocol):
    """What a network is made of."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameter name -> its shape in one lane."""
        ...

    def initial(self, source: np.random.Generator) -> dict[str, np.ndarray]:
        """One lane's initial parameters, drawn from source."""
        ...

    def __call__(self, parameters: Parameters, x: Tensor) -> Tensor:
        """[L, N, ...] -> [L, N', ...]."""
        ...


@dataclass(frozen=True)
class Linear:
    """x [L, N, inputs] -> [L, N, outputs]. Weights are stored [inputs, outputs].

    Initial weights and biases are uniform in +-1/sqrt(inputs), as torch.nn.Linear's.
    """

    inputs: int
    outputs: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"weight": (self.inputs, self.outputs), "bias": (self.outputs,)}

    def initial(self, source: np.random.Generator) -> dict[str, np.ndarray]:
        bound = 1 / math.sqrt(self.inputs)
        return {name: source.uniform(-bound, bound, shape) for name, shape in self.shapes().items()}

    def __call__(self, parameters: Parameters, x: Tensor) -> Tensor:
        return lane_matmul(x, parameters["weight"]) + parameters["bias"].unsqueeze(1)


@dataclass(frozen=True)
class Elementwise:
    """A function of each number alone. `exact`: its vector and scalar forms round alike, so it needs no alignment."""

    function: Callable[[Tensor], Tensor]
    exact: bool

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {}

    def initial(self, source: np.random.Generator) -> dict[str, np.ndarray]:
        return {}

    def __call__(self, parameters: Parameters, x: Tensor) -> Tensor:
        return self.function(x) if self.exact else lanewise(self.function, x)


@dataclass(frozen=True)
class Reshape:
    """[L, N, ...] -> [L, N, *shape]."""

    shape: tuple[int, ...]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {}

    def initial(self, source: np.random.Generator) -> dict[str, np.ndarray]:
        return {}

    def __call__(self, parameters: Parameters, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], *self.shape)


def leaky_relu(slope: float) -> Elementwise:
    """max(x, slope * x), 0 <= slope < 1."""
    return Elementwise(lambda x: F.leaky_relu(x, slope), exact=True)


relu = Elementwise(F.relu, exact=True)
elu = Elementwise(F.elu, exact=False)
sigmoid = Elementwise(lambda x: x.sigmoid(), exact=False)
tanh = Elementwise(lambda x: x.tanh(), exact=False)
