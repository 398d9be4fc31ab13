"""The reference that generated images are compared with: features of real images, kept in the cache.

R real images, T training images among which copies are searched for, D features.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gan_core.data.dataset import Dataset
from gan_core.data.enough_images import ENOUGH_HELD_OUT, NEIGHBOURS
from gan_core.fidelity.copying import TrainingIndex, nearest_distance, training_index
from gan_core.fidelity.distances import covariance_factor, moments
from gan_core.fidelity.features.extractors import extract
from gan_core.fidelity.features.feature_extractor import FeatureExtractor
from gan_core.fidelity.neighbours import RealNeighbours, prdc, real_neighbours
from gan_core.fidelity.protocol import LATENT_SEED, chosen
from gan_core.files.cache import alone, keep_tensors, kept_tensors, writable_cache_folder
from gan_core.lanes.axis import lane_arithmetic

COPY_TRAIN_IMAGES = 60_000
RECIPE = f"2:{COPY_TRAIN_IMAGES}:{NEIGHBOURS}:{LATENT_SEED}"  # increase the number if the computation changes


@dataclass(frozen=True)
class ImageReference:
    """The real side of an image scorer.

    mean, covariance, factor: float64 [D], [D, D] and [D, D], the moments of the reference images and the
    `covariance_factor`; neighbours: R of the reference images; train: T training images; held_out_distances: float64
    [R], from held-out images to the nearest of these; precision_real, recall_real: the scores of fresh real images, as
    many as there are samples or, if there are fewer, all of them.
    """

    mean: Tensor
    covariance: Tensor
    factor: Tensor
    neighbours: RealNeighbours
    train: TrainingIndex
    held_out_distances: Tensor
    precision_real: float
    recall_real: float

    def to(self, device: torch.device | str) -> "ImageReference":
        """A copy on another device, or this object if it is there already."""
        if self.mean.device == torch.device(device):
            return self
        return ImageReference(
            self.mean.to(device),
            self.covariance.to(device),
            self.factor.to(device),
            self.neighbours.to(device),
            self.train.to(device),
            self.held_out_distances.to(device),
            self.precision_real,
            self.recall_real,
        )


def compared_with(dataset: Dataset) -> tuple[Tensor, Tensor | None]:
    """The real images that samples are compared with, and their labels if any.

    These are the held-out split, or all images, training ones included, if it has fewer than ENOUGH_HELD_OUT. So few
    images say nothing about nearest neighbours, and the rank of their covariance is so low that blurred images would
    score better than real ones.
    """
    if len(dataset.held_out) >= ENOUGH_HELD_OUT:
        return dataset.held_out, dataset.held_out_labels
    images = torch.cat((dataset.train, dataset.held_out))
    if dataset.train_labels is None or dataset.held_out_labels is None:
        return images, None
    return images, torch.cat((dataset.train_labels, dataset.held_out_labels))


def image_reference(
    dataset: Dataset, extractor: FeatureExtractor, cheap: FeatureExtractor, samples: int
) -> ImageReference:
    """The reference for `samples` images per lane. extractor, cheap: as in `ImageScorer`.

    Features and distances are cached under a hash of the data, the extractors, `samples`, the recipe and the version
    of torch; a file that is missing, damaged or of another shape is computed again.
    """
    key = ":".join((RECIPE, torch.__version__, dataset.digest, extractor.name, cheap.name, str(samples)))
    key += f":{len(dataset.train_samples)}:{len(dataset.held_out)}:{extractor.weights}:{cheap.weights}"
    key += "" if len(dataset.held_out) >= ENOUGH_HELD_OUT else ":all"
    path = writable_cache_folder() / f"reference-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
    with lane_arithmetic():  # what is cached must not depend on the settings of the process that computes it
        kept = _kept(path, lambda: _computed(dataset, extractor, cheap, samples), _shapes(dataset, extractor, cheap))
        precision, recall = kept["precision_recall"].tolist()
        return ImageReference(
            kept["mean"],
            kept["covariance"],
            covariance_factor(kept["covariance"]),
            real_neighbours(kept["real"]),
            training_index(kept["train"]),
            kept["held_out_distances"],
            precision,
            recall,
        )


def _shapes(dataset: Dataset, extractor: FeatureExtractor, cheap: FeatureExtractor) -> dict[str, tuple[int, ...]]:
    """The shapes in a cache file; -1 stands for a size that follows from `samples`, which the file's name covers."""
    size = extractor.features
    train = min(COPY_TRAIN_IMAGES, len(dataset.train_samples))
    shapes = {"mean": (size,), "covariance": (size, size), "real": (-1, size), "train": (train, cheap.features)}
    return shapes | {"held_out_distances": (-1,), "precision_recall": (2,)}


def _computed(
    dataset: Dataset, extractor: FeatureExtractor, cheap: FeatureExtractor, samples: int
) -> dict[str, Tensor]:
    compared, _ = compared_with(dataset)
    mean, covariance = moments(extract(extractor, compared)[0].unsqueeze(0))
    real = extract(extractor, chosen(compared, samples, 1))[0]
    if len(compared) > len(dataset.held_out):  # it includes the training images, so the held-out ones are fresh
        fresh, around = chosen(dataset.held_out, samples, 3), extract(extractor, _training(dataset, samples, 1))[0]
    else:
        fresh, around = _training(dataset, samples, 3), real
    shares = prdc(extract(extractor, fresh)[0].unsqueeze(0), real_neighbours(around))
    train = extract(cheap, _training(dataset, COPY_TRAIN_IMAGES, 2))[0]
    held_out = extract(cheap, chosen(dataset.held_out, samples, 1))[0]
    return {
        "mean": mean[0],
        "covariance": covariance[0],
        "real": real,
        "train": train,
        "held_out_distances": nearest_distance(held_out.unsqueeze(0), train)[0],
        "precision_recall": torch.cat((shares.precision, shares.recall)),
    }


def _training(dataset: Dataset, count: int, key: int) -> Tensor:
    """Training images as `chosen` chooses them, of which no others are converted from bytes."""
    return dataset.train_numbers(chosen(torch.arange(len(dataset.train_samples)), count, key))


def _kept(
    path: Path, compute: Callable[[], dict[str, Tensor]], shapes: dict[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """Reads the cache file, or computes and writes it; one process computes while others wait."""
    with alone(path):
        tensors = _read(path, shapes)
        if tensors is None:
            tensors = {name: tensor.contiguous().cpu() for name, tensor in compute().items()}
            keep_tensors(path, tensors, save_file)
    return tensors


def _read(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor] | None:
    """The tensors of a file, or None unless it is intact and they have these names and shapes."""
    tensors = kept_tensors(path, load_file)
    if tensors is None:
        return None
    fits = tensors.keys() == shapes.keys() and all(
        tensors[name].dim() == len(shape)
        and all(wanted in (-1, size) for wanted, size in zip(shape, tensors[name].shape, strict=True))
        for name, shape in shapes.items()
    )
    return tensors if fits else None
