"""How losses, scores and what was watched went while trials were trained."""

from typing import Any

import pandas as pd

from gan_core.config.input_error import nearest, shown
from results.analysis.rung_rows import died
from results.curves import load_curves
from results.objectives import higher_is_better
from results.store import ResultsError
from results.trial_table import TrialTable

BEST_TRIALS = 5
QUARTILES = {"median": 0.5, "q25": 0.25, "q75": 0.75}
ALWAYS = ("d_loss", "g_loss", "score")
WATCHED = ("d_loss", "g_loss", "health.")  # so begin the metrics of which there are points between rungs


def curves(table: TrialTable, metric: str = "d_loss", by_trial: bool = True) -> pd.DataFrame:
    """`ResultsTable.curves` says what it is."""
    points = _points(table, metric)
    if by_trial:
        return _of_trials(table, points, metric)
    found: Any = points.dropna(subset="value").groupby("images_seen")["value"]
    frame = pd.DataFrame({name: found.quantile(share) for name, share in QUARTILES.items()})
    return frame.assign(trials=found.size()).reset_index().assign(metric=metric)


def metrics(table: TrialTable) -> list[str]:
    """The metrics that `curves` knows of a table."""
    return [*ALWAYS, *(name for name in table.frame.columns if name.startswith(("fidelity.", "report.", "health.")))]


def _points(table: TrialTable, metric: str) -> pd.DataFrame:
    """trial, images_seen and value, sorted by the first two. Raises ResultsError for an unknown metric."""
    if metric not in (known := metrics(table)):
        raise ResultsError(f"unknown metric {shown(metric)}; {nearest(metric, known)}")
    rows = table.frame.loc[table.frame["replicate"] == 0, ["trial", "images_seen", metric]]
    dense = _dense(table, metric)
    if dense is not None:
        rows = pd.concat([dense, rows.loc[~rows["trial"].isin(dense["trial"])]])
    found = rows.rename(columns={metric: "value"}).sort_values(["trial", "images_seen"], ignore_index=True)
    if metric == "score" and higher_is_better(table.objective):
        found["value"] = -found["value"]
    return found


def _dense(table: TrialTable, metric: str) -> pd.DataFrame | None:
    """The points of the run's curves; None where it has none of this metric."""
    if not metric.startswith(WATCHED) or table.folder is None or not table.folder.curves.is_file():
        return None
    if not table.folder.curves.stat().st_size:
        return None
    frame = load_curves(table.folder.path)
    if metric not in frame.columns:
        return None
    return frame.loc[frame["replicate"] == 0, ["trial", "images_seen", metric]]


def _of_trials(table: TrialTable, points: pd.DataFrame, metric: str) -> pd.DataFrame:
    trials = table.trials
    best = table.contenders["trial"].head(BEST_TRIALS)
    dead = trials.loc[died(trials), "trial"]
    outcomes = dict(zip(trials["trial"].tolist(), trials["outcome"].tolist(), strict=True))
    last = points.dropna(subset="value").drop_duplicates("trial", keep="last").index
    known = points["trial"].isin(trials["trial"])  # a trial that has not reached its first rung has points, but no row
    frame: Any = points.assign(
        metric=metric,
        best=points["trial"].isin(best),
        outcome=[outcomes.get(trial, "") for trial in points["trial"].tolist()],
        died=points.index.isin(last) & points["trial"].isin(dead),
    )
    return frame.loc[known, ["trial", "images_seen", "metric", "value", "best", "outcome", "died"]].reset_index(
        drop=True
    )
