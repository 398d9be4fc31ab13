"""The eight families as an expert writes them with torch.nn: the networks of the benchmarks' stock trial.

They share no code with the core but the configuration that names their sizes. A first transposed convolution from one
pixel is the linear layer that it equals (the papers' "project and reshape"), and so is a last convolution to one pixel:
that is the faster stock. N batch, R decisions of D, K classes or codes.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gan_core.config.gan import GanConfig
from gan_core.config.structure import StructureConfig

CONVOLUTIONAL = ("dcgan", "infogan")


class Maxout(nn.Module):
    """[N, units * pieces] -> [N, units], the largest of each unit's pieces (Goodfellow et al. 2013)."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, self.pieces)).amax(2)


class SideBySide(nn.ModuleList):
    """Branches that see their own columns of x [N, F], or all of it, joined."""

    def __init__(self, branches: Sequence[nn.Module], columns: Sequence[int] = ()) -> None:
        super().__init__(branches)
        self.columns = list(columns)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.split(self.columns, 1) if self.columns else [x] * len(self)
        return torch.cat([branch(part) for branch, part in zip(self, parts, strict=True)], 1)


class Discriminator(nn.Module):
    """Samples [N, ...] and, where D is told, one-hot classes [N, K] -> [R, 1 + heads], the logit of each first."""

    def __init__(self, structure: StructureConfig, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.input = "image" if structure.architecture in CONVOLUTIONAL else structure.discriminator_input

    def view(self, samples: Tensor, condition: Tensor | None) -> Tensor:
        """What is decided on, [R, ...]: each sample, or the whole minibatch."""
        if self.input == "image":
            return samples
        values = samples.flatten(1)
        if condition is not None:
            return torch.cat((values, condition), 1)
        if self.input == "sample":
            return values
        mean = values.mean(0)
        deviations = values - mean
        if self.input == "minibatch":
            return torch.cat((values, deviations.square())).view(1, -1)
        deviation = (deviations.square().mean(0) + 1e-12).sqrt()
        scores = deviations / deviation
        return torch.cat((mean, deviation, scores.pow(3).mean(0), scores.pow(4).mean(0) - 3)).unsqueeze(0)

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.body(self.view(samples, condition))


class Parts:
    """The layers that one configuration's networks are made of, with its eps, momentum and shares of dropout."""

    def __init__(self, config: GanConfig) -> None:
        self.structure, self.lane = config.structure, config.lane

    def norm(self, features: int, images: bool = False) -> nn.Module:
        kind = nn.BatchNorm2d if images else nn.BatchNorm1d
        return kind(features, eps=self.lane.batch_norm_eps, momentum=self.lane.batch_norm_momentum)

    def judged_norm(self, features: int, on: bool = True, images: bool = False) -> list[nn.Module]:
        """Batch norm in D, where the structure has it there."""
        return [self.norm(features, images)] if on and self.structure.norm == "batch" else []

    def judged(self, layer: nn.Module) -> nn.Module:
        """A layer of D with weights."""
        return spectral_norm(layer) if self.structure.norm == "spectral" else layer

    def dropped(self) -> list[nn.Module]:
        """Dropout in D, where the lane has any."""
        return [nn.Dropout(self.lane.discriminator_dropout)] if self.lane.discriminator_dropout else []

    def judging(self, sizes: Sequence[int], activation: nn.Module) -> list[nn.Module]:
        """A dense D: hidden layers of these sizes after the first, its input's, then one logit."""
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            layers += [self.judged(nn.Linear(inputs, outputs)), *self.judged_norm(outputs, i > 0), activation]
            layers += self.dropped()
        return [*layers, self.judged(nn.Linear(sizes[-1], 1))]

    def shrinking(self, channels: Sequence[int], slope: float) -> list[nn.Module]:
        """Convolutions, each to half the side."""
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(zip(channels[:-1], channels[1:], strict=True)):
            norm = self.judged_norm(outputs, i > 0, images=True)
            layers += [self.judged(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=not norm)), *norm]
            layers += [nn.LeakyReLU(slope, inplace=True), *self.dropped()]
        return layers

    def growing(self, inputs: int, channels: Sequence[int], side_pixels: int) -> list[nn.Module]:
        """A projection to channels[0] maps, then transposed convolutions, each to twice the side."""
        area = side_pixels**2
        layers: list[nn.Module] = [nn.Linear(inputs, channels[0] * area, bias=False)]
        layers += [nn.Unflatten(1, (channels[0], side_pixels, side_pixels))]
        for i, (low, high) in enumerate(zip(channels[:-1], channels[1:], strict=True), start=2):
            layers += [self.norm(low, images=True), nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose2d(low, high, 4, 2, 1, bias=i == len(channels))]
        return [*layers, nn.Tanh()]


Pair = tuple[list[nn.Module], list[nn.Module]]


def painting(inputs: int, shape: tuple[int, ...]) -> list[nn.Module]:
    """The end of a dense G: a linear layer to pixels in (-1, 1)."""
    return [nn.Linear(inputs, math.prod(shape)), nn.Tanh(), nn.Unflatten(1, shape)]


def gaussian(parts: Parts, shape: tuple[int, ...], classes: int) -> Pair:
    s = parts.structure
    width, hidden, numbers = s.generator_width, s.discriminator_width, shape[0]
    inputs = {"sample": numbers, "minibatch": 2 * numbers * s.batch_size, "moments": 4 * numbers}[s.discriminator_input]
    generator = [nn.Linear(s.latent_size, width), nn.ELU(), nn.Linear(width, width), nn.Sigmoid()]
    return [*generator, nn.Linear(width, numbers)], parts.judging([inputs, hidden, hidden], nn.ELU())


