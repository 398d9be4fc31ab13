"""Exports a configuration of a run as a YAML file that can be read, edited and trained."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from gan_core.config.conditions import with_weights
from gan_core.config.fields import as_number, is_whole
from gan_core.config.input_error import shown
from gan_core.config.own_names import REFERENCES, TRAINER, OwnCode, is_reference, parse_code
from gan_core.files.fetched import local_file
from gan_core.files.own_code import bring, code_of, with_digests
from gan_core.files.plain_yaml import dump_yaml
from results.lineage import lineage, schedule_of
from results.objectives import natural, score_name
from results.output import output
from results.printable import printable
from results.rows import MADE_BY
from results.spec_file import read_mapping
from results.store import RESTORE, ResultsError, RunFolder
from results.stored_run import run_folder
from results.text import seeds_text, spread_text
from results.trial_table import TrialTable, configuration_of

FINAL_TRAINING_FACTOR = 4  # the budget of the final training, as a multiple of the sweep's largest budget
MOST_IMAGES = 10**15  # the largest budget, because images are counted in 64-bit integers
DEFAULT_PRECISION, DEFAULT_EXECUTION = "float32", "auto"  # for files that do not name them
OPTIONAL = ("data", "score", "scoring", "health", "first_rung", "source", "versions")  # mappings that may be left out
HALF_LIFE, DATASET = "lane.ema_half_life_images", "structure.dataset"
EXECUTIONS = ("compiled", "replayed", "eager")  # those that can be requested; on a GPU, rows name a CUDA graph instead


@dataclass(frozen=True)
class ExportedConfiguration:
    """The content of an exported file.

    configuration: dotted name -> value, seeds included. data_digest: that of the samples in the sweep, or "" if the
    line was removed; data_root, skip_corrupt_images: how the samples are read unless the command line says otherwise,
    None and False in files of earlier versions.

    images: the final budget; evaluate_at_images: the images after which the model is evaluated, beginning with the
    sweep's rungs. score: what the sweep measured at score["images_seen"]; objective: the score that decides. scoring,
    health: the sweep's settings. precision, execution: those that the sweep really trained with. schedule: lane
    parameters that change during training, as mappings of `from_images` and dotted names in ascending order.
    first_rung: name -> number, what the sweep measured at its first rung, with `images_seen` and, if the score there is
    of another moving average, its half-life. source: the run, and what the trial was computed with; what differed at
    the first rung is under `at_first_rung`. versions: those of the packages that trained it. score, scoring, health,
    schedule, first_rung, source, versions and code, the person's own that the configuration refers to, may be empty.
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
    execution: str = DEFAULT_EXECUTION
    schedule: tuple[Mapping[str, Any], ...] = ()
    first_rung: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    data_root: str | None = None
    skip_corrupt_images: bool = False
    code: tuple[OwnCode, ...] = ()

    @property
    def sweep_images(self) -> int:
        """The largest budget of a trial in the sweep, over which its learning rates decayed."""
        return self.evaluate_at_images[-1]

    @classmethod
    def read(cls, path: str | Path) -> "ExportedConfiguration":
        """Reads an exported file, which may be an object in a store. Raises ResultsError if it is not one."""
        values = read_mapping(local_file(path).expanduser())
        for key in ("configuration", "training"):
            if not isinstance(values.get(key), Mapping):
                raise ResultsError(f"{path} has no mapping {key!r}; give a file written by `gan-sweep export`")
        images, points = _budgets(values["training"], path)
        optional = {key: values.get(key) or {} for key in OPTIONAL}
        for key, part in optional.items():
            if not isinstance(part, Mapping):
                raise ResultsError(f"{key} in {path} must be a mapping, got {shown(part)}")
        schedule = values.get("schedule") or []
        if not isinstance(schedule, list) or not all(isinstance(entry, Mapping) for entry in schedule):
            raise ResultsError(
                f"schedule in {path} must list mappings of from_images and lane.*, got {shown(schedule)}"
            )
        _check_data(optional["data"], path)
        _check_scores(optional["score"], path)
        _check_first_rung(optional["first_rung"], optional["source"], path)
        if (protocol := optional["score"].get("protocol")) is not None:
            weights = optional["source"].get("features_digest")
            protocol = with_weights(protocol, weights if isinstance(weights, str) else "")
            optional["score"] = {**optional["score"], "protocol": protocol}
        bring(parse_code(values.get("code") or {}))
        configuration = with_digests(Path(path).parent, values["configuration"])
        objective = str(optional["score"].get("objective", "fidelity"))
        named = [*(configuration[key] for key in REFERENCES if key in configuration), objective]
        return cls(
            configuration=configuration,
            data_digest=optional["data"].get("digest") or "",
            images=images,
            evaluate_at_images=points,
            score=optional["score"],
            objective=objective,
            scoring=optional["scoring"],
            health=optional["health"],
            precision=str(values.get("precision", DEFAULT_PRECISION)),
            execution=str(values.get("execution", DEFAULT_EXECUTION)),
            schedule=tuple(schedule),
            first_rung=optional["first_rung"],
            source=optional["source"],
            versions=optional["versions"],
            data_root=optional["data"].get("root"),
            skip_corrupt_images=optional["data"].get("skip_corrupt_images", False),
            code=code_of(one for one in named if is_reference(one)),
        )


