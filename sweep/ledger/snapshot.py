"""Snapshot: where a sweep stands, for those who watch it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from results.objectives import natural
from results.rows import DEAD, Outcome
from results.trial_run import TrialRun
from sweep.ledger.agenda import search_ended, wanted_replicates
from sweep.ledger.standings import Standings, best_row


class RunningCohort(NamedTuple):
    """A cohort in training. rung: the one that it trains to, counted from 0. lanes: its runs that have not ended.
    phase: what it does besides training, or "". node: the machine that trains it, "" where that is not known.
    """

    number: int
    rung: int
    lanes: int
    phase: str = ""
    node: str = ""


@dataclass(frozen=True)
class Snapshot:
    """Where a sweep stands. done, running: trials that have ended, and runs in training. outcomes: of the trials that
    have ended, outcome -> count. images: real images shown to all lanes so far. best_trial, best_score, best_config: of
    the best trial, None, NaN and empty if there is none. baseline_score: of trial 0.

    device_seconds: the time for training and scoring, over all lanes. budget_used: in words, how much of the budget is
    used; "" without a budget. confirmations, confirmed: replicates that are asked for, and that have ended. notes:
    lines about what went wrong outside the trials. phase: what the processes that train do besides training
    ("compiling ..."), or "". cohorts: those in training.
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

    def plain(self) -> dict[str, Any]:
        """The snapshot as plain values for JSON; numbers that are not finite are None."""
        values = {**asdict(self), "cohorts": [cohort._asdict() for cohort in self.cohorts]}
        return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in values.items()}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Snapshot":
        """The inverse of `plain`. Keys that are not known are left out, so that a later version may write more. Raises
        KeyError, TypeError or AttributeError for what is no snapshot.
        """
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        numbers = {key: math.nan for key in ("best_score", "baseline_score") if known[key] is None}
        places = [{key: place[key] for key in RunningCohort._fields if key in place} for place in known["cohorts"]]
        cohorts = tuple(RunningCohort(**place) for place in places)
        return cls(**{**known, **numbers, "notes": tuple(known["notes"]), "cohorts": cohorts})


def snapshot_of(
    standings: Standings,
    elapsed_seconds: float,
    images: int,
    cohorts: Sequence[RunningCohort],
    notes: tuple[str, ...],
) -> Snapshot:
    """Where a sweep stands. images: shown since the last rows; cohorts: those in training."""
    spec, runs, best = standings.spec, standings.searched, standings.best
    ends = [standings.rows[run][-1].outcome for run in runs if standings.ended(run)]
    cost, over = standings.cost(elapsed_seconds, images), search_ended(standings)
    row = None if best is None else best_row(standings.rows[TrialRun(best)])
    baseline = standings.rows[TrialRun(0)][-1] if standings.rows.get(TrialRun(0)) else None
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
    )
