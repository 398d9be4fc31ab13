"""Trains one configuration to a model. It is scored on the way, the best generator is kept, and it can be resumed.

The folder of a model holds `generator.safetensors` (the best generator so far, by parameter name), `metrics.csv` (a row
per evaluation), `curves.jsonl` (a line per point of the training curves in between), `state.safetensors` (all that is
needed to resume training) and what the caller adds.
"""

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from gan_core.config.arithmetic import Arithmetic
from gan_core.config.input_error import DamagedFile, InputError, home_path
from gan_core.config.limits import LAST, Place
from gan_core.config.own_names import score_of
from gan_core.config.reports import LaneReport, place_of
from gan_core.config.schedule import Schedule
from gan_core.files.whole_files import appearing_whole
from gan_core.training.checkpoint import load_tensors, save_tensors
from gan_core.workshop.scored_array import ScoredArray
from gan_core.workshop.workshop import Workshop

SAVE_EVERY_SECONDS = 30.0
EVALUATIONS_PER_BUDGET = 4  # after the given points, evaluations per as many images as the last given point
MOST_EVALUATIONS = 1000  # the limit for these


class ModelFolder:
    """The paths of the files of a model."""

    def __init__(self, path: str | Path) -> None:
        self.path = home_path(path)
        self.generator = self.path / "generator.safetensors"
        self.state = self.path / "state.safetensors"
        self.metrics = self.path / "metrics.csv"
        self.curves = self.path / "curves.jsonl"
        self.config = self.path / "config.yaml"
        self.samples = self.path / "samples.png"


@dataclass(frozen=True)
class Progress:
    """The progress of a final training.

    report: that of an evaluation that has just been made, else None; is_best: whether it is the best so far;
    arithmetic: how training is computed; from_images: the images seen when this process started or resumed training.
    """

    images_seen: int
    report: LaneReport | None
    is_best: bool = False
    arithmetic: Arithmetic = Arithmetic()
    from_images: int = 0


def evaluation_points(given: tuple[int, ...], images: int) -> list[int]:
    """The images after which a training of `images` images is evaluated, ascending and without duplicates.

    They are the given points, then EVALUATIONS_PER_BUDGET evenly spaced ones per as many images as the last of these,
    but at most MOST_EVALUATIONS, and the end.
    """
    step = max(1, given[-1] // EVALUATIONS_PER_BUDGET, (images - given[-1]) // MOST_EVALUATIONS)
    points = [*given, *range(given[-1] + step, images, step), images]
    return sorted({point for point in points if point <= images})


def train_model(
    schedule: Schedule,
    workshop: Workshop,
    folder: ModelFolder,
    *,
    images: int,
    evaluate_at_images: tuple[int, ...],
    on_progress: Callable[[Progress], bool],
) -> None:
    """Trains a model to `images` real images, and resumes from the state in the folder if there is one.

    The model is evaluated at the points of `evaluation_points` and before each change of the schedule. on_progress is
    called after every step and every evaluation; if it returns True, the state is saved and KeyboardInterrupt raised.
    On the CPU the training is bitwise identical to that of a sweep's trial with the same configuration, or of a lane of
    a population with this schedule; if learning rates decay, the workshop must have the same budget_images. Raises
    InputError if the folder's state has another structure or if training diverges, and OutOfMemory.
    """
    array = workshop.build([schedule.scored_at(_images_seen(folder))])
    objective = workshop.conditions.objective
    metrics = _resume(array, folder, f"fidelity.{score_of(objective)}")
    changes = {start for start, _ in schedule.changes if 0 < start < images}
    points = sorted(changes.union(evaluation_points(evaluate_at_images, images)))
    scored = {row["images_seen"] for row in metrics}
    curve = _Curve(array, folder)
    saver = _Saver(array, folder, curve, on_progress)
    for point in points:
        if array.array.images_at(point) in scored or array.array.images_at(point) < array.array.state.images_seen:
            continue
        _follow(schedule, array, point)
        report = array.train_to(point, saver)[0]
        if report.death is not None:  # nothing is saved, so that a second run ends with the same message
            how = f"{report.death.outcome} at {report.images_seen:,} images: {report.death.reason}"
            raise InputError(f"training {how}; lower the rates")
        row = metrics_row(report)
        is_best = row_place(row, objective) < min((row_place(r, objective) for r in metrics), default=LAST)
        if is_best:
            save_tensors(folder.generator, array.array.generator_tensors(0))
        scored.add(report.images_seen)
        metrics.append(row)
        write_metrics(folder.metrics, metrics)
        curve.write(report.curve)
        array.save(folder.state)
        if on_progress(Progress(report.images_seen, report, is_best, report.arithmetic, saver.from_images)):
            raise KeyboardInterrupt


def _images_seen(folder: ModelFolder) -> int:
    """The images that the saved state has seen; 0 if there is none, or for another file, which loading will refuse."""
    with _with_advice(folder):
        counters = load_tensors(folder.state).get("counters") if folder.state.exists() else None
    if counters is None or counters.ndim != 1 or counters.is_floating_point():
        return 0
    return int(counters[:1].sum())


def _resume(array: ScoredArray, folder: ModelFolder, key: str) -> list[dict[str, float]]:
    """Loads the state in the folder, if there is one, and returns the evaluations that were made before it."""
    if not folder.state.exists():
        return []
    with _with_advice(folder):
        array.load(folder.state)
    state = array.array.state
    # An evaluation at this point counts only if the state was saved after it, when it had read all summed losses.
    settled = state.images_seen - 1 if state.watch.unread else state.images_seen
    return [row for row in read_metrics(folder.metrics, key) if row["images_seen"] <= settled]


@contextmanager
def _with_advice(folder: ModelFolder) -> Iterator[None]:
    """Adds to the error of a damaged state what the user can do."""
    try:
        yield
    except DamagedFile as error:
        raise DamagedFile(f"{error}; remove {folder.state.name}, and training begins again") from error


def _follow(schedule: Schedule, array: ScoredArray, images: int) -> None:
    """Applies the parameters that the schedule sets from the current step on, unless nothing is left to train."""
    stands = array.array.state.images_seen
    due = schedule.at(stands)
    if array.array.images_at(images) > stands and array.array.configs != [due]:
        array.take_over([0], [due])


class _Saver:
    """A function called after each step: it reports progress, and saves every SAVE_EVERY_SECONDS and when stopped."""

    def __init__(
        self, array: ScoredArray, folder: ModelFolder, curve: "_Curve", on_progress: Callable[[Progress], bool]
    ) -> None:
        self._array, self._folder, self._curve, self._on_progress = array, folder, curve, on_progress
        self._saved = time.monotonic()
        self.from_images = array.array.state.images_seen

    def __call__(self, images_seen: int) -> None:
        made = self._array.arithmetic
        stop = self._on_progress(Progress(images_seen, None, arithmetic=made, from_images=self.from_images))
        if stop or time.monotonic() - self._saved >= SAVE_EVERY_SECONDS:
            self._curve.write(self._array.array.state.watch.curves()[0])
            self._array.save(self._folder.state)
            self._saved = time.monotonic()
        if stop:
            raise KeyboardInterrupt


class _Curve:
    """The curves file of a model. It is written before each state, so that a saved state never lacks its points.

    Points in the file that are later than the state are dropped when training resumes, which computes them again.
    """

    def __init__(self, array: ScoredArray, folder: ModelFolder) -> None:
        self._path, stands = folder.curves, array.array.state.images_seen
        self._lines = {images: line for images, line in _read_curve(folder.curves) if images <= stands}

    def write(self, points: Sequence[Mapping[str, float]]) -> None:
        """Adds points; each replaces the point at the same number of images, if there is one."""
        for point in points:
            self._lines[int(point["images_seen"])] = json.dumps(dict(point), separators=(",", ":"))
        with appearing_whole(self._path) as partial:
            partial.write_text("".join(f"{line}\n" for _, line in sorted(self._lines.items())))


def _read_curve(path: Path) -> list[tuple[int, str]]:
    """The images seen and the line of each point in a file, if it exists. Raises InputError for any other line."""
    found = []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
        try:
            found.append((int(json.loads(line)["images_seen"]), line))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}, line {number} is no point of a curve; remove the file, or mend it") from error
    return found


