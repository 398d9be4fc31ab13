"""Texture features: the roughness of images at several scales, which shows the noise and blur that a classifier misses.

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
from gan_core.fidelity.fitted import Fitted
from gan_core.lanes.axis import lane_arithmetic
from gan_core.lanes.streams import Stream, stream

FILTERS = 8  # at each scale
SIDE_PIXELS = 3  # of a filter
SMALLEST_PIXELS = 4
MOST_SCALES = 4  # the image is halved from one to the next
MOST_IMAGES = 2_000  # of the training split, evenly spaced, to fit the floors
FLOOR = 0.5  # of the mean energy of real images; differences between energies far below it do not count
SEED = 0
RECIPE = f"1:{FILTERS}:{SIDE_PIXELS}:{MOST_SCALES}:{MOST_IMAGES}:{FLOOR}:{SEED}"


@dataclass(frozen=True)
class Textures:
    """Gives ln(energy + floor) / 2 of fixed random filters at each scale: D features.

    The energy is the mean over the image of the squared response of a filter. Filters have zero mean in each channel,
    so flat areas of any colour have no energy. White noise raises the energy at the finest scale most and blur lowers
    it; the logarithm shows both in proportion. Random filters serve such statistics as well as trained ones
    (Ustyuzhaninov et al. 2017, "What does it take to generate natural textures?"). The floor keeps a few nearly flat
    images from dominating. name: includes a hash of the data and the recipe; filters: [FILTERS, C, 3, 3] for each
    scale; floors: [D].
    """

    name: str
    filters: tuple[Tensor, ...]
    floors: Tensor
    classifies: bool = False
    weights: str = ""

    @property
    def features(self) -> int:
        """D, the number of features."""
        return len(self.floors)

    def __call__(self, images: Tensor) -> tuple[Tensor, None]:
        """Features [n, D] of images [n, C, H, W] in [-1, 1], on the same device."""
        return (_energies(images, self.filters) + self.floors).log() / 2, None

    def to(self, device: torch.device | str) -> "Textures":
        """A copy on another device."""
        filters = tuple(part.to(device) for part in self.filters)
        return replace(self, filters=filters, floors=self.floors.to(device))


def fit_textures(dataset: Dataset, fitted: Fitted | None = None) -> Textures:
    """The texture features of an image data set. Only their floors are fitted to the training split.

    fitted: holds them, and they are then used as they are, or is given them. Raises InputError if the images are
    smaller than SMALLEST_PIXELS.
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
    found = (fitted or Fitted()).part("textures", lambda: _fit(dataset, channels, scales))
    digest = hashlib.sha256(f"{RECIPE}:{dataset.digest}".encode()).hexdigest()[:12]
    filters = tuple(found[f"filters{scale}"] for scale in range(scales))
    return Textures(f"textures{len(found['floors'])}-{digest}", filters, found["floors"])


def _fit(dataset: Dataset, channels: int, scales: int) -> dict[str, Tensor]:
    filters = tuple(_filters(channels, scale) for scale in range(scales))
    count = min(MOST_IMAGES, len(dataset.train_samples))
    chosen = torch.arange(count) * len(dataset.train_samples) // count
    with lane_arithmetic():
        parts = dataset.train_numbers(chosen).split(500)
        energies = torch.cat([_energies(part, filters) for part in parts]).mean(0)
    floors = FLOOR * energies.clamp_min(torch.finfo(torch.float32).tiny)
    return {"floors": floors, **{f"filters{scale}": part for scale, part in enumerate(filters)}}


def _filters(channels: int, scale: int) -> Tensor:
    """Filters [FILTERS, C, 3, 3] from a keyed stream, each with norm 1 and with zero mean in every channel."""
    shape = (FILTERS, channels, SIDE_PIXELS, SIDE_PIXELS)
    drawn = stream(SEED, Stream.FEATURE_WEIGHTS, 100 + scale).standard_normal(shape, dtype=np.float32)
    drawn -= drawn.mean((2, 3), keepdims=True)
    return torch.from_numpy(drawn / np.sqrt(np.square(drawn).sum((1, 2, 3), keepdims=True)))


def _energies(images: Tensor, filters: tuple[Tensor, ...]) -> Tensor:
    """The mean squared responses [n, D] of images [n, C, H, W], the finest scale first."""
    found = []
    for scale, weights in enumerate(filters):
        if scale:
            images = F.avg_pool2d(images, 2)
        found.append(F.conv2d(images, weights).square().mean((2, 3)))
    return torch.cat(found, 1)
