"""ResultRow: what is kept of one trial at one rung."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """How a trial stands after a rung. RUNNING goes on to the next one; the others are how a trial ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One trial at one rung: enough to be understood alone.

    rung: 0 is the first; images_seen: real images shown to D; losses: means since the rung before (NaN where there were
    none). score: the objective at this rung, best_score: the lowest so far, both NaN where the lane had none.
    fidelity: score name -> number. seconds: the lane's share of training and scoring since the rung before.
    """

    trial: int
    cohort: int
    lane: int
    rung: int
    images_seen: int
    outcome: Outcome
    reason: str
    d_loss: float
    g_loss: float
    score: float
    best_score: float
    seconds: float
    device: str
    objective: str
    protocol: str
    data_digest: str
    code_version: str
    fidelity: Mapping[str, float] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    def flat(self) -> dict[str, Any]:
        """Column -> value: `fidelity.*`, and each hyperparameter (and the seeds) under its dotted name."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("fidelity", "hyperparameters")}
        scores = {f"fidelity.{name}": value for name, value in self.fidelity.items()}
        return {**own, "outcome": str(self.outcome), **scores, **self.hyperparameters}

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> "ResultRow":
        """The inverse of `flat`. Raises KeyError or ValueError when `values` is not a row."""
        own = {f.name for f in fields(cls)} - {"fidelity", "hyperparameters"}
        scores = {k.removeprefix("fidelity."): v for k, v in values.items() if k.startswith("fidelity.")}
        rest = {k: v for k, v in values.items() if k not in own and not k.startswith("fidelity.")}
        plain = {name: values[name] for name in own}
        return cls(**{**plain, "outcome": Outcome(values["outcome"])}, fidelity=scores, hyperparameters=rest)
