"""What a cohort asks of those it works with: of the arrays that it trains, and of the study."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from gan_core.config import GanConfig
from gan_core.reports import LaneReport
from sweep.ladder import Verdict


class TrainableArray(Protocol):
    """What a cohort asks of the lanes of one structure; `gan_core.scoring.ScoredArray` is one, tests have another.

    train_to and score: a report a lane, also of those that died. Where on_step raises, training is broken off, and
    `score` reports the lanes as they stand.
    """

    def train_to(self, images: int, on_step: Callable[[int], None] | None = None) -> list[LaneReport]: ...
    def score(self) -> list[LaneReport]: ...
    def keep(self, lanes: Sequence[int]) -> None: ...
    def take_over(self, sources: Sequence[int], configs: Sequence[GanConfig]) -> None: ...
    def picture(self, lane: int, count: int) -> np.ndarray: ...
    def save(self, path: Path) -> None: ...
    def save_lane(self, lane: int, path: Path) -> None: ...
    def save_generator(self, lane: int, path: Path) -> None: ...
    def load_lanes(self, places: Sequence[tuple[Path, int]]) -> None: ...


Build = Callable[[Sequence[GanConfig], Sequence[float]], TrainableArray]  # of configs, and Cohort.averages_images


class Judge(Protocol):
    """Who decides: the study, here or in another process. One report and one verdict a lane, in the lanes' order."""

    def judge(self, cohort: int, rung: int, trials: list[int], reports: list[LaneReport]) -> list[Verdict]: ...
    def note_images(self, trials: list[int], images: int) -> bool: ...
    def cut(self, cohort: int, trials: list[int], reports: list[LaneReport]) -> None: ...
