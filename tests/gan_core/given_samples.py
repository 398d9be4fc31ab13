"""Prepared samples in place of those of a generator: real, damaged and collapsed ones; and mixtures by name."""

from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from gan_core.config.dataset_name import parse_dataset_name
from gan_core.data.dataset import Dataset
from gan_core.data.values import Mixture, mixture_of
from gan_core.fidelity.discrepancy import Discrepancy
from gan_core.fidelity.neighbours import pair_scores, real_neighbours
from gan_core.fidelity.protocol import Scorer
from gan_core.fidelity.scorers import IMAGE_SAMPLES
from gan_core.training.lane_array import LaneArray


def mixture(text: str) -> Mixture:
    """The mixture that the name of a data set means, such as `mixture:-3,1;3,1`."""
    return mixture_of(parse_dataset_name(text))


class Asked(NamedTuple):
    """The part of `Networks` that a scorer reads."""

    choices: int = 0
    conditional: bool = False


NOTHING_ASKED = Asked()


class GivenSamples:
    """Takes the place of an array in scoring; each lane returns prepared samples."""

    def __init__(self, lanes: list[Tensor], networks: Asked = NOTHING_ASKED) -> None:
        self.samples = torch.stack(lanes)
        self.lanes = len(lanes)
        self.networks = networks

    def shared_latents(self, purpose: int, count: int, seed: int, choice: Tensor | None = None) -> Tensor:
        """Latents of which only the number matters; classes are requested only if the networks are conditional."""
        assert (choice is not None) == self.networks.conditional
        return torch.empty(self.lanes, count, 0)

    def generate(self, latents: Tensor) -> Tensor:
        """The prepared samples, as many as there are latents."""
        assert self.samples.shape[1] >= latents.shape[1]
        return self.samples[:, : latents.shape[1]]


def scores(scorer: Scorer, lanes: list[Tensor], networks: Asked = NOTHING_ASKED) -> list[dict[str, float]]:
    """The scores of each lane: name -> value."""
    return [report.values for report in scorer.score(cast(LaneArray, GivenSamples(lanes, networks)))]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float32."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).float()


def lanes_of(*values: float) -> Tensor:
    """One number for each lane, float64 [L]."""
    return torch.tensor(values, dtype=torch.float64)


def kernel_distance(features: Tensor, real: Tensor) -> Discrepancy:
    """The kernel distance of features [L, M, D] from real [R, D]: each [L]."""
    return pair_scores(features, real_neighbours(real, k=1))[0]


def chosen(samples: Tensor, count: int = IMAGE_SAMPLES, seed: int = 0) -> Tensor:
    """`count` of these samples, with replacement."""
    return samples[torch.from_numpy(np.random.default_rng(seed).integers(0, len(samples), count))]


def of_classes(dataset: Dataset, classes: list[int], images_a_class: int = 10_000) -> Tensor:
    """The most typical training images of these classes, which are those nearest to the mean of the class."""
    assert dataset.train_labels is not None
    kept = []
    for label in classes:
        images = dataset.train[dataset.train_labels == label]
        distances = (images - images.mean(0)).flatten(1).square().sum(1)
        kept.append(images[distances.argsort()[:images_a_class]])
    return torch.cat(kept)


def repeated(images: Tensor, count: int = IMAGE_SAMPLES) -> Tensor:
    """`count` images, repeating these in turn."""
    return images[torch.arange(count) % len(images)]


def blurred(images: Tensor, pixels: int = 3) -> Tensor:
    """Replaces each pixel by the mean of the square of pixels around it."""
    half = pixels // 2
    return torch.nn.functional.avg_pool2d(images, pixels, stride=1, padding=half, count_include_pad=False)


def noisy(images: Tensor, deviation: float, seed: int = 1) -> Tensor:
    """Adds independent noise to every pixel and clips to [-1, 1]."""
    return (images + deviation * drawn(*images.shape, seed=seed)).clamp(-1, 1)
