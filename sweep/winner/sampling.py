"""Draws samples from a trained generator, of a model's folder or of a trial of a run, and writes them in parts."""

import math
import os
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from gan_core.config.conditions import Precision, parse_precision
from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.fields import is_whole
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.own_names import TRAINER, parse_code
from gan_core.config.schedule import Schedule
from gan_core.files.own_code import bring
from gan_core.files.plain_yaml import read_yaml
from gan_core.files.whole_files import is_written_through
from gan_core.lanes.axis import lane_arithmetic
from gan_core.training.checkpoint import load_tensors
from gan_core.workshop.memory import data_form
from gan_core.workshop.one_model import ModelFolder, best_row, load_generator_weights
from gan_core.workshop.saved_generator import SampleKind, sample_in_parts
from gan_core.workshop.workshop import load_data
from results.export import DEFAULT_PRECISION, ExportedConfiguration, chosen_row
from results.output import STANDARD_OUTPUT, output
from results.pictures import image_of, most_in_grid, picture_of, to_bytes, write_png
from results.store import ResultsError, RunFolder
from results.stored_run import generators, run_folder
from results.table import ResultsTable
from results.trial_run import TrialRun
from results.trial_table import configuration_of
from sweep.spec.sweep_spec import SweepSpec

FLOAT_BYTES = 4
FILE_BLOCK_BYTES = 4096  # the disk space of the smallest file
FEWEST_DIGITS = 5  # of the number in the name of an image, so that the names of images sort by number


@dataclass(frozen=True)
class Generator:
    """A generator with all that is needed to draw from it."""

    config: GanConfig
    kind: SampleKind
    weights: Any
    precision: Precision

    @property
    def choices(self) -> int:
        """The number of classes or categorical codes that can be requested; 0 if none."""
        structure = self.config.structure
        return self.kind.classes if structure.architecture == "cgan" else structure.categorical_codes

    def parts(self, count: int, seed: int, choice: int | None = None) -> Iterator[np.ndarray]:
        """Samples in parts, float32 [at most 1000, *shape] each. Raises InputError as `sample_in_parts` does."""
        given = self.config, self.kind, self.weights, count, seed, choice
        parts = sample_in_parts(*given, precision=self.precision)
        while True:
            with lane_arithmetic():  # left before `yield`, so that it does not affect the caller
                part = next(parts, None)
            if part is None:
                return
            yield part.numpy()


def of_model(path: Path) -> Generator:
    """The best generator in the folder of a model. Raises InputError for a folder without one, or a damaged one."""
    folder = ModelFolder(path)
    values = read_yaml(folder.config) if folder.config.is_file() else {}
    configuration, made = values.get("configuration"), values.get("model")
    if isinstance(configuration, dict) and TRAINER in configuration:
        raise InputError(
            f"{folder.path} holds the state of your own training, and no generator of a GAN; its trainer.pt is what "
            "torch.load reads"
        )
    if folder.config.is_file() and not folder.generator.exists():
        raise InputError(
            f"{folder.path} holds no generator yet: its training stopped before the first evaluation; give the same "
            "`gan-sweep train` again"
        )
    if not folder.config.is_file() or not folder.generator.is_file():
        raise InputError(
            f"{folder.path} holds no model; give a folder made by `gan-sweep train` (`sample` takes a run's too)"
        )
    shape = made.get("sample_shape") if isinstance(made, dict) else None
    whole = isinstance(shape, list) and len(shape) in (1, 3) and all(type(n) is int and n > 0 for n in shape)
    if not isinstance(configuration, dict) or not isinstance(shape, list) or not whole:
        raise InputError(f"{folder.config} lacks 'configuration' or 'model.sample_shape'; it was changed by hand")
    bring(parse_code(values.get("code") or {}))
    config = GanConfig.unflatten(configuration)
    if values.get("schedule"):
        config = _config_of_best(config, ExportedConfiguration.read(folder.config), folder)
    precision = parse_precision(values.get("precision", DEFAULT_PRECISION))
    return Generator(config, SampleKind(tuple(shape), _classes(made)), load_generator_weights(folder), precision)


def of_trial(run: str | Path, trial: int | None, data_root: str | Path | None = None) -> Generator:
    """The generator of a trial at its best rung, which its run has kept. trial: its number; None: as in `chosen_row`.

    The images of a user are read, because their channels and classes are needed. Raises ResultsError as
    `chosen_row` does, and InputError if no generator of the trial was kept.
    """
    folder = run_folder(run, generators).require()
    row = chosen_row(ResultsTable.load(folder.path, whole=True), trial)
    file = kept_generator(folder, row)
    config = GanConfig.unflatten(configuration_of(row))
    spec = SweepSpec.from_yaml(folder.spec)
    if parse_dataset_name(config.structure.dataset).is_users:
        root = str(data_root) if data_root else spec.data_root
        dataset = load_data(replace(spec.conditions(), data_root=root))
        kind = SampleKind(dataset.sample_shape, dataset.classes)
    else:
        form = data_form(config.structure)
        kind = SampleKind(form.sample_shape, form.classes)
    return Generator(config, kind, load_tensors(file), spec.precision)


def kept_generator(folder: RunFolder, row: Mapping[str, Any]) -> Path:
    """The file of the best generator, or of a Trainer's best state, of the trial of a row. Raises InputError if none of
    it was kept.
    """
    file = folder.best_generator(TrialRun(int(row["trial"])))
    if not file.is_file():
        kept = sorted(int(path.parent.name.split("-")[1]) for path in folder.checkpoints.glob("trial-????/gen*"))
        known = f"kept: {', '.join(map(str, kept))}" if kept else "nothing is kept"
        raise InputError(
            f"{folder.shown} holds no generator of trial {row['trial']}; {known} (keep_checkpoints of a spec says how "
            "many); export the trial and train it"
        )
    return file