def row_place(row: Mapping[str, float], objective: str) -> Place:
    """The place of a row of metrics in the order of `gan_core.config.limits`; the last if the score is missing."""
    return place_of(row_scores(row), objective)


def row_scores(row: Mapping[str, float]) -> dict[str, float]:
    """The scores in a row of metrics by their names; those that an earlier version did not write are missing."""
    scores = {name.removeprefix("fidelity."): value for name, value in row.items() if name.startswith("fidelity.")}
    return {name: value for name, value in scores.items() if not math.isnan(value)}


def metrics_row(report: LaneReport) -> dict[str, float]:
    """The row of an evaluation in the table of a model."""
    scores = {f"fidelity.{name}": value for name, value in report.fidelity.values.items()}
    others = {f"report.{name}": value for name, value in report.report.items()}
    return {"images_seen": report.images_seen, "d_loss": report.d_loss, "g_loss": report.g_loss, **scores, **others}


def write_metrics(path: Path, rows: list[dict[str, float]]) -> None:
    """Writes the table of evaluations atomically; cells that a row lacks, as rows of older versions do, become NaN."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), restval="nan")
    writer.writeheader()
    writer.writerows(rows)
    with appearing_whole(path) as partial:
        partial.write_text(text.getvalue())


def read_metrics(path: Path, needed: str = "images_seen") -> list[dict[str, float]]:
    """Reads what `write_metrics` wrote; an empty list if there is no file. needed: a column that every row must have.

    Raises InputError, with the number of the line, for a row that does not consist of numbers, and for a file that
    cannot be read.
    """
    if not path.exists():
        return []
    found = []
    try:
        for row in csv.DictReader(io.StringIO(path.read_text())):
            numbers = {name: float(value) for name, value in row.items()}
            found.append({**numbers, needed: numbers[needed], "images_seen": int(row["images_seen"])})
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path}, line {len(found) + 2} is no row of numbers with a column {needed!r}; it was changed by hand"
        ) from error
    return found


def best_row(folder: ModelFolder, objective: str) -> dict[str, float]:
    """The row of metrics that belongs to the saved generator. Raises InputError if the table is empty or damaged."""
    rows = read_metrics(folder.metrics, f"fidelity.{score_of(objective)}")
    if not rows:
        raise InputError(f"{folder.metrics} holds no scoring; it was changed by hand")
    return min(rows, key=lambda row: row_place(row, objective))


def load_generator_weights(folder: ModelFolder) -> dict[str, Tensor]:
    """The parameters of the best generator by name. Raises InputError if the file is missing or damaged."""
    return load_tensors(folder.generator)
