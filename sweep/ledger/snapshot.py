"""Snapshot: where a sweep stands, for those who watch it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from gan_core.config.limits import broken_in_words
from results.objectives import natural
from results.rows import DEAD, Outcome
from results.trial_run import TrialRun
from sweep.ledger.agenda import search_ended, wanted_replicates
from sweep.ledger.standings import Standings, best_row

NOT_FINITE = ("best_score", "baseline_score", "images_per_second")  # may be NaN, which JSON does not know


class RunningCohort(NamedTuple):
    """A cohort in training. rung: the one that it trains to, counted from 0. lanes: its runs that have not ended.
    phase: what it does besides training, or "". node: the machine that trains it, "" where that is not known.
    """

    number: int
    rung: int
    lanes: int
    phase: str = ""
    node: str = ""


class SeenNode(NamedTuple):
    """A node of a cluster. name: as `RunningCohort.node` has it. room: how many cohorts fit it at once. why: why it is
    given none, or "".
    """

    name: str
    room: int
    why: str = ""


PLACES = {"cohorts": RunningCohort, "nodes": SeenNode}  # fields with several of a kind


@dataclass(frozen=True)
class Snapshot:
    """Where a sweep stands. done, running: trials that have ended, and runs in training. outcomes: of the trials that
    have ended, outcome -> count. images: real images shown to all lanes so far. best_trial, best_score, best_config: of
    the best trial, None, NaN and empty if there is none. best_breaks: in words, which limits that trial breaks, because
    none keeps them yet; "" if it keeps them. baseline_score: of the defaults, trial 0.

    device_seconds: the time for training and scoring, over all lanes. budget_used: in words, how much of the budget is
    used; "" without a budget. confirmations, confirmed: replicates that are asked for, and that have ended. notes:
    lines about what went wrong outside the trials. phase: what the processes that train do besides training
    ("compiling ..."), or "". cohorts: those in training. images_per_second: of these cohorts together, by what the kind
    of device of each has done so far; NaN where that is not known. idle_because: why there is no cohort to hand out; ""
    where there is one. nodes: of the cluster; none where one machine trains.
    """

    trials: int
    done: int
    running: int
    outcomes: dict[str, int]
    images: int
    best_trial: int | None
    best_score: float
    best_config: dict[str, Any]
    baseline_score: float
    device_seconds: float = 0.0
    budget_used: str = ""
    confirmations: int = 0
    confirmed: int = 0
    notes: tuple[str, ...] = ()
    phase: str = ""
    cohorts: tuple[RunningCohort, ...] = ()
    images_per_second: float = math.nan
    idle_because: str = ""
    nodes: tuple[SeenNode, ...] = ()
    best_breaks: str = ""

    def plain(self) -> dict[str, Any]:
        """The snapshot as plain values for JSON; numbers that are not finite are None."""
        values = asdict(self) | {key: [one._asdict() for one in getattr(self, key)] for key in PLACES}
        return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in values.items()}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Snapshot":
        """The inverse of `plain`. Keys that are not known are left out, so that a later version may write more. Raises
        KeyError, TypeError or AttributeError for what is no snapshot.
        """
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        numbers = {key: math.nan for key in NOT_FINITE if known.get(key) is None}
        places = {
            key: tuple(kind(**{name: one[name] for name in kind._fields if name in one}) for one in known.get(key, ()))
            for key, kind in PLACES.items()
        }
        return cls(**{**known, **numbers, **places, "notes": tuple(known["notes"])})


def snapshot_of(
    standings: Standings,
    elapsed_seconds: float,
    images: int,
    cohorts: Sequence[RunningCohort],
    notes: tuple[str, ...],
    idle_because: str,
) -> Snapshot:
    """Where a sweep stands. images: shown since the last rows; cohorts: those in training; the rest: as in Snapshot."""
    spec, runs, best = standings.spec, standings.searched, standings.best
    ends = [standings.rows[run][-1].outcome for run in runs if standings.ended(run)]
    cost, over = standings.cost(elapsed_seconds, images), search_ended(standings)
    row = None if best is None else best_row(standings.rows[TrialRun(best)])
    of_defaults = standings.rows.get(TrialRun(0)) or [None]  # until trial 0 takes over another trial's state
    baseline = next((row for row in of_defaults if row and row.parent is not None), of_defaults[-1])
    living = baseline is not None and baseline.outcome not in DEAD
    return Snapshot(
        trials=len(runs) if over else spec.trials,
        done=len(ends),
        running=sum(cohort.lanes for cohort in cohorts),
        outcomes={str(outcome): ends.count(outcome) for outcome in Outcome if outcome is not Outcome.RUNNING},
        images=cost.images,
        best_trial=best,
        best_score=natural(spec.objective, row.best_score) if row else math.nan,
        best_config=dict(row.hyperparameters) if row else {},
        baseline_score=natural(spec.objective, baseline.best_score) if baseline and living else math.nan,
        device_seconds=cost.device_seconds,
        budget_used=spec.budget.used(cost),
        confirmations=len(wanted_replicates(standings)) if over else spec.confirm.top * spec.confirm.seeds,
        confirmed=sum(standings.ended(run) for run in standings.rows if run.replicate),
        notes=notes,
        phase=", ".join(dict.fromkeys(cohort.phase for cohort in cohorts if cohort.phase)),
        cohorts=tuple(cohorts),
        images_per_second=standings.paces.images_per_second([cohort.node for cohort in cohorts])
        if cohorts
        else math.nan,
        idle_because=idle_because,
        best_breaks=""
        if best is None or row is None or standings.keeps_limits(best)
        else broken_in_words(row.fidelity),
    )
