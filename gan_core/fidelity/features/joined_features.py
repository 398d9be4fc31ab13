"""Joins the features of several extractors, each part scaled to a fixed variance over the real images.

n images, C, H, W an image, D features, K classes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gan_core.data.dataset import Dataset
from gan_core.fidelity.features.classifier import load_classifier
from gan_core.fidelity.features.feature_extractor import FeatureExtractor
from gan_core.fidelity.features.principal_components import fit_principal_components
from gan_core.fidelity.features.textures import fit_textures
from gan_core.fidelity.fitted import Fitted
from gan_core.lanes.axis import lane_arithmetic

MOST_IMAGES = 10_000  # of the training split, evenly spaced, for means and variances
CLASSIFIER_VARIANCE = 64.0  # as without the other parts: one for each feature
PIXELS_VARIANCE = 64.0  # as for principal components without the other parts
PIXELS_BESIDE_CLASSIFIER, PIXELS_BESIDE_VARIANCE = 16, 16.0  # the first components describe the layout of colours
TEXTURES_VARIANCE = 64.0  # with half of it, images with faint noise stay in the balls of real ones (coloured circles)
RECIPE = f"1:{MOST_IMAGES}:{CLASSIFIER_VARIANCE}:{PIXELS_VARIANCE}:{PIXELS_BESIDE_CLASSIFIER}"
RECIPE += f":{PIXELS_BESIDE_VARIANCE}:{TEXTURES_VARIANCE}"


@dataclass(frozen=True)
class JoinedFeatures:
    """The first features of each part, as many as `sizes` says, minus `mean`, times `scale`: D features.

    A part is scaled by a single number, so its features keep their relative weights. mean, scale: [D].
    """

    name: str
    parts: tuple[FeatureExtractor, ...]
    sizes: tuple[int, ...]
    mean: Tensor
    scale: Tensor
    weights: str

    @property
    def features(self) -> int:
        """D, the number of features."""
        return len(self.mean)

    @property
    def classifies(self) -> bool:
        """Whether a part has class probabilities."""
        return any(part.classifies for part in self.parts)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features [n, D] of images [n, C, H, W] in [-1, 1], and the class probabilities [n, K] of a part, or None."""
        raw, probabilities = _raw(self.parts, self.sizes, images)
        return (raw - self.mean) * self.scale, probabilities

    def to(self, device: torch.device | str) -> "JoinedFeatures":
        """A copy on another device."""
        parts = tuple(part.to(device) for part in self.parts)
        return replace(self, parts=parts, mean=self.mean.to(device), scale=self.scale.to(device))


def join_features(dataset: Dataset, kind: str, fitted: Fitted | None = None) -> JoinedFeatures:
    """The extractor `pixels` (principal components and textures) or `classifier+pixels` (and the classifier).

    fitted: as the loaders of the parts take it. Raises InputError as `load_classifier`, `fit_principal_components` and
    `fit_textures` do.
    """
    fitted = fitted or Fitted()
    components = fit_principal_components(dataset, fitted)
    parts: list[FeatureExtractor] = [components]
    sizes, variances = [components.features], [PIXELS_VARIANCE]
    if kind == "classifier+pixels":
        parts = [load_classifier(dataset, fitted), components]
        sizes = [parts[0].features, min(PIXELS_BESIDE_CLASSIFIER, components.features)]
        variances = [CLASSIFIER_VARIANCE, PIXELS_BESIDE_VARIANCE]
    textures = fit_textures(dataset, fitted)
    joined, sizes = (*parts, textures), (*sizes, textures.features)
    found = fitted.part(kind, lambda: _scaled(dataset, joined, sizes, (*variances, TEXTURES_VARIANCE)))
    digest = hashlib.sha256(f"{RECIPE}:{':'.join(part.name for part in joined)}".encode()).hexdigest()[:12]
    weights = "".join(part.weights for part in joined)
    return JoinedFeatures(f"{kind}{sum(sizes)}-{digest}", joined, sizes, found["mean"], found["scale"], weights)


def _scaled(
    dataset: Dataset,
    parts: tuple[FeatureExtractor, ...],
    sizes: tuple[int, ...],
    variances: Sequence[float],
) -> dict[str, Tensor]:
    """The mean of the joined parts, and the scales that give each the given total variance over the training split."""
    count = min(MOST_IMAGES, len(dataset.train_samples))
    chosen = torch.arange(count) * len(dataset.train_samples) // count
    with lane_arithmetic():
        images = dataset.train_numbers(chosen).split(500)
        raw = torch.cat([_raw(parts, sizes, part)[0] for part in images]).double()
        mean, total = raw.mean(0), [part.var(0).sum() for part in raw.split(list(sizes), 1)]
    scale = [
        torch.full((size,), float((wanted / found).sqrt()) if found > 0 else 0.0)
        for size, wanted, found in zip(sizes, variances, total, strict=True)
    ]
    return {"mean": mean.float(), "scale": torch.cat(scale)}


def _raw(parts: Sequence[FeatureExtractor], sizes: Sequence[int], images: Tensor) -> tuple[Tensor, Tensor | None]:
    found = [part(images) for part in parts]
    probabilities = next((shares for _, shares in found if shares is not None), None)
    return torch.cat([features[:, :size] for (features, _), size in zip(found, sizes, strict=True)], 1), probabilities
