"""The report of one lane at one rung, in plain numbers. Loads without torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from gan_core.config.arithmetic import Arithmetic
from gan_core.config.gan import GanConfig
from gan_core.config.limits import Place, limits_broken, place, violation
from gan_core.config.own_names import score_of


@dataclass(frozen=True)
class FidelityReport:
    """The fidelity of one lane.

    values: score name -> number; a protocol always has the same scores.
    protocol: how they were computed (scores, extractor, reference split, sample count, latents).
    features_digest: a digest of the weights of the classifier that computed the features, which each machine trains
    itself; "" where there is none. Two scores are comparable only where protocol and features_digest are equal.
    data_digest: `Dataset.digest` of the real samples.
    examination: `Examination.verdict`, whether the features detect damaged images of this data set; "" for numbers.
    """

    values: dict[str, float]
    protocol: str
    data_digest: str
    features_digest: str = ""
    examination: str = ""


def minimised(values: Mapping[str, float], objective: str) -> float:
    """The value of an objective, of which less is better: the score of its name, or for `-name` the negative of a score
    of which more is better. NaN where there is no such score. No other code negates scores.
    """
    value = values.get(score_of(objective), math.nan)
    return -value if objective.startswith("-") else value


def place_of(values: Mapping[str, float], objective: str) -> Place:
    """The place of a result in the order of `gan_core.config.limits`, by its scores and an objective."""
    return place(minimised(values, objective), violation(values, objective))


class OutOfMemory(Exception):
    """An array does not fit into memory. Its state is undefined, so it must be dropped; fewer lanes may fit."""


@dataclass(frozen=True)
class Death:
    """Why a lane cannot go on. outcome: `diverged` (numbers from which training cannot continue), `collapsed` (the
    generator ignores its latents), `out_of_memory` (it does not fit even alone in an array) or `failed` (a person's own
    code raised an error). traceback: that of such an error, from the first line of their code on. misuse: whether it
    raised none, but returned what a sweep cannot use, which other configurations would most likely do too.
    """

    outcome: Literal["diverged", "collapsed", "out_of_memory", "failed"]
    reason: str
    traceback: str = ""
    misuse: bool = False


@dataclass(frozen=True)
class LaneReport:
    """One lane when it reached a rung, or died before it. Losses are means since the previous rung; D's loss is the sum
    of its parts for real and fake samples.

    health: the watched quantities, name -> number (`gan_core.config.health`); signs: which of them indicate trouble.
    death: why the lane cannot go on, or None. seconds: the lane's share of training and scoring since the last rung.
    device: `cpu` or the GPU's name, how steps were carried out, for a person's own modules whether lanes were `vmapped`
    or `looped`, and for how many lanes a kernel was called. arithmetic: how all this was computed.
    ema_half_life_images: where a lane keeps several averages, the half-life of the one that scores best, else None.
    curve: the watched quantities between rungs, as `gan_core.training.watch.Watch.curves` returns them. report: what a
    person's own training reported beside its scores and losses, name -> number.
    """

    images_seen: int
    d_loss: float
    g_loss: float
    fidelity: FidelityReport
    health: dict[str, float]
    signs: tuple[str, ...]
    death: Death | None
    seconds: float
    device: str
    ema_half_life_images: float | None = None
    arithmetic: Arithmetic = Arithmetic()
    curve: Sequence[Mapping[str, float]] = ()
    report: Mapping[str, float] = field(default_factory=dict)

    def scored(self, config: GanConfig) -> GanConfig:
        """The configuration that was scored, given the lane's: with the half-life of the average that was chosen."""
        half_life = self.ema_half_life_images
        if half_life is None:
            return config
        return replace(config, lane=replace(config.lane, ema_half_life_images=half_life))

    def columns(self) -> dict[str, Any]:
        """The report's columns in a table, by the names of `results.rows.ResultRow`."""
        same = ("images_seen", "d_loss", "g_loss", "seconds", "device", "health", "report")
        return {
            **{name: getattr(self, name) for name in same},
            **self.arithmetic.known(),
            "fidelity": self.fidelity.values,
            "protocol": self.fidelity.protocol,
            "data_digest": self.fidelity.data_digest,
            "features_digest": self.fidelity.features_digest,
            "examination": self.fidelity.examination,
            "signs": " ".join(self.signs),
            "limits_broken": " ".join(limits_broken(self.fidelity.values)),
        }

    def plain(self) -> dict[str, Any]:
        """The report as plain values. The curve is not copied, because that would take longer than all the rest."""
        return {**asdict(replace(self, curve=())), "curve": self.curve}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "LaneReport":
        """The inverse of `plain`, also for what was stored as JSON or written by an earlier version."""
        death = Death(**values["death"]) if values["death"] else None
        fidelity = FidelityReport(**values["fidelity"])
        made = {"fidelity": fidelity, "arithmetic": Arithmetic(**values.get("arithmetic", {})), "death": death}
        return cls(**{**values, **made, "signs": tuple(values["signs"]), "curve": tuple(values.get("curve", ()))})


@dataclass(frozen=True)
class Midway:
    """What an array knows on its way to a rung, beside what is in its file. seconds: for which all its lanes together
    have been trained since the rung before, times of lanes that died left out. dead: number of a lane -> the last
    report of one that died on the way.
    """

    seconds: float = 0.0
    dead: Mapping[int, LaneReport] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return {"seconds": self.seconds, "dead": [[lane, report.plain()] for lane, report in self.dead.items()]}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Midway":
        """The inverse of `plain`."""
        return cls(values["seconds"], {lane: LaneReport.from_plain(report) for lane, report in values["dead"]})
