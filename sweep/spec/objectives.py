"""The objectives that a sweep can minimise: the scores of its data set, and the cost of a trial.

A score of which more is better has a minus before its name, such as `-coverage`.
"""

import re
from collections.abc import Sequence

from gan_core.config.dataset_name import LABELLED_KINDS, DatasetName, parse_dataset_name
from gan_core.config.input_error import InputError, nearest, shown
from gan_core.config.own_names import is_reference
from results.objectives import HIGHER, score_name
from results.rows import FIELDS

OF_TRAINERS = ("score",)  # unless a spec names others that the training reports
COSTS = ("seconds",)  # the total time of training and scoring a trial
MODES = ("-modes_covered", "-high_quality_share")


def objectives(dataset: DatasetName) -> tuple[str, ...]:
    """The objectives of a data set: `fidelity` first, and scores of which more is better last."""
    if dataset.value_size == 1:
        of_modes = MODES if len(dataset.numbers) > 2 else ()  # each mode has two numbers, mean and deviation
        return ("fidelity", "wasserstein", "energy", "mean_error", "deviation_error", *of_modes)
    if dataset.value_size == 2:
        return ("fidelity", "energy", "mode_jsd", *MODES)
    of_classes = ("class_kl",) if dataset.is_users or dataset.kind in LABELLED_KINDS else ()
    triangles = dataset.kind == "polygons"
    lower = ("fidelity", "fid", "kid", *of_classes, *(("triangle_distance",) if triangles else ()))
    of_triangles = ("-triangle_precision", "-triangle_recall") if triangles else ()
    return (*lower, "-precision", "-recall", "-density", "-coverage", *of_triangles)


# What an own score must not be named like, without endings: other scores, and columns that a table shows beside them.
COLUMNS = frozenset(
    {
        score_name(name)
        for dataset in ("digits", "polygons", "gaussian", "ring")
        for name in objectives(parse_dataset_name(dataset))
    }
    | {"violation", "class_balance", "classes", "classes_covered", "class_accuracy", "code_agreement", "memorisation"}
    | {"modes", "mean", "deviation", *(item.name for item in FIELDS if item.name != "score")}
)
ENDING = re.compile(r"(_(error|latent_error|floor|real|violation|\d+))+$")


def check_objectives(names: Sequence[str], dataset: str) -> None:
    """Raises InputError for an objective that the data set lacks or that is named twice; the first must be a score."""
    known = objectives(parse_dataset_name(dataset))
    if not names:
        raise InputError(f"objective must name at least one score: {', '.join(known)}")
    for place, name in enumerate(names):
        if is_reference(name):
            _check_own(name, place)
            continue
        allowed = (*known, *COSTS) if place else known
        if name not in allowed:
            where = "further objective" if place else "objective"
            raise InputError(_unknown(f"unknown {where} {shown(name)} on {dataset}", str(name), allowed))
        if name in names[:place]:
            raise InputError(f"objective {shown(name)} stands twice; name each once")


def _check_own(name: str, place: int) -> None:
    """Raises InputError for a score of a person's own that has no name, or that of a column, or comes second."""
    score = score_name(name)
    if not score:
        raise InputError(f"objective must say which function of the file is meant, FILE.py:NAME, got {shown(name)}")
    if score in COLUMNS or ENDING.sub("", score) in COLUMNS:
        raise InputError(f"a score of your own must not be named like a column of the table, got {score}; rename it")
    if place or name.startswith(HIGHER):
        raise InputError(f"a score of your own must be the first objective, and less of it better, got {shown(name)}")


def check_reported(names: Sequence[str]) -> None:
    """Raises InputError for an objective that no report of a person's own training can have, or that is named twice."""
    if not names:
        raise InputError("objective must name at least one number that your training reports, such as score")
    for place, name in enumerate(names):
        if not isinstance(name, str) or not score_name(name).isidentifier() or (name in COSTS and not place):
            raise InputError(
                f"objective must be the name of a number that your training reports, such as score, with {HIGHER} "
                f"before it where more is better, got {shown(name)}"
            )
        if name in names[:place]:
            raise InputError(f"objective {shown(name)} stands twice; name each once")


def _unknown(said: str, name: str, allowed: Sequence[str]) -> str:
    """The message for a name that is not allowed, which says so if only its direction is wrong."""
    if f"{HIGHER}{name}" in allowed:
        return f"{said}: more of it is better; write {HIGHER}{name}, whose negative is minimised"
    if name.startswith(HIGHER) and score_name(name) in allowed:
        return f"{said}: less of it is better; write {score_name(name)}"
    return f"{said}; {nearest(name, allowed)}"
