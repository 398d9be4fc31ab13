"""The families written down again in torch.nn, and their numbers by the core's names and in its layouts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from gan_core.config import GanConfig, StructureConfig

DROPOUT = 13  # what a random number is for: the core's streams by number


def keyed(seed: int, purpose: int, *seen: int) -> np.random.Generator:
    counter = [0, *seen, 0, 0, 0][:4]
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=counter))


@dataclass
class Pass:
    """What dropout is keyed by in one pass through a network."""

    seed: int = 0
    images_seen: int = 0
    number: int = 0
    dropouts: int = 0


class KeyedDropout(nn.Module):
    """torch.nn.Dropout with a mask that can be drawn again."""

    def __init__(self, share: float, now: Pass) -> None:
        super().__init__()
        self.share, self.now = share, now

    def forward(self, x: Tensor) -> Tensor:
        self.now.dropouts += 1
        if not self.share or not self.training:
            return x
        source = keyed(self.now.seed, DROPOUT, self.now.images_seen, self.now.number, self.now.dropouts)
        kept = torch.from_numpy(source.random(tuple(x.shape), np.float32)) >= self.share
        return x * kept / (1 - self.share)


class FromPixel(nn.ConvTranspose2d):
    """A latent [N, Z] taken for an image of one pixel."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(input[:, :, None, None], output_size)


