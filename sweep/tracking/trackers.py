"""What a run is logged to beside its table: TensorBoard, MLflow, Weights & Biases.

Ray Tune has callbacks for these too, and they are no use here: they log Ray's trials, each of which is a cohort of many
of our configurations. So the libraries are called for each trial, at each rung, after its row is on the disk.

A tracker is never the truth, and never in the way. Each has a thread of its own, so that no lane waits for a network;
one that fails is switched off with a note and the sweep goes on; and a row may be told again, so that an owner that
starts again tells all rows, and each tracker takes those it lacks: what was killed before it was logged is logged then.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from results.rows import ResultRow
from results.store import ResultsError, RunFolder
from sweep.spec.tracking import PACKAGES, Tracking, require_installed
from sweep.tracking.tracked_row import TrackerFailed, is_best_so_far
from sweep.tracking.tracking_identity import identity_of

CLOSE_SECONDS = 30.0  # what a slow network is given at the end of a sweep
LONGEST_REASON = 300  # characters of a library's text that a note keeps

Point = Mapping[str, Any]  # of a curve, as `results.curves` has it
Job = tuple[ResultRow, Path | None, Sequence[Point]]


class Tracker(Protocol):
    """Takes rows, in the order in which a trial made them. A row that it has already changes nothing.

    picture: a PNG of the trial's samples, where the row is its best so far. curve: points on the way to the row, for
    those who show them. Raises TrackerFailed or OSError when it can
    do no more.
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
    """The trackers of a run. Raises InputError as `require_installed` does; what fails later is in `notes`."""
    require_installed(tracking)
    if any(name in tracking for name in PACKAGES):
        identity_of(folder)  # drawn here: two trackers, each in its thread, must not draw two
    return Trackers({name: TRACKERS[name] for name in tracking}, tracking, folder, spec_plain)


class Trackers:
    """All trackers of a run behind one `row`. notes: a line for each that was switched off, for a person to see."""

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
        """Hands one recorded row, and its curve's points, to every tracker, and does not wait for them. Where a tracker
        lags behind, the picture it sees may be of a later rung.
        """
        picture = self._folder.trial_samples(row.trial)
        seen = picture if is_best_so_far(row) and picture.is_file() else None
        for feed in self._feeds:
            feed.put((row, seen, curve))

    def close(self) -> None:
        """Returns when all rows are logged, or after CLOSE_SECONDS, with a note for each that was not ready."""
        for feed in self._feeds:
            feed.put(None)
        deadline = time.monotonic() + CLOSE_SECONDS
        for feed in self._feeds:
            feed.finish(max(0.0, deadline - time.monotonic()))


class _Feed:
    """One tracker in a thread of its own, which makes it, feeds it and closes it."""

    def __init__(self, name: str, make: Callable[[], Tracker], notes: list[str]) -> None:
        self._name, self._make, self._notes = name, make, notes
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._settled = False  # whether it ended as it should, or has said why not
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
