"""What a sweep may minimise: the scores of its data set, and what a trial costs."""

from collections.abc import Sequence

from gan_core.config import InputError, nearest, shown
from gan_core.dataset_name import LABELLED_KINDS, DatasetName, parse_dataset_name

COSTS = ("seconds",)  # what a trial's training and scoring take, in all


def objectives(dataset: DatasetName) -> tuple[str, ...]:
    """The scores of a data set that can be minimised; `fidelity` first."""
    if dataset.value_size == 1:
        return ("fidelity", "wasserstein", "energy", "mean_error", "deviation_error")
    if dataset.value_size == 2:
        return ("fidelity", "energy", "mode_jsd")
    of_classes = ("class_kl",) if dataset.kind in (*LABELLED_KINDS, "images") else ()
    of_triangles = ("triangle_distance",) if dataset.kind == "polygons" else ()
    return ("fidelity", "fid", "kid", *of_classes, *of_triangles)


def check_objectives(names: Sequence[str], dataset: str) -> None:
    """Raises InputError for an objective that the data set has not, or that stands twice. The first must be a score."""
    known = objectives(parse_dataset_name(dataset))
    if not names:
        raise InputError(f"objective must name at least one score: {', '.join(known)}")
    for place, name in enumerate(names):
        allowed = (*known, *COSTS) if place else known
        if name not in allowed:
            where = "further objective" if place else "objective"
            raise InputError(f"unknown {where} {shown(name)} on {dataset}; {nearest(str(name), allowed)}")
        if name in names[:place]:
            raise InputError(f"objective {shown(name)} stands twice; name each once")
