"""Trains the final model for `gan-sweep train`, and reports its progress in the terminal."""

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gan_core.config.conditions import (
    Conditions,
    ScoringConfig,
    as_scored_before,
    parse_execution,
    parse_precision,
    parse_section,
)
from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.gan import GanConfig
from gan_core.config.health import HealthConfig
from gan_core.config.input_error import InputError, nearest, shown
from gan_core.config.limits import broken_in_words
from gan_core.config.own_names import is_reference, plain_code
from gan_core.config.reports import OutOfMemory
from gan_core.config.schedule import Schedule
from gan_core.fidelity.fitted import Fitted, protocol_in
from gan_core.files.plain_yaml import dump_yaml, read_yaml
from gan_core.lanes.axis import lane_arithmetic
from gan_core.workshop.one_model import ModelFolder, Progress, best_row, row_place, row_scores, train_model
from gan_core.workshop.workshop import Workshop, load_data
from results.export import DEFAULT_PRECISION, EXECUTIONS, ExportedConfiguration
from results.objectives import score_name
from results.store import ResultsError, RunFolder, exclusive, write_atomically
from sweep.planning.time_estimate import in_words
from sweep.spec.objectives import check_reported, objectives
from sweep.winner.sampling import of_model, write_picture

INTERRUPTED = 130
PICTURED_SAMPLES = 64
NAMED_AT_MOST = 5  # differences in a message
LIVE_SECONDS = 0.5  # between two lines of progress in a terminal
FIRST_SECONDS, LATER_SECONDS = 10.0, 60.0  # outside a terminal: before the first line, and between the others


class _Reporter:
    """Prints the progress of a training, and asks it to stop after Ctrl-C."""

    def __init__(self, schedule: Schedule, images: int, exported: ExportedConfiguration) -> None:
        self.images, self.objective, self.score = images, score_name(exported.objective), exported.score
        self.features_digest = exported.source.get("features_digest")
        # The images over which learning rates decayed in the sweep, if they decay over the budget.
        self.fell_over = exported.sweep_images if falls_over_budget(schedule) else images
        self.stop = False
        self._live = sys.stdout.isatty()
        self._begin()

    def _begin(self) -> None:
        """Starts to measure the speed."""
        self._started, self._first = time.monotonic(), 0
        self._due = self._started + (LIVE_SECONDS if self._live else FIRST_SECONDS)

    def phase(self, text: str) -> None:
        """Prints what is done next, other than training, that may take long."""
        self._begin()
        print(f"\r\x1b[K{text}" if self._live else text, end="" if self._live else "\n", flush=True)

    def interrupt(self, number: int, frame: Any) -> None:
        """A signal handler: training ends after the current step. A second signal ends the process at once."""
        self.stop = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def __call__(self, progress: Progress) -> bool:
        self._first = self._first or progress.images_seen
        if progress.report is not None:
            self._print_scoring(progress)
        elif time.monotonic() >= self._due:
            now = time.monotonic()
            self._due = now + (LIVE_SECONDS if self._live else LATER_SECONDS)
            rate = (progress.images_seen - self._first) / (now - self._started)
            left = in_words((self.images - progress.images_seen) / rate) if rate else "unknown"
            text = f"{progress.images_seen:,} of {self.images:,} images, {rate:,.0f}/s, about {left} left"
            print(f"\r\x1b[K{text}" if self._live else text, end="" if self._live else "\n", flush=True)
        return self.stop

    def _print_scoring(self, progress: Progress) -> None:
        report = progress.report
        if report is None:
            return
        clear = "\r\x1b[K" if self._live else ""
        value = report.fidelity.values[self.objective]
        line = f"{progress.images_seen:>12,} images  {self.objective} {value:.4g}"
        line += f"  d_loss {report.d_loss:.4f}  g_loss {report.g_loss:.4f}"
        print(f"{clear}{line}{'  best' if progress.is_best else ''}", flush=True)
        recorded = self.score.get(self.objective)
        if recorded is not None and self.score.get("images_seen") == progress.images_seen:
            if self.features_digest not in (None, report.fidelity.features_digest):
                print("  the sweep's score was computed with another machine's classifier, and is not compared")
            elif self.score.get("protocol") != report.fidelity.protocol:
                print("  the sweep's score was computed by another protocol, and is not compared")
            elif self.fell_over != self.images:
                print(
                    f"  the sweep's learning rates fell over {self.fell_over:,} images, and its score is not compared"
                )
            elif recorded == value:
                print(f"  reproduces the sweep's {recorded:.4g} exactly")
            else:
                print(f"  the sweep had {recorded:.4g}: a difference of {value - recorded:+.2g}")


