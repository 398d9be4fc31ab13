"""What all scorers share: their contract, the text of a protocol, the latents, and the choice of samples. L lanes."""

from typing import Protocol

import torch
from torch import Tensor

from gan_core.config.conditions import ScoringConfig
from gan_core.config.input_error import InputError
from gan_core.config.limits import limits_text
from gan_core.config.reports import FidelityReport
from gan_core.data.dataset import Dataset
from gan_core.fidelity.examination import Examination
from gan_core.lanes.streams import Stream, stream
from gan_core.training.lane_array import LaneArray

LATENT_SEED = 42  # of the latents with which every trial is scored (Lucic et al. 2018 do the same with this seed)

Scores = dict[str, Tensor]  # name -> [L]


class Scorer(Protocol):
    """Scores the lanes of an array against one data set.

    protocol: how scores are computed, as text; two scores are comparable only if their protocols are equal. samples:
    the number drawn from each generator. in_c: whether a part is computed in C for lanes on the CPU. features_digest:
    as in `FidelityReport`. examination: that of the feature extractor; None for data sets of numbers.
    """

    protocol: str
    samples: int
    data_digest: str
    features_digest: str
    examination: Examination | None

    @property
    def in_c(self) -> bool: ...

    def score(self, array: LaneArray) -> list[FidelityReport]:
        """One report per lane; the scores are NaN for a lane whose samples are not finite."""
        ...


def reports(scores: Scores, constants: dict[str, float], scorer: Scorer, lanes: int) -> list[FidelityReport]:
    """One report per lane, made of scores [L] and of constants that are the same for all lanes."""
    columns = {name: column.tolist() for name, column in scores.items()}
    return [
        report_of({name: column[lane] for name, column in columns.items()} | constants, scorer) for lane in range(lanes)
    ]


def report_of(values: dict[str, float], scorer: Scorer) -> FidelityReport:
    """The report of one lane: its scores, and how they were computed."""
    verdict = scorer.examination.verdict if scorer.examination else ""
    return FidelityReport(values, scorer.protocol, scorer.data_digest, scorer.features_digest, verdict)


def chosen(samples: Tensor, count: int, key: int) -> Tensor:
    """At most count of the samples, in the order of a keyed permutation, because files are often sorted."""
    order = stream(LATENT_SEED, Stream.DATA_SPLIT, key).permutation(len(samples))[:count]
    return samples[torch.from_numpy(order)]


def check_samples(samples: int, least: int) -> None:
    """Raises InputError if fewer samples are drawn than the scores need."""
    if samples < least:
        raise InputError(f"scoring.samples must be 0 or at least {least} with this data set, got {samples}; leave it 0")


def drawn_samples(samples: int) -> str:
    """The part of a protocol that names the samples."""
    return f"{samples}@latents{LATENT_SEED}"


def reference_part(dataset: Dataset, count: int) -> str:
    """The part of a protocol that names the reference of `count` samples: the held-out split or all samples.

    It holds the kind and the digest of the data set instead of its name, because the path of a folder differs between
    machines.
    """
    split = "held_out" if count <= len(dataset.held_out) else "all"
    return f"{dataset.name.partition(':')[0]}-{dataset.digest}-{split}-{count}"


def limits(scoring: ScoringConfig) -> str:
    """The part of a protocol that names the limits."""
    return limits_text(scoring.class_kl_limit, scoring.coverage_limit)
