"""What follows a sweep over a person's own training: the final training of the winner, and its samples."""

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan_core.config.conditions import Conditions
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.own_names import TRAINER, parse_code, plain_code
from gan_core.config.reports import OutOfMemory
from gan_core.files.own_code import bring
from gan_core.files.plain_yaml import dump_yaml, read_yaml
from gan_core.files.whole_files import appearing_whole
from gan_core.lanes.axis import lane_arithmetic
from gan_core.training.checkpoint import load_tensors
from gan_core.workshop.drawn_text import drawn
from gan_core.workshop.one_model import (
    ModelFolder,
    best_row,
    evaluation_points,
    metrics_row,
    read_metrics,
    row_place,
    write_metrics,
)
from gan_core.workshop.saved_generator import SampleKind
from gan_core.workshop.trainer_array import TrainerArray, TrainerWorkshop
from results.export import ExportedConfiguration, chosen_row
from results.objectives import score_name
from results.output import output
from results.pictures import picture_of, write_png
from results.printable import printable
from results.store import ResultsError, exclusive, write_atomically
from results.stored_run import generators, run_folder
from results.table import ResultsTable
from results.trial_table import configuration_of
from sweep.spec.sweep_spec import SweepSpec
from sweep.winner.sampling import kept_generator

INTERRUPTED = 130
BEST = "trainer.pt"  # in the folder of a model: the best state, as torch.save writes what state_dict returned
PICTURED_SAMPLES = 64


