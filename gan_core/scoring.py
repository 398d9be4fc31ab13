"""Scoring the lanes of an array against held-out real samples, under one fixed protocol a data set.

The same latents for every trial, the scored (averaged) generator, the reference split that no D has seen.
L lanes, M samples, D features, K classes.
"""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gan_core.checkpoint import load_tensors, save_tensors
from gan_core.config import GanConfig
from gan_core.data import GAUSSIAN_DEVIATION, GAUSSIAN_MEAN, Dataset, gaussian_quantiles, load_dataset
from gan_core.features import FeatureExtractor, load_extractor
from gan_core.fidelity import (
    class_divergence,
    frechet_distance,
    frechet_floor,
    moments,
    wasserstein_1d,
    wasserstein_floor,
)
from gan_core.health import divergence
from gan_core.lanes import Stream, lane_arithmetic
from gan_core.reports import FidelityReport, LaneReport
from gan_core.training import LaneArray

LATENT_SEED = 42  # of the latents every trial is scored with (Lucic et al. 2018 do the same, with this seed)
IMAGE_SAMPLES = 2_000
VALUE_SAMPLES = 10_000
SAMPLES_AT_ONCE = 500  # of one call of the extractor: its activations stay in the cache
COVERED_SHARE = 0.01  # a class with a smaller share of the samples counts as missing


class Scorer(Protocol):
    """Scores arrays over one data set. `objective` names the value that is minimised by default."""

    objective: str
    protocol: str

    def score(self, array: LaneArray) -> list[FidelityReport]:
        """One report a lane; NaN where a lane's samples are not finite."""
        ...


class ImageScorer:
    """Frechet distance in the feature space of a classifier, with its noise floor, and the balance of classes.

    `fid`; `fid_floor`, what two sets of real samples of these sizes would differ by; `class_kl`, KL of the
    drawn classes to the held-out ones in nats; `classes_covered`, those with at least 1% of the samples.
    """

    objective = "fid"

    def __init__(self, dataset: Dataset, extractor: FeatureExtractor) -> None:
        if dataset.held_out_labels is None:
            raise ValueError(f"data set {dataset.name!r} has no labels")
        self.extractor = extractor
        self.classes = dataset.classes
        self.data_digest = dataset.digest
        parts = [extractor(part)[0] for part in dataset.held_out.split(SAMPLES_AT_ONCE)]
        mean, covariance = moments(torch.cat(parts).unsqueeze(0))
        self.mean, self.covariance = mean[0], covariance[0]
        self.shares = torch.bincount(dataset.held_out_labels, minlength=self.classes).double() / len(dataset.held_out)
        self.floor = frechet_floor(self.covariance, IMAGE_SAMPLES, len(dataset.held_out))
        self.protocol = (
            f"fid/{extractor.name}/{dataset.name}-{dataset.digest}-held_out-{len(dataset.held_out)}"
            f"/{IMAGE_SAMPLES}@latents{LATENT_SEED}"
        )

    def score(self, array: LaneArray) -> list[FidelityReport]:
        samples = array.generate(array.shared_latents(Stream.SCORE_LATENTS, IMAGE_SAMPLES, LATENT_SEED))
        extractor = self.extractor.to(samples.device)
        means, covariances, shares = [], [], []
        for lane in samples.float().unbind(0):
            parts = [extractor(part) for part in lane.split(SAMPLES_AT_ONCE)]
            mean, covariance = moments(torch.cat([part[0] for part in parts]).unsqueeze(0).cpu())
            drawn = torch.cat([part[1] for part in parts]).argmax(1).cpu()
            means.append(mean)
            covariances.append(covariance)
            shares.append(torch.bincount(drawn, minlength=self.classes).double() / IMAGE_SAMPLES)
        share = torch.stack(shares)
        fid = frechet_distance(torch.cat(means), torch.cat(covariances), self.mean, self.covariance)
        divergences = class_divergence(share, self.shares)
        covered = (share >= COVERED_SHARE).sum(1)
        return [
            FidelityReport(
                {
                    "fid": float(fid[i]),
                    "fid_floor": self.floor,
                    "class_kl": float(divergences[i]),
                    "classes_covered": float(covered[i]),
                },
                self.protocol,
                self.data_digest,
            )
            for i in range(array.lanes)
        ]


