"""Recorder: writes what happens in a run to its files, and then tells those who keep a copy of it.

These files of the run's folder are written in this order, and the disk has each before the next is written:

1. `optuna.jsonl`, the journal of Optuna: what was proposed, and what Optuna was told. A proposal that is in no cohort
   was interrupted: it is cut off the journal, and asked for again.
2. `cohorts.jsonl`: which runs each cohort has.
3. `curves.jsonl`, on which nothing depends; then `rows.jsonl`, which decides: a row for each run at each rung, with its
   outcome. An owner that was killed may have written a row and not yet told Optuna of it; the next owner does so
   (`catch_up`). So no trial is lost, and none counts twice.
"""

from collections.abc import Sequence

from gan_core.config.reports import LaneReport
from results.rows import Outcome, ResultRow
from results.store import JsonLines
from results.trial_run import TrialRun
from sweep.ledger.cohort_record import CohortRecord, read_rows
from sweep.ledger.curves import Curves
from sweep.ledger.kept_files import KeptFiles
from sweep.ledger.roster import Roster
from sweep.ledger.standings import Standings
from sweep.ledger.verdicts import configs_in_force
from sweep.proposals.proposals import Proposals
from sweep.tracking.trackers import Trackers


class Recorder:
    """Records cohorts and rows: on the disk first, then in memory, then with Optuna and the trackers, which catch up
    after a crash.
    """

    def __init__(
        self, standings: Standings, roster: Roster, proposals: Proposals, curves: Curves, trackers: Trackers
    ) -> None:
        self._standings, self._roster, self._proposals = standings, roster, proposals
        self._curves, self._trackers = curves, trackers
        folder, spec = standings.folder, standings.spec
        self._rows_file, self._cohorts_file = JsonLines(folder.rows), JsonLines(folder.cohorts)
        self._kept = KeptFiles(standings, folder, spec.keep_checkpoints)

    def record_cohort(self, record: CohortRecord) -> None:
        """Records a cohort that is handed out, and the proposals that were refused on the way to it."""
        self._proposals.sync()
        self._cohorts_file.append([record.plain()])
        self._admit(record)
        for identity, broken in record.refused:
            self._proposals.refuse(identity, broken)

    def record_rows(
        self, rows: Sequence[ResultRow], runs: Sequence[TrialRun] = (), reports: Sequence[LaneReport] = ()
    ) -> None:
        """Records rows, and before them the curves of the reports of these runs."""
        self._curves.add(runs, reports)
        self._rows_file.append([row.flat() for row in rows])
        self._standings.add(rows)
        for row in rows:
            self._tell(row)
        self._proposals.sync()
        for row in rows:
            self._track(row)
        self._kept.settle({row.cohort: self._roster.members(row.cohort) for row in rows})

    def catch_up(self, records: Sequence[CohortRecord]) -> None:
        """Takes in the cohorts, and the rows on the disk, and tells Optuna and the trackers what they lack."""
        for record in records:
            self._admit(record)
            self._standings.note_time(record.elapsed_seconds)
        for row in read_rows(self._standings.folder):
            self._standings.add([row])
            self._tell(row)
            self._track(row)
        for identity, broken in (pair for record in records for pair in record.refused):
            self._proposals.refuse(identity, broken)
        for record in records:
            self._roster.configs.update(configs_in_force(self._standings, record.cohort.runs))
        self._kept.settle({number: self._roster.members(number) for number in self._roster.cohorts})

    def _admit(self, record: CohortRecord) -> None:
        self._roster.admit(record)
        self._standings.admit(record.cohort.runs, record.cohort.from_rung)

    def _tell(self, row: ResultRow) -> None:
        """Tells Optuna of a row of the search. Of a baseline that went on although its rank was too low, Optuna is told
        that it was pruned: otherwise the default values, completed, would count among its best trials.
        """
        identity = self._roster.identities.get(row.trial)
        if row.replicate or identity is None:
            return
        standing = self._standings.standing(self._standings.rows[row.run][: row.rung + 1])
        outcome = Outcome.PRUNED if row.overruled else row.outcome
        # a batch may end a little beyond a rung: Optuna is told the images of the rung itself
        images = min(row.images_seen, self._standings.spec.ladder.rungs_images[row.rung])
        self._proposals.tell(identity, outcome, standing.best, images, standing.violation)

    def _track(self, row: ResultRow) -> None:
        """Hands a row of the search to the trackers. Replicates are in the table alone."""
        curve = self._curves.before(row)
        if row.replicate == 0:
            self._trackers.row(row, curve)
