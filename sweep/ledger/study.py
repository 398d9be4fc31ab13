"""LaneStudy: sole owner of a run: it hands out cohorts, answers how their lanes go on, and remembers everything.

What is on disk, in the order in which it is written, each file synced before the next is written:

1. `optuna.jsonl`, Optuna's own journal: what was proposed and what it was told.
2. `cohorts.jsonl`: which trials a cohort has. A proposal that is in no cohort was interrupted: it is cut
   off the journal, and asked for anew.
3. `curves.jsonl`, which decides nothing; then `rows.jsonl`: a row for each trial at each rung, with its outcome: *the
   truth*. A killed owner may have written a row and not yet told Optuna; the next owner tells it (`_catch_up`), so no
   trial is lost, and none counts twice.
"""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from gan_core.config.gan import GanConfig
from gan_core.config.reports import LaneReport, minimised
from gan_core.config.version import code_version
from results.rows import Outcome, ResultRow
from results.store import OLD_OWNER_SECONDS, JsonLines, RunFolder, exclusive
from sweep.ladder.between_rungs import BetweenRungs
from sweep.ladder.ladder import Verdict
from sweep.ledger.cohort_record import Cohort, CohortRecord, read_cohorts, read_rows
from sweep.ledger.curves import Curves
from sweep.ledger.deaths import Deaths, refuse_cramped
from sweep.ledger.kept_files import KeptFiles
from sweep.ledger.snapshot import Snapshot
from sweep.ledger.standings import BASELINE, Standings, change_of, judged
from sweep.proposals.proposals import Proposals
from sweep.proposals.seeds import derived_seed
from sweep.spec.confirmation import trial_and_replicate
from sweep.spec.sweep_spec import SweepSpec
from sweep.tracking.trackers import open_trackers


