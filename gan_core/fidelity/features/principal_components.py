"""The principal components of the training pixels, which serve as features if there are no labels to train with.

n images, C, H, W an image, P values of a pooled image, D components.
"""

import hashlib
import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.config.input_error import InputError
from gan_core.data.dataset import Dataset
from gan_core.fidelity.fitted import Fitted
from gan_core.lanes.axis import lane_arithmetic

MOST_COMPONENTS = 64
MOST_IMAGES = 10_000  # of the training split, evenly spaced; 64 components need no more
MOST_VALUES = 1_024  # larger images are first averaged over squares of pixels, for the components are smooth anyway
SMALLEST_VARIANCE = 1e-10  # of the largest; a direction with less is rounding error, which differs between machines
RECIPE = f"1:{MOST_COMPONENTS}:{MOST_IMAGES}:{MOST_VALUES}:{SMALLEST_VARIANCE}"


@dataclass(frozen=True)
class PrincipalComponents:
    """Gives the first D principal components, scaled by a single number so that their mean variance is 1.

    They are not whitened, because that would give the noise of the last component the weight of the first. mean: [P];
    directions: [P, D], orthogonal columns of equal length; pool_pixels: the side of the squares that are averaged.
    """

    name: str
    mean: Tensor
    directions: Tensor
    pool_pixels: int
    classifies: bool = False
    weights: str = ""

    @property
    def features(self) -> int:
        """D, the number of components."""
        return self.directions.shape[1]

    def __call__(self, images: Tensor) -> tuple[Tensor, None]:
        """Features [n, D] of images [n, C, H, W] in [-1, 1] (or of numbers [n, 1]), on the same device."""
        return (_values(images, self.pool_pixels) - self.mean) @ self.directions, None

    def to(self, device: torch.device | str) -> "PrincipalComponents":
        """A copy on another device."""
        return replace(self, mean=self.mean.to(device), directions=self.directions.to(device))


def fit_principal_components(dataset: Dataset, fitted: Fitted | None = None) -> PrincipalComponents:
    """The components of the training split, by eigh of the pixels' covariance in float64 (Jolliffe 2002, section 1.1).

    D is MOST_COMPONENTS, or the rank of the covariance if that is smaller. The entry of largest magnitude in each
    direction is positive. 10,000 images take 0.3 to 0.5 s at 28x28 and 1.4 s at 3x64x64 on one core.
    fitted: holds them, and they are then used as they are, or is given them. Raises InputError if all training images
    are the same.
    """
    pool = _pool_pixels(dataset.sample_shape)
    found = (fitted or Fitted()).part("pca", lambda: _fit(dataset, pool))
    digest = hashlib.sha256(f"{RECIPE}:{dataset.digest}".encode()).hexdigest()[:12]
    name = f"pca{found['directions'].shape[1]}-{digest}"
    return PrincipalComponents(name, found["mean"], found["directions"], pool)


def _fit(dataset: Dataset, pool: int) -> dict[str, Tensor]:
    count = min(MOST_IMAGES, len(dataset.train_samples))
    chosen = torch.arange(count) * len(dataset.train_samples) // count
    with lane_arithmetic():
        values = _values(dataset.train_numbers(chosen), pool).double()
        if torch.equal(values, values[:1].expand_as(values)):
            raise InputError(f"features 'pca' need images that differ, and those of {dataset.name!r} are all the same")
        mean = values.mean(0)
        variances, directions = torch.linalg.eigh(torch.cov(values.T).view(len(mean), len(mean)))
    variances, directions = variances.flip(0)[:MOST_COMPONENTS], directions.flip(1)[:, :MOST_COMPONENTS]
    rank = int((variances > SMALLEST_VARIANCE * variances[0]).sum())
    variances, directions = variances[:rank], directions[:, :rank]
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    scaled = directions * largest.sign() / variances.mean().sqrt()
    return {"mean": mean.float(), "directions": scaled.float()}


def _pool_pixels(shape: tuple[int, ...]) -> int:
    """The smallest side of squares over which an image of `shape` is averaged to at most MOST_VALUES values."""
    if len(shape) == 1:
        return 1
    channels, height, width = shape
    sides = range(1, max(height, width) + 1)
    pooled = {side: channels * math.ceil(height / side) * math.ceil(width / side) for side in sides}
    return next((side for side in sides if pooled[side] <= MOST_VALUES), max(height, width))


def _values(images: Tensor, pool_pixels: int) -> Tensor:
    """Pools and flattens images [n, C, H, W] to [n, P]; the squares at the lower and right edges may be incomplete."""
    if pool_pixels > 1:
        images = F.avg_pool2d(images, pool_pixels, ceil_mode=True)
    return images.flatten(1)
