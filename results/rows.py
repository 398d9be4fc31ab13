"""ResultRow: what is kept of one trial at one rung."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

GROUPS = ("fidelity", "health")  # columns that carry their group's name before a dot


class Outcome(StrEnum):
    """How a trial stands after a rung. RUNNING goes on to the next one; the others are how a trial ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    COLLAPSED = "collapsed"
    FAILED = "failed"


DEAD = (Outcome.DIVERGED, Outcome.COLLAPSED, Outcome.FAILED)  # never best


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One trial at one rung: enough to be understood alone.

    rung: 0 is the first; images_seen: real images shown to D; losses: means since the rung before (NaN where there were
    none). score: the objective at this rung, best_score: the lowest so far, both NaN where the lane had none.
    fidelity: score name -> number; health: what was watched, likewise; signs: the troubles they show, between spaces.
    seconds: the lane's share of training and scoring since the rung before.
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
    signs: str = ""
    fidelity: Mapping[str, float] = field(default_factory=dict)
    health: Mapping[str, float] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    def flat(self) -> dict[str, Any]:
        """Column -> value: `fidelity.*`, `health.*`, and each hyperparameter (and the seeds) under its dotted name."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in (*GROUPS, "hyperparameters")}
        grouped = {f"{group}.{name}": v for group in GROUPS for name, v in getattr(self, group).items()}
        return {**own, "outcome": str(self.outcome), **grouped, **self.hyperparameters}

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> "ResultRow":
        """The inverse of `flat`. Raises KeyError or ValueError when `values` is not a row."""
        own = {f.name for f in fields(cls)} - {*GROUPS, "hyperparameters"}
        groups: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
        rest: dict[str, Any] = {}
        for name, value in values.items():
            group, _, key = name.partition(".")
            if group in groups:
                groups[group][key] = value
            elif name not in own:
                rest[name] = value
        plain = {name: values[name] for name in own}
        return cls(**{**plain, **groups, "outcome": Outcome(values["outcome"]), "hyperparameters": rest})
