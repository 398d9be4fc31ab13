"""Samples that were made beforehand, in the place of a generator's: real ones, spoilt ones and collapsed ones."""

from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from gan_core.data.dataset import Dataset
from gan_core.fidelity.scorers import IMAGE_SAMPLES, Scorer
from gan_core.training.lane_array import LaneArray


class Asked(NamedTuple):
    """What a scorer reads of `Networks`."""

    choices: int = 0
    conditional: bool = False


NOTHING_ASKED = Asked()


class GivenSamples:
    """Stands where an array stands when it is scored: each lane answers with samples that were made beforehand."""

    def __init__(self, lanes: list[Tensor], networks: Asked = NOTHING_ASKED) -> None:
        self.samples = torch.stack(lanes)
        self.lanes = len(lanes)
        self.networks = networks

    def shared_latents(self, purpose: int, count: int, seed: int, choice: Tensor | None = None) -> Tensor:
        """The count is all that matters of them; classes are asked for where the networks are conditional."""
        assert (choice is not None) == self.networks.conditional
        return torch.empty(self.lanes, count, 0)

    def generate(self, latents: Tensor) -> Tensor:
        """As many samples as there are latents."""
        assert self.samples.shape[1] >= latents.shape[1]
        return self.samples[:, : latents.shape[1]]


def scores(scorer: Scorer, lanes: list[Tensor], networks: Asked = NOTHING_ASKED) -> list[dict[str, float]]:
    """Score name -> number, for each lane."""
    return [report.values for report in scorer.score(cast(LaneArray, GivenSamples(lanes, networks)))]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, float32."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).float()


def lanes_of(*values: float) -> Tensor:
    """One number for each lane, float64 [L]."""
    return torch.tensor(values, dtype=torch.float64)


def chosen(samples: Tensor, count: int = IMAGE_SAMPLES, seed: int = 0) -> Tensor:
    """`count` of these samples, with replacement."""
    return samples[torch.from_numpy(np.random.default_rng(seed).integers(0, len(samples), count))]


def of_classes(dataset: Dataset, classes: list[int], images_a_class: int = 10_000) -> Tensor:
    """Training images of these classes, of each the most typical ones: nearest to its mean."""
    assert dataset.train_labels is not None
    kept = []
    for label in classes:
        images = dataset.train[dataset.train_labels == label]
        distances = (images - images.mean(0)).flatten(1).square().sum(1)
        kept.append(images[distances.argsort()[:images_a_class]])
    return torch.cat(kept)


def repeated(images: Tensor, count: int = IMAGE_SAMPLES) -> Tensor:
    """These images in turn."""
    return images[torch.arange(count) % len(images)]


def blurred(images: Tensor, pixels: int = 3) -> Tensor:
    """The mean of the square of pixels around each."""
    half = pixels // 2
    return torch.nn.functional.avg_pool2d(images, pixels, stride=1, padding=half, count_include_pad=False)


def noisy(images: Tensor, deviation: float, seed: int = 1) -> Tensor:
    """With independent noise in every pixel, cut to [-1, 1]."""
    return (images + deviation * drawn(*images.shape, seed=seed)).clamp(-1, 1)
