"""CohortRun: one cohort on its way up the ladder. It trains to a rung, reports, drops the pruned lanes, and repeats."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from gan_core.config.input_error import DamagedFile
from gan_core.config.reports import LaneReport, OutOfMemory
from gan_core.config.structure import StructureConfig
from results.store import RunFolder
from results.trial_run import TrialRun
from sweep.cohorts.arrays import CohortArrays, Group, Trained, grouped
from sweep.cohorts.best_rungs import BestRungs
from sweep.cohorts.checkpoints import LAST_STATE, Checkpoints, RungNote
from sweep.cohorts.contracts import Build, CohortStudy, TrainableArray, Transfer
from sweep.cohorts.midway import STATE, MidwayNote, Pace, take_along
from sweep.ladder.ladder import Ladder
from sweep.ledger.cohort_record import Cohort


class Leaving(Exception):
    """A cohort has stopped on its way to a rung, because this process is to end. Where it was is saved."""


class CohortRun:
    """A cohort in training. `advance` takes it one rung up; when it is `done`, all its runs have an outcome.

    The files that are there after each rung are enough to go on in another process: then at most one rung is trained
    twice, and none is judged twice. best: is handed the arrays at each rung. limits: as `CohortArrays` has them.
    folder, transfer: as `Checkpoints` has them. checkpoint_seconds: between two checkpoints on the way to a rung, from
    which it goes on too; 0: there are none. must_leave: asked after each step, whether to make one now and to stop.
    """

    def __init__(
        self,
        cohort: Cohort,
        ladder: Ladder,
        best: BestRungs,
        build: Build,
        study: CohortStudy,
        folder: RunFolder,
        limits: dict[StructureConfig, int] | None = None,
        transfer: Transfer | None = None,
        *,
        checkpoint_seconds: float = 0.0,
        must_leave: Callable[[], bool] = lambda: False,
    ) -> None:
        self.cohort, self.ladder, self.study = cohort, ladder, study
        self._best, self._limits = best, {} if limits is None else limits
        self._checkpoints = Checkpoints(folder, cohort.number, transfer)
        self._arrays = CohortArrays(build, self._limits, cohort.averages_images)
        self._began_anew, self._pace, self._must_leave = False, Pace(checkpoint_seconds), must_leave
        self._begin(cohort.from_rung)
        try:
            saved = self._checkpoints.latest()
            if saved is not None:
                self._restore(saved)
            elif cohort.from_rung:
                for group in self._arrays.groups:
                    group.places = [(folder.last_state(run), 0) for run in group.runs]
            self._restore_midway()
        except DamagedFile as damage:
            self._begin_anew(damage)

    @property
    def done(self) -> bool:
        return not self._arrays.groups

    @property
    def runs(self) -> list[TrialRun]:
        """The runs that are still in training."""
        return [run for group in self._arrays.groups for run in group.runs]

    @property
    def _is_of_training(self) -> bool:
        """Whether a person's own training is swept, which scores itself."""
        return bool(self.cohort.configs[0].structure.trainer)

    def advance(self) -> list[LaneReport]:
        """Trains to the next rung, saves, is judged, and drops the lanes that do not go on. Returns the reports, in the
        order of `runs` before the call. It returns none if the budget was spent on the way, and if the cohort begins
        anew because the files to go on from are damaged. Raises Leaving.
        """
        folder = self._checkpoints.begin(self.rung, self.cohort.owner)
        if any(group.reports is not None for group in self._arrays.groups):
            take_along(self._checkpoints.midway(self.rung), folder)
        if self._is_of_training:  # which says nothing between rungs
            self.study.note_phase(self.cohort.owner, "running your training")
        try:
            stretch = (0, *self.ladder.rungs_images)[self.rung : self.rung + 2]
            save, save_midway = partial(self._save, folder), partial(self._save_midway, folder)
            trained = self._arrays.train(stretch, self._configs, self._may_go_on, save, save_midway)
        except DamagedFile as damage:
            self._begin_anew(damage)
            return []
        if trained.broken_off is not None:
            self._end(trained, trained.broken_off, folder)
            return []
        runs, places = [], []
        for group in self._arrays.groups:
            runs.append(group.runs)
            places.append([(path.name, lane) for path, lane in group.places])
        self.study.check_owner(self.cohort.owner)
        note = RungNote(self.rung, runs, places, self._configs, trained.reports, self._best.places)
        self._checkpoints.finish(note, folder)
        self._settle(trained.reports)
        return trained.reports

    def _may_go_on(self, runs: Sequence[TrialRun], images: int) -> bool:
        goes_on = self.study.note_images(self.cohort.owner, runs, images)
        if goes_on and images >= self.ladder.rungs_images[self.rung] and not self._is_of_training:
            self.study.note_phase(self.cohort.owner, "scoring samples")
        return goes_on

    def _save(
        self, folder: Path, number: int, group: Group, array: TrainableArray, reports: Sequence[LaneReport]
    ) -> None:
        """Saves an array that reached the rung. At the last rung each run has a file too, to go on from if rungs are
        added to the ladder. Nothing is written where the cohort has another owner by now.
        """
        self.study.check_owner(self.cohort.owner)
        self._best.keep_best(group.runs, array, reports, folder)
        name = f"array-{number}.safetensors"
        array.save(folder / name)
        if self.rung == len(self.ladder) - 1:
            for lane, (run, report) in enumerate(zip(group.runs, reports, strict=True)):
                if report.death is None:
                    array.save_lane(lane, folder / f"{run.name}{LAST_STATE}")
        group.places = [(self._checkpoints.rung(self.rung) / name, lane) for lane in range(len(group.runs))]

    def _save_midway(self, folder: Path, groups: Sequence[Group], number: int, images: int) -> None:
        """Saves where the cohort is on its way to the next rung, where that is due: the group in training, and those
        that have reached the rung, whose files are in this folder. images: that the group in training has seen. Raises
        Leaving where it is to stop.
        """
        training, leaves = groups[number], self._must_leave()
        if training.array is None or not (leaves or self._pace.due()):
            return
        self.study.check_owner(self.cohort.owner)
        to = self._checkpoints.begin(self.rung, self.cohort.owner, midway=True)
        midway = training.array.save_midway(to / STATE)
        if midway is None:
            return
        take_along(folder, to)
        reached = [(g.runs, g.reports or [], g.places[0][0].name if g.places else "") for g in groups[:number]]
        waiting = [group.runs for group in groups[number + 1 :]]
        MidwayNote(self.rung, reached, training.runs, midway, waiting, self._best.places).write(to)
        self._checkpoints.finish_midway(self.rung, to)
        kept = dict.fromkeys([run for g in groups[:number] for run in g.runs], self.ladder.rungs_images[self.rung])
        self.study.note_checkpoint(self.cohort.owner, kept | dict.fromkeys(training.runs, images))
        self._pace.note()
        if leaves:
            raise Leaving

    def _restore_midway(self) -> None:
        """Goes on from where the cohort was on its way to the next rung, if that was saved."""
        folder = self._checkpoints.midway(self.rung)
        if self.done or not folder.is_dir():
            return
        note = MidwayNote.read(folder)
        if note.runs == set(self.runs):
            self._best.begin(note.best)
            self._arrays.groups = note.groups(self._arrays.groups, folder, self._checkpoints.rung(self.rung))

    def _settle(self, reports: Sequence[LaneReport]) -> None:
        """Asks for the verdicts, and goes on with the lanes that may; in a population, some take over others. Up to the
        rung at which the cohort was to begin, which it trains again only if files are damaged, all lanes go on.
        """
        if self.rung >= self.cohort.from_rung:
            runs = self.runs
            verdicts = dict(zip(runs, self.study.judge(self.cohort.owner, self.rung, runs, reports), strict=True))
            self._arrays.keep(lambda run: verdicts[run].goes_on)
            changes = {run: change for run in self.runs if (change := verdicts[run].change) is not None}
            self._configs.update({run: change.config for run, change in changes.items()})
            self._arrays.exchange(changes, self._configs)
        self.rung += 1

    def _end(self, trained: Trained, broken_off: Group, folder: Path) -> None:
        """Ends the cohort because the budget is spent. Arrays that had reached the rung are judged there. The one in
        training is scored as it stands, if the memory allows that.
        """
        self._checkpoints.break_off(self.rung, folder)
        if self.runs:
            self.study.judge(self.cohort.owner, self.rung, self.runs, trained.reports)
        reports = list[LaneReport]()
        if broken_off.array is not None and self.rung >= self.cohort.from_rung:
            with suppress(OutOfMemory):
                reports = broken_off.array.score()
                self._best.keep_best(broken_off.runs, broken_off.array, reports, folder)
                self._checkpoints.break_off(self.rung, folder)
        self.study.cut(self.cohort.owner, broken_off.runs if reports else [], reports)
        self._arrays.groups = []

    def _begin(self, rung: int) -> None:
        """Begins with untrained arrays, which are to be trained to a rung. What was learnt of the memory stays."""
        self.rung = rung
        self._configs = dict(zip(self.cohort.runs, self.cohort.configs, strict=True))
        self._best.begin(self.cohort.best)
        self._arrays.groups = grouped(self.cohort.runs, self._configs, self._limits)

    def _begin_anew(self, damage: DamagedFile) -> None:
        """Trains all runs again from the start because the files to go on from are damaged. At rungs that were judged
        the study gives the same verdicts again, so the rows are those of an undisturbed run. Raises the damage the
        second time, when the files are those that this process has written itself.
        """
        if self._began_anew:
            raise damage
        self._began_anew = True
        count = len(self.cohort.runs)
        self.study.note_warning(
            f"cohort {self.cohort.number} is trained again from the start, {count} trial{'s' * (count > 1)}: {damage}"
        )
        # If it is killed on the way, it must begin anew again, and not from files of a later rung.
        self._checkpoints.forget(self.cohort.runs if self.cohort.from_rung else ())
        self._begin(0)

    def _restore(self, saved: Path) -> None:
        """Goes on from a rung that was trained, and asks for its verdicts, perhaps again. Arrays are built only when
        they are trained.
        """
        note = RungNote.read(saved)
        if not {run for runs in note.groups for run in runs} <= set(self.cohort.runs):
            raise DamagedFile(f"{saved} is of other trials")
        self.rung, self._configs = note.rung, dict(note.configs)
        self._best.begin(note.best)
        self._arrays.groups = [
            Group(list(runs), [(saved / name, lane) for name, lane in places])
            for runs, places in zip(note.groups, note.places, strict=True)
        ]
        self._checkpoints.keep_of_runs(saved)
        self._settle(note.reports)
