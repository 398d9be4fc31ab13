"""What images are compared with, in numbers: features of real images, kept between processes.

R real images that scores compare with, T training images that copies are looked for among, D features.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gan_core.data.dataset import Dataset
from gan_core.data.enough_images import FOR_A_CLAIM
from gan_core.fidelity.copying import TrainingPlaces, nearest_distance, training_places
from gan_core.fidelity.distances import covariance_factor, moments
from gan_core.fidelity.features.extractors import FeatureExtractor, extract
from gan_core.fidelity.neighbours import NEIGHBOURS, RealNeighbours, prdc, real_neighbours
from gan_core.fidelity.protocol import LATENT_SEED, chosen
from gan_core.files.cache import alone, keep_tensors, kept_tensors, writable_cache_folder
from gan_core.lanes.axis import lane_arithmetic

COPY_TRAIN_IMAGES = 60_000
RECIPE = f"2:{COPY_TRAIN_IMAGES}:{NEIGHBOURS}:{LATENT_SEED}"  # a new number where what is kept is computed otherwise


@dataclass(frozen=True)
class ImageReference:
    """The real side of an image scorer.

    mean, covariance, factor: of the images compared with, float64 [D], [D, D], [D, D] (`covariance_factor`);
    neighbours: of R of them; train: of T training images; held_out_distances: float64 [R], to the nearest of them;
    precision_real, recall_real: what as many training images score as samples are drawn, or all there are.
    """

    mean: Tensor
    covariance: Tensor
    factor: Tensor
    neighbours: RealNeighbours
    train: TrainingPlaces
    held_out_distances: Tensor
    precision_real: float
    recall_real: float

    def to(self, device: torch.device | str) -> "ImageReference":
        """The same on another device; where it is there already, itself."""
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
    """The real images that samples are compared with, and their labels where there are any: the held-out split; where
    that has fewer than FOR_A_CLAIM images, all there are, training ones included. So few say nothing of the k nearest,
    and their covariance is of a rank so low that blurred images score better than real ones.
    """
    if len(dataset.held_out) >= FOR_A_CLAIM:
        return dataset.held_out, dataset.held_out_labels
    images = torch.cat((dataset.train, dataset.held_out))
    if dataset.train_labels is None or dataset.held_out_labels is None:
        return images, None
    return images, torch.cat((dataset.train_labels, dataset.held_out_labels))


def image_reference(
    dataset: Dataset, extractor: FeatureExtractor, cheap: FeatureExtractor, samples: int
) -> ImageReference:
    """The reference for `samples` images a lane; extractor and cheap as `ImageScorer` has them.

    Features and distances are read from the cache folder, by a hash of data, extractors, samples, recipe and torch's
    version; what is missing, damaged or of another form is computed and kept.
    """
    key = ":".join((RECIPE, torch.__version__, dataset.digest, extractor.name, cheap.name, str(samples)))
    key += f":{len(dataset.train_samples)}:{len(dataset.held_out)}:{extractor.weights}:{cheap.weights}"
    key += "" if len(dataset.held_out) >= FOR_A_CLAIM else ":all"
    path = writable_cache_folder() / f"reference-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
    with lane_arithmetic():  # what is kept must not depend on who computes it
        kept = _kept(path, lambda: _computed(dataset, extractor, cheap, samples), _shapes(dataset, extractor, cheap))
        precision, recall = kept["precision_recall"].tolist()
        return ImageReference(
            kept["mean"],
            kept["covariance"],
            covariance_factor(kept["covariance"]),
            real_neighbours(kept["real"]),
            training_places(kept["train"]),
            kept["held_out_distances"],
            precision,
            recall,
        )


def _shapes(dataset: Dataset, extractor: FeatureExtractor, cheap: FeatureExtractor) -> dict[str, tuple[int, ...]]:
    """Of what is kept: -1 where it depends on the samples, which the file's name holds."""
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
    fresh, around = dataset.train, real
    if len(compared) > len(dataset.held_out):  # which has training images in it: held-out ones are the fresh ones
        fresh, around = dataset.held_out, extract(extractor, chosen(dataset.train, samples, 1))[0]
    shares = prdc(extract(extractor, chosen(fresh, samples, 3))[0].unsqueeze(0), real_neighbours(around))
    train = extract(cheap, chosen(dataset.train, COPY_TRAIN_IMAGES, 2))[0]
    held_out = extract(cheap, chosen(dataset.held_out, samples, 1))[0]
    return {
        "mean": mean[0],
        "covariance": covariance[0],
        "real": real,
        "train": train,
        "held_out_distances": nearest_distance(held_out.unsqueeze(0), train)[0],
        "precision_recall": torch.cat((shares.precision, shares.recall)),
    }


def _kept(
    path: Path, compute: Callable[[], dict[str, Tensor]], shapes: dict[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """What the file holds, or what is computed now and put there whole; one process computes, others wait."""
    with alone(path):
        tensors = _read(path, shapes)
        if tensors is None:
            tensors = {name: tensor.contiguous().cpu() for name, tensor in compute().items()}
            keep_tensors(path, tensors, save_file)
    return tensors


def _read(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor] | None:
    """A file's tensors, where it is whole and they have these names and shapes."""
    tensors = kept_tensors(path, load_file)
    if tensors is None:
        return None
    fits = tensors.keys() == shapes.keys() and all(
        tensors[name].dim() == len(shape)
        and all(wanted in (-1, size) for wanted, size in zip(shape, tensors[name].shape, strict=True))
        for name, shape in shapes.items()
    )
    return tensors if fits else None
