"""What all scorers share: the form of a protocol, the latents, and how samples are chosen.

L lanes, M samples.
"""

from typing import Protocol

import torch
from torch import Tensor

from gan_core.config.conditions import ScoringConfig
from gan_core.config.input_error import InputError
from gan_core.config.reports import FidelityReport
from gan_core.data.dataset import Dataset
from gan_core.fidelity.examination import Examination
from gan_core.lanes.streams import Stream, stream
from gan_core.training.lane_array import LaneArray

LATENT_SEED = 42  # of the latents every trial is scored with (Lucic et al. 2018 do the same, with this seed)

Scores = dict[str, Tensor]  # name -> [L]


class Scorer(Protocol):
    """Scores arrays over one data set. protocol: how, in words; two scores are comparable only where it is equal.
    samples: how many are drawn from each generator. in_c: whether some of it is computed in C, where the lanes are on
    the CPU; features_digest: as `FidelityReport` has it; examination: of what images are compared in; None for numbers.
    """

    protocol: str
    samples: int
    data_digest: str
    features_digest: str
    examination: Examination | None

    @property
    def in_c(self) -> bool: ...

    def score(self, array: LaneArray) -> list[FidelityReport]:
        """One report a lane; NaN where a lane's samples are not finite."""
        ...


def reports(scores: Scores, constants: dict[str, float], scorer: Scorer, lanes: int) -> list[FidelityReport]:
    """One report a lane, of scores [L] and of what is the same for all lanes."""
    columns = {name: column.tolist() for name, column in scores.items()}
    return [
        report_of({name: column[lane] for name, column in columns.items()} | constants, scorer) for lane in range(lanes)
    ]


def report_of(values: dict[str, float], scorer: Scorer) -> FidelityReport:
    """Scores of a lane, with how they came about."""
    verdict = scorer.examination.verdict if scorer.examination else ""
    return FidelityReport(values, scorer.protocol, scorer.data_digest, scorer.features_digest, verdict)


def chosen(samples: Tensor, count: int, key: int) -> Tensor:
    """At most count of the samples, by a keyed permutation: files are often sorted."""
    order = stream(LATENT_SEED, Stream.DATA_SPLIT, key).permutation(len(samples))[:count]
    return samples[torch.from_numpy(order)]


def check_samples(samples: int, least: int) -> None:
    """Raises InputError where fewer are drawn than the scores need."""
    if samples < least:
        raise InputError(f"scoring.samples must be 0 or at least {least} with this data set, got {samples}; leave it 0")


def drawn_samples(samples: int) -> str:
    """The samples' part of a protocol."""
    return f"{samples}@latents{LATENT_SEED}"


def reference_part(dataset: Dataset, count: int) -> str:
    """The reference's part of a protocol, of so many images: the kind of data set, for a folder's path is one
    machine's, and whether they are the held-out split or all there are.
    """
    split = "held_out" if count <= len(dataset.held_out) else "all"
    return f"{dataset.name.partition(':')[0]}-{dataset.digest}-{split}-{count}"


def limits(scoring: ScoringConfig) -> str:
    """Every digit of the limits: they decide `fidelity`."""
    return f"kl{float(scoring.class_kl_limit)}-coverage{float(scoring.coverage_limit)}"