def train_own(
    config: GanConfig, exported: ExportedConfiguration, home: Path, images: int, conditions: Conditions
) -> int:
    """Trains the winner of a sweep over a person's own training in the folder `home`, or goes on there. Returns the
    exit code: 0, or 130 if it was interrupted, after which it goes on from the last evaluation.

    It is evaluated where `evaluation_points` says. Raises InputError for a folder of another model, and if training
    fails, and ResultsError if the folder cannot be written.
    """
    folder = ModelFolder(home)
    workshop = TrainerWorkshop(conditions)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        with exclusive(folder.path / ".lock"), lane_arithmetic():
            _refuse_other(folder, config, exported)
            write_atomically(folder.config, dump_yaml(_record(config, exported, images)))
            _train(workshop, config, exported, folder, images)
    except KeyboardInterrupt:
        print(f"\ninterrupted; the same command goes on from the last evaluation in {folder.path}", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        raise ResultsError(f"cannot write to {folder.path}: {error.strerror or error}; choose another -o") from error
    best = best_row(folder, exported.objective)
    name = score_name(exported.objective)
    print(f"best {name} {best[f'fidelity.{name}']:.4g} at {best['images_seen']:,.0f} images; {folder.path / BEST}")
    return 0


def _train(
    workshop: TrainerWorkshop, config: GanConfig, exported: ExportedConfiguration, folder: ModelFolder, images: int
) -> None:
    objective = exported.objective
    array, rows = workshop.build([_at(config, exported, 0)]), read_metrics(folder.metrics)
    stands = int(rows[-1]["images_seen"]) if rows and folder.state.exists() else 0
    if stands:
        array = workshop.build([_at(config, exported, stands)])
        array.load_lanes([(folder.state, 0)])
        stands = array.images_seen
    rows = [row for row in rows if row["images_seen"] <= stands]
    changes = {int(entry["from_images"]) for entry in exported.schedule if 0 < int(entry["from_images"]) < images}
    for point in sorted(changes.union(evaluation_points(exported.evaluate_at_images, images))):
        if point <= stands:
            continue
        array.take_over([0], [_at(config, exported, array.images_seen)])
        report = array.train_to(point)[0]
        if report.death is not None:
            print(printable_traceback(report.death.traceback), file=sys.stderr, end="")
            raise InputError(f"training {report.death.outcome} at {point:,} images: {report.death.reason}")
        row = metrics_row(report)
        is_best = row_place(row, objective) < min((row_place(r, objective) for r in rows), default=(math.inf, math.inf))
        if is_best:
            with appearing_whole(folder.path / BEST) as partial:
                partial.write_bytes(array.state(0).numpy().tobytes())
        rows.append(row)
        write_metrics(folder.metrics, rows)
        array.save(folder.state)
        _tell(point, row, score_name(objective), exported, is_best=is_best)
    _draw(array, folder)


def _draw(array: TrainerArray, folder: ModelFolder) -> None:
    picture = array.picture(0, PICTURED_SAMPLES)
    if picture is not None:
        with appearing_whole(folder.samples) as partial, partial.open("wb") as file:
            write_png(picture_of([picture], len(picture), picture.shape[1:]), file)


def _tell(point: int, row: Mapping[str, float], name: str, exported: ExportedConfiguration, *, is_best: bool) -> None:
    value = row[f"fidelity.{name}"]
    print(f"{point:>12,} images  {name} {value:.4g}{'  best' if is_best else ''}", flush=True)
    recorded = exported.score.get(name)
    if recorded is not None and exported.score.get("images_seen") == point:
        same = f"reproduces the sweep's {recorded:.4g} exactly"
        other = f"the sweep had {recorded:.4g}: a difference of {value - recorded:+.2g}"
        print(f"  {same if recorded == value else other}", flush=True)


def _at(config: GanConfig, exported: ExportedConfiguration, images: int) -> GanConfig:
    """The configuration after so many images, by the schedule of a population's member."""
    values = config.flatten()
    for entry in exported.schedule:
        if entry.get("from_images", 0) <= images:
            values |= {str(name): value for name, value in entry.items() if name != "from_images"}
    return GanConfig.unflatten(values)


def _record(config: GanConfig, exported: ExportedConfiguration, images: int) -> dict[str, Any]:
    """The `config.yaml` of a model: an exported file, which can be trained again."""
    return {
        "configuration": config.flatten(),
        **({"schedule": [dict(entry) for entry in exported.schedule]} if exported.schedule else {}),
        "training": {"images": images, "evaluate_at_images": list(exported.evaluate_at_images)},
        "score": {**exported.score, "objective": exported.objective},
        "model": {"state": BEST},
        "code": plain_code(exported.code),
    }


def _refuse_other(folder: ModelFolder, config: GanConfig, exported: ExportedConfiguration) -> None:
    """Raises InputError for a folder that holds another model, or other files."""
    if not folder.config.exists():
        others = sorted(path.name for path in folder.path.iterdir() if not path.name.startswith("."))
        if others:
            raise InputError(f"{folder.path} holds other files, such as {others[0]}; choose another -o")
        return
    written = read_yaml(folder.config)
    same = written.get("configuration") == config.flatten()
    if not same or [*(written.get("schedule") or [])] != [dict(entry) for entry in exported.schedule]:
        raise InputError(f"{folder.path} holds a model of another configuration; choose another -o")


def printable_traceback(text: str) -> str:
    """The traceback of a person's code, safe for a terminal, with a line end where there is one."""
    return "".join(f"{printable(line)}\n" for line in text.splitlines())


@dataclass(frozen=True)
class Drawn:
    """Images that a Trainer has drawn, as `sweep.winner.sampling` writes them."""

    images: np.ndarray

    choices = 0

    @property
    def kind(self) -> SampleKind:
        """The shape of an image; no classes."""
        return SampleKind(self.images.shape[1:], 0)

    def parts(self, count: int, seed: int, choice: int | None = None) -> Iterator[np.ndarray]:
        """All of them in one part."""
        yield self.images


def own_samples(model: str | Path, trial: int | None, count: int, seed: int) -> np.ndarray | list[str] | None:
    """Samples of the Trainer in the folder of a model or a run, as its `sample` draws them; None where that holds GANs.
    trial: of a run; None: as in `chosen_row`. Raises InputError where the class draws none, and where they do
    not fit the memory.
    """
    found = _kept(model, trial)
    if found is None:
        return None
    conditions, config, images, state = found
    with lane_arithmetic():
        array = TrainerWorkshop(conditions).build([config])
        array.begin(images, state)
        try:
            samples = array.sample(0, count, seed)
        except OutOfMemory as error:
            raise InputError(f"{error}; draw fewer samples with -n") from error
    if samples is None:
        raise InputError(f"{conditions.trainer.partition('#')[0]} has no method sample(count); add it, and sweep again")
    return samples


def _kept(model: str | Path, trial: int | None) -> tuple[Conditions, GanConfig, int, torch.Tensor] | None:
    """The conditions, the configuration, the images seen and the state of a Trainer that was kept."""
    place = run_folder(model)
    if place.holds_run():
        spec = SweepSpec.from_yaml(place.spec)
        if not spec.trainer:
            return None
        folder = run_folder(model, generators).require()
        row = chosen_row(ResultsTable.load(folder.path, whole=True), trial)
        tensors = load_tensors(kept_generator(folder, row))
        config = GanConfig.unflatten(configuration_of(row))
        return spec.conditions(), config, int(tensors["images"][0]), tensors["0"]
    home = ModelFolder(model)
    values = read_yaml(home.config) if home.config.is_file() else {}
    configuration = values.get("configuration")
    if not isinstance(configuration, Mapping) or TRAINER not in configuration:
        return None
    if not (home.path / BEST).is_file():
        raise InputError(f"{home.path} holds no state yet; give the same `gan-sweep train` again")
    bring(parse_code(values.get("code") or {}))
    exported = ExportedConfiguration.read(home.config)
    config, best = GanConfig.unflatten(configuration), best_row(home, exported.objective)
    images = int(best["images_seen"])
    conditions = Conditions(
        dataset=config.structure.dataset,
        objective=exported.objective,
        trainer=config.structure.trainer,
        code=exported.code,
    )
    state = torch.frombuffer(bytearray((home.path / BEST).read_bytes()), dtype=torch.uint8)
    return conditions, _at(config, exported, images), images, state


def write_texts(texts: list[str], path: Path, *, as_picture: bool) -> None:
    """Writes texts, each on a line of its own, or as a picture. Line breaks in them are escaped."""
    with output(path) as file:
        if as_picture:
            picture = drawn(texts)[None]
            write_png(picture_of([picture], 1, picture.shape[1:]), file)
        else:
            file.write("".join(f"{printable(text)}\n" for text in texts).encode())
