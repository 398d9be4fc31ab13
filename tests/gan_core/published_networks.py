"""The eight published pairs of networks in plain torch.nn, one GAN each: a reference that shares no code with ours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

# Side of an image -> DCGAN's first feature map, and the widths of G's channels from there.
DCGAN_STAGES = {8: (4, (1,)), 28: (7, (2, 1)), 32: (4, (4, 2, 1)), 64: (4, (8, 4, 2, 1))}


@dataclass(frozen=True)
class Published:
    """What is built: widths are those of the family's first layers; condition: classes of cgan, codes of infogan."""

    architecture: str
    generator_width: int
    discriminator_width: int
    noise: int
    side_pixels: int = 0
    channels: int = 1
    norm: str = "none"
    condition: int = 0
    continuous: int = 0
    batch: int = 0
    decides_on: str = "sample"

    @property
    def pixels(self) -> int:
        return self.channels * self.side_pixels**2


class Maxout(nn.Module):
    def __init__(self, units: int, pieces: int) -> None:
        super().__init__()
        self.units, self.pieces = units, pieces

    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1, self.units, self.pieces).max(dim=2)[0]


class KeyedDropout(nn.Module):
    """Dropout whose mask is drawn as documented, place being its number among the dropouts of one network."""

    share, seed, seen, place = 0.0, 0, (0, 0), 0
    purpose = 13

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.share:
            return x
        philox = np.random.Philox(key=[self.seed, self.purpose], counter=[0, *self.seen, self.place])
        drawn = np.random.Generator(philox).random(tuple(x.shape), dtype=np.float32)
        return x * torch.from_numpy(drawn >= self.share) / (1 - self.share)


class Joined(nn.Module):
    """Modules of their own on parts of the input, joined."""

    def __init__(self, first: nn.Module, second: nn.Module, sizes: tuple[int, int]) -> None:
        super().__init__()
        self.first, self.second, self.sizes = first, second, sizes

    def forward(self, x: Tensor) -> Tensor:
        one, other = x.split(self.sizes, 1)
        return torch.cat((self.first(one), self.second(other)), 1)


