"""What a cohort asks of those it works with: of the arrays that it trains, and of the study."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from gan_core.config.gan import GanConfig
from gan_core.config.reports import LaneReport, Midway
from results.trial_run import TrialRun
from sweep.ladder.ladder import Verdict


class TrainableArray(Protocol):
    """The lanes of one structure; `gan_core.workshop.scored_array.ScoredArray` has all of this, and so have
    `gan_core.workshop.trainer_array.TrainerArray` and the array of the tests.

    train_to and score return one report for each lane, also for those that died. If on_step raises, training stops, and
    `score` reports the lanes as they stand. save_midway and load_midway: on the way to a rung, in the middle of
    `train_to`, also with lanes that died; None, and nothing saved, where this step is none to go on from. choices: the
    number of classes or categorical codes; the samples of a picture go through them in turn. picture: None
    where nothing can be drawn.
    """

    @property
    def choices(self) -> int: ...
    def train_to(self, images: int, on_step: Callable[[int], None] | None = None) -> list[LaneReport]: ...
    def score(self) -> list[LaneReport]: ...
    def keep(self, lanes: Sequence[int]) -> None: ...
    def take_over(self, sources: Sequence[int], configs: Sequence[GanConfig]) -> None: ...
    def picture(self, lane: int, count: int) -> np.ndarray | None: ...
    def save(self, path: Path) -> None: ...
    def save_midway(self, path: Path) -> Midway | None: ...
    def load_midway(self, path: Path, midway: Midway) -> None: ...
    def save_lane(self, lane: int, path: Path) -> None: ...
    def save_generator(self, lane: int, path: Path) -> None: ...
    def load_lanes(self, places: Sequence[tuple[Path, int]]) -> None: ...


# makes an untrained array of configurations of one structure; the second argument is Cohort.averages_images
Build = Callable[[Sequence[GanConfig], Sequence[float]], TrainableArray]


class CohortStudy(Protocol):
    """The study as a cohort sees it, in this process or in another. owner: `Cohort.owner`; where the cohort has another
    owner by now, what takes it raises NoLongerOwner, at once or with a later word, and nothing is recorded.

    judge: one verdict for each report, in their order. note_images: whether the runs may go on. note_phase: in words,
    what the cohort does besides training, until it tells of images again or is judged. note_checkpoint: how many images
    each run had seen at a checkpoint between two rungs, from which it would go on now. note_warning: a line to be
    shown. cut: ends the cohort because the budget is spent.
    """

    def check_owner(self, owner: int) -> None: ...
    def judge(
        self, owner: int, rung: int, runs: Sequence[TrialRun], reports: Sequence[LaneReport]
    ) -> list[Verdict]: ...
    def note_images(self, owner: int, runs: Sequence[TrialRun], images: int) -> bool: ...
    def note_checkpoint(self, owner: int, images: Mapping[TrialRun, int]) -> None: ...
    def note_phase(self, owner: int, phase: str) -> None: ...
    def note_warning(self, line: str) -> None: ...
    def cut(self, owner: int, runs: Sequence[TrialRun], reports: Sequence[LaneReport]) -> None: ...


class Transfer(Protocol):
    """Takes the files of one cohort between a process that does not see the folder of the run and that folder.

    deliver: takes the files of a rung there, or of the way to it (midway); whole: all of them, after which the rung is
    complete there too, otherwise only what is kept of each run for itself. forget: removes there what
    `Checkpoints.forget` removes here.
    """

    def deliver(self, rung: int, folder: Path, *, whole: bool, midway: bool = False) -> None: ...
    def forget(self, runs: Iterable[TrialRun]) -> None: ...