class LaneStudy:
    """Asks for cohorts, judges lanes at rungs, remembers everything. One process at a time may own a run folder.

    Trials are numbered by us, from 0: trial 0 is the space's base configuration and is never pruned, so that every
    table says what searching bought. Raises ResultsError when the files are another run's or were changed.
    """

    def __init__(self, spec: SweepSpec, folder: RunFolder) -> None:
        self.spec, self.folder, self.objective = spec, folder, spec.objective
        with ExitStack() as opening:  # what raises gives the folder free
            opening.enter_context(exclusive(folder.study_lock, wait_seconds=OLD_OWNER_SECONDS))
            folder.repair()
            self._rows_file, self._cohorts_file = JsonLines(folder.rows), JsonLines(folder.cohorts)
            cohorts = read_cohorts(folder)
            self._proposals = Proposals(spec, folder, {identity for record in cohorts for identity in record.asked})
            self._standings = Standings(spec, folder)
            self._kept = KeptFiles(self._standings, folder, spec.keep_checkpoints)
            self._code = code_version()
            self._identities: dict[int, int] = {}  # trial -> its id in Optuna's storage
            self._cohorts: dict[int, Cohort] = {}
            self._cohort_of: dict[int, int] = {}  # run -> the latest cohort that it is in
            self._configs: dict[int, GanConfig] = {}  # run -> what is in force now
            self._between = BetweenRungs(self._standings.rows)
            self._deaths = Deaths(lambda cohort, reason: self._end(cohort, Outcome.FAILED, reason))
            self._handed_out: set[int] = set()
            self._curves, self._trackers = Curves(folder), open_trackers(spec.tracking, folder, spec.plain())
            self._catch_up(cohorts)
            self._before_seconds, self._began = self._standings.elapsed_seconds, time.monotonic()
            self._open = opening.pop_all()

    def close(self) -> None:
        """Gives the run folder free."""
        self._trackers.close()
        self._open.close()

    def open_cohort(self, size: int) -> Cohort | None:
        """The next cohort to train, of up to `size` trials: one that was interrupted, new proposals, survivors of a
        ladder that has grown, or confirmations of the finalists; None when there is nothing to do now (`is_waiting`
        says whether there may be, once what is in training has ended).

        Raises InputError when no proposal keeps to the space's constraints, and PlaceError as `Deaths` does.
        """
        self._deaths.refuse_place(ended=False)
        for number in sorted(self._cohorts.keys() - self._handed_out):
            self._handed_out.add(number)
            if self._unfinished(number):
                return self._cohorts[number]
        spent = self._spent()
        if survivors := self._standings.survivors():
            return self._hand_out(self._continuation(survivors, size))
        if spent is None and (count := min(size, self.spec.trials - len(self._identities))) > 0:
            return self._propose(count)
        if self.spec.confirm.top and self._standings.search_ended:
            runs = [run for run in self._standings.wanted_confirmations() if run not in self._configs][:size]
            if runs:
                return self._hand_out(Cohort(len(self._cohorts), tuple(runs), tuple(map(self._confirming, runs))))
        self._deaths.refuse_place(ended=not self.is_waiting())
        return None

    def is_waiting(self) -> bool:
        """Whether something may follow what is in training: confirmations, or a cohort whose process dies."""
        return any(self._unfinished(n) for n in self._handed_out if not self._deaths.is_aside(n))

    def _propose(self, count: int) -> Cohort:
        numbers = range(len(self._identities), len(self._identities) + count)
        asked = [self._proposals.ask(number) for number in numbers]
        cohort = Cohort(
            len(self._cohorts),
            tuple(numbers),
            tuple(proposal.config for proposal in asked),
            tuple(proposal.derived for proposal in asked),
            averages_images=self.spec.space.averages_images,
        )
        self._proposals.sync()
        refused = [pair for proposal in asked for pair in proposal.refused]
        self._hand_out(cohort, [proposal.identity for proposal in asked], refused)
        for identity, broken in refused:
            self._proposals.refuse(identity, broken)
        return cohort

    def _continuation(self, survivors: Sequence[int], size: int) -> Cohort:
        """A cohort of runs that go on from where they once ended, all from one rung."""
        runs, rung = tuple(survivors[:size]), len(self._standings.rows[survivors[0]])
        averages = self._cohorts[self._cohort_of[runs[0]]].averages_images
        last = {run: self._standings.rows[run][-1] for run in runs}
        derived = tuple(row.proposed for row in last.values())
        best = {run: row.best_score for run, row in last.items() if math.isfinite(row.best_score)}
        configs = tuple(self._configs[run] for run in runs)
        return Cohort(len(self._cohorts), runs, configs, derived, rung, best, averages)

    def _confirming(self, run: int) -> GanConfig:
        """A finalist's configuration with a seed of its own; of several averages, the one that it scored best with."""
        finalist = self._standings.best_config(trial_and_replicate(run)[0])
        return replace(finalist, seed=derived_seed(self.spec.seed, "confirm", run))

    def _hand_out(
        self,
        cohort: Cohort,
        identities: Sequence[int] = (),
        refused: Sequence[tuple[int, Mapping[str, float]]] = (),
    ) -> Cohort:
        record = CohortRecord(cohort, tuple(identities), tuple(refused), self._elapsed())
        self._cohorts_file.append([record.plain()])
        self._admit(cohort, identities)
        self._handed_out.add(cohort.number)
        return cohort

    def judge(self, cohort: int, rung: int, trials: list[int], reports: list[LaneReport]) -> list[Verdict]:
        """One verdict a lane, recorded before it is given; asked again for a rung that was judged, the same. All lanes
        are recorded as having reached the rung before the first is judged, so their order decides nothing. Raises
        PlaceError as `refuse_cramped` does.
        """
        self._between.end_phase(cohort)
        recorded = [run for run in trials if len(self._standings.rows[run]) > rung]
        if recorded:  # an owner was killed while, or after, it wrote
            return self._judge_again(cohort, rung, trials, reports)
        refuse_cramped(reports, first=not any(self._standings.rows.values()))
        self._deaths.note_training(cohort)
        rows = {run: self._row(cohort, rung, run, report) for run, report in zip(trials, reports, strict=True)}
        self._curves.add(trials, reports)  # once none is refused
        deaths = {run: report.death for run, report in zip(trials, reports, strict=True)}
        there = {run: self._standings.rows[run] for run in self._members(cohort) if run not in rows}
        beside = {run: r[rung] for run, r in there.items() if len(r) > rung and r[rung].outcome is Outcome.RUNNING}
        verdicts = self._standings.verdicts(rows, deaths, beside)
        self._record([judged(rows[run], verdict) for run, verdict in verdicts.items()])
        self._change(verdicts)
        return [verdicts[run] for run in trials]

    def _judge_again(self, cohort: int, rung: int, trials: list[int], reports: list[LaneReport]) -> list[Verdict]:
        """The recorded verdicts, after those that were not recorded yet are judged, among as many as the first time."""
        missing = [i for i, run in enumerate(trials) if len(self._standings.rows[run]) <= rung]
        if missing:
            self.judge(cohort, rung, [trials[i] for i in missing], [reports[i] for i in missing])
        rows = {run: self._standings.rows[run][rung] for run in trials}
        moves = self._standings.moves({run: row for run, row in rows.items() if row.outcome is Outcome.RUNNING})
        changes = {run: change_of(move, rows[run]) for run, move in moves.items()}
        verdicts = {run: Verdict(row.outcome, row.reason, changes.get(run)) for run, row in rows.items()}
        self._change(verdicts)
        return list(verdicts.values())

    def _change(self, verdicts: Mapping[int, Verdict]) -> None:
        for run, verdict in verdicts.items():
            if verdict.change is not None:
                self._configs[run] = verdict.change.config

    def note_failure(self, cohort: int, reason: str) -> None:
        """Told what a cohort's process raised, before it is started again."""
        self._deaths.note_reason(cohort, reason)

    def note_death(self, cohort: int, most: int) -> None:
        """Told that a cohort's process died. The cohort is handed out again, to go on from its last rung; after `most`
        deaths, what is still unfinished in it is recorded as failed, once its configurations are known to be at fault.
        """
        if self._deaths.note_death(cohort, most):
            self._handed_out.discard(cohort)

    def cut(self, cohort: int, trials: Sequence[int] = (), reports: Sequence[LaneReport] = ()) -> None:
        """Ends what is still unfinished in a cohort, with what it has: the budget is spent. reports: of those trials
        that were broken off on their way to a rung, as they stand.
        """
        reason, unfinished = self._spent() or "the budget is spent", self._unfinished(cohort)
        self._curves.add(trials, reports)
        rows = []
        for run, report in zip(trials, reports, strict=True):
            if run in unfinished:
                row, death = self._row(cohort, len(self._standings.rows[run]), run, report), report.death
                verdict = Verdict(Outcome(death.outcome), death.reason) if death else Verdict(Outcome.PRUNED, reason)
                rows.append(judged(row, verdict))
        self._record(rows)
        self._end(cohort, Outcome.PRUNED, reason)

    def _end(self, cohort: int, outcome: Outcome, reason: str) -> None:
        rows = []
        for run in self._unfinished(cohort):
            earlier = self._standings.rows[run]
            best = earlier[-1].best_score if earlier else math.nan
            images = max(earlier[-1].images_seen if earlier else 0, self._between.images(run))
            values = {"rung": len(earlier), "images_seen": images, "best_score": best}
            rows.append(self._plain_row(cohort, run, **values, outcome=outcome, reason=reason))
        self._record(rows)

    def note_images(self, trials: list[int], images: int) -> bool:
        """Told between rungs how far runs are, which is never recorded. Whether they may go on: not where the budget is
        spent and `budget.when_spent` is `cut`; confirmations are outside it.
        """
        self._deaths.note_training(self._cohort_of[trials[0]])
        self._between.note_images(self._cohort_of[trials[0]], trials, images)
        if self.spec.budget.when_spent != "cut" or trial_and_replicate(trials[0])[1]:
            return True
        return self._spent() is None

    def note_phase(self, cohort: int, phase: str) -> None:
        """Told in words what a cohort's process does that is no training, until it tells of images or is judged."""
        self._between.note_phase(cohort, phase)

    def note_warning(self, line: str) -> None:
        """Told what a process warned of that trains; each line is shown once."""
        self._between.note_warning(line)

    def _spent(self) -> str | None:
        self._standings.note_time(self._elapsed())
        return self.spec.budget.spent(self._standings.cost(self._elapsed(), self._between.new_images()))

    def _elapsed(self) -> float:
        return self._before_seconds + time.monotonic() - self._began

    def snapshot(self) -> Snapshot:
        """Where the sweep stands now."""
        running = {number: count for number in sorted(self._handed_out) if (count := len(self._unfinished(number)))}
        found = self._standings.snapshot(self._elapsed(), self._between.new_images(), sum(running.values()))
        notes = (*self._trackers.notes, *self._between.warnings)
        return replace(found, notes=notes, phase=self._between.phases(running))

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self._standings.finished

    def _admit(self, cohort: Cohort, identities: Sequence[int]) -> None:
        self._cohorts[cohort.number] = cohort
        self._standings.admit(cohort.trials, cohort.from_rung)
        for run, config in zip(cohort.trials, cohort.configs, strict=True):
            self._configs[run], self._cohort_of[run] = config, cohort.number
        self._identities.update(zip(cohort.trials, identities, strict=False))

    def _members(self, cohort: int) -> list[int]:
        """The runs of a cohort that have not gone on in a later one, which a longer ladder lets them."""
        return [run for run in self._cohorts[cohort].trials if self._cohort_of[run] == cohort]

    def _unfinished(self, cohort: int) -> list[int]:
        return [run for run in self._members(cohort) if not self._standings.ended(run)]

    def _row(self, cohort: int, rung: int, run: int, report: LaneReport) -> ResultRow:
        score = minimised(report.fidelity.values, self.objective)
        scores = [score, *(row.score for row in self._standings.rows[run])]
        return self._plain_row(
            cohort,
            run,
            rung=rung,
            score=score,
            best_score=min((s for s in scores if math.isfinite(s)), default=math.nan),
            hyperparameters=report.scored(self._configs[run]).flatten(),
            **self._standings.shared.check(report).columns(),
        )

    def _plain_row(self, cohort: int, run: int, **values: Any) -> ResultRow:
        """A row with what is the same at every rung filled in."""
        record = self._cohorts[cohort]
        lane = record.trials.index(run)
        trial, replicate = trial_and_replicate(run)
        blank = {
            **dict.fromkeys(("d_loss", "g_loss", "score"), math.nan),
            **dict.fromkeys(("device", "protocol", "data_digest", "reason"), ""),
            "seconds": 0.0,
            "code_version": self._code,  # but where it was trained
            "outcome": Outcome.RUNNING,
            "hyperparameters": self._configs[run].flatten(),
        }
        return ResultRow(
            trial=trial,
            replicate=replicate,
            cohort=cohort,
            lane=lane,
            objective=", ".join(self.spec.objectives),
            elapsed_seconds=self._elapsed(),
            proposed=record.derived[lane] if record.derived else {},
            **{**blank, **values},
        )

    def _record(self, rows: list[ResultRow]) -> None:
        """Durably first, then in memory, then to Optuna and to those who log: a crash in between is caught up on."""
        self._rows_file.append([row.flat() for row in rows])
        self._standings.add(rows)
        for row in rows:
            self._tell(row)
        self._proposals.sync()
        for row in rows:
            self._track(row)
        self._kept.settle({row.cohort: self._members(row.cohort) for row in rows})

    def _track(self, row: ResultRow) -> None:
        """Logs a row of the search; confirmations are in the table alone."""
        curve = self._curves.before(row)
        if row.replicate == 0:
            self._trackers.row(row, curve)

    def _tell(self, row: ResultRow) -> None:
        """Lets Optuna know of a trial's row. Trial 0 goes on where another would be pruned, but Optuna hears of it what
        it would hear of another: else the defaults, completed, would stand among its best.
        """
        if row.replicate or row.trial not in self._identities:
            return
        standing = self._standings.standing(self._standings.rows[row.trial][: row.rung + 1])
        outcome = Outcome.PRUNED if row.reason.startswith(BASELINE) else row.outcome
        images = min(row.images_seen, self.spec.ladder.rungs_images[row.rung])  # batches run past a rung, some further
        self._proposals.tell(self._identities[row.trial], outcome, standing.best, images)

    def _catch_up(self, cohorts: Sequence[CohortRecord]) -> None:
        """Takes in cohorts and rows as they were recorded, and tells Optuna what it has not heard."""
        for record in cohorts:
            self._admit(record.cohort, record.identities)
            self._standings.note_time(record.elapsed_seconds)
        for row in read_rows(self.folder):
            self._standings.add([row])
            self._tell(row)
            self._track(row)
        for identity, broken in (pair for record in cohorts for pair in record.refused):
            self._proposals.refuse(identity, broken)
        for cohort in self._cohorts.values():
            self._configs.update(self._standings.in_force(cohort.trials))
        self._kept.settle({number: self._members(number) for number in self._cohorts})