class ToPixel(nn.Conv2d):
    """An image to one number, [N, 1]."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).flatten(1)


class SideBySide(nn.ModuleList):
    """Branches that see their own columns of x, or all of it."""

    def __init__(self, branches: list[nn.Sequential], columns: list[int] | None = None) -> None:
        super().__init__(branches)
        self.columns = columns

    def forward(self, x: Tensor) -> Tensor:
        parts = x.split(self.columns, 1) if self.columns else [x] * len(self)
        return torch.cat([branch(part) for branch, part in zip(self, parts, strict=True)], 1)


class Maxout(nn.Module):
    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        return x.view(len(x), -1, self.pieces).max(2)[0]


@dataclass
class Builder:
    """The families of the reference's list, layer by layer."""

    config: GanConfig
    shape: tuple[int, ...]
    classes: int
    now: Pass

    def __post_init__(self) -> None:
        s: StructureConfig = self.config.structure
        self.s, self.g, self.d, self.z = s, s.generator_width, s.discriminator_width, s.latent_size
        self.numbers = int(np.prod(self.shape))
        self.norm = s.norm

    def normed(self, features: int, images: bool = False) -> nn.Module:
        lane = self.config.lane
        kind = nn.BatchNorm2d if images else nn.BatchNorm1d
        return kind(features, eps=lane.batch_norm_eps, momentum=lane.batch_norm_momentum)

    def judged(self, layer: nn.Module) -> nn.Module:
        return parametrizations.spectral_norm(layer) if self.norm == "spectral" else layer

    def dropped(self) -> nn.Module:
        return KeyedDropout(self.config.lane.discriminator_dropout, self.now)

    def dense_discriminator(self, sizes: list[int], activation: nn.Module) -> nn.Sequential:
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            layers.append(self.judged(nn.Linear(inputs, outputs)))
            if self.norm == "batch" and i:
                layers.append(self.normed(outputs))
            layers += [activation, self.dropped()]
        return nn.Sequential(*layers, self.judged(nn.Linear(sizes[-1], 1)))

    def painted(self, inputs: int) -> list[nn.Module]:
        return [nn.Linear(inputs, self.numbers), nn.Tanh(), nn.Unflatten(1, self.shape)]

    def build(self) -> tuple[nn.Sequential, nn.Sequential]:
        return getattr(self, self.s.architecture)()

    def gaussian(self) -> tuple[nn.Sequential, nn.Sequential]:
        n = self.numbers
        inputs = {"sample": n, "minibatch": 2 * n * self.s.batch_size, "moments": 4 * n}[self.s.discriminator_input]
        generator = [nn.Linear(self.z, self.g), nn.ELU(), nn.Linear(self.g, self.g), nn.Sigmoid(), nn.Linear(self.g, n)]
        return nn.Sequential(*generator), self.dense_discriminator([inputs, self.d, self.d], nn.ELU())

    def mlp(self) -> tuple[nn.Sequential, nn.Sequential]:
        hidden = [nn.Linear(self.z, self.g), nn.ReLU(), nn.Linear(self.g, self.g), nn.ReLU()]
        discriminator = self.dense_discriminator([self.numbers, self.d, self.d], nn.LeakyReLU(0.2))
        return nn.Sequential(*hidden, *self.painted(self.g)), discriminator

    def mlp_minimax(self) -> tuple[nn.Sequential, nn.Sequential]:
        generator = nn.Sequential(nn.Linear(self.z, self.g), nn.ReLU(), *self.painted(self.g))
        return generator, self.dense_discriminator([self.numbers, self.d], nn.ReLU())

    def _doubling(self, dropout: bool) -> tuple[nn.Sequential, nn.Sequential]:
        layers: list[nn.Module] = [nn.Linear(self.z, self.g), nn.LeakyReLU(0.2)]
        for factor in (2, 4, 8):
            units = factor * self.g
            layers.append(nn.Linear(units // 2, units))
            if dropout:
                layers += [nn.LeakyReLU(0.2), KeyedDropout(self.config.lane.generator_dropout, self.now)]
            else:
                layers += [self.normed(units), nn.LeakyReLU(0.2)]
        discriminator = self.dense_discriminator([self.numbers, 2 * self.d, self.d], nn.LeakyReLU(0.2))
        return nn.Sequential(*layers, *self.painted(8 * self.g)), discriminator

    def mlp_bn(self) -> tuple[nn.Sequential, nn.Sequential]:
        return self._doubling(dropout=False)

    def mlp_dropout(self) -> tuple[nn.Sequential, nn.Sequential]:
        return self._doubling(dropout=True)

    def cgan(self) -> tuple[nn.Sequential, nn.Sequential]:
        def joined(inputs: int, outputs: int) -> list[nn.Module]:
            return [nn.Linear(inputs, outputs), self.normed(outputs), nn.ReLU()]

        def maxout(inputs: int, units: int, pieces: int) -> list[nn.Module]:
            return [self.judged(nn.Linear(inputs, units * pieces)), Maxout(pieces), self.dropped()]

        noise, classes = nn.Sequential(*joined(self.z, self.g)), nn.Sequential(*joined(self.classes, 5 * self.g))
        generator = [SideBySide([noise, classes], [self.z, self.classes]), *joined(6 * self.g, 6 * self.g)]
        label_units = max(1, round(50 / 240 * self.d))
        image, label = maxout(self.numbers, self.d, 5), maxout(self.classes, label_units, 5)
        discriminator = [
            SideBySide([nn.Sequential(*image), nn.Sequential(*label)], [self.numbers, self.classes]),
            *maxout(self.d + label_units, self.d, 4),
            self.judged(nn.Linear(self.d, 1)),
        ]
        return nn.Sequential(*generator, *self.painted(6 * self.g)), nn.Sequential(*discriminator)

    def _grown(self, inputs: int, channels: list[int], side: int) -> list[nn.Module]:
        first = FromPixel(inputs, channels[0], side, 1, 0, bias=False)
        layers = [first, nn.Identity(), self.normed(channels[0], images=True), nn.ReLU()]
        for low, high in zip(channels[:-2], channels[1:-1], strict=True):
            up = nn.ConvTranspose2d(low, high, 4, 2, 1, bias=False)
            layers += [up, self.normed(high, images=True), nn.ReLU()]
        return [*layers, nn.ConvTranspose2d(channels[-2], channels[-1], 4, 2, 1), nn.Tanh()]

    def _shrunk(self, channels: list[int], slope: float) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(zip(channels[:-1], channels[1:], strict=True)):
            batch = self.norm == "batch" and i > 0
            layers.append(self.judged(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=not batch)))
            layers += [self.normed(outputs, images=True)] if batch else []
            layers += [nn.LeakyReLU(slope), self.dropped()]
        return layers

    def dcgan(self) -> tuple[nn.Sequential, nn.Sequential]:
        """At 8x8: from 4x4 by one layer, and back to 4x4 by one."""
        assert self.shape == (1, 8, 8)
        last = self.judged(ToPixel(self.d, 1, 4, 1, 0))
        discriminator = [*self._shrunk([1, self.d], 0.2), nn.Identity(), last]
        return nn.Sequential(*self._grown(self.z, [self.g, 1], 4)), nn.Sequential(*discriminator)

    def infogan(self) -> tuple[nn.Sequential, nn.Sequential]:
        """At 8x8: from 2x2, and back to 2x2."""
        assert self.shape == (1, 8, 8)
        categorical, continuous = self.s.categorical_codes, self.s.continuous_codes
        batch = self.norm == "batch"

        def dense(inputs: int, outputs: int) -> list[nn.Module]:
            norm = [self.normed(outputs)] if batch else []
            return [self.judged(nn.Linear(inputs, outputs, bias=not batch)), *norm, nn.LeakyReLU(0.1)]

        def head(values: int) -> nn.Sequential:
            return nn.Sequential(*dense(16 * self.d, 2 * self.d), self.judged(nn.Linear(2 * self.d, values)))

        inputs = self.z + categorical + continuous
        first = [nn.Linear(inputs, 16 * self.g, bias=False), self.normed(16 * self.g), nn.ReLU()]
        generator = nn.Sequential(*first, *self._grown(16 * self.g, [2 * self.g, self.g, 1], 2))
        heads = [nn.Sequential(self.judged(nn.Linear(16 * self.d, 1)))]
        heads += [head(values) for values in (categorical, continuous) if values]
        trunk = [*self._shrunk([1, self.d, 2 * self.d], 0.1), nn.Flatten(), *dense(8 * self.d, 16 * self.d)]
        return generator, nn.Sequential(*trunk, self.dropped(), SideBySide(heads))


def numbers_of(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """A network's weights and buffers by the core's names, to be read or written, each in the core's layout."""
    for name, module in network.named_modules():
        if parametrize.is_parametrized(module):
            norm: Any = module.parametrizations.weight  # pyright: ignore[reportAttributeAccessIssue]
            own: dict[str, Any] = {"weight": norm.original, "bias": module.bias, "u": norm[0]._u, "v": norm[0]._v}
        elif "parametrizations" in name:
            continue
        else:
            own = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
        for part, tensor in own.items():
            if tensor is None or part == "num_batches_tracked":
                continue
            values = tensor.detach()
            if part == "weight" and isinstance(module, nn.Linear):
                values = values.t()
            elif part == "weight" and isinstance(module, FromPixel):
                values = values.flatten(1)
            elif part == "weight" and isinstance(module, ToPixel):
                values = values.flatten(1).t()
            yield f"{name}.{part}", values
