"""ResultRow: the result of one trial at one rung."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from functools import cache
from sys import intern
from typing import Any

from gan_core.config.conditions import with_weights
from gan_core.config.limits import Place, place, violation
from results.schema import AMOUNT, FLAG, NUMBER, SCALAR, TEXT, Kind, fault, is_text, one_of, whole_number
from results.trial_run import MOST_TRIALS, TrialRun

GROUPS = (
    "fidelity",
    "report",
    "health",
)  # of numbers: the name of a column is the group, a dot, and the name in it
NAMED_GROUPS = (*GROUPS, "proposed")  # all groups with such columns
NO_COLUMNS = (*NAMED_GROUPS, "hyperparameters", "overruled")  # fields without a column of the same name
OVERRULED = "baseline, never pruned"  # so begins the reason where `overruled` is true; earlier versions wrote only it
NUMBERS = ("d_loss", "g_loss", "score", "best_score", "seconds", "elapsed_seconds")
OBJECTIVES_JOINED_BY = ", "
MAY_BE_NULL = {  # hyperparameter -> the one whose value it takes when it is null
    "lane.discriminator_beta1": "lane.beta1",
    "lane.discriminator_beta2": "lane.beta2",
}
MADE_BY = (
    *("device", "execution", "isa", "compiler", "processor", "code_version", "versions", "features_digest"),
    "examination",
)


class Outcome(StrEnum):
    """How a trial stands after a rung: RUNNING if it goes on to the next rung, otherwise how it ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    COLLAPSED = "collapsed"
    FAILED = "failed"
    OUT_OF_MEMORY = "out_of_memory"


DEAD = (
    Outcome.DIVERGED,
    Outcome.COLLAPSED,
    Outcome.FAILED,
    Outcome.OUT_OF_MEMORY,
)  # such a trial is never the best one


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One trial at one rung. A row can be understood without other files.

    rung: 0 is the first. images_seen: real images shown to the discriminator. d_loss, g_loss: means since the rung
    before, NaN where there are none. score: the objective at this rung as it is minimised (for an objective `-coverage`
    the negative coverage); best_score: that of the best rung so far, which is the lowest of those that keep the limits
    (`gan_core.config.limits`). Both are NaN where the lane had no score, and of the first objective where `objective`
    names several, joined by ", ". fidelity: name of a score -> number; limits_broken: the names of the limits that
    these break, separated by spaces; report: name of what a person's own training reported beside its scores and losses
    -> number; health: name of what was watched during training -> number; signs: the signs of trouble in these,
    separated by spaces. seconds: the lane's share of the time for training and scoring since the rung before.
    elapsed_seconds: wall time since the sweep began, without the time during which it was stopped.

    device: where the lane was trained, how steps were carried out, and for how many lanes a kernel was called.
    execution: how steps were really carried out (compiled, replayed, eager, cuda graph). isa, compiler: of the steps or
    scores that were computed in C; "" if none were. processor: the name of the GPU, or of the CPU and the instruction
    set that the kernels of torch use. code_version, versions: of the training core and of packages, where the lane was
    trained. features_digest: of the weights of the classifier in whose features images were compared. examination:
    whether these features reveal known damages to images of this data set (`passed`, or `failed: ` and what they miss).
    node: the machine that trained the lane, by its host name, or by its name in Ray where hosts have the same name.

    hyperparameters: those in force on the way to this rung. proposed: what the sampler proposed, where that is no
    hyperparameter itself. parent: in a population, the trial whose state this lane took over after this rung; None if
    it kept its state. replicate: 0 in the search; from 1, the same trial trained again from another seed. overruled:
    whether the rule would have pruned the trial, which went on as the baseline. It is written only where it is
    true, and has no column in tables.
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
    node: str = ""
    signs: str = ""
    limits_broken: str = ""
    replicate: int = 0
    elapsed_seconds: float = 0.0
    parent: int | None = None
    fidelity: Mapping[str, float] = field(default_factory=dict)
    report: Mapping[str, float] = field(default_factory=dict)
    health: Mapping[str, float] = field(default_factory=dict)
    proposed: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    overruled: bool = False

    @property
    def run(self) -> TrialRun:
        """Which training of the trial it is of."""
        return TrialRun(self.trial, self.replicate)

    @property
    def place(self) -> Place:
        """Its place in the order of `gan_core.config.limits`, by the first objective."""
        return place(self.score, violation(self.fidelity, self.objective.partition(OBJECTIVES_JOINED_BY)[0]))

    def flat(self) -> dict[str, Any]:
        """Column -> value. Groups have the columns `fidelity.*`, `report.*`, `health.*` and `proposed.*`;
        hyperparameters and seeds have their dotted names.
        """
        own = {f.name: getattr(self, f.name) for f in FIELDS}
        grouped = {f"{group}.{name}": v for group in NAMED_GROUPS for name, v in getattr(self, group).items()}
        overruled = {"overruled": True} if self.overruled else {}
        return {**own, "outcome": str(self.outcome), **grouped, **self.hyperparameters, **overruled}

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> "ResultRow":
        """The inverse of `flat`. Columns that an earlier version did not write have their defaults. Raises KeyError or
        ValueError when `values` is no row.
        """
        groups: dict[str, dict[str, Any]] = {group: {} for group in NAMED_GROUPS}
        rest: dict[str, Any] = {}
        for name, value in values.items():
            group, _, key = name.partition(".")
            if group in groups:
                groups[group][key] = value
            elif name not in KNOWN:
                rest[intern(name)] = value
        plain = {f.name: values[f.name] for f in FIELDS if f.default is MISSING or f.name in values}
        plain["protocol"] = intern(with_weights(values["protocol"], values.get("features_digest", "")))
        plain |= {name: intern(plain[name]) for name in (*MADE_BY, "node") if isinstance(plain.get(name), str)}
        outcome = Outcome(values["outcome"])
        overruled = values.get("overruled", str(values["reason"]).startswith(OVERRULED))
        return cls(**{**plain, **groups, "outcome": outcome, "hyperparameters": rest, "overruled": overruled})

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "ResultRow":
        """The row of a line of JSON, in which numbers that are not finite are null. Raises as `from_flat` does."""
        return cls.from_flat(
            {
                name: math.nan if value is None and (name in NUMBERS or name.partition(".")[0] in GROUPS) else value
                for name, value in record.items()
            }
        )