def _check_data(data: Mapping[str, Any], path: str | Path) -> None:
    """Raises ResultsError if the part of the file that describes the data is malformed."""
    for key, kind, noun in (
        ("digest", str, "text"),
        ("root", str, "a folder"),
        ("skip_corrupt_images", bool, "true or false"),
    ):
        if data.get(key) is not None and not isinstance(data[key], kind):
            raise ResultsError(f"data.{key} in {path} must be {noun}, got {shown(data[key])}")


def _check_scores(score: Mapping[str, Any], path: str | Path) -> None:
    """Raises ResultsError if a score is not a number, or the objective or the protocol not text."""
    for name, value in score.items():
        if not (isinstance(value, str) if name in ("objective", "protocol") else _is_number(value)):
            noun = "text" if name in ("objective", "protocol") else "a number"
            raise ResultsError(f"score.{name} in {path} must be {noun}, got {shown(value)}")


def _check_first_rung(first: Mapping[str, Any], source: Mapping[str, Any], path: str | Path) -> None:
    """Raises ResultsError if the scores of the first rung, or the description of their computation, are malformed."""
    if first and not (_is_budget(first.get("images_seen")) and all(map(_is_number, first.values()))):
        raise ResultsError(f"first_rung in {path} must map images_seen and scores to numbers, got {shown(dict(first))}")
    made = source.get("at_first_rung", {})
    if not isinstance(made, Mapping) or not all(isinstance(x.get("versions", {}), Mapping) for x in (made, source)):
        raise ResultsError(f"source.at_first_rung in {path} must be a mapping, its versions too, got {shown(made)}")


def _budgets(training: Any, path: str | Path) -> tuple[int, tuple[int, ...]]:
    """The final budget and the evaluation points in the `training` part of a file. Raises ResultsError."""
    images, points = as_number(int, training.get("images")), training.get("evaluate_at_images")
    points = [as_number(int, point) for point in points] if isinstance(points, list) else points
    if not _is_budget(images):
        raise ResultsError(
            f"training.images in {path} must be a whole number from 1 to {MOST_IMAGES}, got {shown(images)}"
        )
    if not isinstance(points, list) or not points or not all(_is_budget(point) for point in points):
        raise ResultsError(f"training.evaluate_at_images in {path} must list whole numbers, got {shown(points)}")
    if any(low >= high for low, high in zip(points, points[1:], strict=False)):
        raise ResultsError(f"training.evaluate_at_images in {path} must rise, got {shown(points)}")
    return images, tuple(points)


