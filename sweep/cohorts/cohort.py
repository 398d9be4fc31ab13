"""One cohort's way up the ladder: train to a rung, report, drop the pruned lanes, repeat. No Ray, no torch."""

import math
import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from gan_core.config.gan import StructureConfig
from gan_core.config.input_error import DamagedFile
from gan_core.config.reports import Death, FidelityReport, LaneReport, OutOfMemory, minimised
from results.plots import draw_samples
from results.store import RunFolder
from sweep.cohorts.contracts import Build, Judge, TrainableArray
from sweep.cohorts.rung_note import RungNote
from sweep.ladder.ladder import Ladder, Verdict
from sweep.ledger.cohort_record import Cohort
from sweep.ledger.endings import one_line

PICTURED_SAMPLES = 64


@dataclass
class _Group:
    """Trials of one structure, in the order of the array's lanes. array: None where it is not in memory. places: the
    file and the lane in it from which each trial goes on; empty where they are untrained.
    """

    trials: list[int]
    places: list[tuple[Path, int]] = field(default_factory=list)
    array: TrainableArray | None = None


class _Cut(Exception):
    """The budget is spent, and what is in training is to end at once: `group`. trained: the groups that had come to the
    rung before; reports: theirs.
    """

    def __init__(self, group: _Group, trained: list[_Group], reports: list[LaneReport]) -> None:
        self.group, self.trained, self.reports = group, trained, reports


class _Spent(Exception):
    """Told by the judge between rungs."""


