"""Openings: which cohort a run trains next, when all cohorts that were recorded are handed out."""

from collections.abc import Sequence
from dataclasses import replace

from gan_core.config.gan import GanConfig
from results.trial_run import TrialRun
from sweep.ledger.agenda import search_ended, survivors, wanted_replicates
from sweep.ledger.cohort_record import Cohort, CohortRecord
from sweep.ledger.roster import Roster
from sweep.ledger.standings import Standings, best_row
from sweep.proposals.proposals import Proposals
from sweep.proposals.seeds import derived_seed


class Openings:
    """Makes new cohorts: of runs that go on up a longer ladder, of new proposals, or of replicates of finalists."""

    def __init__(self, standings: Standings, roster: Roster, proposals: Proposals) -> None:
        self._spec, self._standings, self._roster, self._proposals = standings.spec, standings, roster, proposals

    def next(self, size: int, elapsed_seconds: float, *, spent: bool) -> CohortRecord | None:
        """The next cohort, of at most `size` runs, or None if there is nothing to train now. spent: whether the budget
        is spent, so that nothing new is proposed. Raises InputError as `Proposals.ask` does.
        """
        if going := survivors(self._standings):
            return CohortRecord(self._continuation(going[:size]), (), (), elapsed_seconds)
        count = min(size, self._trials_left())
        if count > 0 and not spent:
            return self._proposed(count, elapsed_seconds)
        if wanted := self._replicates()[:size]:
            cohort = Cohort(len(self._roster.cohorts), tuple(wanted), tuple(map(self._replicated, wanted)))
            return CohortRecord(cohort, (), (), elapsed_seconds)
        return None

    def has_next(self, *, spent: bool) -> bool:
        """Whether `next` would make a cohort."""
        proposes = self._trials_left() > 0 and not spent
        return proposes or bool(survivors(self._standings)) or bool(self._replicates())

    def why_none(self, *, spent: str | None) -> str:
        """Why `next` would make no cohort, in words; "" where it would. spent: why the budget is spent, if it is."""
        if self.has_next(spent=spent is not None):
            return ""
        if self._spec.confirm.top and not search_ended(self._standings):
            return "finalists are confirmed when all trials have ended"
        return spent or "no cohort is left to hand out"

    def _trials_left(self) -> int:
        return self._spec.trials - len(self._roster.identities)

    def _replicates(self) -> list[TrialRun]:
        """The replicates that are wanted now, and were not handed out yet."""
        if not self._spec.confirm.top or not search_ended(self._standings):
            return []
        return [run for run in wanted_replicates(self._standings) if run not in self._roster.configs]

    def _continuation(self, runs: Sequence[TrialRun]) -> Cohort:
        """The cohort of runs that all go on from the same rung, each from its own last state."""
        last = {run: self._standings.rows[run][-1] for run in runs}
        return Cohort(
            len(self._roster.cohorts),
            tuple(runs),
            tuple(self._roster.configs[run] for run in runs),
            tuple(row.proposed for row in last.values()),
            from_rung=len(self._standings.rows[runs[0]]),
            best={run: best.place for run in runs if (best := best_row(self._standings.rows[run])) is not None},
            averages_images=self._roster.cohort_of(runs[0]).averages_images,
        )

    def _proposed(self, count: int, elapsed_seconds: float) -> CohortRecord:
        first = len(self._roster.identities)
        asked = [self._proposals.ask(trial) for trial in range(first, first + count)]
        cohort = Cohort(
            len(self._roster.cohorts),
            tuple(TrialRun(trial) for trial in range(first, first + count)),
            tuple(proposal.config for proposal in asked),
            tuple(proposal.derived for proposal in asked),
            averages_images=self._spec.space.averages_images,
        )
        refused = tuple(pair for proposal in asked for pair in proposal.refused)
        return CohortRecord(cohort, tuple(proposal.identity for proposal in asked), refused, elapsed_seconds)

    def _replicated(self, run: TrialRun) -> GanConfig:
        """The configuration of a finalist with another seed. Of several moving averages it keeps the best one alone."""
        finalist = self._standings.best_config(run.trial)
        return replace(finalist, seed=derived_seed(self._spec.seed, "confirm", run.number))
