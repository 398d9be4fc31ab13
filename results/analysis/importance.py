"""Which hyperparameters decided how good a trial became."""

import warnings
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from results.analysis import drawn
from results.analysis.rung_rows import is_scored, places, rows_at, rung_number
from results.analysis.search_study import frozen_trials, study_of
from results.store import ResultsError
from results.trial_table import TrialTable

if TYPE_CHECKING:
    from optuna import Study

TOP_SHARE, FEWEST_TOP = 0.1, 5  # the best tenth, as in Optuna, but no fewer trials than it advises
FEWEST_TRIALS = 10
MOST_TRIALS = 2_000  # of more, so many are drawn: one evaluation of them takes about 0.1 s
MOST_PERMUTATIONS, FEWEST_PERMUTATIONS = 50, 20
EVALUATED_TRIALS = 20_000  # permutations times trials, about 1 to 2 s
NOISE_QUANTILE = 0.95


def importance(table: TrialTable, rung: int | Literal["first", "last", "both"] = "first") -> pd.DataFrame:
    """`ResultsTable.importance` says what it is."""
    numbers = [rung_number(table, end) for end in ("first", "last")] if rung == "both" else [rung_number(table, rung)]
    return pd.concat([_at(table, number) for number in dict.fromkeys(numbers)], ignore_index=True)


def _at(table: TrialTable, rung: int) -> pd.DataFrame:
    rows, random = rows_at(table, rung), np.random.default_rng(0)
    if len(rows) > MOST_TRIALS:
        rows = rows.iloc[np.sort(random.choice(len(rows), MOST_TRIALS, replace=False))].reset_index(drop=True)
    parameters, order, count = drawn.parameters(table, rows), places(table, rows), len(rows)
    top = _top_trials(rows, rung)
    if not parameters:
        raise ResultsError(f"no hyperparameter differs between the {count} trials at rung {rung}")
    trials = frozen_trials(parameters, ["COMPLETE"] * count, order[:, None].tolist(), [{}] * count, [""] * count)
    study = study_of(dict(enumerate(trials)), ["place"])
    permutations = min(MOST_PERMUTATIONS, max(FEWEST_PERMUTATIONS, EVALUATED_TRIALS // count))
    found: Any = pd.Series(_importances(study, order, top))
    shuffled = pd.DataFrame([_importances(study, random.permutation(order), top) for _ in range(permutations)])
    noise: Any = shuffled.quantile(NOISE_QUANTILE)[found.index]
    total = found.sum() or 1.0
    frame = pd.DataFrame(
        {
            "rung": rung,
            "parameter": found.index,
            "importance": found.to_numpy() / total,
            "noise": noise.to_numpy() / total,
            "above_noise": found.to_numpy() > noise.to_numpy(),
            "trials": count,
            "top_trials": int((order <= np.sort(order)[top - 1]).sum()),
            "permutations": permutations,
        }
    )
    return frame.sort_values(["importance", "parameter"], ascending=[False, True])


def _top_trials(rows: pd.DataFrame, rung: int) -> int:
    """How many of the trials at a rung count as the best. Raises ResultsError where there are too few."""
    scored = int(is_scored(rows).sum())
    if len(rows) < FEWEST_TRIALS or scored < FEWEST_TOP:
        raise ResultsError(
            f"importance needs at least {FEWEST_TRIALS} trials at a rung, {FEWEST_TOP} of them with a score; "
            f"rung {rung} has {len(rows)}, {scored} with a score"
        )
    return min(scored, max(FEWEST_TOP, ceil(TOP_SHARE * len(rows))))


def _importances(study: "Study", order: np.ndarray, top: int) -> dict[str, float]:
    """Parameter -> its importance, not normalised, for being among the `top` first of this order of the trials."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    quantile = (top - 0.5) / len(order)  # of which Optuna takes the ceiling, in trials
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that `normalize` is experimental, that low is good, that a category is rare
        return get_param_importances(
            study,
            evaluator=PedAnovaImportanceEvaluator(target_quantile=quantile),
            target=lambda trial: float(order[trial.number]),
            normalize=False,
        )
