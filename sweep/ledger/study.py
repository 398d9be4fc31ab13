"""LaneStudy: the only owner of a run. It hands out cohorts, answers how their lanes go on, and records everything."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import MappingProxyType

from gan_core.config.reports import Death, LaneReport
from results.rows import Outcome
from results.store import OLD_OWNER_SECONDS, RunFolder, exclusive
from results.trial_run import TrialRun
from sweep.ladder.between_rungs import BetweenRungs
from sweep.ladder.ladder import Verdict
from sweep.ledger.agenda import nothing_left
from sweep.ledger.cohort_record import Cohort, read_cohorts
from sweep.ledger.curves import Curves
from sweep.ledger.deaths import Deaths, refuse_cramped
from sweep.ledger.failures import Failures, refuse_misuse
from sweep.ledger.losses import MOST_NODES, Progress
from sweep.ledger.new_rows import Moment, NewRows
from sweep.ledger.openings import Openings
from sweep.ledger.owners import NOBODY, Held, Owners, Taker
from sweep.ledger.recorder import Recorder
from sweep.ledger.roster import Roster
from sweep.ledger.snapshot import RunningCohort, Snapshot, snapshot_of
from sweep.ledger.standings import Standings
from sweep.ledger.verdicts import change_of, judged, population_moves, verdicts_at
from sweep.proposals.proposals import Proposals
from sweep.spec.sweep_spec import SweepSpec
from sweep.tracking.trackers import open_trackers


class LaneStudy:
    """Hands out cohorts, judges lanes at rungs, and records what they report. One process at a time may own a folder.

    A cohort has one owner at a time, the process to which it was handed out last (`Owners`). All that a process tells
    of its cohort it tells with the owner's number. Methods that take this number raise NoLongerOwner, and do nothing,
    where the cohort has another owner by now, or none.

    Trials are numbered from 0. Trial 0 is the base configuration of the space and is never pruned, so that every table
    shows what the search has gained. Raises ResultsError when the files belong to another run or were changed.
    """

    def __init__(self, spec: SweepSpec, folder: RunFolder) -> None:
        self.spec, self.folder, self.objective = spec, folder, spec.objective
        with ExitStack() as opening:  # an error below releases the folder
            opening.enter_context(exclusive(folder.study_lock, wait_seconds=OLD_OWNER_SECONDS))
            folder.repair()
            records = read_cohorts(folder)
            self._proposals = Proposals(spec, folder, {identity for record in records for identity in record.asked})
            self._standings, self._roster = Standings(spec, folder), Roster()
            self._openings = Openings(self._standings, self._roster, self._proposals)
            self._new_rows = NewRows(self._standings, self._roster)
            self._between = BetweenRungs(self._standings.rows)
            self._deaths = Deaths(lambda cohort, reason: self._end(cohort, Outcome.FAILED, reason))
            self._failures = Failures(spec.space.searched, self._between.note_warning)
            self._handed_out: set[int] = set()  # cohorts that are in training, have ended, or were given up
            self._owners = Owners()
            curves, self._trackers = Curves(folder), open_trackers(spec.tracking, folder, spec.plain())
            self._recorder = Recorder(self._standings, self._roster, self._proposals, curves, self._trackers)
            self._recorder.catch_up(records)
            self._before_seconds, self._began = self._standings.elapsed_seconds, time.monotonic()
            self._open = opening.pop_all()

    def close(self) -> None:
        """Releases the folder."""
        self._trackers.close()
        self._open.close()

    # ---- what others may look at

    @property
    def cohorts(self) -> Mapping[int, Cohort]:
        """The cohorts that were handed out, by their numbers; read-only."""
        return MappingProxyType(self._roster.cohorts)

    @property
    def identities(self) -> Mapping[int, int]:
        """Trial -> its id in the storage of Optuna; read-only."""
        return MappingProxyType(self._roster.identities)

    @property
    def proposals(self) -> Proposals:
        """What Optuna proposed and was told, to look at. Only the study asks and tells."""
        return self._proposals

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return nothing_left(self._standings)

    def is_waiting(self) -> bool:
        """Whether something may follow from what is in training: replicates, or a cohort again whose process died."""
        return any(self._unfinished(n) for n in self._handed_out if not self._deaths.is_aside(n))

    def snapshot(self) -> Snapshot:
        """Where the sweep stands now."""
        running = [
            RunningCohort(
                number,
                len(self._standings.rows[runs[0]]),
                len(runs),
                self._between.phase(number),
                self._owners.host_of(number),
            )
            for number in sorted(self._handed_out)
            if (runs := self._unfinished(number))
        ]
        notes = (*self._trackers.notes, *self._between.warnings)
        given_back = any(map(self._unfinished, self._roster.cohorts.keys() - self._handed_out))
        idle = "" if given_back else self._openings.why_none(spent=self._spent())
        return snapshot_of(self._standings, self._elapsed(), self._between.new_images(), running, notes, idle)

    # ---- cohorts and verdicts

    def open_cohort(self, size: int, taker: Taker = NOBODY) -> Cohort | None:
        """The next cohort to train, of at most `size` runs, with the number of its owner: one that was interrupted, or
        a new one as `Openings` makes it. None if there is nothing to train now; `is_waiting` tells whether there may be
        later. A taker whose cohort has not ended gets that again, and as another owner if its process is another one.

        Raises InputError as `Proposals.ask` does, and PlaceError as `Deaths.refuse_place` does.
        """
        if (held := self._held(taker)) is not None:
            return held
        self._deaths.refuse_place(ended=False)
        for number in self._given_back():
            self._handed_out.add(number)
            return self._owned(number, taker)
        record = self._openings.next(size, self._elapsed(), spent=self._spent() is not None)
        if record is None:
            self._deaths.refuse_place(ended=not self.is_waiting())
            return None
        self._recorder.record_cohort(record)
        self._handed_out.add(record.cohort.number)
        return self._owned(record.cohort.number, taker)

    def _given_back(self) -> list[int]:
        """The cohorts that were interrupted, and may be handed out now."""
        there = sorted(self._roster.cohorts.keys() - self._handed_out)
        waiting = [n for n in there if self._unfinished(n)]
        self._handed_out.update(set(there) - set(waiting))  # what has ended is looked at once
        return [n for n in waiting if not self._deaths.must_wait(n, self._is_in_training)]

    def _is_in_training(self, cohort: int) -> bool:
        return cohort in self._handed_out and bool(self._unfinished(cohort))

    def _held(self, taker: Taker) -> Cohort | None:
        """The cohort that a taker has and has not trained to its end, with its owner; None if there is none."""
        held = self._owners.held_by(taker.name)
        if held is None or not self._unfinished(held.cohort):
            return None
        if held.taker.process == taker.process:
            return replace(self._roster.cohorts[held.cohort], owner=held.owner)
        self.give_back(held.owner, f"node {held.taker.host} was taken away")
        self._handed_out.add(held.cohort)
        return self._owned(held.cohort, taker)

    def _owned(self, cohort: int, taker: Taker) -> Cohort:
        return replace(self._roster.cohorts[cohort], owner=self._owners.hand_out(cohort, taker))

    def has_cohort(self) -> bool:
        """Whether `open_cohort` would hand something out now. Raises PlaceError as that does."""
        self._deaths.refuse_place(ended=False)
        if self._given_back() or self._openings.has_next(spent=self._spent() is not None):
            return True
        self._deaths.refuse_place(ended=not self.is_waiting())
        return False

    def held_by(self, taker: str) -> Held | None:
        """What the taker of this name owns; None if it owns nothing."""
        return self._owners.held_by(taker)

    def check_owner(self, owner: int) -> None:
        """Raises NoLongerOwner unless this is the owner of its cohort."""
        self._owners.cohort_of(owner)

    def judge(self, owner: int, rung: int, runs: Sequence[TrialRun], reports: Sequence[LaneReport]) -> list[Verdict]:
        """One verdict for each report, recorded before it is returned. Asked again for a rung that was judged, it
        returns what was recorded. All lanes are recorded as having reached the rung before the first is judged, so that
        their order decides nothing. Raises PlaceError as `refuse_cramped` does, and InputError as `refuse_misuse` does.
        """
        cohort = self._owners.cohort_of(owner)
        self._between.end_phase(cohort)
        self._standings.paces.note_break(cohort)
        rows = self._standings.rows
        if any(len(rows[run]) > rung for run in runs):  # an owner was killed while, or after, it wrote them
            return self._judge_again(owner, rung, runs, reports)
        refuse_cramped(reports, first=not any(rows.values()))
        refuse_misuse(reports, lambda: self._standings.best is not None)
        self._deaths.note_training(cohort, self._progress(cohort))
        members, at = self._roster.cohorts[cohort], self._moment(cohort)
        new = {run: self._new_rows.reported(members, run, r, at) for run, r in zip(runs, reports, strict=True)}
        deaths = {run: report.death for run, report in zip(runs, reports, strict=True)}
        there = {run: rows[run] for run in self._roster.members(cohort) if run not in new}
        beside = {run: r[rung] for run, r in there.items() if len(r) > rung and r[rung].outcome is Outcome.RUNNING}
        verdicts = verdicts_at(self._standings, new, deaths, beside)
        self._recorder.record_rows([judged(new[run], verdict) for run, verdict in verdicts.items()], runs, reports)
        self._note_failures(deaths)
        self._change(verdicts)
        return [verdicts[run] for run in runs]

    def _judge_again(
        self, owner: int, rung: int, runs: Sequence[TrialRun], reports: Sequence[LaneReport]
    ) -> list[Verdict]:
        """The recorded verdicts. Runs that have no row yet are judged before, among as many as the first time."""
        missing = [i for i, run in enumerate(runs) if len(self._standings.rows[run]) <= rung]
        if missing:
            self.judge(owner, rung, [runs[i] for i in missing], [reports[i] for i in missing])
        rows = {run: self._standings.rows[run][rung] for run in runs}
        going = {run: row for run, row in rows.items() if row.outcome is Outcome.RUNNING}
        changes = {run: change_of(move, rows[run]) for run, move in population_moves(self._standings, going).items()}
        verdicts = {run: Verdict(row.outcome, row.reason, changes.get(run), row.overruled) for run, row in rows.items()}
        self._change(verdicts)
        return list(verdicts.values())

    def _change(self, verdicts: Mapping[TrialRun, Verdict]) -> None:
        for run, verdict in verdicts.items():
            if verdict.change is not None:
                self._roster.configs[run] = verdict.change.config

    def cut(self, owner: int, runs: Sequence[TrialRun] = (), reports: Sequence[LaneReport] = ()) -> None:
        """Ends what is unfinished in a cohort because the budget is spent. reports: of those runs that were interrupted
        on their way to a rung and were scored as they stood.
        """
        cohort = self._owners.cohort_of(owner)
        reason, unfinished = self._spent() or "the budget is spent", self._unfinished(cohort)
        members, rows = self._roster.cohorts[cohort], []
        for run, report in zip(runs, reports, strict=True):
            if run in unfinished:
                death, row = report.death, self._new_rows.reported(members, run, report, self._moment(cohort))
                verdict = Verdict(Outcome(death.outcome), death.reason) if death else Verdict(Outcome.PRUNED, reason)
                rows.append(judged(row, verdict))
        self._recorder.record_rows(rows, runs, reports)
        self._note_failures({run: report.death for run, report in zip(runs, reports, strict=True)})
        self._end(cohort, Outcome.PRUNED, reason)

    def _note_failures(self, deaths: Mapping[TrialRun, Death | None]) -> None:
        for run, death in deaths.items():
            self._failures.note(run, self._roster.configs[run], death)

    def _end(self, cohort: int, outcome: Outcome, reason: str) -> None:
        """Ends what is unfinished in a cohort, without reports."""
        members, rows = self._roster.cohorts[cohort], []
        for run in self._unfinished(cohort):
            images = self._between.images(run)
            rows.append(self._new_rows.ended(members, run, images, outcome, reason, self._moment(cohort)))
        self._recorder.record_rows(rows)

    # ---- what cohorts tell between rungs

    def note_images(self, owner: int, runs: Sequence[TrialRun], images: int) -> bool:
        """Told between rungs how many images runs of one cohort have seen; this is not recorded. Returns whether they
        may go on: not if the budget is spent and `budget.when_spent` is `cut`. Replicates are outside the budget.
        """
        cohort = self._owners.cohort_of(owner)
        self._between.note_images(cohort, runs, images)
        host, now = self._owners.host_of(cohort), time.monotonic()
        self._standings.paces.note_images(cohort, host, len(runs), images, now)
        self._deaths.note_training(cohort, self._progress(cohort))
        if self.spec.budget.when_spent != "cut" or runs[0].replicate:
            return True
        return self._spent() is None

    def note_checkpoint(self, owner: int, images: Mapping[TrialRun, int]) -> None:
        """Told after a checkpoint between two rungs how many images the runs of a cohort had seen by then."""
        self._owners.cohort_of(owner)
        self._between.note_checkpoint(images)

    def note_phase(self, owner: int, phase: str) -> None:
        """Told in words what a cohort does besides training, until it tells of images again or is judged."""
        cohort = self._owners.cohort_of(owner)
        self._between.note_phase(cohort, phase)
        self._standings.paces.note_break(cohort)

    def note_warning(self, line: str) -> None:
        """Told a warning of a process that trains. Each line is shown once."""
        self._between.note_warning(line)

    def note_failure(self, owner: int, reason: str) -> None:
        """Told what the process of a cohort raised, before that process is started again."""
        self._deaths.note_reason(self._owners.cohort_of(owner), reason)

    def note_death(self, owner: int, most: int) -> None:
        """Told that the process that owns a cohort died. The cohort is handed out again and goes on from its last rung.
        After `most` deaths its unfinished runs are recorded as failed, once it is known that their configurations are
        at fault. Nothing follows where the cohort has another owner by now.
        """
        if self._owners.is_current(owner):
            cohort = self._owners.cohort_of(owner)
            self._owners.retire(cohort)
            if self._deaths.note_death(cohort, most):
                self._handed_out.discard(cohort)
                again = self._between.fall_back(self._unfinished(cohort))
                self.note_warning(
                    f"cohort {cohort}: {self._deaths.reason(cohort)}; it starts again from its last checkpoint, "
                    f"{again} images are trained again"
                )

    def note_loss(self, owner: int, why: str) -> None:
        """Told that the machine of the owner of a cohort was lost without notice. As `give_back`, until the cohort is
        known to make the machines die that train it (`Losses`). Then it ends as after too many deaths.
        """
        if not self._owners.is_current(owner):
            return
        cohort, node = self._owners.cohort_of(owner), self._owners.taker_of(owner).node
        if self._deaths.note_loss(cohort, node, self._progress(cohort)):
            self.give_back(owner, why)
            return
        self._owners.retire(cohort)
        self.note_warning(
            f"{why}; cohort {cohort} is given up, because {MOST_NODES} nodes in a row died that trained it"
        )

    def _progress(self, cohort: int) -> Progress:
        runs = self._roster.members(cohort)
        return max(len(self._standings.rows[run]) for run in runs), max(map(self._between.images, runs))

    def give_back(self, owner: int, why: str, *, saved: bool = False) -> None:
        """Told that the owner of a cohort trains it no longer, for which no configuration is to blame: its machine was
        taken away, or cut off. why: in words, for a warning. saved: whether the cohort was saved where it stands. It is
        handed out again, and that is no death. Nothing follows where the cohort has another owner by now.
        """
        if not self._owners.is_current(owner):
            return
        cohort = self._owners.cohort_of(owner)
        self._owners.retire(cohort)
        self._handed_out.discard(cohort)
        if going := self._unfinished(cohort):
            again = self._between.fall_back(going)
            anew = f"starts again elsewhere from its last checkpoint, {again} images are trained again"
            self.note_warning(f"{why}; cohort {cohort} {'goes on elsewhere from where it was' if saved else anew}")

    def _unfinished(self, cohort: int) -> list[TrialRun]:
        return [run for run in self._roster.members(cohort) if not self._standings.ended(run)]

    def _spent(self) -> str | None:
        self._standings.note_time(self._elapsed())
        return self.spec.budget.spent(self._standings.cost(self._elapsed(), self._between.new_images()))

    def _moment(self, cohort: int) -> Moment:
        return Moment(self._elapsed(), self._owners.host_of(cohort))

    def _elapsed(self) -> float:
        return self._before_seconds + time.monotonic() - self._began
