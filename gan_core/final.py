"""Training one configuration to a model: scored on the way, the best generator kept, resumable at any step.

A model's folder holds `generator.safetensors` (the best scored generator, by parameter name), `metrics.csv` (a line a
scoring), `state.safetensors` (all that training needs to go on) and what the caller adds to it.
"""

import csv
import io
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gan_core.architectures import build_networks
from gan_core.arithmetic import Arithmetic
from gan_core.call import Call
from gan_core.checkpoint import load_tensors, save_tensors
from gan_core.conditions import Precision
from gan_core.config import GanConfig
from gan_core.input_error import InputError
from gan_core.lanes import matmul_precision
from gan_core.latents import fill_shared_latents, latent_numbers
from gan_core.reports import LaneReport
from gan_core.schedule import Schedule
from gan_core.scoring import ScoredArray, Workshop
from gan_core.streams import Stream
from gan_core.training import rows_at_once

SAVE_EVERY_SECONDS = 30.0
EVALUATIONS_PER_BUDGET = 4  # further scorings in each stretch as long as the last given point


class ModelFolder:
    """The names of a model's files."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.generator = self.path / "generator.safetensors"
        self.state = self.path / "state.safetensors"
        self.metrics = self.path / "metrics.csv"
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
    further stretch as long as the last of them, and at the end.
    """
    step = max(1, given[-1] // EVALUATIONS_PER_BUDGET)
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
    key = f"fidelity.{workshop.conditions.objective}"
    metrics = _resume(array, folder)
    changes = {start for start, _ in schedule.changes if 0 < start < images}
    points = sorted(changes.union(evaluation_points(evaluate_at_images, images)))
    scored = {row["images_seen"] for row in metrics}
    saver = _Saver(array, folder, on_progress)
    for point in points:
        if array.array.images_at(point) in scored or array.array.images_at(point) < array.array.state.images_seen:
            continue
        _follow(schedule, array, point)
        report = array.train_to(point, saver)[0]
        if report.death is not None:  # nothing of it is kept: run again, training dies again
            how = f"{report.death.outcome} at {report.images_seen:,} images: {report.death.reason}"
            raise InputError(f"training {how}; lower the rates")
        row = _metrics_row(report)
        is_best = row[key] < min((r[key] for r in metrics), default=math.inf)
        if is_best:
            save_tensors(folder.generator, array.array.generator_tensors(0))
        scored.add(report.images_seen)
        metrics.append(row)
        write_metrics(folder.metrics, metrics)
        array.save(folder.state)
        if on_progress(Progress(report.images_seen, report, is_best, report.arithmetic, saver.from_images)):
            raise KeyboardInterrupt


def _images_seen(folder: ModelFolder) -> int:
    """Where the folder's state stands; 0 where there is none, and for a file that is none: to load it will tell."""
    counters = load_tensors(folder.state).get("counters") if folder.state.exists() else None
    return 0 if counters is None else int(counters[0])


def _resume(array: ScoredArray, folder: ModelFolder) -> list[dict[str, float]]:
    """Takes over the folder's state, where there is one: the scorings that it has behind it."""
    if not folder.state.exists():
        return []
    array.load(folder.state)
    state = array.array.state
    # A scoring counts once the state after it is saved: losses have then been read, and none is summed up since.
    settled = state.images_seen - 1 if state.watch.unread else state.images_seen
    return [row for row in read_metrics(folder.metrics) if row["images_seen"] <= settled]


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

    def __init__(self, array: ScoredArray, folder: ModelFolder, on_progress: Callable[[Progress], bool]) -> None:
        self._array, self._folder, self._on_progress = array, folder, on_progress
        self._saved = time.monotonic()
        self.from_images = array.array.state.images_seen

    def __call__(self, images_seen: int) -> None:
        made = self._array.arithmetic
        stop = self._on_progress(Progress(images_seen, None, arithmetic=made, from_images=self.from_images))
        if stop or time.monotonic() - self._saved >= SAVE_EVERY_SECONDS:
            self._array.save(self._folder.state)
            self._saved = time.monotonic()
        if stop:
            raise KeyboardInterrupt


def _metrics_row(report: LaneReport) -> dict[str, float]:
    scores = {f"fidelity.{name}": value for name, value in report.fidelity.values.items()}
    return {"images_seen": report.images_seen, "d_loss": report.d_loss, "g_loss": report.g_loss, **scores}


def write_metrics(path: Path, rows: list[dict[str, float]]) -> None:
    """The whole table of scorings, anew and atomically; NaN where a row lacks a column, as an older version's do."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), restval="nan")
    writer.writeheader()
    writer.writerows(rows)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text.getvalue())
    os.replace(partial, path)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """What `write_metrics` wrote; nothing where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{**{name: float(v) for name, v in row.items()}, "images_seen": int(row["images_seen"])} for row in rows]


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
    its training.

    choice: of this class or categorical code. Raises InputError when the weights are not of this structure, and when
    there is no such class.
    """
    networks = build_networks(config.structure, kind.shape, kind.classes)
    generator = networks.generator
    if {name: tuple(tensor.shape) for name, tensor in weights.items()} != {**generator.shapes(), **generator.buffers()}:
        raise InputError("the generator's weights do not fit the configuration beside them; one of them was changed")
    latents = torch.empty(1, count, latent_numbers(config.structure, networks))
    fill_shared_latents(latents, config.structure, networks, Stream.SAMPLE_LATENTS, seed, choice)
    stacked = {name: tensor.unsqueeze(0) for name, tensor in weights.items()}
    call = Call([config.lane.batch_norm_eps])
    with torch.no_grad(), matmul_precision(precision):
        parts = [generator(stacked, part, call) for part in latents.split(rows_at_once(config.structure), dim=1)]
        return torch.cat(parts, 1)[0]


def best_row(folder: ModelFolder, objective: str) -> dict[str, float]:
    """The scoring that the kept generator is of. Raises InputError where the table of scorings does not say."""
    key = f"fidelity.{objective}"
    try:
        return min(read_metrics(folder.metrics), key=lambda row: row[key])
    except (KeyError, ValueError) as error:
        raise InputError(f"{folder.metrics} lacks scores in a column {key!r}; it was changed by hand") from error


def load_generator_weights(folder: ModelFolder) -> dict[str, Tensor]:
    """The best generator's parameters by name. Raises InputError when the file is missing or damaged."""
    return load_tensors(folder.generator)