def mlp(parts: Parts, shape: tuple[int, ...], classes: int) -> Pair:
    s = parts.structure
    width, hidden = s.generator_width, s.discriminator_width
    generator = [nn.Linear(s.latent_size, width), nn.ReLU(inplace=True)]
    generator += [nn.Linear(width, width), nn.ReLU(inplace=True), *painting(width, shape)]
    return generator, parts.judging([math.prod(shape), hidden, hidden], nn.LeakyReLU(0.2, inplace=True))


def mlp_minimax(parts: Parts, shape: tuple[int, ...], classes: int) -> Pair:
    s = parts.structure
    width, hidden = s.generator_width, s.discriminator_width
    generator = [nn.Linear(s.latent_size, width), nn.ReLU(inplace=True), *painting(width, shape)]
    return generator, parts.judging([math.prod(shape), hidden], nn.ReLU(inplace=True))


def mlp_deep(parts: Parts, shape: tuple[int, ...], classes: int) -> Pair:
    """`mlp_bn`, and `mlp_dropout` with dropout in the place of its batch norm."""
    s, lane = parts.structure, parts.lane
    width, hidden = s.generator_width, s.discriminator_width
    generator: list[nn.Module] = [nn.Linear(s.latent_size, width), nn.LeakyReLU(0.2, inplace=True)]
    for units in (2 * width, 4 * width, 8 * width):
        generator += [nn.Linear(units // 2, units)]
        generator += [parts.norm(units)] if s.architecture == "mlp_bn" else []
        generator += [nn.LeakyReLU(0.2, inplace=True)]
        generator += [nn.Dropout(lane.generator_dropout)] if lane.generator_dropout else []
    judging = parts.judging([math.prod(shape), 2 * hidden, hidden], nn.LeakyReLU(0.2, inplace=True))
    return [*generator, *painting(8 * width, shape)], judging


def cgan(parts: Parts, shape: tuple[int, ...], classes: int) -> Pair:
    s = parts.structure
    width, units, pixels = s.generator_width, s.discriminator_width, math.prod(shape)
    label_units = max(1, round(units * 50 / 240))

    def dense(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(inputs, outputs), parts.norm(outputs), nn.ReLU(inplace=True))

    def maxout(inputs: int, outputs: int, pieces: int, normed: bool = False) -> nn.Sequential:
        norm = parts.judged_norm(outputs * pieces, normed)
        layer = parts.judged(nn.Linear(inputs, outputs * pieces))
        return nn.Sequential(layer, *norm, Maxout(pieces), *parts.dropped())

    joined = SideBySide([dense(s.latent_size, width), dense(classes, 5 * width)], (s.latent_size, classes))
    seen = SideBySide([maxout(pixels, units, 5), maxout(classes, label_units, 5)], (pixels, classes))
    judging = [seen, maxout(units + label_units, units, 4, normed=True), parts.judged(nn.Linear(units, 1))]
    return [joined, dense(6 * width, 6 * width), *painting(6 * width, shape)], judging


def dcgan(parts: Parts, shape: tuple[int, ...], classes: int) -> Pair:
    s, start, factors = parts.structure, shape[1], [1]
    while start % 2 == 0 and start // 2 >= 4:
        start, factors = start // 2, [*factors, 2 * factors[-1]]
    up = [s.generator_width * factor for factor in reversed(factors[:-1])]
    down = [s.discriminator_width * factor for factor in factors[:-1]]
    judging = [*parts.shrinking([shape[0], *down], 0.2), nn.Flatten()]
    judging += [parts.judged(nn.Linear(down[-1] * start**2, 1))]
    return parts.growing(s.latent_size, [*up, shape[0]], start), judging


def infogan(parts: Parts, shape: tuple[int, ...], classes: int) -> Pair:
    s, side = parts.structure, shape[1] // 4
    width, hidden = s.generator_width, s.discriminator_width
    latent = s.latent_size + s.categorical_codes + s.continuous_codes

    def dense(inputs: int, outputs: int) -> list[nn.Module]:
        norm = parts.judged_norm(outputs)
        return [parts.judged(nn.Linear(inputs, outputs, bias=not norm)), *norm, nn.LeakyReLU(0.1, inplace=True)]

    def head(values: int) -> nn.Module:
        return nn.Sequential(*dense(16 * hidden, 2 * hidden), parts.judged(nn.Linear(2 * hidden, values)))

    first = [nn.Linear(latent, 16 * width, bias=False), parts.norm(16 * width), nn.ReLU(inplace=True)]
    heads = [head(values) for values in (s.categorical_codes, s.continuous_codes) if values]
    judging = [*parts.shrinking([shape[0], hidden, 2 * hidden], 0.1), nn.Flatten()]
    judging += [*dense(2 * hidden * side**2, 16 * hidden), *parts.dropped()]
    judging += [SideBySide([parts.judged(nn.Linear(16 * hidden, 1)), *heads])]
    return [*first, *parts.growing(16 * width, [2 * width, width, shape[0]], side)], judging


FAMILIES: dict[str, Callable[[Parts, tuple[int, ...], int], Pair]] = {
    "gaussian": gaussian,
    "mlp": mlp,
    "mlp_bn": mlp_deep,
    "mlp_minimax": mlp_minimax,
    "mlp_dropout": mlp_deep,
    "cgan": cgan,
    "dcgan": dcgan,
    "infogan": infogan,
}


def stock_networks(
    config: GanConfig, sample_shape: tuple[int, ...], classes: int
) -> tuple[nn.Sequential, Discriminator]:
    """G, from latents [N, Z], and D, for samples of this shape ([C, H, W] or [d]) and a data set of so many classes."""
    generator, judging = FAMILIES[config.structure.architecture](Parts(config), sample_shape, classes)
    return nn.Sequential(*generator), Discriminator(config.structure, nn.Sequential(*judging))