def conditions_of(
    config: GanConfig, exported: ExportedConfiguration, data_root: str | Path | None, skip_corrupt_images: bool
) -> Conditions:
    """The conditions of the sweep in which an exported configuration was found.

    data_root, skip_corrupt_images: override the values of the file. Raises InputError if the file has invalid values.
    """
    structure = config.structure
    known = objectives(parse_dataset_name(structure.dataset))
    if structure.trainer:
        check_reported([exported.objective])
    elif exported.objective not in known and not is_reference(exported.objective):
        raise InputError(f"unknown score.objective {shown(exported.objective)}; {nearest(exported.objective, known)}")
    return Conditions(
        dataset=structure.dataset,
        objective=exported.objective,
        image_size_pixels=structure.image_size_pixels,
        data_root=str(data_root) if data_root else exported.data_root,
        skip_corrupt_images=skip_corrupt_images or exported.skip_corrupt_images,
        scoring=as_scored_before(
            parse_section(ScoringConfig, "scoring", exported.scoring), exported.score.get("protocol")
        ),
        health=parse_section(HealthConfig, "health", exported.health),
        precision=parse_precision(exported.precision),
        execution=parse_execution(exported.execution),
        code=exported.code,
        trainer=structure.trainer,
    )


def open_workshop(
    exported: ExportedConfiguration,
    conditions: Conditions,
    device: str = "auto",
    on_phase: Callable[[str], object] = lambda phase: None,
    *,
    other_data: bool = False,
) -> Workshop:
    """The workshop in which an exported configuration is trained. on_phase: as in `Workshop`.

    Raises InputError if the data differ from those of the sweep, unless other_data allows it.
    """
    on_phase(f"loading {conditions.dataset}")
    dataset = load_data(conditions)
    if not other_data and exported.data_digest and exported.data_digest != dataset.digest:
        raise InputError(
            f"data set {shown(conditions.dataset)} here has digest {dataset.digest}, the configuration "
            f"was found on {exported.data_digest}; give that data (--data-root), or train on these with --other-data"
        )
    fitted = _fitted_in_the_sweep(exported)
    if fitted is not None and fitted.data_digest != dataset.digest:
        fitted = None
    return Workshop(conditions, device, on_phase, dataset, fitted)


def _fitted_in_the_sweep(exported: ExportedConfiguration) -> Fitted | None:
    """What the sweep's scores were fitted with, from the folder of the run; None where that is not there or has other
    scores by now.
    """
    folder = exported.source.get("folder")
    if not isinstance(folder, str):
        return None
    path = RunFolder(folder).features
    return Fitted.read(path) if protocol_in(path) == exported.score.get("protocol") else None


def train_final(
    config: GanConfig,
    exported: ExportedConfiguration,
    home: Path,
    images: int,
    conditions: Conditions,
    *,
    other_data: bool = False,
) -> int:
    """Trains a model in the folder `home`, or resumes one; returns the exit code: 0, or 130 if it was interrupted.

    other_data: allow data that differ from those of the sweep. Raises InputError for a folder of another model, for
    other data and if training diverges or runs out of memory, and ResultsError if the folder cannot be written.
    """
    folder, schedule = ModelFolder(home), Schedule.read(config, exported.schedule)
    _refuse_folder(schedule, exported.precision, images, folder)
    reporter = _Reporter(schedule, images, exported)
    conditions = replace(conditions, budget_images=images)
    workshop = open_workshop(exported, conditions, on_phase=reporter.phase, other_data=other_data)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        with exclusive(folder.path / ".lock"), lane_arithmetic():  # as for trials, so that both are bitwise identical
            return _train_locked(schedule, exported, folder, reporter, workshop)
    except OutOfMemory as error:
        raise InputError(f"{error}; lower structure.batch_size or the widths") from error
    except OSError as error:
        raise ResultsError(f"cannot write to {folder.path}: {error.strerror or error}; choose another -o") from error


def _train_locked(
    schedule: Schedule, exported: ExportedConfiguration, folder: ModelFolder, reporter: _Reporter, workshop: Workshop
) -> int:
    _refuse_folder(schedule, exported.precision, reporter.images, folder)
    record = _Record(schedule, exported, folder, workshop)
    previous = signal.signal(signal.SIGINT, reporter.interrupt)
    try:
        train_model(
            schedule,
            workshop,
            folder,
            images=reporter.images,
            evaluate_at_images=exported.evaluate_at_images,
            on_progress=lambda progress: record(progress) or reporter(progress),
        )
    except KeyboardInterrupt:
        print(f"\ninterrupted; saved in {folder.path}. The same command goes on from there", file=sys.stderr)
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, previous)
    write_picture(of_model(folder.path), PICTURED_SAMPLES, 0, folder.samples)
    best = best_row(folder, exported.objective)
    name = score_name(exported.objective)
    found = f"{name} {best[f'fidelity.{name}']:.4g} at {best['images_seen']:,.0f} images"
    off, _ = row_place(best, exported.objective)
    breaks = f", which breaks {broken_in_words(row_scores(best))}" if off else ""
    print(f"best {found}{breaks}; samples: {folder.samples}")
    print(f"next: gan-sweep sample {shlex.quote(str(folder.path))} -n 64 -o grid.png")
    return 0


