"""How rough images are at several scales: features that see pixel noise and blur, which a small classifier does not.

n images, C, H, W an image, S scales, D = S * FILTERS features.
"""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.config.input_error import InputError
from gan_core.data.dataset import Dataset
from gan_core.lanes.axis import lane_arithmetic
from gan_core.lanes.streams import Stream, stream

FILTERS = 8  # at each scale
SIDE_PIXELS = 3  # of a filter
SMALLEST_PIXELS = 4
MOST_SCALES = 4  # each half as large as the one before
MOST_IMAGES = 2_000  # of the training split, evenly spaced, for the floors
FLOOR = 0.5  # of the mean energy of real images: what lies far below it does not count as a difference
SEED = 0
RECIPE = f"1:{FILTERS}:{SIDE_PIXELS}:{MOST_SCALES}:{MOST_IMAGES}:{FLOOR}:{SEED}"


@dataclass(frozen=True)
class Textures:
    """Images -> ln(energy + floor) / 2 of fixed random filters, at each scale: D features.

    The energy is the mean over an image of a filter's squared response. Filters have a mean of zero in each channel, so
    flat areas of any colour have none; white noise raises the finest scale most, blur lowers it, and in a logarithm
    both show in proportion. Random filters serve such statistics as well as trained ones (Ustyuzhaninov et al. 2017,
    "What does it take to generate natural textures?"). The floor keeps a few still images from weighing more than all
    others. name: with a hash of data and recipe; filters: one [FILTERS, C, 3, 3] a scale; floors: [D].
    """

    name: str
    filters: tuple[Tensor, ...]
    floors: Tensor
    classifies: bool = False
    weights: str = ""

    @property
    def features(self) -> int:
        """D."""
        return len(self.floors)

    def __call__(self, images: Tensor) -> tuple[Tensor, None]:
        """[n, C, H, W] in [-1, 1] -> features [n, D], on the images' own device."""
        return (_energies(images, self.filters) + self.floors).log() / 2, None

    def to(self, device: torch.device | str) -> "Textures":
        """The same features on another device; these stay where they are."""
        filters = tuple(part.to(device) for part in self.filters)
        return replace(self, filters=filters, floors=self.floors.to(device))


def fit_textures(dataset: Dataset) -> Textures:
    """The texture features of an image data set: what is fitted are the floors alone, to the training split.

    Raises InputError where images are smaller than SMALLEST_PIXELS.
    """
    channels, *sides = dataset.sample_shape
    if min(sides) < SMALLEST_PIXELS:
        raise InputError(
            f"features of textures need images of at least {SMALLEST_PIXELS}x{SMALLEST_PIXELS} pixels, and those of "
            f"data set {dataset.name!r} are {list(dataset.sample_shape)}; choose 'pca'"
        )
    scales = 1
    while scales < MOST_SCALES and min(sides) >> scales >= SMALLEST_PIXELS:
        scales += 1
    filters = tuple(_filters(channels, scale) for scale in range(scales))
    count = min(MOST_IMAGES, len(dataset.train_samples))
    chosen = torch.arange(count) * len(dataset.train_samples) // count
    with lane_arithmetic():
        energies = torch.cat([_energies(part, filters) for part in dataset.train[chosen].split(500)]).mean(0)
    floors = FLOOR * energies.clamp_min(torch.finfo(torch.float32).tiny)
    digest = hashlib.sha256(f"{RECIPE}:{dataset.digest}".encode()).hexdigest()[:12]
    return Textures(f"textures{len(floors)}-{digest}", filters, floors)


def _filters(channels: int, scale: int) -> Tensor:
    """[FILTERS, C, 3, 3] from a keyed stream, each of norm 1 and without a mean in any channel."""
    shape = (FILTERS, channels, SIDE_PIXELS, SIDE_PIXELS)
    drawn = stream(SEED, Stream.FEATURE_WEIGHTS, 100 + scale).standard_normal(shape, dtype=np.float32)
    drawn -= drawn.mean((2, 3), keepdims=True)
    return torch.from_numpy(drawn / np.sqrt(np.square(drawn).sum((1, 2, 3), keepdims=True)))


def _energies(images: Tensor, filters: tuple[Tensor, ...]) -> Tensor:
    """[n, C, H, W] -> mean squared responses [n, D], the finest scale first."""
    found = []
    for scale, weights in enumerate(filters):
        if scale:
            images = F.avg_pool2d(images, 2)
        found.append(F.conv2d(images, weights).square().mean((2, 3)))
    return torch.cat(found, 1)