def _config_of_best(config: GanConfig, exported: ExportedConfiguration, folder: ModelFolder) -> GanConfig:
    """The parameters with which the best generator was scored; the eps of batch norm is one of them."""
    best = best_row(folder, exported.objective)
    return Schedule.read(config, exported.schedule).scored_at(int(best["images_seen"]))


def _classes(made: Any) -> int:
    classes = made.get("classes", 0)
    if not is_whole(classes, 0):
        raise InputError(f"model.classes must be a whole number of at least 0, got {classes!r}; it was changed by hand")
    return classes


def write_numbers(generator: Generator, count: int, seed: int, path: Path, choice: int | None = None) -> None:
    """Writes samples to a .npy file, float32 [count, C, H, W], [count, 2] or [count], one part after the other.

    Raises InputError if they do not fit on the disk, and as `Generator.parts` and `results.output.output` do.
    """
    shape = generator.kind.shape
    if path != STANDARD_OUTPUT and not is_written_through(path):
        room_bytes = min(_room(path)[0], _largest_file_bytes())
        _check_fits(count, room_bytes // (FLOAT_BYTES * math.prod(shape)), f"the disk of {path}")
    header = {"descr": "<f4", "fortran_order": False, "shape": (count, *(() if shape == (1,) else shape))}
    parts = _with_first_drawn(generator.parts(count, seed, choice))
    with output(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, "<f4").data)


def write_picture(generator: Generator, count: int, seed: int, path: Path, choice: int | None = None) -> None:
    """Writes samples to a PNG: a grid of images, with a row per class if all classes are drawn; a density of numbers.

    Raises InputError if the grid is too large, and as `write_numbers` does.
    """
    shape, classes = generator.kind.shape, generator.choices if choice is None else 0
    if len(shape) == 3:
        classes = classes if classes <= most_in_grid(shape) else 0
        _check_fits(count, most_in_grid(shape, classes), "a grid that viewers open (-o x.npy or a folder takes more)")
    picture = picture_of(_with_first_drawn(generator.parts(count, seed, choice)), count, shape, classes)
    with output(path) as file:
        write_png(picture, file)


def write_pictures(generator: Generator, count: int, seed: int, folder: Path, choice: int | None = None) -> None:
    """Writes each sample to a PNG in a new folder, which appears only when it is complete.

    The files are named `00000.png` and so on, with classes `00000-class-0.png`, and have more digits if there are more
    than 100,000. Raises InputError for numbers, for a folder that is not empty, if they do not fit on the disk, and as
    `Generator.parts` does; and ResultsError if the folder cannot be written.
    """
    if len(generator.kind.shape) != 3:
        raise InputError(f"{folder} cannot hold pictures of numbers; write them to a .npy, or their density to a .png")
    try:
        _refuse_full(folder)
        room_bytes, room_files = _room(folder)
        _check_fits(count, min(room_bytes // FILE_BLOCK_BYTES, room_files), f"the disk of {folder}")
        parts = _with_first_drawn(generator.parts(count, seed, choice))
        digits = max(FEWEST_DIGITS, len(str(count - 1)))
        with _appearing_folder(folder) as partial:
            for place, image in enumerate(image for part in parts for image in to_bytes(part)):
                label = f"-class-{place % generator.choices if choice is None else choice}" if generator.choices else ""
                with (partial / f"{place:0{digits}d}{label}.png").open("wb") as file:
                    write_png(image_of(image), file)
    except OSError as error:
        raise ResultsError(f"cannot write {folder}: {error.strerror or error}") from error


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that becomes a new folder, or one that was empty, when it is complete.

    Raises InputError if the folder holds files, and ResultsError if it cannot be written.
    """
    try:
        _refuse_full(folder)
        with _appearing_folder(folder) as partial:
            yield partial
    except OSError as error:
        raise ResultsError(f"cannot write {folder}: {error.strerror or error}") from error


def _refuse_full(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} holds other files; give a new folder, or an empty one")


@contextmanager
def _appearing_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that is renamed to the target, which may be an empty folder; after an error it is removed."""
    target = Path(os.path.realpath(folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".partial-", dir=target.parent) as temporary:
        partial = Path(temporary) / "whole"  # with the usual permissions, not readable by its owner alone
        partial.mkdir()
        yield partial
        os.rename(partial, target)


def _with_first_drawn(parts: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The same parts, of which the first has been drawn, so that errors are raised before anything is written."""
    return chain([next(parts)], parts)


def _room(path: Path) -> tuple[int, int]:
    """The bytes and the number of files that fit on the disk of a path, which need not exist."""
    there = next(place for place in (path, *Path(os.path.abspath(path)).parents) if os.path.exists(place))
    disk = os.statvfs(there)
    free_bytes = disk.f_bavail * disk.f_frsize
    files = disk.f_favail if disk.f_files else free_bytes  # some file systems do not count them
    return free_bytes, files


def _largest_file_bytes() -> float:
    """The size limit of this process for a file (`ulimit -f`)."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return math.inf if limit == resource.RLIM_INFINITY else limit


def _check_fits(count: int, most: float, where: str) -> None:
    if count > most:
        raise InputError(f"-n {count} is more than fits into {where}: at most {most:.0f}")
