"""The search of a run as an Optuna study in memory, rebuilt from its rows, so that everything that Optuna can say of a
study can be said of a run.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from results.analysis import drawn
from results.analysis.drawn import Parameter
from results.analysis.rung_rows import Rung, died, rows_at
from results.limits import violations
from results.objectives import higher_is_better, score_name
from results.rows import Outcome
from results.trial_table import TrialTable

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial


LIMITS = "limits"  # the constraint, as in the study of the run itself


def search_study(table: TrialTable, rung: Rung = None) -> "Study":
    """`ResultsTable.search_study` says what it is."""
    reached, best = rows_at(table, rung), rows_at(table, None)
    rows = pd.concat([reached, best.loc[~best["trial"].isin(reached["trial"])]], ignore_index=True)
    values, is_at_rung = _natural_values(table, rows), np.arange(len(rows)) < len(reached)
    values[~is_at_rung] = np.nan
    scored = np.array(np.isfinite(values).all(axis=1))
    found = frozen_trials(
        drawn.parameters(table, rows),
        states=_states(rows, is_at_rung & (rung is not None), scored),
        values=values.tolist(),
        intermediate=_scores_by_images(table, rows["trial"].tolist()),
        outcomes=rows["outcome"].tolist(),
        broken=broken_limits(table, rows),
    )
    return study_of(dict(zip(rows["trial"].tolist(), found, strict=True)), table.objectives)


def frozen_trials(
    parameters: Sequence[Parameter],
    states: Sequence[str],
    values: Sequence[Sequence[float]],
    intermediate: Sequence[Mapping[int, float]],
    outcomes: Sequence[str],
    broken: Sequence[float] | None = None,
) -> "list[FrozenTrial]":
    """Optuna's trials of n rows. states: names of `optuna.trial.TrialState`. values: [n][objectives], which only
    COMPLETE and PRUNED trials have, where they are numbers. outcomes: kept as the attribute `outcome`. broken: by how
    much limits are broken, the constraint `limits`; None: no trial breaks one.
    """
    from optuna.trial import TrialState, create_trial

    distributions = {each.name: each.distribution() for each in parameters}
    columns = [(each.name, each.values.tolist(), each.exists.tolist()) for each in parameters]
    made = []
    for place, (name, value, scores, outcome) in enumerate(zip(states, values, intermediate, outcomes, strict=True)):
        known = {parameter: column[place] for parameter, column, exists in columns if exists[place]}
        has_value = name in ("COMPLETE", "PRUNED") and np.isfinite(value).all()
        made.append(
            create_trial(
                state=TrialState[name],
                values=value if has_value else None,
                params=known,
                distributions={parameter: distributions[parameter] for parameter in known},
                intermediate_values=dict(scores),
                user_attrs={"outcome": outcome},
                constraints=None if broken is None or not has_value else {LIMITS: broken[place]},
            )
        )
    return made


def broken_limits(table: TrialTable, rows: pd.DataFrame) -> list[float] | None:
    """By how much each row breaks limits of the objectives; None where no row does."""
    found = violations(rows, table.objectives)
    return found.tolist() if found.any() else None


def study_of(found: "Mapping[int, FrozenTrial]", objectives: Sequence[str]) -> "Study":
    """A study in memory of these trials by their numbers; a number without a trial is one that is RUNNING."""
    import optuna

    talks = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(talks, optuna.logging.WARNING))  # no line for a study that nobody asked for
    try:
        study = optuna.create_study(
            storage=optuna.storages.InMemoryStorage(),
            sampler=optuna.samplers.RandomSampler(seed=0),
            directions=["maximize" if higher_is_better(each) else "minimize" for each in objectives],
        )
    finally:
        optuna.logging.set_verbosity(talks)
    missing = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
    study.add_trials([found.get(number, missing) for number in range(max(found, default=-1) + 1)])
    return study


def _natural_values(table: TrialTable, rows: pd.DataFrame) -> np.ndarray:
    """The values of the objectives, not negated, float [n, objectives]."""
    first, *others = table.objectives
    score = rows["score"].to_numpy(float)
    columns = [-score if higher_is_better(first) else score]
    for name in map(score_name, others):
        columns.append(_seconds_until(table, rows) if name == "seconds" else rows[f"fidelity.{name}"].to_numpy(float))
    return np.stack(columns, axis=1)


def _seconds_until(table: TrialTable, rows: pd.DataFrame) -> np.ndarray:
    """The device-seconds of each row's trial until the end of its rung, float [n]."""
    key = ["trial", "rung"]
    search = table.frame.loc[table.frame["replicate"] == 0, [*key, "seconds"]].sort_values(key)
    totals = search[key].assign(until=search.groupby("trial")["seconds"].cumsum())
    return rows[key].merge(totals, how="left", on=key)["until"].to_numpy(float)


def _states(rows: pd.DataFrame, ended_here: np.ndarray, scored: np.ndarray) -> list[str]:
    """The name of each row's state, by the outcome. ended_here: whether a trial that is alive counts as completed.
    scored: whether the row has values.
    """
    known = {Outcome.COMPLETED: "COMPLETE", Outcome.PRUNED: "PRUNED", Outcome.RUNNING: "RUNNING"}
    states = np.array([known.get(outcome, "FAIL") for outcome in rows["outcome"].tolist()])
    states = np.where(ended_here & ~died(rows), "COMPLETE", states)
    return np.where((states == "COMPLETE") & ~scored, "FAIL", states).tolist()


def _scores_by_images(table: TrialTable, trials: Sequence[int]) -> list[dict[int, float]]:
    """Of each trial: images seen -> score, not negated, at its rungs that have one."""
    sign = -1.0 if higher_is_better(table.objective) else 1.0
    search = table.frame.loc[(table.frame["replicate"] == 0) & np.isfinite(table.frame["score"])]
    found: dict[int, dict[int, float]] = {trial: {} for trial in trials}
    columns = (search[name].tolist() for name in ("trial", "images_seen", "score"))
    for trial, images, score in zip(*columns, strict=True):
        found[trial][images] = sign * score
    return list(found.values())
