"""The contract of feature extractors, and how one is loaded by name.

n images, C, H, W an image, D features, K classes.
"""

from pathlib import Path

import torch
from torch import Tensor

from gan_core.config.input_error import InputError, home_path, nearest, shown
from gan_core.data.dataset import Dataset
from gan_core.fidelity.features.classifier import load_classifier
from gan_core.fidelity.features.feature_extractor import FeatureExtractor
from gan_core.fidelity.features.inception import load_inception
from gan_core.fidelity.features.joined_features import join_features
from gan_core.fidelity.features.own_network import LOADERS, load_own_network
from gan_core.fidelity.features.principal_components import fit_principal_components
from gan_core.fidelity.fitted import Fitted
from gan_core.files.cache import cache_folder

__all__ = [
    "KINDS",
    "FeatureExtractor",
    "cache_folder",
    "extract",
    "extract_lanes",
    "load_classifier",
    "load_extractor",
]

KINDS = ("auto", "classifier", "classifier+pixels", "pca", "pixels", "inception")
JOINED = ("classifier+pixels", "pixels")
IMAGES_AT_ONCE = 500  # per call of an extractor, so that the activations of a small network stay in the cache
DEVICE_IMAGES_AT_ONCE = 8_192  # the same on a GPU, over the samples of all lanes


def load_extractor(
    dataset: Dataset, kind: str = "auto", weights: Path | None = None, fitted: Fitted | None = None
) -> FeatureExtractor:
    """Loads the feature extractor of a data set by its kind.

    `classifier`: the 64 standardised features of a classifier trained on the training split. `pca`: at most 64
    principal components of its pixels. `classifier+pixels` and `pixels`: these joined with texture features
    (`gan_core.fidelity.features.joined_features`). `auto`: the classifier if there are labels, else pca. `inception`:
    the 2,048 raw features of the usual FID; weights: their file, if it is not in the folder of torch.hub. A path to a
    .pt, .ts or .pt2 file: the raw features of a user's network, which is a program and must be trusted like one
    (`gan_core.fidelity.features.own_network` says why). Class probabilities come with the classifier, alone or joined.

    fitted: what was fitted to the data set before, which is used as it is; what is fitted now is added to it.

    Raises InputError for an unknown kind, for weights with another kind than `inception`, and as the loaders do.
    """
    if weights is not None and kind != "inception":
        raise InputError(f"weights go with features 'inception', got features {shown(kind)}; leave the weights out")
    if kind == "auto":
        kind = "pca" if dataset.train_labels is None else "classifier"
    if kind == "classifier":
        return load_classifier(dataset, fitted)
    if kind == "pca":
        return fit_principal_components(dataset, fitted)
    if kind in JOINED:
        return join_features(dataset, kind, fitted)
    if kind == "inception":
        return load_inception(dataset, weights)
    path = home_path(kind)
    if path.suffix not in LOADERS:
        suffixes = ", ".join(LOADERS)
        raise InputError(f"unknown features {shown(kind)}; {nearest(kind, KINDS)}, or the path of a {suffixes} file")
    return load_own_network(path, dataset)


def extract(extractor: FeatureExtractor, images: Tensor, at_once: int = IMAGES_AT_ONCE) -> tuple[Tensor, Tensor | None]:
    """Features [n, D] of images [n, C, H, W], at_once per call, and class probabilities [n, K] if it classifies."""
    parts = [extractor(part) for part in images.split(at_once)]
    probabilities = [part[1] for part in parts if part[1] is not None]
    return torch.cat([part[0] for part in parts]), torch.cat(probabilities) if probabilities else None


def extract_lanes(
    extractor: FeatureExtractor, images: Tensor, *, together: bool | None = None
) -> tuple[Tensor, Tensor | None]:
    """Features [L, M, D] of images [L, M, C, H, W], and class probabilities [L, M, K] if it classifies.

    together: the images of all lanes go into the same calls, because on a GPU few large calls cost least. Otherwise
    each lane has its own calls, so that its bits do not depend on other lanes; on the CPU this costs nothing. None:
    together, unless the images are on the CPU.
    """
    if together is None:
        together = images.device.type != "cpu"
    if together:
        found, probabilities = extract(extractor, images.flatten(0, 1), DEVICE_IMAGES_AT_ONCE)
        lanes = images.shape[:2]
        return found.unflatten(0, lanes), None if probabilities is None else probabilities.unflatten(0, lanes)
    parts = [extract(extractor, lane) for lane in images]
    shares = [part[1] for part in parts if part[1] is not None]
    return torch.stack([part[0] for part in parts]), torch.stack(shares) if shares else None
