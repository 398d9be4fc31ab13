"""Networks: layers in sequence and in parallel, and what a discriminator decides on.

A generator takes latents [L, N, Z]: noise, then a one-hot class (or categorical code), then continuous codes.
Discriminators return [L, R, H]: the logit of each of R decisions, then the outputs of InfoGAN's heads.
L lanes, N samples, F features.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from gan_core.lanes.streams import Stream, stream
from gan_core.networks.call import Call
from gan_core.networks.layers import Layer, Shapes, Weights


@dataclass(frozen=True)
class Network:
    """Layers applied in sequence. A network is itself a layer. Weights are named `<index of the layer>.<name>`."""

    layers: tuple[Layer, ...]

    def shapes(self) -> Shapes:
        """Parameter name -> its shape in one lane."""
        return {f"{i}.{name}": shape for i, layer in enumerate(self.layers) for name, shape in layer.shapes().items()}

    def buffers(self) -> Shapes:
        """Buffer name -> its shape in one lane."""
        return {f"{i}.{name}": shape for i, layer in enumerate(self.layers) for name, shape in layer.buffers().items()}

    def parameter_count(self) -> int:
        """The number of trained numbers in one lane."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def initial(self, source: np.random.Generator) -> dict[str, np.ndarray]:
        """One lane's initial weights, drawn from source layer by layer."""
        drawn = [layer.initial(source) for layer in self.layers]
        return {f"{i}.{name}": value for i, layer in enumerate(drawn) for name, value in layer.items()}

    def keyed_initial(self, seed: int, purpose: Stream) -> dict[str, np.ndarray]:
        """One lane's initial weights: a pure function of (seed, purpose), with a separate stream for each layer."""
        return {
            f"{i}.{name}": value
            for i, layer in enumerate(self.layers)
            for name, value in layer.initial(stream(seed, purpose, i)).items()
        }

    def __call__(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        """Maps x [L, N, ...] -> [L, N', ...] in each lane."""
        for i, layer in enumerate(self.layers):
            names = (*layer.shapes(), *layer.buffers())
            x = layer({name: weights[f"{i}.{name}"] for name in names}, x, call)
        return x


@dataclass(frozen=True)
class Branches:
    """Networks in parallel, whose outputs are joined along the last axis. inputs: how the last axis of x is split among
    them; without it each takes the whole x.
    """

    networks: tuple[Network, ...]
    inputs: tuple[int, ...] = ()

    def shapes(self) -> Shapes:
        return {f"{i}.{name}": shape for i, part in enumerate(self.networks) for name, shape in part.shapes().items()}

    def buffers(self) -> Shapes:
        return {f"{i}.{name}": shape for i, part in enumerate(self.networks) for name, shape in part.buffers().items()}

    def initial(self, source: np.random.Generator) -> dict[str, np.ndarray]:
        drawn = [part.initial(source) for part in self.networks]
        return {f"{i}.{name}": value for i, part in enumerate(drawn) for name, value in part.items()}

    def __call__(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        given = x.split(self.inputs, dim=-1) if self.inputs else [x] * len(self.networks)
        answers = []
        for i, (part, taken) in enumerate(zip(self.networks, given, strict=True)):
            names = (*part.shapes(), *part.buffers())
            answers.append(part({name: weights[f"{i}.{name}"] for name in names}, taken, call))
        return torch.cat(answers, -1)


def samples_view(samples: Tensor, condition: Tensor | None) -> Tensor:
    """[L, N, ...] unchanged: D decides on each sample."""
    return samples


def flat_view(samples: Tensor, condition: Tensor | None) -> Tensor:
    """[L, N, ...] -> [L, N, F]: D decides on each sample."""
    return samples.flatten(2)


def conditional_view(samples: Tensor, condition: Tensor | None) -> Tensor:
    """Samples [L, N, ...] and one-hot classes [L, N, K] -> [L, N, F + K]: D decides on each sample and its class."""
    assert condition is not None
    return torch.cat((samples.flatten(2), condition), 2)


class AnyNetwork(Layer, Protocol):
    """The contract of a generator or discriminator: a `Network` of our layers, or a person's own module."""

    def parameter_count(self) -> int:
        """The number of trained numbers in one lane."""
        ...

    def keyed_initial(self, seed: int, purpose: Stream) -> dict[str, np.ndarray]:
        """One lane's initial weights: a pure function of (seed, purpose)."""
        ...


@dataclass(frozen=True)
class OwnTraits:
    """What was found out about a person's own modules (`own_traits`). vmapped: whether all lanes can be one call, by
    vmap; traced: whether a step can be traced; drops: whether they have dropout; rowwise: whether D treats each sample
    by itself.
    """

    vmapped: bool
    traced: bool
    drops: bool
    rowwise: bool


@dataclass(frozen=True)
class Networks:
    """Both networks of an architecture. `view` turns samples [L, N, ...] and a condition into D's input [L, R, ...].

    choices: the length of the one-hot part of a latent, which is the sample's class where `conditional`, else a code;
    continuous: the number of continuous codes that follow it. own: of a person's own modules, else None.
    """

    generator: AnyNetwork
    discriminator: AnyNetwork
    view: Callable[[Tensor, Tensor | None], Tensor] = samples_view
    choices: int = 0
    continuous: int = 0
    conditional: bool = False
    own: OwnTraits | None = None

    def carried(self, device: torch.device) -> Literal["", "vmapped", "looped"]:
        """How the lanes of a person's own modules are carried on a device; "" for ours."""
        if self.own is None:
            return ""
        return "vmapped" if self.own.vmapped and device.type != "cpu" else "looped"

    @property
    def sees_samples(self) -> bool:
        """Whether D decides on each sample, rather than on a whole minibatch."""
        return self.view not in (minibatch_view, moments_view)


def minibatch_view(samples: Tensor, condition: Tensor | None) -> Tensor:
    """[L, N, d] -> [L, 1, 2Nd]: D decides on the minibatch, given its values and squared deviations from the mean."""
    deviations = samples - samples.mean(1, keepdim=True)
    return torch.cat((samples.flatten(1), (deviations * deviations).flatten(1)), 1).unsqueeze(1)


def moments_view(samples: Tensor, condition: Tensor | None) -> Tensor:
    """[L, N, d] -> [L, 1, 4d]: D decides on the minibatch, given its mean, deviation, skewness and excess kurtosis."""
    mean = samples.mean(1, keepdim=True)
    deviations = samples - mean
    squares = deviations * deviations
    variance = squares.mean(1, keepdim=True)
    deviation = (variance + 1e-12).sqrt()  # a collapsed batch has deviation 0, where the root has no derivative
    scores = deviations / deviation
    skewness = (scores * scores * scores).mean(1, keepdim=True)
    kurtosis = (scores * scores * scores * scores).mean(1, keepdim=True) - 3
    return torch.cat((mean, deviation, skewness, kurtosis), 2)
