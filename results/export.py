"""The best configuration as a file that a person can read and edit, and that trains."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from results.store import ResultsError, RunFolder, write_atomically
from results.table import ResultsTable

FINAL_TRAINING_FACTOR = 4  # the final model is trained for so many times the sweep's largest budget
DEFAULT_PRECISION = "float32"  # of files that say nothing of it
REPORTED_PACKAGES = ("gan-sweep", "torch", "numpy", "optuna", "ray")


@dataclass(frozen=True)
class ExportedConfiguration:
    """An exported file, read back.

    configuration: dotted name -> value, seeds included. data_digest: of the samples it was found on, or "" when that
    line was taken out. images: the final budget; evaluate_at_images: where it is scored on the way, the sweep's rungs
    first. score: what the sweep measured at score["images_seen"], or empty; objective: which score decides.
    scoring and health: the sweep's, key -> value, or empty; precision: that it was trained in. schedule: lane
    parameters that change, `from_images` and dotted names, in rising order, or empty.
    """

    configuration: Mapping[str, Any]
    data_digest: str
    images: int
    evaluate_at_images: tuple[int, ...]
    score: Mapping[str, Any]
    objective: str
    scoring: Mapping[str, Any]
    health: Mapping[str, Any]
    precision: str = DEFAULT_PRECISION
    schedule: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def read(cls, path: str | Path) -> "ExportedConfiguration":
        """Raises ResultsError when the file is not an exported configuration."""
        values = _read_yaml(Path(path).expanduser())
        for key in ("configuration", "training"):
            if not isinstance(values.get(key), Mapping):
                raise ResultsError(f"{path} has no mapping {key!r}; give a file written by `gan-sweep export`")
        training = values["training"]
        optional = {key: values.get(key) or {} for key in ("data", "score", "scoring", "health")}
        for key, part in optional.items():
            if not isinstance(part, Mapping):
                raise ResultsError(f"{key} in {path} must be a mapping, got {part!r}")
        schedule = values.get("schedule") or []
        if not isinstance(schedule, list) or not all(isinstance(entry, Mapping) for entry in schedule):
            raise ResultsError(f"schedule in {path} must list mappings of from_images and lane.*, got {schedule!r}")
        images, points = training.get("images"), training.get("evaluate_at_images")
        if not _is_budget(images):
            raise ResultsError(f"training.images in {path} must be a whole number of at least 1, got {images!r}")
        if not isinstance(points, list) or not points or not all(_is_budget(point) for point in points):
            raise ResultsError(f"training.evaluate_at_images in {path} must list whole numbers, got {points!r}")
        if any(low >= high for low, high in zip(points, points[1:], strict=False)):
            raise ResultsError(f"training.evaluate_at_images in {path} must rise, got {points}")
        return cls(
            configuration=values["configuration"],
            data_digest=str(optional["data"].get("digest", "")),
            images=images,
            evaluate_at_images=tuple(points),
            score=optional["score"],
            objective=str(optional["score"].get("objective", "fidelity")),
            scoring=optional["scoring"],
            health=optional["health"],
            precision=str(values.get("precision", DEFAULT_PRECISION)),
            schedule=tuple(schedule),
        )


def export_trial(run: str | Path, trial: int | None = None) -> str:
    """One trial of a run (the best without a number) as YAML text. Raises ResultsError when there is none."""
    folder = RunFolder(run).require()
    table = ResultsTable.load(folder.path)
    row: Any = table.best() if trial is None else table.trial(trial)
    if not math.isfinite(row["score"]):
        raise ResultsError(f"trial {row['trial']} has no score to export ({row['outcome']}: {row['reason']})")
    spec = _read_yaml(folder.spec)
    ladder = spec.get("ladder")
    rungs = ladder.get("rungs_images") if isinstance(ladder, Mapping) else None
    if not isinstance(rungs, list) or not rungs or not all(map(_is_budget, rungs)):
        raise ResultsError(f"{folder.spec} has no ladder.rungs_images; it was changed by hand")
    configuration = {name: _plain(row[name]) for name in row.index if _is_hyperparameter(name)}
    scores = {
        n.removeprefix("fidelity."): _plain(row[n])
        for n in row.index
        if n.startswith("fidelity.") and not pd.isna(row[n])
    }
    values = {
        "configuration": configuration,
        "data": {"name": configuration["structure.dataset"], "digest": row["data_digest"]},
        "training": {"images": FINAL_TRAINING_FACTOR * rungs[-1], "evaluate_at_images": rungs},
        "score": {
            "objective": row["objective"],
            **scores,
            "d_loss": _plain(row["d_loss"]),
            "g_loss": _plain(row["g_loss"]),
            "images_seen": _plain(row["images_seen"]),
            "protocol": row["protocol"],
        },
        "precision": spec.get("precision", DEFAULT_PRECISION),
        **{key: dict(spec[key]) for key in ("scoring", "health") if isinstance(spec.get(key), Mapping)},
        "source": {
            "run": spec.get("name"),
            "sweep_seed": spec.get("seed"),
            **{key: _plain(row[key]) for key in ("trial", "cohort", "rung", "outcome", "reason", "device")},
            "code_version": row["code_version"],
            "confirmed": False,
        },
        "versions": _versions(),
    }
    head = (
        f"# Trial {row['trial']} of sweep {spec.get('name')!r}: {row['objective']} {row['score']:.4g} "
        f"at {row['images_seen']:,} images, from one seed.\n"
        "# `gan-sweep train` on this file starts from the trial's own seed; edit what you like.\n"
    )
    return head + yaml.safe_dump(values, sort_keys=False, width=100)


def write_export(text: str, path: Path) -> None:
    """Writes an exported file. Raises ResultsError when it cannot be written."""
    try:
        write_atomically(path, text)
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {error.strerror}") from error


def _is_hyperparameter(column: Any) -> bool:
    return str(column).startswith(("structure.", "lane.")) or column in ("seed", "data_seed")


def _is_budget(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _plain(value: Any) -> Any:
    """A pandas scalar as the Python value it stands for."""
    value = value.item() if hasattr(value, "item") else value
    return None if pd.isna(value) else value


def _versions() -> dict[str, str]:
    found = {}
    for package in REPORTED_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:  # not text, or a date that is none, is a ValueError
        raise ResultsError(f"{path} is not plain YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(values, Mapping):
        raise ResultsError(f"{path} must hold 'key: value' lines, got {type(values).__name__}")
    return values