def falls_over_budget(schedule: Schedule) -> bool:
    """Whether learning rates decay, in any part of the schedule, over the whole budget of the training."""
    lanes = [schedule.config.lane, *(lane for _, lane in schedule.changes)]
    return any(lane.lr_schedule != "constant" and not lane.lr_schedule_images for lane in lanes)


def _refuse_folder(schedule: Schedule, precision: str, images: int, folder: ModelFolder) -> None:
    """Raises InputError for a folder that holds a model of another configuration, or other files and no model."""
    if os.path.exists(folder.path) and not os.path.isdir(folder.path):
        raise InputError(f"{folder.path} is no folder; choose another -o")
    if not os.path.exists(folder.config):  # unlike Path.exists it never raises; errors are reported when writing
        own = (folder.config.name, folder.config.name + ".partial")  # the latter is left by earlier versions
        if os.path.isdir(folder.path):
            others = sorted(p.name for p in folder.path.iterdir() if not p.name.startswith(".") and p.name not in own)
            if others:
                raise InputError(f"{folder.path} holds other files, such as {others[0]}; choose another -o")
        return
    written = read_yaml(folder.config)
    if not isinstance(written.get("model"), dict):
        raise InputError(f"{folder.config} is no model's; choose another -o")
    recorded = written.get("configuration")
    recorded = {**GanConfig().flatten(), **(recorded if isinstance(recorded, dict) else {})}
    differing = [k for k, v in schedule.config.flatten().items() if recorded.get(k) != v]
    if (written.get("schedule") or []) != schedule.plain():
        differing.append("schedule")
    if written.get("precision", DEFAULT_PRECISION) != precision:
        differing.append("precision")
    training = written.get("training")
    if falls_over_budget(schedule) and (not isinstance(training, dict) or training.get("images") != images):
        differing.append("training.images, over which its learning rates fall")
    if differing:
        named = ", ".join(differing[:NAMED_AT_MOST]) + (", ..." if len(differing) > NAMED_AT_MOST else "")
        raise InputError(
            f"{folder.path} holds a model of another configuration; these differ: {named}; choose another -o"
        )


class _Record:
    """Writes the `config.yaml` of a model, which `gan-sweep sample` needs and which can be trained again.

    It is called with the progress of training, because how training is computed becomes known only then. Under
    `model.made_by` there is one entry per stretch of images, since a training may be resumed on another machine.
    """

    def __init__(
        self, schedule: Schedule, exported: ExportedConfiguration, folder: ModelFolder, workshop: Workshop
    ) -> None:
        self._schedule, self._exported, self._folder, self._workshop = schedule, exported, folder, workshop
        self._made_by = _made_by(folder)
        self._write()

    def __call__(self, progress: Progress) -> None:
        """Rewrites the file if training is now computed in another way than before."""
        start = {"from_images": progress.from_images}
        entry = {**start, **progress.arithmetic.known()}
        if progress.arithmetic.execution and [{**last, **start} for last in self._made_by[-1:]] != [entry]:
            self._made_by = [*(e for e in self._made_by if e["from_images"] < progress.from_images), entry]
            self._write()

    def _write(self) -> None:
        schedule, exported, dataset = self._schedule, self._exported, self._workshop.dataset
        conditions = self._workshop.conditions
        execution = self._made_by[0].get("execution") if self._made_by else None
        values = {
            "configuration": schedule.config.flatten(),
            **({"schedule": schedule.plain()} if schedule.changes else {}),
            "data": {
                "name": schedule.config.structure.dataset,
                "digest": dataset.digest,
                **({"root": conditions.data_root} if conditions.data_root else {}),
                "skip_corrupt_images": conditions.skip_corrupt_images,
            },
            "training": {"images": conditions.budget_images, "evaluate_at_images": list(exported.evaluate_at_images)},
            "score": {**exported.score, "objective": exported.objective},
            "precision": exported.precision,
            "execution": execution if execution in EXECUTIONS else exported.execution,
            "scoring": dict(exported.scoring),
            "health": dict(exported.health),
            "model": {
                "sample_shape": list(dataset.sample_shape),
                "classes": dataset.classes,
                "device": self._workshop.device,
                "made_by": self._made_by,
            },
            **({"code": plain_code(conditions.code)} if conditions.code else {}),
        }
        write_atomically(self._folder.config, dump_yaml(values))


def _made_by(folder: ModelFolder) -> list[dict[str, Any]]:
    """How a model has been computed so far, by its file; files of earlier versions give only the last code version."""
    model = read_yaml(folder.config).get("model") if folder.config.exists() else None
    if not isinstance(model, dict):
        return []
    made_by = model.get("made_by", [{"from_images": 0, "code_version": model.get("code_version", "")}])
    known = isinstance(made_by, list) and all(isinstance(entry, dict) for entry in made_by)
    if not known or not all(isinstance(entry.get("from_images"), int) for entry in made_by):
        raise InputError(
            f"model.made_by in {folder.config} must list mappings with from_images; it was changed by hand"
        )
    return made_by
