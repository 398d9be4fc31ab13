"""Sends the rows of a run to TensorBoard, MLflow and Weights & Biases.

Ray Tune's callbacks for these cannot be used: they log Ray's trials, each of which is a cohort of many of our trials.
Instead the libraries are called for each trial at each rung, after its row is on disk.

The table is the record of a run; a tracker is a copy, and must not hold up the sweep. Each tracker runs in its own
thread, so that training never waits for a network. A tracker that fails is switched off with a note, and the sweep goes
on. A process that resumes a sweep sends all rows again, and each tracker adds those it lacks, so that rows which were
not logged before a process was killed are logged then.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from results.rows import ResultRow
from results.store import ResultsError, RunFolder
from sweep.spec.tracking import Tracking, require_installed
from sweep.tracking.tracked_row import TrackerFailed, is_best_so_far
from sweep.tracking.tracking_identity import identity_of

CLOSE_SECONDS = 30.0  # how long the end of a sweep waits for a slow network
LONGEST_REASON = 300  # characters of a library's message that a note keeps
SERVICES = ("mlflow", "wandb")  # trackers that know a sweep by its `identity_of`

Point = Mapping[str, Any]  # one point of a training curve, see `results.curves`
Job = tuple[ResultRow, Path | None, Sequence[Point]]


class Tracker(Protocol):
    """Receives the rows of each trial in order. A row that the tracker already has changes nothing.

    picture: a PNG of the trial's samples, where this row is the trial's best so far. curve: the points of the training
    curve since the row before, for trackers that show them. Raises TrackerFailed or OSError when it cannot go on.
    """

    def row(self, row: ResultRow, picture: Path | None, curve: Sequence[Point]) -> None: ...
    def close(self) -> None: ...


Factory = Callable[[Mapping[str, str], RunFolder, Mapping[str, Any]], Tracker]


def _tensorboard(options: Mapping[str, str], folder: RunFolder, spec: Mapping[str, Any]) -> Tracker:
    from sweep.tracking.tensorboard_tracker import TensorBoardTracker

    return TensorBoardTracker(folder)


def _mlflow(options: Mapping[str, str], folder: RunFolder, spec: Mapping[str, Any]) -> Tracker:
    from sweep.tracking.mlflow_tracker import MlflowTracker

    return MlflowTracker(options, folder, spec)


def _wandb(options: Mapping[str, str], folder: RunFolder, spec: Mapping[str, Any]) -> Tracker:
    from sweep.tracking.wandb_tracker import WandbTracker

    return WandbTracker(options, folder, spec)


TRACKERS: dict[str, Factory] = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}


def open_trackers(tracking: Tracking, folder: RunFolder, spec_plain: Mapping[str, Any]) -> "Trackers":
    """The trackers of a run. Raises InputError as `require_installed` does; later failures are listed in `notes`."""
    require_installed(tracking)
    if any(name in tracking for name in SERVICES):
        identity_of(folder)  # drawn here, so that two trackers, each in its own thread, do not draw two
    return Trackers({name: TRACKERS[name] for name in tracking}, tracking, folder, spec_plain)


class Trackers:
    """All trackers of a run. notes: one line for each tracker that was switched off, to be shown to the user."""

    def __init__(
        self, factories: Mapping[str, Factory], tracking: Tracking, folder: RunFolder, spec_plain: Mapping[str, Any]
    ) -> None:
        self.notes: list[str] = []
        self._folder = folder
        self._feeds = [
            _Feed(name, lambda name=name, make=make: make(tracking[name], folder, spec_plain), self.notes)
            for name, make in factories.items()
        ]

    def row(self, row: ResultRow, curve: Sequence[Point] = ()) -> None:
        """Queues one recorded row, and the points of its curve, for every tracker, without waiting for them. A tracker
        that lags behind may see the picture of a later rung.
        """
        picture = self._folder.trial_samples(row.run)
        seen = picture if is_best_so_far(row) and picture.is_file() else None
        for feed in self._feeds:
            feed.put((row, seen, curve))

    def close(self) -> None:
        """Returns when all rows are logged, or after CLOSE_SECONDS, with a note for each tracker that was not ready."""
        for feed in self._feeds:
            feed.put(None)
        deadline = time.monotonic() + CLOSE_SECONDS
        for feed in self._feeds:
            feed.finish(max(0.0, deadline - time.monotonic()))


class _Feed:
    """One tracker and the thread that creates it, feeds it and closes it."""

    def __init__(self, name: str, make: Callable[[], Tracker], notes: list[str]) -> None:
        self._name, self._make, self._notes = name, make, notes
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._settled = False  # whether it ended normally, or has noted why it did not
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def put(self, job: Job | None) -> None:
        if self._thread.is_alive():
            self._jobs.put(job)

    def finish(self, seconds: float) -> None:
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._notes.append(
                f"{self._name} had not taken all rows {CLOSE_SECONDS:.0f} s after the end; it lacks some"
            )
        elif not self._settled:
            self._notes.append(f"{self._name} ended by an error of its own, which stands above; it lacks some rows")

    def _work(self) -> None:
        try:
            tracker = self._make()
            while (job := self._jobs.get()) is not None:
                tracker.row(*job)
            tracker.close()
            self._settled = True
        except (TrackerFailed, ResultsError, OSError) as error:
            said = " ".join(str(error).split()) or type(error).__name__
            self._notes.append(f"{self._name} is switched off, the sweep goes on without it: {said[:LONGEST_REASON]}")
            self._settled = True