class CohortRun:
    """A cohort in training. `advance` takes it one rung up; when `done`, every trial of it has an outcome.

    What is on disk after each rung is enough to go on from there in another process: at most one rung is trained twice,
    and none is judged twice. Where memory runs out, arrays are split, and trained one after the other; limits, which
    the caller keeps from cohort to cohort, remembers how many lanes of a structure fit.
    """

    def __init__(
        self,
        cohort: Cohort,
        ladder: Ladder,
        objective: str,
        build: Build,
        judge: Judge,
        folder: RunFolder,
        limits: dict[StructureConfig, int] | None = None,
    ) -> None:
        self.cohort, self.ladder, self.objective, self.judge, self.folder = cohort, ladder, objective, judge, folder
        self._build, self._limits = build, {} if limits is None else limits
        self._configs = dict(zip(cohort.trials, cohort.configs, strict=True))
        self._home = folder.checkpoint(cohort.number)
        self._one_at_a_time = False  # whether arrays are dropped as soon as they are saved
        self.rung = cohort.from_rung
        self._best = dict(cohort.best)
        self._groups = self._group(list(cohort.trials))
        self._began_anew = False
        try:
            saved = self._latest_checkpoint()
            if saved is not None:
                self._restore(saved)
            elif cohort.from_rung:
                self._continue()
        except DamagedFile as damage:
            self._begin_anew(damage)

    @property
    def done(self) -> bool:
        return not self._groups

    @property
    def trials(self) -> list[int]:
        """The trials that are still in training."""
        return [trial for group in self._groups for trial in group.trials]

    def advance(self) -> list[LaneReport]:
        """Trains to the next rung, saves, is judged, and drops the lanes that do not go on. The reports it was judged
        by, in the order of `trials` before the call; none where the budget was spent on the way, and where it begins
        anew, because what it was to go on from is damaged.
        """
        partial_folder, final = self._home / f"rung-{self.rung}.partial", self._home / f"rung-{self.rung}"
        shutil.rmtree(partial_folder, ignore_errors=True)
        partial_folder.mkdir(parents=True)
        try:
            reports = self._train(self.ladder.rungs_images[self.rung], partial_folder, final)
        except _Cut as cut:
            self._end(cut, partial_folder)
            return []
        except DamagedFile as damage:
            self._begin_anew(damage)
            return []
        self._finish(reports, partial_folder, final)
        self._keep_last_states(final)
        self._settle(reports)
        return reports

    def _begin_anew(self, damage: DamagedFile) -> None:
        """Trains all again from the start where the files to go on from are damaged: at rungs that were judged the same
        verdicts are heard again, so the rows are those of a run that was not disturbed. Raises the damage where it
        comes to arrays that this process has written itself.
        """
        if self._began_anew:
            raise damage
        self._began_anew = True
        count = len(self.cohort.trials)
        self.judge.note_warning(
            f"cohort {self.cohort.number} is trained again from the start, {count} trial{'s' * (count > 1)}: {damage}"
        )
        shutil.rmtree(self._home, ignore_errors=True)
        if self.cohort.from_rung:  # killed on the way, it must begin anew again: these may be of a later rung
            for trial in self.cohort.trials:
                with suppress(IsADirectoryError):
                    self.folder.last_state(trial).unlink(missing_ok=True)
        self.rung, self._best = 0, dict(self.cohort.best)
        self._configs = dict(zip(self.cohort.trials, self.cohort.configs, strict=True))
        self._groups = self._group(list(self.cohort.trials))

    def _end(self, cut: _Cut, partial_folder: Path) -> None:
        """Ends where the budget is spent. Arrays that had come to the rung are judged there; the one in training is
        scored as it stands, where memory allows.
        """
        trials = [trial for group in cut.trained for trial in group.trials]
        self._keep_last_states(partial_folder)
        if trials:
            self.judge.judge(self.cohort.number, self.rung, trials, cut.reports)
        broken_off, reports = cut.group.trials, list[LaneReport]()
        if cut.group.array is not None and self.rung >= self.cohort.from_rung:
            with suppress(OutOfMemory):
                reports = cut.group.array.score()
                self._draw(broken_off, cut.group.array, reports)
        self.judge.cut(self.cohort.number, broken_off if reports else [], reports)
        self._groups = []

    def _group(self, trials: list[int]) -> list[_Group]:
        """Lanes of equal structure share an array; arrays stand in the order in which their first trial came. Lanes of
        equal k stand together: those of one call a kernel then mostly take their turns together.
        """
        members: dict[StructureConfig, list[int]] = {}
        for trial in trials:
            members.setdefault(self._configs[trial].structure, []).append(trial)
        groups = []
        for structure, part in members.items():
            part.sort(key=lambda trial: self._configs[trial].lane.discriminator_steps)
            most = self._limits.get(structure, len(part))
            groups += [_Group(part[start : start + most]) for start in range(0, len(part), most)]
        return groups

    def _train(self, images: int, partial_folder: Path, final: Path) -> list[LaneReport]:
        """Every array to a number of images: trained, drawn and written before the next one begins."""
        waiting, trained, reports = deque(self._groups), list[_Group](), list[LaneReport]()
        while waiting:
            group = waiting.popleft()
            try:
                array = group.array = group.array or self._load(group)
                found = array.train_to(images, partial(self._note, group.trials))
            except _Spent:
                raise _Cut(group, trained, reports) from None
            except OutOfMemory as error:
                group.array = None
                if self._drop_others(trained, waiting):
                    waiting.appendleft(group)
                    continue
                if len(group.trials) > 1:
                    waiting.extendleft(reversed(self._halves(group)))
                    continue
                found = [_out_of_memory(error, self.ladder.rungs_images[self.rung - 1] if self.rung else 0)]
            else:
                self._draw(group.trials, array, found)
                name = f"array-{len(trained)}.safetensors"
                array.save(partial_folder / name)
                self._save_trials(group.trials, array, found, partial_folder)
                group.places = [(final / name, lane) for lane in range(len(group.trials))]
            if self._one_at_a_time:
                group.array = None
            trained.append(group)
            reports += found
        self._groups = trained
        return reports

    def _note(self, trials: list[int], images: int) -> None:
        if not self.judge.note_images(trials, images):
            raise _Spent
        if images >= self.ladder.rungs_images[self.rung]:
            self.judge.note_phase(self.cohort.number, "scoring samples")

    def _load(self, group: _Group) -> TrainableArray:
        array = self._build([self._configs[trial] for trial in group.trials], self.cohort.averages_images)
        if group.places:
            array.load_lanes(group.places)
        return array

    def _drop_others(self, *parts: Sequence[_Group] | deque[_Group]) -> bool:
        """Frees the memory of all arrays but one. False when there was nothing to free."""
        self._one_at_a_time = True
        held = [group for part in parts for group in part if group.array is not None]
        for group in held:
            group.array = None
        return bool(held)

    def _halves(self, group: _Group) -> list[_Group]:
        half = (len(group.trials) + 1) // 2
        self._limits[self._configs[group.trials[0]].structure] = half
        return [_Group(group.trials[part], group.places[part]) for part in (slice(half), slice(half, None))]

    def _settle(self, reports: list[LaneReport]) -> None:
        """Hears the verdicts, and goes on with the lanes that may; of a population, one may copy another. Below the
        rung that the cohort was to begin at, which is trained again where files are damaged, all go on.
        """
        if self.rung < self.cohort.from_rung:
            self.rung += 1
            return
        trials = self.trials
        verdicts = dict(zip(trials, self.judge.judge(self.cohort.number, self.rung, trials, reports), strict=True))
        for group in self._groups:
            lanes = [lane for lane, trial in enumerate(group.trials) if verdicts[trial].goes_on]
            if group.array is not None and lanes and len(lanes) < len(group.trials):
                group.array.keep(lanes)
            group.trials = [group.trials[lane] for lane in lanes]
            group.places = [group.places[lane] for lane in lanes]
        self._groups = [group for group in self._groups if group.trials]
        self._exchange(verdicts)
        self.rung += 1

    def _exchange(self, verdicts: Mapping[int, Verdict]) -> None:
        """Lanes of a population take over others' states, in memory, or where arrays were split, from the disk."""
        if all(verdicts[trial].change is None for trial in self.trials):
            return
        places = {t: place for group in self._groups for t, place in zip(group.trials, group.places, strict=True)}
        for group in self._groups:
            sources = []
            for trial in group.trials:
                change = verdicts[trial].change
                sources.append(trial if change is None else change.source)
                if change is not None:
                    self._configs[trial] = change.config
            if set(sources) <= set(group.trials) and group.array is not None:
                lanes = [group.trials.index(source) for source in sources]
                group.array.take_over(lanes, [self._configs[trial] for trial in group.trials])
            else:
                group.array = None
            group.places = [places[source] for source in sources]

    def _draw(self, trials: list[int], array: TrainableArray, reports: list[LaneReport]) -> None:
        """A picture of each trial's samples, and its generator, at its best rung so far."""
        for lane, (trial, report) in enumerate(zip(trials, reports, strict=True)):
            score = minimised(report.fidelity.values, self.objective)
            if report.death is None and score < self._best.get(trial, math.inf):
                self._best[trial] = score
                draw_samples(array.picture(lane, PICTURED_SAMPLES), self.folder.trial_samples(trial), array.choices)
                self.folder.trial_checkpoint(trial).mkdir(parents=True, exist_ok=True)
                array.save_generator(lane, self.folder.best_generator(trial))

    def _save_trials(
        self, trials: list[int], array: TrainableArray, reports: list[LaneReport], partial_folder: Path
    ) -> None:
        """At the last rung: what each trial would go on from, were rungs added."""
        if self.rung == len(self.ladder) - 1:
            for lane, (trial, report) in enumerate(zip(trials, reports, strict=True)):
                if report.death is None:
                    array.save_lane(lane, partial_folder / f"trial-{trial}.safetensors")

    def _keep_last_states(self, final: Path) -> None:
        """Takes them out of the rung's folder, once that is whole: until then what a trial began from must be there."""
        for path in final.glob("trial-*.safetensors"):
            kept = self.folder.last_state(int(path.stem.removeprefix("trial-")))
            kept.parent.mkdir(parents=True, exist_ok=True)
            path.replace(kept)

    def _finish(self, reports: list[LaneReport], partial_folder: Path, final: Path) -> None:
        """The rung's folder appears whole: the arrays as they were when `reports` were made."""
        places = [[(path.name, lane) for path, lane in group.places] for group in self._groups]
        groups = [group.trials for group in self._groups]
        RungNote(self.rung, groups, places, self._configs, reports, self._best).write(partial_folder)
        shutil.rmtree(final, ignore_errors=True)
        partial_folder.rename(final)
        for older in self._home.glob("rung-*"):
            if older != final:
                shutil.rmtree(older, ignore_errors=True)

    def _latest_checkpoint(self) -> Path | None:
        found = [p for p in self._home.glob("rung-*") if p.name.removeprefix("rung-").isdecimal()]
        return max(found, key=lambda p: int(p.name.removeprefix("rung-")), default=None)

    def _restore(self, path: Path) -> None:
        """Goes on from a rung that was trained, and hears the verdict (again). Arrays are built when they train."""
        note = RungNote.read(path)
        if not {trial for group in note.groups for trial in group} <= set(self.cohort.trials):
            raise DamagedFile(f"{path} is of other trials")
        self.rung, self._best, self._configs = note.rung, dict(note.best), dict(note.configs)
        self._groups = [
            _Group(list(trials), [(path / name, lane) for name, lane in places])
            for trials, places in zip(note.groups, note.places, strict=True)
        ]
        self._keep_last_states(path)
        self._settle(list(note.reports))

    def _continue(self) -> None:
        """Goes on from the trials' own last states: rungs were added to a finished sweep."""
        for group in self._groups:
            group.places = [(self.folder.last_state(trial), 0) for trial in group.trials]


def _out_of_memory(error: OutOfMemory, images: int) -> LaneReport:
    """The report of a lane that does not fit by itself."""
    unscored = FidelityReport({}, "", "")
    death = Death("out_of_memory", one_line(str(error)))
    return LaneReport(images, math.nan, math.nan, unscored, {}, (), death, 0.0, "")
