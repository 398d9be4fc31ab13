"""The keys of a spec in files and on the command line: their types, which of them name files, and their parsers."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from gan_core.config.conditions import ScoringConfig
from gan_core.config.fields import as_number, describe
from gan_core.config.gan import HYPERPARAMETERS, is_hyperparameter
from gan_core.config.health import HealthConfig
from gan_core.config.input_error import InputError, shown
from gan_core.config.own_names import TRAINER, is_reference, parse_reference
from gan_core.files.own_code import pinned, with_digests
from gan_core.files.plain_yaml import file_named_in
from results.objectives import HIGHER
from sweep.ladder.ladder import Ladder
from sweep.spec.assignments import assign, parse_assignment, parse_mapping
from sweep.spec.budget import Budget
from sweep.spec.confirmation import ConfirmConfig

SECTIONS: Mapping[str, type] = {  # keys whose values are mappings, and the class of each
    **{"scoring": ScoringConfig, "health": HealthConfig, "budget": Budget},
    "confirm": ConfirmConfig,
}
Assignment = str | tuple[str, Any]  # `KEY=VALUE`, the argument of --set, or a key and its value
WHOLE_KEYS = ("trials", "lanes_per_cohort", "lanes_per_call", "keep_checkpoints", "seed")
LADDER_NUMBERS = {"keep_fraction": float, "grace_images": int, "patience_rungs": int}
TEXT_KEYS = {
    *("name", "data_root", "space", "train", "objective", "sampler", "sampler.name", "sampler.qmc_type", "ladder.rule"),
    *("precision", "execution"),
    *(name for name, known in HYPERPARAMETERS.items() if known.kind is str),
    *(f"{key}.{name}" for key, part in SECTIONS.items() for name, known in describe(part).items() if known.kind is str),
}
FILES_OF_SCORING = ("features", "inception_weights")  # features without a suffix are a kind and not a file


def is_text(key: str) -> bool:
    """Whether a key of a spec, or a hyperparameter, takes a text."""
    return key in TEXT_KEYS or (key.startswith("tracking.") and key.count(".") == 2)


def located(values: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    """The keys of a spec file in this folder, with the paths in them resolved by `file_named_in`.

    Paths in a space are resolved when it is loaded.
    """
    found = dict(values)
    if isinstance(root := values.get("data_root"), str):
        found["data_root"] = file_named_in(folder, root)
    if isinstance(scoring := values.get("scoring"), Mapping):
        named = {key: scoring[key] for key in FILES_OF_SCORING if isinstance(scoring.get(key), str)}
        found["scoring"] = {**scoring, **{k: file_named_in(folder, v) for k, v in named.items() if Path(v).suffix}}
    if is_reference(values.get("train")):
        found["train"] = pinned("train", values["train"], folder)
    if "objective" in values:
        found["objective"] = _with_digests(values["objective"], folder)
    return found


def _with_digests(objective: Any, folder: Path | None) -> Any:
    """An objective, or several, in which references to a person's own score have the digest of its code."""
    if isinstance(objective, list | tuple):
        return [_with_digests(one, folder) for one in objective]
    is_own = is_reference(objective) and not objective.startswith(HIGHER)  # `-` is refused later
    return pinned("objective", objective, folder) if is_own else objective


def take_assignments(
    values: dict[str, Any], assignments: Sequence[Assignment]
) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """Applies assignments to the keys of a spec, in place. Those of hyperparameters are returned instead. References to
    a person's own code get its digest; their files are looked up from the current folder.

    Returns name -> value, name -> range (only the last assignment of a name counts), and whether one names the space.
    """
    fixed: dict[str, Any] = {}
    ranges: dict[str, Any] = {}
    names_space = False
    for assignment in assignments:
        key, value = parse_assignment(assignment, is_text) if isinstance(assignment, str) else assignment
        if not is_hyperparameter(key) or key == "seed":
            assign(values, key, _with_digests(value, None) if key == "objective" else value)
            names_space = names_space or key == "space"
            continue
        fixed.pop(key, None)
        ranges.pop(key, None)
        (ranges if isinstance(value, Mapping) else fixed)[key] = with_digests(None, {key: value})[key]
    return fixed, ranges, names_space


def space_with_training(space: Any, train: Any) -> dict[str, Any]:
    """The value of `space` with the key `train` of a spec, FILE.py:CLASS, in its base. Without a space, nothing of the
    training is searched. Raises InputError where the training is not named so.
    """
    parse_reference("train", train)
    source = space_source({} if space is None else space)
    source = source if isinstance(source, Mapping) else {"extends": source}
    base = source.get("base") or {}
    if not isinstance(base, Mapping) or TRAINER in base:
        raise InputError(f"the base of the space must map dotted names to values, without {TRAINER} beside train")
    return {"name": "training", **source, "base": {TRAINER: train, **base}}


def space_source(value: Any) -> str | Mapping[str, Any]:
    """Checks the value of `space`. Raises InputError unless it is a text or a mapping."""
    if not isinstance(value, str | Mapping):
        raise InputError(f"space must be a name, a .yaml file or a mapping, got {shown(value)}")
    return value


def parse_ladder(value: Any, default: Ladder) -> Ladder:
    """Parses the value of `ladder`; keys that are not given keep the default. Raises InputError as `Ladder` does."""
    part = parse_mapping(value, tuple(f.name for f in fields(Ladder)), "ladder")
    rungs = part.get("rungs_images", default.rungs_images)
    if not isinstance(rungs, list | tuple):
        raise InputError(f"ladder.rungs_images must be a list of whole numbers, got {shown(rungs)}")
    numbers = {key: as_number(kind, part[key]) for key, kind in LADDER_NUMBERS.items() if key in part}
    return replace(default, **{**part, **numbers, "rungs_images": tuple(as_number(int, rung) for rung in rungs)})


def parse_points(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Checks the value of `enqueue`. Raises InputError unless it is a list."""
    if not isinstance(value, list | tuple):
        raise InputError(f"enqueue must list mappings of dotted names to values, got {shown(value)}")
    return tuple(value)
