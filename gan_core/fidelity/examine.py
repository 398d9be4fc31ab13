"""Scores are examined on a data set before they are used: real images, fresh and damaged, take the place of samples.

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

RECIPE = 1  # a new number where damages or rules change
ALSO = ("violation", "memorisation_error")  # what the rules read beside the table's columns


class Compared(Protocol):
    """What is examined: `gan_core.fidelity.scorers.ImageScorer`."""

    dataset: Dataset
    samples: int
    protocol: str
    features_digest: str
    constants: dict[str, float]

    def compare(self, images: Tensor, strata: Tensor) -> tuple[dict[str, Tensor], Tensor | None]: ...


def examine(scorer: Compared, extractor: str) -> Examination:
    """How a scorer ranks fresh and damaged training images, by the rules of `gan_core.fidelity.examination.judged`.

    extractor: the kind of its features. Kept in the cache folder by the scorer's protocol, the classifier's weights and
    torch's version; one process examines, others wait.
    """
    key = ":".join((str(RECIPE), torch.__version__, extractor, scorer.protocol, scorer.features_digest))
    path = writable_cache_folder() / f"examination-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    with alone(path):
        found = _read(path)
        if found is None:
            with lane_arithmetic():  # what is kept must not depend on who computes it
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
    """What is kept, where it is what was written: it decides which features are used."""
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