def export_trial(run: str | Path, trial: int | None = None) -> str:
    """A trial of a run as YAML text, with the trial's own seed. trial: its number; None: that of `chosen_row`.

    A member of a population is exported with a schedule: the lane parameters of all trials whose training led to its
    best rung. Raises ResultsError if there is no such trial, or it has no score.
    """
    folder = run_folder(run).require()
    table = TrialTable.load(folder.path, whole=True)
    row = chosen_row(table, trial)
    spec = read_mapping(folder.spec)
    rungs = _rungs(spec, folder)
    led = lineage(table.frame, row["trial"], row["rung"])
    schedule = schedule_of(led) if spec.get("population") else []
    confirmed = _confirmation(table, row["trial"])
    configuration = configuration_of(row)
    of_gans = () if TRAINER in configuration else ("scoring", "health")
    if of_gans:
        if DATASET not in configuration:
            raise ResultsError(f"{folder.rows}: trial {row['trial']} has no {DATASET} at its best rung; {RESTORE}")
        configuration[DATASET] = _where_the_data_are(spec, row)
    values = {
        "configuration": configuration,
        **({"schedule": schedule} if schedule else {}),
        **({"data": _data(configuration[DATASET], spec, row)} if DATASET in configuration else {}),
        "training": {"images": FINAL_TRAINING_FACTOR * rungs[-1], "evaluate_at_images": rungs},
        "score": {"objective": table.objective, **_measured(row), "protocol": row["protocol"]},
        "first_rung": {**_measured(led[0]), **_other_average(led[0], row)},
        "precision": spec.get("precision", DEFAULT_PRECISION),
        "execution": _execution(led[0], spec),
        **{key: dict(spec[key]) for key in of_gans if isinstance(spec.get(key), Mapping)},
        "source": {
            "run": spec.get("name"),
            "folder": str(folder.path.absolute()),
            "sweep_seed": spec.get("seed"),
            **{key: row[key] for key in ("trial", "cohort", "rung", "outcome", "reason")},
            **_made_by(row),
            **({"at_first_rung": otherwise} if (otherwise := _made_otherwise(led[0], row)) else {}),
            **({"pareto_rank": row["pareto_rank"], "objectives": row["objective"]} if "pareto_rank" in row else {}),
            **({"lineage": [step["trial"] for step in led]} if schedule else {}),
            "confirmed": confirmed or False,
        },
        "versions": _versions(row),
        **({"code": spec["code"]} if spec.get("code") else {}),
    }
    reached = f"{printable(score_name(table.objective))} {natural(table.objective, row['score']):.4g}"
    head = _head(f"Trial {row['trial']} of sweep {spec.get('name')!r}: {reached}", row, confirmed, schedule)
    if breaks := table.breaks(row):
        head += f"# It breaks {breaks}; every trial that keeps the limits ranks before it.\n"
    if spec.get("code"):
        head += "# The text under code is a copy: to change it, name a file of yours in its place, without #DIGEST.\n"
    return head + dump_yaml(_plain(values))


def _data(name: str, spec: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "digest": row["data_digest"],
        **({"root": spec["data_root"]} if spec.get("data_root") else {}),
        "skip_corrupt_images": bool(spec.get("skip_corrupt_images", False)),
    }


