"""Layers over [L, N, ...]: frozen descriptions of a map and of the shapes of its weights; no layer holds a tensor.

A layer's weights are its parameters, which are trained, and its buffers, which passes change (running moments).
L lanes, N rows of a batch, F features, C channels, H, W a feature map.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.config.conditions import Precision
from gan_core.lanes.axis import lanes_together
from gan_core.lanes.precision import factor
from gan_core.lanes.products import lane_matmul
from gan_core.networks.call import Call
from gan_core.networks.convolutions import convolve, convolve_transposed, stacked

Weights = Mapping[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


class Layer(Protocol):
    """The contract of all parts of a network."""

    def shapes(self) -> Shapes:
        """Parameter name -> its shape in one lane."""
        ...

    def buffers(self) -> Shapes:
        """Buffer name -> its shape in one lane."""
        ...

    def initial(self, source: np.random.Generator) -> dict[str, np.ndarray]:
        """One lane's initial weights, including buffers, drawn from source."""
        ...

    def __call__(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        """[L, N, ...] -> [L, N', ...]."""
        ...


def _uniform(source: np.random.Generator, shapes: Shapes, inputs: int) -> dict[str, np.ndarray]:
    """Weights and biases uniform in +-1/sqrt(inputs), as torch.nn's linear and convolution layers draw them."""
    bound = 1 / math.sqrt(inputs)
    return {name: source.uniform(-bound, bound, shape) for name, shape in shapes.items()}


@dataclass(frozen=True)
class Linear:
    """x [L, N, inputs] -> [L, N, outputs]. Weights are stored [inputs, outputs].

    Initial values are torch.nn.Linear's, for `initial_inputs` inputs where that is given.
    """

    inputs: int
    outputs: int
    bias: bool = True
    initial_inputs: int | None = None

    def shapes(self) -> Shapes:
        return {"weight": (self.inputs, self.outputs), **({"bias": (self.outputs,)} if self.bias else {})}

    def buffers(self) -> Shapes:
        return {}

    def initial(self, source: np.random.Generator) -> dict[str, np.ndarray]:
        return _uniform(source, self.shapes(), self.initial_inputs or self.inputs)

    def __call__(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        product = lane_matmul(x, weights["weight"], call.precision)
        return product + weights["bias"].unsqueeze(1) if self.bias else product


@dataclass(frozen=True)
class Convolution:
    """x [L, N, inputs, H, W] -> [L, N, outputs, H', W'], with the map, initial values and weight layout of
    torch.nn.Conv2d or, where `transposed`, torch.nn.ConvTranspose2d.

    On the CPU each lane is a separate call, which is as fast as a grouped convolution from 32 channels on and keeps a
    lane's bits independent of the others. On a GPU all lanes are one grouped convolution.
    """

    inputs: int
    outputs: int
    kernel_pixels: int
    stride: int
    padding: int
    transposed: bool = False
    bias: bool = False

    def shapes(self) -> Shapes:
        ends = (self.inputs, self.outputs) if self.transposed else (self.outputs, self.inputs)
        weight = (*ends, self.kernel_pixels, self.kernel_pixels)
        return {"weight": weight, **({"bias": (self.outputs,)} if self.bias else {})}

    def buffers(self) -> Shapes:
        return {}

    def initial(self, source: np.random.Generator) -> dict[str, np.ndarray]:
        # torch takes the second axis as the inputs of a transposed layer too.
        return _uniform(source, self.shapes(), math.prod(self.shapes()["weight"][1:]))

    def __call__(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        compute = self.lane_by_lane if x.device.type == "cpu" else self.together
        return compute(weights, x, call)

    def lane_by_lane(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        """Calls the library once for each lane."""
        function = convolve_transposed if self.transposed else convolve
        result = function(x, weights["weight"], self.stride, self.padding, call.precision)
        return result + weights["bias"].view(len(x), 1, -1, 1, 1) if self.bias else result

    def together(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        """The same map as one grouped convolution with a group for each lane."""
        lanes, rows = x.shape[:2]
        bias = factor(weights["bias"].flatten(), call.precision) if self.bias else None
        maps = factor(x.transpose(0, 1).flatten(1, 2), call.precision)
        weight = factor(weights["weight"].flatten(0, 1), call.precision)
        joined = self._convolve(maps, weight, bias, groups=lanes).to(x.dtype)
        return joined.view(rows, lanes, self.outputs, *joined.shape[2:]).transpose(0, 1)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
        if self.transposed:
            return F.conv_transpose2d(x, weight, bias, self.stride, self.padding, groups=groups)
        return F.conv2d(x, weight, bias, self.stride, self.padding, groups=groups)


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation (Ioffe & Szegedy 2015) of [L, N, F] or [L, N, C, H, W] within each lane, as in torch.nn, with
    an eps and a momentum for each lane: by the batch's moments in training, else by the running ones.
    """

    features: int

    def shapes(self) -> Shapes:
        return {"weight": (self.features,), "bias": (self.features,)}

    def buffers(self) -> Shapes:
        return {"running_mean": (self.features,), "running_var": (self.features,)}

    def initial(self, source: np.random.Generator) -> dict[str, np.ndarray]:
        starts = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
        return {name: np.full(self.features, start) for name, start in starts.items()}

    def __call__(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        return self.together(weights, x, call) if lanes_together(x) else self.lane_by_lane(weights, x, call)

    def lane_by_lane(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        """Calls the library once for each lane, which passes over memory twice."""
        mean, variance = weights["running_mean"].unbind(0), weights["running_var"].unbind(0)
        parts = zip(x.unbind(0), weights["weight"].unbind(0), weights["bias"].unbind(0), strict=True)
        normalised = []
        for lane, (part, weight, bias) in enumerate(parts):
            known = (mean[lane], variance[lane]) if call.moves(lane) or not call.training else (None, None)
            momentum = call.batch_norm_momentum[lane] if call.training else 0.0
            eps = call.batch_norm_eps[lane]
            normalised.append(F.batch_norm(part, *known, weight, bias, call.training, momentum, eps))
        return stacked(normalised)

    def together(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        """The same map in operations on all lanes, so that a GPU needs no launch for each lane."""
        within = (1, *range(3, x.ndim))
        shape = (len(x), 1, self.features, *[1] * (x.ndim - 3))
        mean, variance = weights["running_mean"].view(shape), weights["running_var"].view(shape)
        if call.training:
            mean = x.mean(within, keepdim=True)
            variance = (x - mean).square().mean(within, keepdim=True)
            count = x[0, :, 0].numel()
            momentum = call.column("batch_norm_momentum", x).unsqueeze(1)
            for name, new in (("running_mean", mean), ("running_var", variance * (count / (count - 1)))):
                call.move(weights[name], torch.lerp(weights[name], new.detach().flatten(1), momentum))
        eps = call.column("batch_norm_eps", x).view(-1, *[1] * (x.ndim - 1))
        scale = weights["weight"].view(shape) / (variance + eps).sqrt()
        return (x - mean) * scale + weights["bias"].view(shape)


@dataclass(frozen=True)
class SpectralNorm:
    """A layer whose weight is divided by its largest singular value (Miyato et al. 2018, algorithm 1), estimated
    by one power iteration in each training pass, from the stored singular vectors u and v, and by 15 iterations before
    the first pass, as in torch.
    """

    layer: Linear | Convolution

    def _sides(self) -> tuple[int, int]:
        """Rows and columns of the weight as a matrix, outputs first."""
        shape = self.layer.shapes()["weight"]
        return (shape[1], shape[0]) if isinstance(self.layer, Linear) else (shape[0], math.prod(shape[1:]))

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.mT if isinstance(self.layer, Linear) else weight.flatten(2)

    def shapes(self) -> Shapes:
        return self.layer.shapes()

    def buffers(self) -> Shapes:
        rows, columns = self._sides()
        return {"u": (rows,), "v": (columns,)}

    def initial(self, source: np.random.Generator) -> dict[str, np.ndarray]:
        initial = self.layer.initial(source)
        matrix = initial["weight"].T if isinstance(self.layer, Linear) else initial["weight"].reshape(self._sides())
        u, v = (source.standard_normal(size) for size in matrix.shape)
        for _ in range(15):
            u = matrix @ v
            u /= np.linalg.norm(u)
            v = matrix.T @ u
            v /= np.linalg.norm(v)
        return {**initial, "u": u, "v": v}

    def __call__(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        matrix = self._matrix(weights["weight"])  # [L, outputs, inputs]
        u, v = weights["u"].unsqueeze(2).clone(), weights["v"].unsqueeze(2).clone()
        precision = call.precision
        if call.training:
            fixed = matrix.detach()
            u = _unit(lane_matmul(fixed, v, precision), precision)
            v = _unit(lane_matmul(fixed.mT, u, precision), precision)
            call.move(weights["u"], u.squeeze(2))
            call.move(weights["v"], v.squeeze(2))
        largest = lane_matmul(lane_matmul(u.mT, matrix, precision), v, precision)  # [L, 1, 1]
        weight = weights["weight"] / largest.view(-1, *[1] * (weights["weight"].ndim - 1))
        return self.layer({**weights, "weight": weight}, x, call)


def _unit(x: Tensor, precision: Precision) -> Tensor:
    """X [L, F, 1] divided by its length."""
    return x / lane_matmul(x.mT, x, precision).sqrt().clamp_min(1e-12)
