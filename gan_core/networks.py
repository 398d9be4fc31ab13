"""The generators and discriminators. A new architecture is a function here and a line in ARCHITECTURES.

Discriminators return logits, one a decision. L lanes, N samples, R decisions, F features.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gan_core.config import Architecture, DiscriminatorInput, StructureConfig
from gan_core.lanes import Stream, stream
from gan_core.layers import Layer, Linear, Parameters, Reshape, elu, leaky_relu, relu, sigmoid, tanh


@dataclass(frozen=True)
class Network:
    """Layers applied in turn. Parameters are named `<layer's place>.<name>`, e.g. `0.weight`."""

    layers: tuple[Layer, ...]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameter name -> its shape in one lane."""
        return {f"{i}.{name}": shape for i, layer in enumerate(self.layers) for name, shape in layer.shapes().items()}

    def parameter_count(self) -> int:
        """Numbers that are trained, in one lane."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def initial(self, seed: int, purpose: Stream) -> dict[str, np.ndarray]:
        """One lane's initial parameters: a pure function of (seed, purpose), each layer from a stream of its own."""
        return {
            f"{i}.{name}": value
            for i, layer in enumerate(self.layers)
            for name, value in layer.initial(stream(seed, purpose, i)).items()
        }

    def __call__(self, parameters: Parameters, x: Tensor) -> Tensor:
        """X [L, N, ...] -> [L, N', ...], lane by lane."""
        for i, layer in enumerate(self.layers):
            x = layer({name: parameters[f"{i}.{name}"] for name in layer.shapes()}, x)
        return x


@dataclass(frozen=True)
class Networks:
    """One architecture. `view` turns samples [L, N, ...] into what D decides on, [L, R, F]; D answers [L, R, 1]."""

    generator: Network
    view: Callable[[Tensor], Tensor]
    discriminator: Network


def flatten_samples(samples: Tensor) -> Tensor:
    """[L, N, ...] -> [L, N, F]: D decides on each sample."""
    return samples.flatten(2)


def minibatch_view(samples: Tensor) -> Tensor:
    """[L, N, 1] -> [L, 1, 2N]: D decides on the minibatch, its values and their squared deviations from its mean."""
    values = samples.flatten(1)
    deviations = values - values.mean(1, keepdim=True)
    return torch.cat((values, deviations * deviations), 1).unsqueeze(1)


def moments_view(samples: Tensor) -> Tensor:
    """[L, N, 1] -> [L, 1, 4]: D decides on the minibatch's mean, deviation, skewness and excess kurtosis."""
    values = samples.flatten(1)
    mean = values.mean(1, keepdim=True)
    deviations = values - mean
    squares = deviations * deviations
    variance = squares.mean(1, keepdim=True)
    deviation = (variance + 1e-12).sqrt()  # a collapsed batch has deviation 0, where the root has no slope
    scores = deviations / deviation
    skewness = (scores * scores * scores).mean(1, keepdim=True)
    kurtosis = (scores * scores * scores * scores).mean(1, keepdim=True) - 3
    return torch.cat((mean, deviation, skewness, kurtosis), 1).unsqueeze(1)


def gaussian(structure: StructureConfig, sample_shape: tuple[int, ...]) -> Networks:
    """The 1-D GAN that sees a minibatch as one input (N. Nag's `pytorch-generative-adversarial-networks`, 2017)."""
    width, hidden = structure.generator_width, structure.discriminator_width
    views: dict[DiscriminatorInput, tuple[Callable[[Tensor], Tensor], int]] = {
        "sample": (flatten_samples, 1),
        "minibatch": (minibatch_view, 2 * structure.batch_size),
        "moments": (moments_view, 4),
    }
    view, features = views[structure.discriminator_input]
    return Networks(
        Network((Linear(structure.latent_size, width), elu, Linear(width, width), sigmoid, Linear(width, 1))),
        view,
        Network((Linear(features, hidden), elu, Linear(hidden, hidden), elu, Linear(hidden, 1))),
    )


def mlp(structure: StructureConfig, sample_shape: tuple[int, ...]) -> Networks:
    """Two hidden layers in G and in D; samples in [-1, 1]."""
    width, hidden, pixels = structure.generator_width, structure.discriminator_width, math.prod(sample_shape)
    generator = (
        Linear(structure.latent_size, width),
        relu,
        Linear(width, width),
        relu,
        Linear(width, pixels),
        tanh,
        Reshape(sample_shape),
    )
    slope = leaky_relu(0.2)
    return Networks(
        Network(generator),
        flatten_samples,
        Network((Linear(pixels, hidden), slope, Linear(hidden, hidden), slope, Linear(hidden, 1))),
    )


ARCHITECTURES: dict[Architecture, Callable[[StructureConfig, tuple[int, ...]], Networks]] = {
    "gaussian": gaussian,
    "mlp": mlp,
}


def build_networks(structure: StructureConfig, sample_shape: tuple[int, ...]) -> Networks:
    """The networks of a structure, for samples of this shape: [C, H, W] or [1]."""
    return ARCHITECTURES[structure.architecture](structure, sample_shape)
