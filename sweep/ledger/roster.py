"""Roster: the cohorts that were handed out, which runs they have, and with which configuration each goes on."""

from gan_core.config.gan import GanConfig
from results.trial_run import TrialRun
from sweep.ledger.cohort_record import Cohort, CohortRecord


class Roster:
    """All cohorts of a run. Where rungs were added, a run may be in several of them, and belongs to the last one.

    cohorts: by their numbers. configs: run -> the configuration that is in force now, which in a population changes.
    identities: trial -> its id in the storage of Optuna.
    """

    def __init__(self) -> None:
        self.cohorts: dict[int, Cohort] = {}
        self.configs: dict[TrialRun, GanConfig] = {}
        self.identities: dict[int, int] = {}
        self._latest: dict[TrialRun, Cohort] = {}

    def admit(self, record: CohortRecord) -> None:
        """Takes in a cohort that was recorded."""
        cohort = record.cohort
        self.cohorts[cohort.number] = cohort
        self._latest.update(dict.fromkeys(cohort.runs, cohort))
        self.configs.update(zip(cohort.runs, cohort.configs, strict=True))
        if record.identities:
            self.identities.update(zip((run.trial for run in cohort.runs), record.identities, strict=True))

    def cohort_of(self, run: TrialRun) -> Cohort:
        """The cohort in which a run was handed out last."""
        return self._latest[run]

    def members(self, number: int) -> list[TrialRun]:
        """The runs of a cohort, without those that have gone on in a later one."""
        cohort = self.cohorts[number]
        return [run for run in cohort.runs if self._latest[run] is cohort]
