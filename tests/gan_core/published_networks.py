"""The eight published pairs of networks in plain torch.nn, one GAN each: a reference that shares no code with ours.

Written layer by layer from the papers and programs that each family names. Read of ours is only the configuration that
names the sizes. By the papers, not by how we compute it, stand transposed convolutions where ours are linear layers.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gan_core.config.structure import StructureConfig

DROPOUT = 13  # the core's stream, by number
# Side of an image -> DCGAN's first feature map, and the widths of G's channels from there.
DCGAN_STAGES = {8: (4, (1,)), 28: (7, (2, 1)), 32: (4, (4, 2, 1)), 64: (4, (8, 4, 2, 1))}
Pair = tuple[list[nn.Module], list[nn.Module]]


def keyed(seed: int, purpose: int, *seen: int) -> np.random.Generator:
    """Random numbers as documented: Philox by key and counter."""
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=[0, *seen, 0, 0, 0][:4]))


@dataclass
class Pass:
    """What dropout masks are keyed by in one pass; real and fake samples one after the other may be one."""

    seed: int = 0
    images_seen: int = 0
    number: int = 0
    dropouts: int = 0


class KeyedDropout(nn.Module):
    """Dropout with a mask that can be drawn again. `drop` says how much, and what it is keyed by."""

    def __init__(self) -> None:
        super().__init__()
        self.share, self.now = 0.0, Pass()

    def forward(self, x: Tensor) -> Tensor:
        self.now.dropouts += 1
        if not self.training or not self.share:
            return x
        source = keyed(self.now.seed, DROPOUT, self.now.images_seen, self.now.number, self.now.dropouts)
        return x * torch.from_numpy(source.random(tuple(x.shape), np.float32) >= self.share) / (1 - self.share)


def drop(network: nn.Module, share: float, now: Pass) -> None:
    """Gives all dropouts of a network their share, and the pass that they follow."""
    for module in network.modules():
        if isinstance(module, KeyedDropout):
            module.share, module.now = share, now


class Maxout(nn.Module):
    """The largest of each unit's pieces (Goodfellow et al. 2013)."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        return x.view(len(x), -1, self.pieces).max(2)[0]


class SideBySide(nn.ModuleList):
    """Branches that see their own columns of x, or all of it, joined."""

    def __init__(self, branches: Sequence[nn.Module], columns: Sequence[int] = ()) -> None:
        super().__init__(branches)
        self.columns = list(columns)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.split(self.columns, 1) if self.columns else [x] * len(self)
        return torch.cat([branch(part) for branch, part in zip(self, parts, strict=True)], 1)


class Discriminator(nn.Module):
    """Samples [N, ...] and, where it is conditional, one-hot classes [N, K] -> [R, H]."""

    def __init__(self, structure: StructureConfig, body: nn.Sequential) -> None:
        super().__init__()
        self.structure, self.body = structure, body

    def view(self, samples: Tensor, condition: Tensor | None) -> Tensor:
        """What is decided on."""
        if self.structure.architecture in ("dcgan", "infogan"):
            return samples
        values = samples.flatten(1)
        if self.structure.architecture == "cgan":
            assert condition is not None
            return torch.cat((values, condition), 1)
        if self.structure.discriminator_input == "sample":
            return values
        mean = values.mean(0)
        if self.structure.discriminator_input == "minibatch":
            return torch.cat((values, (values - mean) ** 2)).view(1, -1)
        deviation = (values.var(0, correction=0) + 1e-12) ** 0.5
        scores = (values - mean) / deviation
        return torch.cat((mean, deviation, (scores**3).mean(0), (scores**4).mean(0) - 3)).unsqueeze(0)

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.body(self.view(samples, condition))


def _normed(features: int, on: bool, images: bool = False) -> list[nn.Module]:
    return [nn.BatchNorm2d(features) if images else nn.BatchNorm1d(features)] if on else []


def _judging(s: StructureConfig, sizes: Sequence[int], activation: nn.Module) -> list[nn.Module]:
    """Batch norm stands in every hidden layer of a D but the first (Radford et al. 2016, section 3)."""
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        layers += [nn.Linear(inputs, outputs), *_normed(outputs, s.norm == "batch" and i > 0)]
        layers += [activation, KeyedDropout()]
    return [*layers, nn.Linear(sizes[-1], 1)]


