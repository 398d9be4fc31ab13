"""What every feature extractor promises. n images, C, H, W an image, D features, K classes."""

from typing import Protocol

import torch
from torch import Tensor


class FeatureExtractor(Protocol):
    """Maps images to features. The features of an image depend on it alone, and are NaN if it is not finite.

    name: the kind, D and a hash of all that decides the features, so that scores of different extractors are never
    compared. weights: a hash of weights that were trained on this machine and so depend on its rounding (scores of the
    same name differ by some percent between machines), or "" if there are none. features: D. classifies: whether class
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
        """Features float32 [n, D] and class probabilities [n, K], or None, of images [n, C, H, W] in [-1, 1].

        Both are on the device of the images, which must be that of the extractor.
        """
        ...

    def to(self, device: torch.device | str) -> "FeatureExtractor":
        """The extractor on another device; this one does not move. Keep the result, because moving may be slow."""
        ...
