"""Data sets of numbers whose distribution is known exactly: mixtures of normal distributions of equal weight.

K modes, d numbers per sample (1 or 2). The distribution is computed in float64; samples are float32.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gan_core.config.dataset_name import DatasetName

BRACKET_DEVIATIONS = 40.0  # the tail of a normal distribution beyond this is 0 in float64


@dataclass(frozen=True, eq=False)
class Mixture:
    """K isotropic normal distributions of equal weight. means: float64 [K, d]; deviations: float64 [K], above 0."""

    means: Tensor
    deviations: Tensor

    @property
    def modes(self) -> int:
        return len(self.means)

    @property
    def value_size(self) -> int:
        return self.means.shape[1]

    @property
    def mean(self) -> Tensor:
        """The mean of the mixture: float64 [d]."""
        return self.means.mean(0)

    @property
    def deviation(self) -> Tensor:
        """The standard deviation along each axis, by the law of total variance: float64 [d]."""
        between = (self.means - self.mean).square()
        return (self.deviations.square()[:, None] + between).mean(0).sqrt()

    def draw(self, count: int, source: np.random.Generator) -> Tensor:
        """Independent samples: float32 [count, d]. With a single mode, no mode is drawn from the source."""
        normals = torch.from_numpy(source.standard_normal((count, self.value_size), dtype=np.float32))
        modes = torch.from_numpy(source.integers(self.modes, size=count)) if self.modes > 1 else torch.zeros(1).long()
        return normals * self.deviations.float()[modes, None] + self.means.float()[modes]

    def cdf(self, values: Tensor) -> Tensor:
        """The cumulative distribution function of a 1-D mixture: float64, of the shape of values."""
        scaled = (values.double()[..., None] - self._centres) / self.deviations
        return (torch.special.erfc(-scaled / math.sqrt(2)) / 2).mean(-1)

    def quantiles(self, count: int) -> Tensor:
        """The quantiles (i - 1/2)/count, i = 1..count, of a 1-D mixture: float64 [count], ascending.

        They are in closed form for one mode, else found by bisection down to neighbouring float64 numbers. Where the
        distribution function is flat (between modes dozens of deviations apart), it is the left end of the flat part.
        """
        if self.modes == 1:
            levels = (torch.arange(1, count + 1, dtype=torch.float64) - 0.5) / count
            mean, deviation = float(self._centres), float(self.deviations)
            return mean + deviation * math.sqrt(2) * torch.erfinv(2 * levels - 1)
        reach = BRACKET_DEVIATIONS * self.deviations
        low = torch.full((count,), float((self._centres - reach).min()), dtype=torch.float64)
        high = torch.full((count,), float((self._centres + reach).max()), dtype=torch.float64)
        while True:
            middle = low + (high - low) / 2
            if bool(((middle <= low) | (middle >= high)).all()):
                return high
            below = self._excess(middle, count) < 0
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)

    @property
    def _centres(self) -> Tensor:
        assert self.value_size == 1, "only 1-D mixtures have a distribution function and quantiles"
        return self.means[:, 0]

    def _excess(self, values: Tensor, count: int) -> Tensor:
        """K (cdf(values[i]) - (i - 1/2)/count): [count].

        Modes below the value are counted exactly, in integers, and the tails are added to that, so that no digits
        cancel far out in the tails or in the gaps between modes.
        """
        scaled = (values[:, None] - self._centres) / self.deviations  # [count, K]
        tails = torch.special.erfc(scaled.abs() / math.sqrt(2)) / 2
        passed = (scaled > 0).sum(1)
        whole = 2 * count * passed - self.modes * (2 * torch.arange(1, count + 1) - 1)
        return whole.double() / (2 * count) + torch.where(scaled > 0, -tails, tails).sum(1)


def mixture_of(name: DatasetName) -> Mixture:
    """The distribution that the name of a set of numbers stands for. Raises ValueError for a set of images."""
    numbers = torch.tensor(name.numbers, dtype=torch.float64)
    if name.kind in ("gaussian", "mixture"):
        pairs = numbers.view(-1, 2)
        return Mixture(pairs[:, :1].clone(), pairs[:, 1].clone())
    if name.kind == "ring":
        modes, radius = int(name.numbers[0]), numbers[1]
        angles = 2 * math.pi * torch.arange(modes, dtype=torch.float64) / modes
        means = radius * torch.stack((angles.cos(), angles.sin()), 1)
        return Mixture(means, numbers[2].expand(modes).clone())
    if name.kind == "grid":
        side, step = int(name.numbers[0]), numbers[1]
        places = step * (torch.arange(side, dtype=torch.float64) - (side - 1) / 2)
        return Mixture(torch.cartesian_prod(places, places), numbers[2].expand(side * side).clone())
    raise ValueError(f"data set kind {name.kind!r} is no mixture")