def _painting(inputs: int, shape: tuple[int, ...]) -> list[nn.Module]:
    return [nn.Linear(inputs, math.prod(shape)), nn.Tanh(), nn.Unflatten(1, shape)]


def gaussian(s: StructureConfig, shape: tuple[int, ...], classes: int) -> Pair:
    """N. Nag, `pytorch-generative-adversarial-networks`, 2017; D sees a minibatch as one input."""
    width, hidden, numbers = s.generator_width, s.discriminator_width, shape[0]
    inputs = {"sample": numbers, "minibatch": 2 * numbers * s.batch_size, "moments": 4 * numbers}[s.discriminator_input]
    generator = [nn.Linear(s.latent_size, width), nn.ELU(), nn.Linear(width, width), nn.Sigmoid()]
    return [*generator, nn.Linear(width, numbers)], _judging(s, [inputs, hidden, hidden], nn.ELU())


def mlp(s: StructureConfig, shape: tuple[int, ...], classes: int) -> Pair:
    """Goodfellow et al. 2014, with two hidden layers of one width in G and in D."""
    width, hidden = s.generator_width, s.discriminator_width
    generator = [nn.Linear(s.latent_size, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
    judging = _judging(s, [math.prod(shape), hidden, hidden], nn.LeakyReLU(0.2))
    return [*generator, *_painting(width, shape)], judging


def mlp_minimax(s: StructureConfig, shape: tuple[int, ...], classes: int) -> Pair:
    """J. Tomczak, "Deep Generative Modeling", 2022, chapter 7."""
    generator = [nn.Linear(s.latent_size, s.generator_width), nn.ReLU(), *_painting(s.generator_width, shape)]
    return generator, _judging(s, [math.prod(shape), s.discriminator_width], nn.ReLU())


def mlp_bn(s: StructureConfig, shape: tuple[int, ...], classes: int) -> Pair:
    """E. Linder-Noren, `PyTorch-GAN`, 2018: gan.py. `mlp_dropout` has dropout in the place of G's batch norm."""
    width, hidden = s.generator_width, s.discriminator_width
    generator: list[nn.Module] = [nn.Linear(s.latent_size, width), nn.LeakyReLU(0.2)]
    for units in (2 * width, 4 * width, 8 * width):
        generator += [nn.Linear(units // 2, units), *_normed(units, s.architecture == "mlp_bn"), nn.LeakyReLU(0.2)]
        generator += [KeyedDropout()] if s.architecture == "mlp_dropout" else []
    judging = _judging(s, [math.prod(shape), 2 * hidden, hidden], nn.LeakyReLU(0.2))
    return [*generator, *_painting(8 * width, shape)], judging


def cgan(s: StructureConfig, shape: tuple[int, ...], classes: int) -> Pair:
    """Mirza & Osindero 2014, section 4.1, where D has 240 x 5, 50 x 5 and 240 x 4 units x pieces."""
    width, units, pixels, labels = s.generator_width, s.discriminator_width, math.prod(shape), classes
    label_units = max(1, round(units * 50 / 240))

    def dense(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU())

    def maxout(inputs: int, outputs: int, pieces: int, batch: bool = False) -> nn.Sequential:
        norm = _normed(outputs * pieces, batch)
        return nn.Sequential(nn.Linear(inputs, outputs * pieces), *norm, Maxout(pieces), KeyedDropout())

    joined = SideBySide([dense(s.latent_size, width), dense(labels, 5 * width)], (s.latent_size, labels))
    seen = SideBySide([maxout(pixels, units, 5), maxout(labels, label_units, 5)], (pixels, labels))
    judging = [seen, maxout(units + label_units, units, 4, s.norm == "batch"), nn.Linear(units, 1)]
    return [joined, dense(6 * width, 6 * width), *_painting(6 * width, shape)], judging


def _grown(inputs: int, channels: Sequence[int], side_pixels: int) -> list[nn.Module]:
    """From one pixel to a side, and then to twice the side with each of the channels that follow."""
    layers: list[nn.Module] = [nn.ConvTranspose2d(inputs, channels[0], side_pixels, 1, 0, bias=False)]
    for low, high in zip(channels[:-2], channels[1:-1], strict=True):
        layers += [nn.BatchNorm2d(low), nn.ReLU(), nn.ConvTranspose2d(low, high, 4, 2, 1, bias=False)]
    last = nn.ConvTranspose2d(channels[-2], channels[-1], 4, 2, 1)
    return [*layers, nn.BatchNorm2d(channels[-2]), nn.ReLU(), last, nn.Tanh()]


def _shrunk(s: StructureConfig, channels: Sequence[int], slope: float) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(zip(channels[:-1], channels[1:], strict=True)):
        batch = s.norm == "batch" and i > 0
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=not batch), *_normed(outputs, batch, images=True)]
        layers += [nn.LeakyReLU(slope), KeyedDropout()]
    return layers


def dcgan(s: StructureConfig, shape: tuple[int, ...], classes: int) -> Pair:
    """Radford et al. 2016."""
    start, factors = DCGAN_STAGES[shape[1]]
    up = [s.generator_width * factor for factor in factors]
    down = [s.discriminator_width * factor for factor in reversed(factors)]
    judging = [*_shrunk(s, [shape[0], *down], 0.2), nn.Conv2d(down[-1], 1, start, 1, 0), nn.Flatten()]
    return [nn.Unflatten(1, (s.latent_size, 1, 1)), *_grown(s.latent_size, [*up, shape[0]], start)], judging


def infogan(s: StructureConfig, shape: tuple[int, ...], classes: int) -> Pair:
    """Chen et al. 2016, appendix C.1; each kind of code has a head of its own."""
    width, hidden, batch, side_pixels = s.generator_width, s.discriminator_width, s.norm == "batch", shape[1] // 4
    latent = s.latent_size + s.categorical_codes + s.continuous_codes

    def head(values: int) -> nn.Sequential:
        first = nn.Linear(16 * hidden, 2 * hidden, bias=not batch)
        return nn.Sequential(first, *_normed(2 * hidden, batch), nn.LeakyReLU(0.1), nn.Linear(2 * hidden, values))

    generator = [nn.Unflatten(1, (latent, 1, 1)), nn.ConvTranspose2d(latent, 16 * width, 1, 1, 0, bias=False)]
    generator += [nn.BatchNorm2d(16 * width), nn.ReLU()]
    generator += _grown(16 * width, [2 * width, width, shape[0]], side_pixels)
    whole = [nn.Conv2d(2 * hidden, 16 * hidden, side_pixels, bias=not batch), nn.Flatten()]
    whole += [*_normed(16 * hidden, batch), nn.LeakyReLU(0.1), KeyedDropout()]
    heads = [head(values) for values in (s.categorical_codes, s.continuous_codes) if values]
    judging = [*_shrunk(s, [shape[0], hidden, 2 * hidden], 0.1), *whole]
    return generator, [*judging, SideBySide([nn.Linear(16 * hidden, 1), *heads])]


FAMILIES: dict[str, Callable[[StructureConfig, tuple[int, ...], int], Pair]] = {
    "gaussian": gaussian,
    "mlp": mlp,
    "mlp_bn": mlp_bn,
    "mlp_minimax": mlp_minimax,
    "mlp_dropout": mlp_bn,
    "cgan": cgan,
    "dcgan": dcgan,
    "infogan": infogan,
}


def published(structure: StructureConfig, shape: tuple[int, ...], classes: int) -> tuple[nn.Sequential, Discriminator]:
    """G and D of a structure, float64, for samples of this shape and a data set of so many classes."""
    generator, judging = FAMILIES[structure.architecture](structure, shape, classes)
    body = nn.Sequential(*judging)
    if structure.norm == "spectral":
        for module in list(body.modules()):
            if isinstance(module, nn.Linear | nn.Conv2d):
                spectral_norm(module)
    return nn.Sequential(*generator).double(), Discriminator(structure, body).double()
