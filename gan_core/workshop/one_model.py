"""Training one configuration to a model: scored on the way, the best generator kept, resumable at any step.

A model's folder holds `generator.safetensors` (the best scored generator, by parameter name), `metrics.csv` (a line a
scoring), `curves.jsonl` (a line a point of what was watched between them), `state.safetensors` (all that training needs
to go on) and what the caller adds to it.
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

import torch
from torch import Tensor

from gan_core.config.arithmetic import Arithmetic
from gan_core.config.conditions import Precision
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import DamagedFile, InputError, home_path
from gan_core.config.reports import LaneReport, minimised
from gan_core.config.schedule import Schedule
from gan_core.files.whole_files import appearing_whole
from gan_core.lanes.axis import matmul_precision
from gan_core.lanes.streams import Stream
from gan_core.networks.architectures import build_networks
from gan_core.networks.call import Call
from gan_core.networks.latents import shared_latents
from gan_core.training.checkpoint import load_tensors, save_tensors
from gan_core.training.lane_array import rows_at_once
from gan_core.workshop.scored_array import ScoredArray
from gan_core.workshop.workshop import Workshop

SAVE_EVERY_SECONDS = 30.0
EVALUATIONS_PER_BUDGET = 4  # further scorings in each stretch as long as the last given point
MOST_EVALUATIONS = 1000  # of these, in all


class ModelFolder:
    """The names of a model's files."""

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
    """Where a final training stands. report: of a scoring that was just made, else None. arithmetic: how it is trained;
    from_images: since where it stood when this training was begun, or gone on with.
    """

    images_seen: int
    report: LaneReport | None
    is_best: bool = False
    arithmetic: Arithmetic = Arithmetic()
    from_images: int = 0


def evaluation_points(given: tuple[int, ...], images: int) -> list[int]:
    """Where a training of `images` images is scored: at the given points, then EVALUATIONS_PER_BUDGET times in each
    further stretch as long as the last of them, but at most MOST_EVALUATIONS times so, and at the end.
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
    """Trains to `images` real images, or goes on where the folder's state stands.

    on_progress is called after every step and after every scoring; when it answers True the state is saved and
    KeyboardInterrupt is raised. It is also scored where the schedule changes, before it does. On the CPU it follows the
    trial of a sweep with the same configuration, or a population's lane of this schedule, bit for bit; where learning
    rates fall over a trial's budget, if the workshop's conditions have that budget. Raises
    InputError when the folder's state has another structure, and when training diverges; and OutOfMemory.
    """
    array = workshop.build([schedule.scored_at(_images_seen(folder))])
    objective = workshop.conditions.objective
    metrics = _resume(array, folder, f"fidelity.{objective.removeprefix('-')}")
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
        if report.death is not None:  # nothing of it is kept: run again, training dies again
            how = f"{report.death.outcome} at {report.images_seen:,} images: {report.death.reason}"
            raise InputError(f"training {how}; lower the rates")
        row = _metrics_row(report)
        is_best = _minimised(row, objective) < min((_minimised(r, objective) for r in metrics), default=math.inf)
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
    """Where the folder's state stands; 0 where there is none, and for a file that is none: to load it will tell."""
    with _said_with_what_helps(folder):
        counters = load_tensors(folder.state).get("counters") if folder.state.exists() else None
    if counters is None or counters.ndim != 1 or counters.is_floating_point():
        return 0
    return int(counters[:1].sum())


def _resume(array: ScoredArray, folder: ModelFolder, key: str) -> list[dict[str, float]]:
    """Takes over the folder's state, where there is one: the scorings that it has behind it."""
    if not folder.state.exists():
        return []
    with _said_with_what_helps(folder):
        array.load(folder.state)
    state = array.array.state
    # A scoring counts once the state after it is saved: losses have then been read, and none is summed up since.
    settled = state.images_seen - 1 if state.watch.unread else state.images_seen
    return [row for row in read_metrics(folder.metrics, key) if row["images_seen"] <= settled]


@contextmanager
def _said_with_what_helps(folder: ModelFolder) -> Iterator[None]:
    """A state that cannot be gone on with is refused with what to do."""
    try:
        yield
    except DamagedFile as error:
        raise DamagedFile(f"{error}; remove {folder.state.name}, and training begins again") from error


def _follow(schedule: Schedule, array: ScoredArray, images: int) -> None:
    """What is trained from here to so many images has the parameters that the schedule says; what stands is scored as
    it is.
    """
    stands = array.array.state.images_seen
    due = schedule.at(stands)
    if array.array.images_at(images) > stands and array.array.configs != [due]:
        array.take_over([0], [due])