def _where_the_data_are(spec: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """The data set in the run's spec, because a folder of images may have moved after the row was written."""
    base = spec["space"].get("base") if isinstance(spec.get("space"), Mapping) else None
    return str((base or {}).get(DATASET, row[DATASET]))


def _other_average(first: Mapping[str, Any], best: Mapping[str, Any]) -> dict[str, float]:
    """The half-life of the moving average scored at the first rung, if the best rung's score is of another one."""
    return {} if first.get(HALF_LIFE) == best.get(HALF_LIFE) else {HALF_LIFE: first[HALF_LIFE]}


def _execution(first: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    """How steps were executed up to the first rung, which may differ from what the spec requests."""
    return first["execution"] if first["execution"] in EXECUTIONS else spec.get("execution", DEFAULT_EXECUTION)


def _made_by(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row was computed with, without the packages; earlier versions recorded only device and code version."""
    known = MADE_BY if row["execution"] else ("device", "code_version")
    return {name: row[name] for name in known if name != "versions"}


def _made_otherwise(first: Mapping[str, Any], best: Mapping[str, Any]) -> dict[str, Any]:
    """What the first rung was computed with, if that differs: on another machine, or before an update.

    The number of lanes per call, which `device` includes, is ignored, because it may change and never affects results.
    """
    found = {name: first[name] for name in MADE_BY if first[name] != best[name]}
    if hardware(str(first["device"])) == hardware(str(best["device"])):
        found.pop("device", None)
    return {**found, "versions": _versions(first)} if "versions" in found else found


def hardware(device: str) -> str:
    """The name of the hardware in an entry of the column `device`."""
    return device.partition(", ")[0]


def _versions(row: Mapping[str, Any]) -> dict[str, str]:
    """Package -> version in the environment that trained the row."""
    parts = [part.rpartition(" ") for part in str(row["versions"]).split(", ") if part]
    return {package: number for package, _, number in parts}


def chosen_row(table: TrialTable, trial: int | None) -> dict[str, Any]:
    """The row of `table.trials` to export: of this trial; or of the winner among the finalists that were confirmed from
    other seeds, or if there is none, of the best trial of the search.

    Raises ResultsError if there is no such trial, or it has no score.
    """
    winner: Any = table.winner()
    if trial is None and winner is not None:
        trial = int(winner["trial"])
    row: Any = table.best() if trial is None else table.trial(trial)
    if not math.isfinite(row["score"]):
        raise ResultsError(f"trial {row['trial']} has no score to export ({row['outcome']}: {row['reason']})")
    return row.to_dict()


def _confirmation(table: TrialTable, trial: int) -> dict[str, Any]:
    """The confirmation of a trial from other seeds, or an empty mapping; only the winner's has a chance_of_order."""
    for place, finalist in enumerate(table.confirmed.to_dict("records")):
        if finalist["trial"] == trial:
            kept = {str(k): v for k, v in finalist.items() if k not in ("trial", "search_score")}
            return {**kept, "chance_of_order": None if place else table.chance_of_order()}
    return {}


def _head(title: str, row: Mapping[str, Any], confirmed: Mapping[str, Any], schedule: list[dict[str, Any]]) -> str:
    """The comment at the top of the file. Its first line says whether other seeds confirmed the score."""
    luck = "from one seed, not confirmed with others"
    if confirmed:
        luck = f"median {spread_text(confirmed)} over {seeds_text(confirmed)} other than its own"
    change = ", ".join(f"{segment['from_images']:,}" for segment in schedule[1:])
    return (
        f"# {title} at {row['images_seen']:,} images, {luck}.\n"
        + (f"# It is a schedule, not one configuration: lane parameters change at {change} images.\n" if change else "")
        + "# `gan-sweep train` on this file starts from the trial's own seed; edit what you like.\n"
        + "# `gan-sweep verify` trains to the first rung again and compares.\n"
    )


def _rungs(spec: Mapping[str, Any], folder: RunFolder) -> list[int]:
    ladder = spec.get("ladder")
    rungs = ladder.get("rungs_images") if isinstance(ladder, Mapping) else None
    if not isinstance(rungs, list) or not rungs or not all(map(_is_budget, rungs)):
        raise ResultsError(f"{folder.spec} has no ladder.rungs_images; it was changed by hand")
    return rungs


def _measured(row: Mapping[str, Any]) -> dict[str, Any]:
    """The measurements of a row, by their names without the group, without missing values."""
    scores = {name.partition(".")[2]: row[name] for name in row if name.startswith(("fidelity.", "report."))}
    numbers = {**scores, "d_loss": row["d_loss"], "g_loss": row["g_loss"]}
    return {**{name: n for name, n in numbers.items() if not pd.isna(n)}, "images_seen": row["images_seen"]}


def write_export(text: str, path: str | Path) -> None:
    """Writes an exported file. Raises as `results.output.output` does."""
    with output(Path(path)) as file:
        file.write(text.encode())


def _is_budget(value: Any) -> bool:
    return is_whole(value, 1, MOST_IMAGES)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or is_whole(value, 1 - 2**63, 2**63 - 1)


def _plain(value: Any) -> Any:
    """A tree of values in which pandas' scalars are Python values and missing values are None."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    value = value.item() if hasattr(value, "item") else value
    return None if pd.isna(value) else value