KINDS: Mapping[Any, Kind] = {
    int: whole_number(),
    int | None: whole_number().or_none(),
    str: TEXT,
    float: NUMBER.or_none(),
    Outcome: one_of(Outcome),
}
FIELDS = [f for f in fields(ResultRow) if f.name not in NO_COLUMNS]
OWN = {
    **{f.name: KINDS[f.type] for f in FIELDS},
    **dict.fromkeys(("seconds", "elapsed_seconds"), AMOUNT),
    "trial": whole_number(high=MOST_TRIALS - 1),
}
KNOWN = {**OWN, "overruled": FLAG}
REQUIRED = tuple(f.name for f in FIELDS if f.default is MISSING)


def short(name: str) -> str:
    """The name of a column without what stands before its first dot. The arguments of a person's own generator and
    discriminator, which may have the same names, are named in full.
    """
    return name if name.startswith(("generator.", "discriminator.")) else name.partition(".")[2] or name


def row_fault(record: Mapping[str, Any]) -> str | None:
    """In words what is wrong with the record of a line of JSON that should be a row, or None. Numbers that are not
    finite are null there, and columns that an earlier version did not write may be missing.
    """
    return fault(record, KNOWN, REQUIRED, _other)


def kind_of(name: str) -> Kind | None:
    """What the values of a column must be, or None if no row may have such a column."""
    return KNOWN.get(name) or (_other(name) if is_text(name) else None)


@cache
def _other(name: str) -> Kind | None:
    """The kind of a column that is no field: a score, something that was watched, or a hyperparameter."""
    return NUMBER.or_none() if name.partition(".")[0] in GROUPS or name in MAY_BE_NULL else SCALAR
