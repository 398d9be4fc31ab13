"""Images -> the features that fidelity is measured in: which extractor, and what every one of them promises.

n images, C, H, W an image, D features, K classes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from gan_core.config.input_error import InputError, home_path, nearest, shown
from gan_core.data.dataset import Dataset
from gan_core.fidelity.features.classifier import load_classifier
from gan_core.fidelity.features.inception import load_inception
from gan_core.fidelity.features.joined_features import join_features
from gan_core.fidelity.features.own_network import LOADERS, load_own_network
from gan_core.fidelity.features.principal_components import fit_principal_components
from gan_core.files.cache import cache_folder

__all__ = [
    "KINDS",
    "FeatureExtractor",
    "cache_folder",
    "extract",
    "extract_lanes",
    "full_precision",
    "load_classifier",
    "load_extractor",
]

KINDS = ("auto", "classifier", "classifier+pixels", "pca", "pixels", "inception")
JOINED = ("classifier+pixels", "pixels")
IMAGES_AT_ONCE = 500  # of one call of an extractor: a small network's activations stay in the cache
DEVICE_IMAGES_AT_ONCE = 8_192  # the same on a GPU, over the samples of all lanes


class FeatureExtractor(Protocol):
    """What all extractors keep: an image's features depend on that image alone, and are NaN where it is not finite.

    name: the kind, D, and a hash of all that decides the features, so that scores of different ones never mix.
    weights: a hash of those that a machine's own rounding had a part in, for they were trained there: of one name,
    scores differ by percents with them. "" where the name says all. features: D. classifies: whether class
    probabilities come with the features.
    """

    @property
    def name(self) -> str: ...

    @property
    def weights(self) -> str: ...
    @property
    def features(self) -> int: ...

    @property
    def classifies(self) -> bool: ...

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """[n, C, H, W] in [-1, 1] -> features float32 [n, D] and probabilities [n, K] or None, where the images are."""
        ...

    def to(self, device: torch.device | str) -> "FeatureExtractor":
        """The same extractor on another device. This one stays; keep what is returned, for moving may be slow."""
        ...


def load_extractor(dataset: Dataset, kind: str = "auto", weights: Path | None = None) -> FeatureExtractor:
    """The extractor of a data set by the kind of its features.

    `classifier`: 64, standardised, of a classifier trained on the training split. `pca`: at most 64 principal
    components of its pixels. `classifier+pixels`, `pixels`: these and how rough images are at several scales
    (`gan_core.fidelity.features.joined_features`). `auto`: the classifier where there are labels, else pca.
    `inception`: the 2,048 of the usual FID, raw; weights: its file, where it is not in torch.hub's folder. A path to a
    .pt, .ts or .pt2 file: the raw features of a person's own network, a program to be trusted like one
    (gan_core.fidelity.features.own_network says why). Class probabilities come with the classifier alone;
    `load_classifier` gives it beside any other features.

    Raises InputError for an unknown kind, for weights that kind has no use for, and as each kind's loader does.
    """
    if weights is not None and kind != "inception":
        raise InputError(f"weights go with features 'inception', got features {shown(kind)}; leave the weights out")
    if kind == "auto":
        kind = "pca" if dataset.train_labels is None else "classifier"
    if kind == "classifier":
        return load_classifier(dataset)
    if kind == "pca":
        return fit_principal_components(dataset)
    if kind in JOINED:
        return join_features(dataset, kind)
    if kind == "inception":
        return load_inception(dataset, weights)
    path = home_path(kind)
    if path.suffix not in LOADERS:
        suffixes = ", ".join(LOADERS)
        raise InputError(f"unknown features {shown(kind)}; {nearest(kind, KINDS)}, or the path of a {suffixes} file")
    return load_own_network(path, dataset)


def extract(extractor: FeatureExtractor, images: Tensor, at_once: int = IMAGES_AT_ONCE) -> tuple[Tensor, Tensor | None]:
    """Features [n, D] of images [n, C, H, W], at_once of them a call, and probabilities [n, K] where it classifies."""
    parts = [extractor(part) for part in images.split(at_once)]
    probabilities = [part[1] for part in parts if part[1] is not None]
    return torch.cat([part[0] for part in parts]), torch.cat(probabilities) if probabilities else None


def extract_lanes(
    extractor: FeatureExtractor, images: Tensor, *, together: bool | None = None
) -> tuple[Tensor, Tensor | None]:
    """Features [L, M, D] of images [L, M, C, H, W], and probabilities [L, M, K] where it classifies.

    together: all lanes' images in the same calls, as on a GPU, where few large calls cost least; else lane by lane, as
    on the CPU, where so a lane's bits do not depend on its neighbours, at no cost. None: as the images' device has it.
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


@contextmanager
def full_precision() -> Iterator[None]:
    """float32 products and convolutions in float32, never TF32 or bfloat16, whatever trials are trained in. What was
    set before is set again at the end.
    """
    convolutions = torch.backends.cudnn.conv, torch.backends.mkldnn.conv  # pyright: ignore[reportAttributeAccessIssue]
    products = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # pyright: ignore[reportAttributeAccessIssue]
    places = (*convolutions, *products)
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "ieee"
    try:
        yield
    finally:
        for place, precision in zip(places, before, strict=True):
            place.fp32_precision = precision
