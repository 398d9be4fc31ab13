"""One cohort's way up the ladder: train to a rung, report, drop the pruned lanes, repeat. No Ray, no torch."""

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gan_core.config import GanConfig, StructureConfig
from gan_core.reports import LaneReport
from results.plots import draw_samples
from results.store import RunFolder, write_atomically
from sweep.ladder import Ladder, Verdict

PICTURED_SAMPLES = 64


@dataclass(frozen=True)
class Cohort:
    """The trials that are trained together. trials: their numbers; configs: one for each, in the same order."""

    number: int
    trials: tuple[int, ...]
    configs: tuple[GanConfig, ...]

    def plain(self) -> dict[str, Any]:
        """As plain values: what is journalled, and what crosses to another process."""
        return {"cohort": self.number, "trials": list(self.trials), "configs": [c.flatten() for c in self.configs]}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Cohort":
        """The inverse of `plain`."""
        configs = tuple(GanConfig.unflatten(config) for config in values["configs"])
        return cls(values["cohort"], tuple(values["trials"]), configs)


class TrainableArray(Protocol):
    """What a cohort asks of the lanes of one structure; `gan_core.scoring.ScoredArray` is one, tests have another."""

    def train_to(self, images: int, on_step: Callable[[int], None] | None = None) -> list[LaneReport]: ...
    def keep(self, lanes: Sequence[int]) -> None: ...
    def picture(self, lane: int, count: int) -> np.ndarray: ...
    def save(self, path: Path) -> None: ...
    def load(self, path: Path) -> None: ...


class Judge(Protocol):
    """Who decides: the study, here or in another process. One report and one verdict a lane, in the lanes' order."""

    def judge(self, cohort: int, rung: int, trials: list[int], reports: list[LaneReport]) -> list[Verdict]: ...
    def note_images(self, trials: list[int], images: int) -> None: ...


@dataclass
class _Group:
    """The trials of one structure, in the order of the array's lanes."""

    trials: list[int]
    array: TrainableArray


class CohortRun:
    """A cohort in training. `advance` takes it one rung up; when `done`, every trial of it has an outcome.

    What is on disk after each rung is enough to go on from there in another process: at most one rung is trained twice,
    and none is judged twice.
    """

    def __init__(
        self,
        cohort: Cohort,
        ladder: Ladder,
        objective: str,
        build: Callable[[list[GanConfig]], TrainableArray],
        judge: Judge,
        folder: RunFolder,
    ) -> None:
        self.cohort, self.ladder, self.objective, self.judge, self.folder = cohort, ladder, objective, judge, folder
        self._build = build
        self._configs = dict(zip(cohort.trials, cohort.configs, strict=True))
        self.rung = 0
        self._best: dict[int, float] = {}
        saved = self._latest_checkpoint()
        if saved is None:
            self._groups = self._group(list(cohort.trials))
        else:
            self._restore(saved)

    @property
    def done(self) -> bool:
        return not self._groups

    @property
    def trials(self) -> list[int]:
        """The trials that are still in training."""
        return [trial for group in self._groups for trial in group.trials]

    def advance(self) -> list[LaneReport]:
        """Trains to the next rung, saves, is judged, and drops the lanes that do not go on. The reports it was judged
        by, in the order of `trials` before the call.
        """
        images = self.ladder.rungs_images[self.rung]
        reports: list[LaneReport] = []
        for group in self._groups:
            reports += group.array.train_to(images, partial(self.judge.note_images, group.trials))
        self._save(reports)
        self._settle(reports)
        return reports

    def _group(self, trials: list[int]) -> list[_Group]:
        """Lanes of equal structure share an array; arrays stand in the order in which their first trial came. Lanes of
        equal k stand together: those of one call a kernel then mostly take their turns together.
        """
        members: dict[StructureConfig, list[int]] = {}
        for trial in trials:
            members.setdefault(self._configs[trial].structure, []).append(trial)
        for part in members.values():
            part.sort(key=lambda trial: self._configs[trial].lane.discriminator_steps)
        return [_Group(part, self._build([self._configs[t] for t in part])) for part in members.values()]

    def _settle(self, reports: list[LaneReport]) -> None:
        trials = self.trials
        self._draw(trials, reports)
        verdicts = self.judge.judge(self.cohort.number, self.rung, trials, reports)
        going = {trial for trial, verdict in zip(trials, verdicts, strict=True) if verdict.goes_on}
        for group in self._groups:
            lanes = [lane for lane, trial in enumerate(group.trials) if trial in going]
            if lanes and len(lanes) < len(group.trials):
                group.array.keep(lanes)
            group.trials = [group.trials[lane] for lane in lanes]
        self._groups = [group for group in self._groups if group.trials]
        self.rung += 1

    def _draw(self, trials: list[int], reports: list[LaneReport]) -> None:
        """A picture of each trial's samples at its best rung so far."""
        places = [(group.array, lane) for group in self._groups for lane in range(len(group.trials))]
        for trial, report, (array, lane) in zip(trials, reports, places, strict=True):
            score = report.fidelity.values.get(self.objective, math.nan)
            if report.death is None and score < self._best.get(trial, float("inf")):
                self._best[trial] = score
                draw_samples(array.picture(lane, PICTURED_SAMPLES), self.folder.trial_samples(trial))

    def _save(self, reports: list[LaneReport]) -> None:
        """One folder a rung, which appears whole: the arrays as they were when `reports` were made."""
        home = self.folder.checkpoint(self.cohort.number)
        unfinished, final = home / f"rung-{self.rung}.partial", home / f"rung-{self.rung}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for number, group in enumerate(self._groups):
            group.array.save(unfinished / f"array-{number}.safetensors")
        note = {
            "rung": self.rung,
            "groups": [group.trials for group in self._groups],
            "reports": [asdict(report) for report in reports],
            "best": self._best,
        }
        write_atomically(unfinished / "reports.json", json.dumps(note))
        shutil.rmtree(final, ignore_errors=True)
        unfinished.rename(final)
        for older in home.glob("rung-*"):
            if older != final:
                shutil.rmtree(older, ignore_errors=True)

    def _latest_checkpoint(self) -> Path | None:
        found = [p for p in self.folder.checkpoint(self.cohort.number).glob("rung-*") if not p.suffix]
        return max(found, key=lambda p: int(p.name.removeprefix("rung-")), default=None)

    def _restore(self, path: Path) -> None:
        """Goes on from a rung that was trained: builds its arrays, loads them, and hears the verdict (again)."""
        note = json.loads((path / "reports.json").read_text())
        self.rung = note["rung"]
        self._best = {int(trial): score for trial, score in note["best"].items()}
        self._groups = [_Group(part, self._build([self._configs[t] for t in part])) for part in note["groups"]]
        for number, group in enumerate(self._groups):
            group.array.load(path / f"array-{number}.safetensors")
        self._settle([LaneReport.from_plain(report) for report in note["reports"]])
