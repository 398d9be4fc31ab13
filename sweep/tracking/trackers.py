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
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from gan_core.config.input_error import InputError, nearest, shown
from results.rows import ResultRow
from results.store import ResultsError, RunFolder
from sweep.tracking.tracked_row import TrackerFailed, is_best_so_far
from sweep.tracking.tracking_identity import identity_of

CLOSE_SECONDS = 30.0  # what a slow network is given at the end of a sweep
LONGEST_REASON = 300  # characters of a library's text that a note keeps
WANDB_MODES = ("online", "offline")

Tracking = Mapping[str, Mapping[str, str]]
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
OPTIONS = {"tensorboard": (), "mlflow": ("uri", "experiment"), "wandb": ("project", "entity", "mode")}
BY_DEFAULT = ("tensorboard",)
PACKAGES = ("mlflow", "wandb")  # trackers that need one, which is also the name of our extra


def parse_tracking(values: Any) -> dict[str, dict[str, str]]:
    """The spec's `tracking:` -> name -> options of each tracker that is to be used. None or {} is TensorBoard alone;
    `{tensorboard: false}` switches it off.

    Raises InputError for an unknown tracker or option, or a value that does not fit. Says nothing of what is installed.
    """
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise InputError(f"tracking must map trackers to their options, true or false, got {shown(values)}")
    chosen: dict[str, dict[str, str]] = {name: {} for name in BY_DEFAULT}
    for name, options in values.items():
        if name not in TRACKERS:
            raise InputError(f"unknown tracker {shown(name)} in tracking; {nearest(name, TRACKERS)}")
        if options is False:
            chosen.pop(name, None)
        elif options is True or options is None:
            chosen[name] = {}
        else:
            chosen[name] = _options(name, options)
    return {name: chosen[name] for name in TRACKERS if name in chosen}


def plain_tracking(tracking: Tracking) -> dict[str, Any]:
    """As plain values that `parse_tracking` reads back: a tracker of the defaults that is missing is false."""
    off = {name: False for name in BY_DEFAULT if name not in tracking}
    return {**off, **{name: dict(options) for name, options in tracking.items()}}


def require_installed(tracking: Tracking) -> None:
    """Raises InputError, with the command that helps, where a tracker's package is missing. Imports none."""
    for name in PACKAGES:
        if name in tracking and find_spec(name) is None:
            raise InputError(
                f'tracking.{name} needs the package {name}: pip install "gan-sweep[{name}]", or take the key out'
            )


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


def _options(name: str, options: Any) -> dict[str, str]:
    if not isinstance(options, Mapping):
        raise InputError(f"tracking.{name} must be true, false or a mapping of options, got {shown(options)}")
    for key, value in options.items():
        if key not in OPTIONS[name]:
            known = nearest(key, OPTIONS[name]) if OPTIONS[name] else "it has none"
            raise InputError(f"unknown option {shown(key)} in tracking.{name}; {known}")
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"tracking.{name}.{key} must be a text, got {shown(value)}; leave it out for the default")
    if "mode" in options and options["mode"] not in WANDB_MODES:
        raise InputError(
            f"unknown tracking.wandb.mode {shown(options['mode'])}; {nearest(options['mode'], WANDB_MODES)}"
        )
    if "uri" in options:
        _check_uri(options["uri"])
    return dict(options)


def _check_uri(uri: str) -> None:
    """MLflow (3.17) refuses folders; and a relative path means another place in another process."""
    scheme, separator, rest = uri.partition("://")
    if uri != "databricks" and (not separator or scheme == "file"):
        raise InputError(
            f"tracking.mlflow.uri must be http(s)://, a database (sqlite:////...) or databricks, got {shown(uri)}: "
            "MLflow takes folders no more"
        )
    if scheme == "sqlite" and not rest.startswith("//"):
        raise InputError(f"tracking.mlflow.uri needs an absolute path (sqlite:////home/...), got {shown(uri)}")