class ValueScorer:
    """1-D samples against N(4, 1.25^2): Wasserstein-1 to its exact quantiles with the noise floor at that sample count,
    and the absolute errors of mean and deviation.
    """

    objective = "wasserstein"

    def __init__(self, dataset: Dataset) -> None:
        self.data_digest = dataset.digest
        self.quantiles = gaussian_quantiles(VALUE_SAMPLES)
        self.floor = wasserstein_floor(GAUSSIAN_DEVIATION, VALUE_SAMPLES)
        self.protocol = f"wasserstein/exact-quantiles/{dataset.name}/{VALUE_SAMPLES}@latents{LATENT_SEED}"

    def score(self, array: LaneArray) -> list[FidelityReport]:
        drawn = array.generate(array.shared_latents(Stream.SCORE_LATENTS, VALUE_SAMPLES, LATENT_SEED))
        values = drawn.flatten(1).double().cpu()  # [L, M]
        distance = wasserstein_1d(values, self.quantiles)
        mean_error = (values.mean(1) - GAUSSIAN_MEAN).abs()
        deviation_error = (values.std(1) - GAUSSIAN_DEVIATION).abs()
        return [
            FidelityReport(
                {
                    "wasserstein": float(distance[i]),
                    "wasserstein_floor": self.floor,
                    "mean_error": float(mean_error[i]),
                    "deviation_error": float(deviation_error[i]),
                },
                self.protocol,
                self.data_digest,
            )
            for i in range(array.lanes)
        ]


def build_scorer(dataset: Dataset) -> Scorer:
    """The scorer of a data set; trains or loads the feature extractor where one is needed."""
    with lane_arithmetic():  # the reference's own numbers must not depend on who asks for them
        return ValueScorer(dataset) if dataset.classes == 0 else ImageScorer(dataset, load_extractor(dataset))


def evaluate(array: LaneArray, scorer: Scorer, started: float) -> list[LaneReport]:
    """One report a lane of what happened since losses were last read; started: the clock (time.monotonic) then."""
    fidelity = scorer.score(array)
    d_loss, g_loss = array.read_losses()
    dead = [
        divergence(d_loss[i], g_loss[i], _weights(array, i), fidelity[i].values[scorer.objective])
        for i in range(array.lanes)
    ]
    seconds = (time.monotonic() - started) / array.lanes
    where = array.state.generator.flat.device
    device = torch.cuda.get_device_name(where) if where.type == "cuda" else where.type
    return [
        LaneReport(
            array.state.images_seen, _or_nan(d_loss[i]), _or_nan(g_loss[i]), fidelity[i], dead[i], seconds, device
        )
        for i in range(array.lanes)
    ]


def _or_nan(loss: float | None) -> float:
    return math.nan if loss is None else loss


def _weights(array: LaneArray, lane: int) -> Tensor:
    return torch.cat((array.state.generator.flat[lane], array.state.discriminator.flat[lane]))


class ScoredArray:
    """An array with its scorer: what a sweep trains from rung to rung."""

    def __init__(self, array: LaneArray, scorer: Scorer) -> None:
        self.array, self.scorer = array, scorer

    def train_to(self, images: int, on_step: Callable[[int], None] | None = None) -> list[LaneReport]:
        """Trains every lane to `images` real images and scores it: one report a lane."""
        started = time.monotonic()
        self.array.train_to(images, on_step)
        return evaluate(self.array, self.scorer, started)

    def keep(self, lanes: Sequence[int]) -> None:
        """Goes on with these lanes alone."""
        self.array.keep(lanes)

    def picture(self, lane: int, count: int) -> np.ndarray:
        """The first `count` samples that the lane is scored with: float32 [count, *sample_shape]."""
        latents = self.array.shared_latents(Stream.SCORE_LATENTS, IMAGE_SAMPLES, LATENT_SEED)[:, :count]
        return self.array.generate(latents)[lane].float().cpu().numpy()

    def save(self, path: Path) -> None:
        """Writes all that training needs to go on, atomically."""
        save_tensors(path, self.array.state.tensors())

    def load(self, path: Path) -> None:
        """Takes over what `save` wrote for the same configurations. Raises InputError when it does not fit."""
        self.array.state.load(load_tensors(path))


class Workshop:
    """What a process needs to train any configuration of one data set: its samples and its scorer, loaded once.

    device: `cpu`, `cuda`, or `auto` for a GPU where torch sees one. Raises InputError as `load_dataset` does.
    """

    def __init__(self, dataset: str, data_root: str | Path | None = None, device: str = "auto") -> None:
        self.dataset = load_dataset(dataset, Path(data_root) if data_root else None)
        self.scorer = build_scorer(self.dataset)
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device

    def build(self, configs: Sequence[GanConfig]) -> ScoredArray:
        """An untrained array of these configurations, which share a structure."""
        return ScoredArray(LaneArray(configs, self.dataset, device=self.device), self.scorer)