class _Saver:
    """Called after each step: tells how far training is, and saves now and then, or when asked to stop."""

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
    """A model's file of curves: written anew with each state, before it, so that a state never lacks its points; those
    of a file that are later than the state are made again.
    """

    def __init__(self, array: ScoredArray, folder: ModelFolder) -> None:
        self._path, stands = folder.curves, array.array.state.images_seen
        self._lines = {images: line for images, line in _read_curve(folder.curves) if images <= stands}

    def write(self, points: Sequence[Mapping[str, float]]) -> None:
        """Adds points, each in place of the one at as many images."""
        for point in points:
            self._lines[int(point["images_seen"])] = json.dumps(dict(point), separators=(",", ":"))
        with appearing_whole(self._path) as partial:
            partial.write_text("".join(f"{line}\n" for _, line in sorted(self._lines.items())))


def _read_curve(path: Path) -> list[tuple[int, str]]:
    """Images seen and line of each point of a file, if there is one. Raises InputError for a line that is no point."""
    found = []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
        try:
            found.append((int(json.loads(line)["images_seen"]), line))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}, line {number} is no point of a curve; remove the file, or mend it") from error
    return found


def _minimised(row: Mapping[str, float], objective: str) -> float:
    """What a scoring is judged by. NaN where the score is missing."""
    return minimised({name.removeprefix("fidelity."): value for name, value in row.items()}, objective)


def _metrics_row(report: LaneReport) -> dict[str, float]:
    scores = {f"fidelity.{name}": value for name, value in report.fidelity.values.items()}
    return {"images_seen": report.images_seen, "d_loss": report.d_loss, "g_loss": report.g_loss, **scores}


def write_metrics(path: Path, rows: list[dict[str, float]]) -> None:
    """The whole table of scorings, anew and atomically; NaN where a row lacks a column, as an older version's do."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), restval="nan")
    writer.writeheader()
    writer.writerows(rows)
    with appearing_whole(path) as partial:
        partial.write_text(text.getvalue())


def read_metrics(path: Path, needed: str = "images_seen") -> list[dict[str, float]]:
    """What `write_metrics` wrote; nothing where there is no file. needed: a column that every row must have. Raises
    InputError, with the line, where a row is not one of numbers, and for a file that cannot be read.
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


@dataclass(frozen=True)
class SampleKind:
    """What a generator draws, as its folder says: [C, H, W] or [d], and the classes of the data set."""

    shape: tuple[int, ...]
    classes: int


def sample_generator(
    config: GanConfig,
    kind: SampleKind,
    weights: Mapping[str, Tensor],
    count: int,
    seed: int,
    choice: int | None = None,
    *,
    precision: Precision = "float32",
) -> Tensor:
    """Samples [count, *shape] of a saved generator; the same numbers as `LaneArray.sample` gives for it. precision: of
    its training. Raises InputError as `sample_in_parts` does.
    """
    return torch.cat(list(sample_in_parts(config, kind, weights, count, seed, choice, precision=precision)))


def sample_in_parts(
    config: GanConfig,
    kind: SampleKind,
    weights: Mapping[str, Tensor],
    count: int,
    seed: int,
    choice: int | None = None,
    *,
    precision: Precision = "float32",
) -> Iterator[Tensor]:
    """The samples of `sample_generator` one call of the generator after the other, [at most 1000, *shape] each.

    choice: of this class or categorical code. Raises InputError when the weights are not of this structure or not of
    float32, and when there is no such class.
    """
    structure = config.structure
    networks = build_networks(structure, kind.shape, kind.classes)
    generator = networks.generator
    wanted = {name: (shape, torch.float32) for name, shape in {**generator.shapes(), **generator.buffers()}.items()}
    if {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in weights.items()} != wanted:
        raise InputError("the generator's weights do not fit the configuration beside them; one of them was changed")
    stacked = {name: tensor.unsqueeze(0) for name, tensor in weights.items()}
    call, rows = Call([config.lane.batch_norm_eps]), rows_at_once(structure)
    for latents in shared_latents(count, rows, structure, networks, Stream.SAMPLE_LATENTS, seed, choice):
        with torch.no_grad(), matmul_precision(precision):  # and not while the caller works with the part
            samples = generator(stacked, latents, call)[0]
        yield samples


def best_row(folder: ModelFolder, objective: str) -> dict[str, float]:
    """The scoring that the kept generator is of. Raises InputError where the table of scorings does not say."""
    rows = read_metrics(folder.metrics, f"fidelity.{objective.removeprefix('-')}")
    if not rows:
        raise InputError(f"{folder.metrics} holds no scoring; it was changed by hand")
    return min(rows, key=lambda row: _minimised(row, objective))


def load_generator_weights(folder: ModelFolder) -> dict[str, Tensor]:
    """The best generator's parameters by name. Raises InputError when the file is missing or damaged."""
    return load_tensors(folder.generator)
