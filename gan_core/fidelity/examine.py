"""Examines the scores of a data set before they are used: fresh and damaged real images are scored like samples.

M images, C, H, W an image.
"""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from gan_core.data.dataset import Dataset
from gan_core.fidelity.damages import damages, fresh_images
from gan_core.fidelity.examination import COLUMNS, Examination, Finding, judged
from gan_core.files.cache import alone, keep, writable_cache_folder
from gan_core.lanes.axis import lane_arithmetic

RECIPE = 1  # to be increased when the damages or the rules change
ALSO = ("violation", "memorisation_error")  # what the rules use besides the columns of the table


class Compared(Protocol):
    """The part of `gan_core.fidelity.scorers.ImageScorer` that an examination uses."""

    dataset: Dataset
    samples: int
    protocol: str
    features_digest: str
    constants: dict[str, float]

    def compare(self, images: Tensor, strata: Tensor) -> tuple[dict[str, Tensor], Tensor | None]: ...


def examine(scorer: Compared, extractor: str) -> Examination:
    """Scores fresh and damaged training images and judges them by `gan_core.fidelity.examination.judged`.

    extractor: the kind of the scorer's features. The result is cached under the scorer's protocol, the weights of its
    features and the version of torch; one process examines while others wait.
    """
    key = ":".join((str(RECIPE), torch.__version__, extractor, scorer.protocol, scorer.features_digest))
    path = writable_cache_folder() / f"examination-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    with alone(path):
        found = _read(path)
        if found is None:
            with lane_arithmetic():  # what is cached must not depend on the settings of the process that computes it
                found = _examined(scorer, extractor)
            keep(path, partial(_write, found))
    return found


def _examined(scorer: Compared, extractor: str) -> Examination:
    images, labels = fresh_images(scorer.dataset, scorer.samples)
    scored = _scoring(scorer)
    findings = [Finding("", "real", 0, scored(images))]
    for damage in damages(images, labels):
        findings.append(Finding(damage.name, damage.kind, damage.dose, scored(damage.images)))
    distinct_images = min(scorer.samples, len(scorer.dataset.train_samples))
    return Examination(extractor, judged(findings, distinct_images))


def _scoring(scorer: Compared) -> Callable[[Tensor], dict[str, float]]:
    strata = torch.ones(scorer.samples, 1, dtype=torch.float64)

    def scored(images: Tensor) -> dict[str, float]:
        scores, _ = scorer.compare(images.unsqueeze(0), strata)
        numbers = {name: float(column[0]) for name, column in scores.items()} | scorer.constants
        return {name: numbers[name] for name in (*COLUMNS, *ALSO)}

    return scored


def _read(path: Path) -> Examination | None:
    """The cached examination, if its digest is right: it decides which features are used, so damage must be noticed."""
    try:
        digest, _, text = path.read_text().partition("\n")
    except (OSError, ValueError):
        return None
    return Examination.from_plain(json.loads(text)) if digest == _digest(text) else None


def _write(examination: Examination, path: Path) -> None:
    text = json.dumps(examination.plain())
    path.write_text(f"{_digest(text)}\n{text}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
