"""Damages real images on purpose, to test whether the scores notice: several kinds, some of them in several doses.

M images, C, H, W an image. All random numbers come from keyed streams, so a data set always gets the same damages.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.data.dataset import Dataset
from gan_core.fidelity.protocol import LATENT_SEED, chosen
from gan_core.lanes.streams import Stream, stream

Kind = Literal["noise", "pure noise", "shuffled pixels", "blur", "modes", "repetition", "copies", "colours", "place"]
NOISE_DEVIATIONS = (0.2, 0.4, 0.8)  # of values in [-1, 1]
GREY_NOISE_DEVIATION = 0.2
BLUR_DEVIATIONS = (1, 2, 3)  # in fortieths of the side, added to BLUR_PIXELS
BLUR_PIXELS = 0.3
SHIFT = 1 / 8  # of the side
CROP = 1 / 8  # of the side, at each edge
CLUSTERS = 8  # clusters take the place of classes if there are no labels
CLUSTER_SIDE_PIXELS = 8  # images are reduced to at most this side before they are clustered
CLUSTER_STEPS = 20


@dataclass(frozen=True)
class Damage:
    """A set of damaged images [M, C, H, W]. name: a description; dose: 0, 1, ..., a larger one being more severe."""

    name: str
    kind: Kind
    dose: int
    images: Tensor


def fresh_images(dataset: Dataset, count: int) -> tuple[Tensor, Tensor | None]:
    """`count` training images and their labels, if any, in a keyed order, which starts again if there are fewer."""
    order = torch.arange(len(dataset.train_samples))
    places = chosen(order, count, 3)
    places = places[torch.arange(count) % len(places)]
    labels = None if dataset.train_labels is None else dataset.train_labels[places]
    return dataset.train_numbers(places), labels


def damages(images: Tensor, labels: Tensor | None) -> Iterator[Damage]:
    """Damages real images [M, C, H, W] in [-1, 1] in every way; each yields M images. labels: [M], or None."""
    side = min(images.shape[2:])
    source = stream(LATENT_SEED, Stream.EXAMINATION)
    noise = torch.from_numpy(source.standard_normal(tuple(images.shape), dtype="float32"))
    for dose, deviation in enumerate(NOISE_DEVIATIONS):
        yield Damage(f"noise of deviation {deviation:g}", "noise", dose, (images + deviation * noise).clamp(-1, 1))
    mean, deviations = images.mean((0, 2, 3), keepdim=True), images.std((0, 2, 3), keepdim=True)
    yield Damage("noise alone, as bright and varied", "pure noise", 0, (mean + deviations * noise).clamp(-1, 1))
    yield Damage("noise alone, about grey", "pure noise", 0, (GREY_NOISE_DEVIATION * noise).clamp(-1, 1))
    places = torch.from_numpy(source.random((len(images), 1, images[0, 0].numel()))).argsort(-1)
    shuffled = images.flatten(2).gather(2, places.expand(-1, images.shape[1], -1)).view_as(images)
    yield Damage("pixels shuffled", "shuffled pixels", 0, shuffled)
    for dose, fortieths in enumerate(BLUR_DEVIATIONS):
        pixels = BLUR_PIXELS + side * fortieths / 40
        yield Damage(f"blur of {pixels:.2g} pixels", "blur", dose, blurred(images, pixels))
    yield from _without_modes(images, _modes(images) if labels is None or len(labels.unique()) < 2 else labels)
    yield Damage("one image repeated", "repetition", 0, images[:1].expand_as(images).contiguous())
    yield Damage("copies of training images", "copies", 0, images)
    yield Damage("negative", "colours", 0, -images)
    if images.shape[1] == 3:
        yield Damage("grey", "colours", 0, images.mean(1, keepdim=True).expand_as(images).contiguous())
    yield Damage(f"shifted by {SHIFT:g} of the side", "place", 0, _shifted(images, max(1, round(side * SHIFT))))
    yield Damage(f"cropped by {CROP:g} on each side", "place", 0, _cropped(images))


def blurred(images: Tensor, deviation_pixels: float) -> Tensor:
    """Blurs images [M, C, H, W] with a Gaussian, truncated at three deviations; edge pixels are repeated."""
    reach = max(1, round(3 * deviation_pixels))
    weights = torch.exp(-torch.arange(-reach, reach + 1).float().square() / (2 * deviation_pixels**2))
    weights, channels = weights / weights.sum(), images.shape[1]
    down = weights.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    along = F.conv2d(F.pad(images, (0, 0, reach, reach), mode="replicate"), down, groups=channels)
    return F.conv2d(F.pad(along, (reach, reach, 0, 0), mode="replicate"), down.mT, groups=channels)


def _without_modes(images: Tensor, modes: Tensor) -> Iterator[Damage]:
    """Leaves out the largest modes: a quarter of them, half of them, and all but one."""
    sizes = torch.bincount(modes)
    order = sizes.argsort(descending=True, stable=True)[: int((sizes > 0).sum())]
    count = len(order)
    if count < 2:
        return
    for dose, dropped in enumerate(sorted({max(1, count // 4), max(1, count // 2), count - 1})):
        kept = images[torch.isin(modes, order[dropped:])]
        repeated = kept[torch.arange(len(images)) % len(kept)]
        yield Damage(f"{dropped} of {count} modes missing", "modes", dose, repeated)


def _modes(images: Tensor) -> Tensor:
    """The cluster of each image, at most CLUSTERS of them: [M]. By k-means (Lloyd 1982) of reduced images.

    It starts from images that are far from one another, so it needs no random numbers.
    """
    small = F.adaptive_avg_pool2d(images, min(CLUSTER_SIDE_PIXELS, *images.shape[2:])).flatten(1)
    centres = small[:1]
    while len(centres) < min(CLUSTERS, len(small)):
        centres = torch.cat((centres, small[torch.cdist(small, centres).amin(1).argmax()].unsqueeze(0)))
    for _ in range(CLUSTER_STEPS):
        near = F.one_hot(torch.cdist(small, centres).argmin(1), len(centres)).to(small.dtype)
        counts = near.sum(0).unsqueeze(1)
        centres = torch.where(counts > 0, near.mT @ small / counts.clamp_min(1), centres)
    return torch.cdist(small, centres).argmin(1)


def _shifted(images: Tensor, pixels: int) -> Tensor:
    """Shifts images down and to the right; edge pixels are repeated."""
    return F.pad(images, (pixels, 0, pixels, 0), mode="replicate")[..., : images.shape[2], : images.shape[3]]


def _cropped(images: Tensor) -> Tensor:
    """Cuts CROP off every edge and enlarges the rest to the original size."""
    high, wide = images.shape[2:]
    top, left = max(1, round(high * CROP)), max(1, round(wide * CROP))
    return F.interpolate(images[..., top : high - top, left : wide - left], (high, wide), mode="bilinear")