class Heads(nn.Module):
    """Modules that all see the same."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.parts], 1)


def _painted(made: list[nn.Module], inputs: int, of: Published) -> nn.Sequential:
    shape = (of.channels, of.side_pixels, of.side_pixels)
    return nn.Sequential(*made, nn.Linear(inputs, of.pixels), nn.Tanh(), nn.Unflatten(1, shape))


def _upsampled(made: list[nn.Module], channels: Sequence[int]) -> nn.Sequential:
    for inputs, outputs in zip(channels[:-2], channels[1:-1], strict=True):
        convolution = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)
        made += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*made, nn.ConvTranspose2d(channels[-2], channels[-1], 4, 2, 1), nn.Tanh())


def _normed_relu(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]


def generator(of: Published) -> nn.Sequential:
    width, latent = of.generator_width, of.noise + of.condition + of.continuous
    if of.architecture == "gaussian":
        return nn.Sequential(
            nn.Linear(latent, width), nn.ELU(), nn.Linear(width, width), nn.Sigmoid(), nn.Linear(width, 1)
        )
    if of.architecture == "mlp":
        return _painted([nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()], width, of)
    if of.architecture == "mlp_minimax":
        return _painted([nn.Linear(latent, width), nn.ReLU()], width, of)
    if of.architecture in ("mlp_bn", "mlp_dropout"):
        made: list[nn.Module] = [nn.Linear(latent, width), nn.LeakyReLU(0.2)]
        for inputs, outputs in ((width, 2 * width), (2 * width, 4 * width), (4 * width, 8 * width)):
            made.append(nn.Linear(inputs, outputs))
            normed = of.architecture == "mlp_bn"
            made += [nn.BatchNorm1d(outputs), nn.LeakyReLU(0.2)] if normed else [nn.LeakyReLU(0.2), KeyedDropout()]
        return _painted(made, 8 * width, of)
    if of.architecture == "cgan":
        first = nn.Sequential(*_normed_relu(of.noise, width))
        second = nn.Sequential(*_normed_relu(of.condition, 5 * width))
        joined = Joined(first, second, (of.noise, of.condition))
        return _painted([joined, *_normed_relu(6 * width, 6 * width)], 6 * width, of)
    if of.architecture == "dcgan":
        start, factors = DCGAN_STAGES[of.side_pixels]
        channels = [factor * width for factor in factors]
        made = [nn.Unflatten(1, (latent, 1, 1)), nn.ConvTranspose2d(latent, channels[0], start, 1, 0, bias=False)]
        return _upsampled([*made, nn.BatchNorm2d(channels[0]), nn.ReLU()], [*channels, of.channels])
    side = of.side_pixels // 4
    made = [nn.Unflatten(1, (latent, 1, 1)), nn.ConvTranspose2d(latent, 16 * width, 1, 1, 0, bias=False)]
    made += [nn.BatchNorm2d(16 * width), nn.ReLU(), nn.ConvTranspose2d(16 * width, 2 * width, side, 1, 0, bias=False)]
    return _upsampled([*made, nn.BatchNorm2d(2 * width), nn.ReLU()], [2 * width, width, of.channels])


class Discriminator(nn.Module):
    """Samples [N, ...] and one-hot classes [N, K] -> [R, H]."""

    def __init__(self, of: Published) -> None:
        super().__init__()
        self.of = of
        self.body = _discriminator_body(of)
        if of.norm == "spectral":
            for module in list(self.body.modules()):
                if isinstance(module, nn.Linear | nn.Conv2d):
                    spectral_norm(module)
        for place, module in enumerate(m for m in self.body.modules() if isinstance(m, KeyedDropout)):
            module.place = place + 1

    def forward(self, samples: Tensor, condition: Tensor | None) -> Tensor:
        if self.of.architecture in ("dcgan", "infogan"):
            return self.body(samples).flatten(1)
        if self.of.decides_on == "minibatch":
            values = samples.flatten()
            return self.body(torch.cat((values, (values - values.mean()) ** 2)).view(1, -1))
        rows = samples.flatten(1)
        return self.body(rows if condition is None else torch.cat((rows, condition), 1))


def _dense(sizes: Sequence[int], activation: nn.Module, norm: str) -> nn.Sequential:
    made: list[nn.Module] = []
    for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
        made.append(nn.Linear(inputs, outputs))
        if norm == "batch" and len(made) > 1:
            made.append(nn.BatchNorm1d(outputs))
        made += [activation, KeyedDropout()]
    return nn.Sequential(*made, nn.Linear(sizes[-1], 1))


def _downsampled(channels: Sequence[int], slope: float, norm: str) -> list[nn.Module]:
    made: list[nn.Module] = []
    for inputs, outputs in zip(channels[:-1], channels[1:], strict=True):
        normed = norm == "batch" and len(made) > 0
        made.append(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=not normed))
        made += [nn.BatchNorm2d(outputs)] if normed else []
        made += [nn.LeakyReLU(slope), KeyedDropout()]
    return made


def _discriminator_body(of: Published) -> nn.Module:
    width = of.discriminator_width
    if of.architecture == "gaussian":
        inputs = 2 * of.batch if of.decides_on == "minibatch" else 1
        return _dense((inputs, width, width), nn.ELU(), of.norm)
    if of.architecture == "mlp":
        return _dense((of.pixels, width, width), nn.LeakyReLU(0.2), of.norm)
    if of.architecture == "mlp_minimax":
        return _dense((of.pixels, width), nn.ReLU(), of.norm)
    if of.architecture in ("mlp_bn", "mlp_dropout"):
        return _dense((of.pixels, 2 * width, width), nn.LeakyReLU(0.2), of.norm)
    if of.architecture == "cgan":
        labels = max(1, round(width * 50 / 240))
        image = nn.Sequential(nn.Linear(of.pixels, 5 * width), Maxout(width, 5), KeyedDropout())
        label = nn.Sequential(nn.Linear(of.condition, 5 * labels), Maxout(labels, 5), KeyedDropout())
        norm = [nn.BatchNorm1d(4 * width)] if of.norm == "batch" else []
        joined = [nn.Linear(width + labels, 4 * width), *norm, Maxout(width, 4), KeyedDropout()]
        return nn.Sequential(Joined(image, label, (of.pixels, of.condition)), *joined, nn.Linear(width, 1))
    if of.architecture == "dcgan":
        start, factors = DCGAN_STAGES[of.side_pixels]
        channels = [width * factor for factor in reversed(factors)]
        return nn.Sequential(
            *_downsampled([of.channels, *channels], 0.2, of.norm), nn.Conv2d(channels[-1], 1, start, 1, 0)
        )
    return _infogan_body(of)


def _infogan_body(of: Published) -> nn.Sequential:
    width, normed = of.discriminator_width, of.norm == "batch"

    def norm(features: int) -> list[nn.Module]:
        return [nn.BatchNorm1d(features)] if normed else []

    def head(values: int) -> nn.Module:
        hidden = nn.Linear(16 * width, 2 * width, bias=not normed)
        return nn.Sequential(hidden, *norm(2 * width), nn.LeakyReLU(0.1), nn.Linear(2 * width, values))

    whole = nn.Conv2d(2 * width, 16 * width, of.side_pixels // 4, bias=not normed)
    heads = Heads([nn.Linear(16 * width, 1), head(of.condition), head(of.continuous)])
    return nn.Sequential(
        *_downsampled([of.channels, width, 2 * width], 0.1, of.norm),
        whole,
        nn.Flatten(),
        *norm(16 * width),
        nn.LeakyReLU(0.1),
        KeyedDropout(),
        heads,
    )
