"""ResultRow: what is kept of one trial at one rung."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from functools import cache
from sys import intern
from typing import Any

from results.schema import AMOUNT, NUMBER, SCALAR, TEXT, Kind, fault, one_of, whole
from results.store import SEEDS_APART

GROUPS = ("fidelity", "health")  # numbers, in columns that carry their group's name before a dot
NAMED_GROUPS = (*GROUPS, "proposed")  # all such columns
NUMBERS = ("d_loss", "g_loss", "score", "best_score", "seconds", "elapsed_seconds")
OBJECTIVES_JOINED_BY = ", "
MAY_BE_NULL = {  # hyperparameters that then follow another
    "lane.discriminator_beta1": "lane.beta1",
    "lane.discriminator_beta2": "lane.beta2",
}
MADE_BY = (
    *("device", "execution", "isa", "compiler", "processor", "code_version", "versions", "features_digest"),
    "examination",
)


class Outcome(StrEnum):
    """How a trial stands after a rung. RUNNING goes on to the next one; the others are how a trial ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    COLLAPSED = "collapsed"
    FAILED = "failed"
    OUT_OF_MEMORY = "out_of_memory"


DEAD = (Outcome.DIVERGED, Outcome.COLLAPSED, Outcome.FAILED, Outcome.OUT_OF_MEMORY)  # never best


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One trial at one rung: enough to be understood alone.

    rung: 0 is the first; images_seen: real images shown to D; losses: means since the rung before (NaN where there were
    none). score: what is minimised at this rung, the objective, or of one named `-coverage` minus the coverage;
    best_score: the lowest so far, both NaN where the lane had none; where objective holds several, joined by ", ", of
    the first. fidelity: score name -> number; health: what was watched, likewise; signs: the troubles they show,
    between spaces. seconds: the lane's share of training and scoring since the rung before; elapsed_seconds: wall time
    since the sweep began, pauses not counted.

    device: where, how steps were carried out, and how many lanes a kernel was called for. execution: of steps, as it
    really was (compiled, replayed, eager, cuda graph). isa, compiler: of what was computed in C, steps or scores; ""
    where nothing was. processor: a GPU's name, or the CPU's and the instruction set of torch's own kernels.
    code_version, versions: of the training core and of packages, where it was trained. features_digest: of the weights
    of the classifier that images were compared in. examination: whether their features see what is wrong with images of
    this data set (`passed`, or `failed: ` and what they miss).

    hyperparameters: in force on the way to this rung. proposed: what the sampler proposed where that is no
    hyperparameter itself. parent: in a population, the trial whose state this lane took over after this rung; None: it
    kept its own. replicate: 0 in the search; from 1, the same trial run again from another seed.
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
    execution: str = ""
    isa: str = ""
    compiler: str = ""
    processor: str = ""
    versions: str = ""
    features_digest: str = ""
    examination: str = ""
    signs: str = ""
    replicate: int = 0
    elapsed_seconds: float = 0.0
    parent: int | None = None
    fidelity: Mapping[str, float] = field(default_factory=dict)
    health: Mapping[str, float] = field(default_factory=dict)
    proposed: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    def flat(self) -> dict[str, Any]:
        """Column -> value: `fidelity.*`, `health.*`, `proposed.*`, and each hyperparameter (and the seeds) under its
        dotted name.
        """
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in (*NAMED_GROUPS, "hyperparameters")}
        grouped = {f"{group}.{name}": v for group in NAMED_GROUPS for name, v in getattr(self, group).items()}
        return {**own, "outcome": str(self.outcome), **grouped, **self.hyperparameters}

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> "ResultRow":
        """The inverse of `flat`; what an earlier version did not write has its default. Raises KeyError or ValueError
        when `values` is not a row.
        """
        own = [f for f in fields(cls) if f.name not in (*NAMED_GROUPS, "hyperparameters")]
        names = {f.name for f in own}
        groups: dict[str, dict[str, Any]] = {group: {} for group in NAMED_GROUPS}
        rest: dict[str, Any] = {}
        for name, value in values.items():
            group, _, key = name.partition(".")
            if group in groups:
                groups[group][key] = value
            elif name not in names:
                rest[intern(name)] = value
        plain = {f.name: values[f.name] for f in own if f.default is MISSING or f.name in values}
        plain |= {name: intern(plain[name]) for name in MADE_BY if isinstance(plain.get(name), str)}
        return cls(**{**plain, **groups, "outcome": Outcome(values["outcome"]), "hyperparameters": rest})

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "ResultRow":
        """A row as its JSON line gives it, where a number that is not finite is null. Raises as `from_flat`."""
        return cls.from_flat(
            {
                name: math.nan if value is None and (name in NUMBERS or name.partition(".")[0] in GROUPS) else value
                for name, value in record.items()
            }
        )


KINDS: Mapping[Any, Kind] = {
    int: whole(),
    int | None: whole().or_none(),
    str: TEXT,
    float: NUMBER.or_none(),
    Outcome: one_of(Outcome),
}
FIELDS = [f for f in fields(ResultRow) if f.name not in (*NAMED_GROUPS, "hyperparameters")]
OWN = {
    **{f.name: KINDS[f.type] for f in FIELDS},
    **dict.fromkeys(("seconds", "elapsed_seconds"), AMOUNT),
    "trial": whole(high=SEEDS_APART - 1),
}
REQUIRED = tuple(f.name for f in FIELDS if f.default is MISSING)


def row_fault(record: Mapping[str, Any]) -> str | None:
    """What is wrong with a row as its JSON line gives it, or None. A number that is not finite is null there; what an
    earlier version did not write may be missing.
    """
    return fault(record, OWN, REQUIRED, _other)


@cache
def _other(name: str) -> Kind | None:
    """The kind of a column that is no field: scores and what was watched, and hyperparameters under dotted names."""
    return NUMBER.or_none() if name.partition(".")[0] in GROUPS or name in MAY_BE_NULL else SCALAR
