"""What is known of one lane at one rung, as plain numbers. Loads without torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from gan_core.config.arithmetic import Arithmetic
from gan_core.config.gan import GanConfig


@dataclass(frozen=True)
class FidelityReport:
    """The fidelity of one lane.

    values: score name -> number; the scores of one protocol are always the same ones.
    protocol: how they were computed (scores, extractor, reference split, sample count, latents); two scores are
    comparable only where it and features_digest are equal: of the weights of the classifier that they were computed
    with, which a machine trains itself; "" where there is none. data_digest: of the real samples, `Dataset.digest`.
    examination: whether they see what is wrong with images of this data set, `Examination.verdict`; "" for numbers.
    """

    values: dict[str, float]
    protocol: str
    data_digest: str
    features_digest: str = ""
    examination: str = ""


def minimised(values: Mapping[str, float], objective: str) -> float:
    """What an objective is of these scores, lower where it is better: the score of its name, or for `-name`, of which
    more is better, its negative. NaN where there is no such score. Here alone a score is negated.
    """
    value = values.get(objective.removeprefix("-"), math.nan)
    return -value if objective.startswith("-") else value


class OutOfMemory(Exception):
    """An array does not fit the memory; its state is unspecified, and it must be dropped. Fewer lanes may fit."""


@dataclass(frozen=True)
class Death:
    """Why a lane cannot go on. outcome: `diverged` (its numbers left what training can go on from), `collapsed` (its
    generator answers every latent alike) or `out_of_memory` (alone in an array it does not fit).
    """

    outcome: Literal["diverged", "collapsed", "out_of_memory"]
    reason: str


@dataclass(frozen=True)
class LaneReport:
    """One lane when it reached a rung, or died on the way. Losses are means since the rung before; D's is the sum of
    its two parts.

    health: what was watched, name -> number (`gan_core.config.health`); signs: those of it that tell of trouble.
    death: why the lane cannot go on, or None. seconds: the lane's share of training and scoring since then. device:
    `cpu` or the GPU's name, how steps were carried out, and how many lanes a kernel was called for. arithmetic: how
    all this was computed. ema_half_life_images: of several averages, the half-life of
    the one that is scored best; None where the lane keeps one. curve: what was watched on the way, as
    `gan_core.training.watch.Watch.curves` has it.
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

    def scored(self, config: GanConfig) -> GanConfig:
        """The configuration that the score is of, the lane's being this one: of several averages, with one."""
        half_life = self.ema_half_life_images
        if half_life is None:
            return config
        return replace(config, lane=replace(config.lane, ema_half_life_images=half_life))

    def columns(self) -> dict[str, Any]:
        """What a table keeps of it, by the names of `results.rows.ResultRow`."""
        same = ("images_seen", "d_loss", "g_loss", "seconds", "device", "health")
        return {
            **{name: getattr(self, name) for name in same},
            **self.arithmetic.known(),
            "fidelity": self.fidelity.values,
            "protocol": self.fidelity.protocol,
            "data_digest": self.fidelity.data_digest,
            "features_digest": self.fidelity.features_digest,
            "examination": self.fidelity.examination,
            "signs": " ".join(self.signs),
        }

    def plain(self) -> dict[str, Any]:
        """As plain values. A curve is not copied, which takes longer than all the rest."""
        return {**asdict(replace(self, curve=())), "curve": self.curve}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "LaneReport":
        """The inverse of `plain`, also by way of JSON, and where an earlier version wrote it."""
        death = Death(**values["death"]) if values["death"] else None
        fidelity = FidelityReport(**values["fidelity"])
        made = {"fidelity": fidelity, "arithmetic": Arithmetic(**values.get("arithmetic", {})), "death": death}
        return cls(**{**values, **made, "signs": tuple(values["signs"]), "curve": tuple(values.get("curve", ()))})
