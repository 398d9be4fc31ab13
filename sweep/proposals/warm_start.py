"""Warm start: a new sweep first tries the best configurations of an earlier run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError, shown
from gan_core.config.own_names import same_but_for_text
from results.store import RunFolder
from search_spaces.space import SearchSpace
from sweep.spec.sweep_spec import SweepSpec

POINTS = 4


def best_points(run: str | Path, space: SearchSpace, points: int = POINTS) -> list[Mapping[str, Any]]:
    """The best trials of a run that lie in a space, best first, each as the hyperparameters that differ from the base.

    A hyperparameter that the space does not search must have the base's value; a person's own code may have changed
    since. Scores are not taken over: they come
    from another seed, and may come from another protocol. Raises InputError where no trial of the run lies in the
    space, ResultsError where there is no run.
    """
    from results.table import ResultsTable  # with pandas, which takes long to load
    from results.trial_table import configuration_of

    table, base = ResultsTable.load(run, whole=True), space.base.flatten()
    found: list[Mapping[str, Any]] = []
    refused = ""
    for _, row in table.contenders.iterrows():
        try:
            values = GanConfig.unflatten(configuration_of(row)).flatten()  # an older run may lack some
            point = {name: value for name, value in values.items() if _differs(name, value, base)}
            broken = space.violations(space.configuration(space.parameters_of(point), seed=0))
        except InputError as error:
            refused = refused or str(error)
            continue
        if broken:
            refused = refused or f"it breaks {next(iter(broken))!r}"
            continue
        found.append(point)
        if len(found) == points:
            break
    if not found:
        raise InputError(f"no trial of {run} lies in space {shown(space.name)}: {refused or 'none has a score'}")
    return found


def _differs(name: str, value: Any, base: Mapping[str, Any]) -> bool:
    """Whether a trial has another hyperparameter here than the base, beside its seeds and the text of own code."""
    if name in ("seed", "data_seed") or same_but_for_text(value, base.get(name)):
        return False
    return name not in base or value != base[name]


def warm_started(spec: SweepSpec, folder: RunFolder, run: str | Path) -> SweepSpec:
    """The spec with the best points of an earlier run as known points; where the folder already holds a run, with the
    known points that this run began with. Raises as `best_points` does.
    """
    if folder.holds_run():
        return replace(spec, enqueue=SweepSpec.from_yaml(folder.spec).enqueue)
    return replace(spec, enqueue=(*spec.enqueue, *best_points(run, spec.space)))
