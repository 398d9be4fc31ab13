"""NewRows: makes the row of a lane, from its report at a rung or for a lane that ends without one."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from gan_core.config.limits import LAST
from gan_core.config.reports import LaneReport, minimised, place_of
from gan_core.config.version import code_version
from results.rows import OBJECTIVES_JOINED_BY, Outcome, ResultRow
from results.trial_run import TrialRun
from sweep.ledger.cohort_record import Cohort
from sweep.ledger.roster import Roster
from sweep.ledger.standings import Standings


class Moment(NamedTuple):
    """When and where a row comes about: seconds since the sweep began, and the name of the machine that trained."""

    elapsed_seconds: float
    host: str


class NewRows:
    """Makes rows that follow from the standings. Their outcome is RUNNING until a verdict says otherwise."""

    def __init__(self, standings: Standings, roster: Roster) -> None:
        self._standings, self._roster = standings, roster
        self._objectives, self._objective = standings.spec.objectives, standings.spec.objective
        self._code_version = code_version()  # for rows without a report

    def reported(self, cohort: Cohort, run: TrialRun, report: LaneReport, at: Moment) -> ResultRow:
        """The row of a report. Raises ResultsError where it is of other data than the rows before."""
        earlier = self._standings.rows[run]
        values = report.fidelity.values
        best = min([place_of(values, self._objective), *(row.place for row in earlier)])
        found = {
            "score": minimised(values, self._objective),
            "best_score": math.nan if best == LAST else best[1],
            "hyperparameters": report.scored(self._roster.configs[run]).flatten(),
            **self._standings.shared.check(report).columns(),
        }
        return self._row(cohort, run, found, at)

    def ended(self, cohort: Cohort, run: TrialRun, images: int, outcome: Outcome, reason: str, at: Moment) -> ResultRow:
        """The row of a run that ends without a report. images: that it had seen when they were last noted."""
        earlier = self._standings.rows[run]
        found = {
            "images_seen": max(earlier[-1].images_seen if earlier else 0, images),
            "best_score": earlier[-1].best_score if earlier else math.nan,
            "outcome": outcome,
            "reason": reason,
        }
        return self._row(cohort, run, found, at)

    def _row(self, cohort: Cohort, run: TrialRun, found: Mapping[str, Any], at: Moment) -> ResultRow:
        lane = cohort.runs.index(run)
        blank = {
            **dict.fromkeys(("d_loss", "g_loss", "score"), math.nan),
            **dict.fromkeys(("device", "protocol", "data_digest", "reason"), ""),
            "seconds": 0.0,
            "code_version": self._code_version,
            "outcome": Outcome.RUNNING,
            "hyperparameters": self._roster.configs[run].flatten(),
        }
        return ResultRow(
            trial=run.trial,
            replicate=run.replicate,
            cohort=cohort.number,
            lane=lane,
            rung=len(self._standings.rows[run]),
            objective=OBJECTIVES_JOINED_BY.join(self._objectives),
            elapsed_seconds=at.elapsed_seconds,
            node=at.host,
            proposed=cohort.derived[lane] if cohort.derived else {},
            **{**blank, **found},
        )
