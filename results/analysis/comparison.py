"""Two or more runs beside each other: what they reached and at what cost, and whether that order may be chance."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gan_core.config.input_error import shown
from results.analysis.across_seeds import probability_of_improvement
from results.analysis.history import history
from results.analysis.specs import hyperparameters, settings
from results.confirmation import chance_of_order, replicate_scores
from results.limits import violations
from results.objectives import natural
from results.printable import printable
from results.rows import DEAD
from results.store import ResultsError
from results.trial_table import TrialTable

SETTING = "setting"  # the column beside those that have the names of runs
UNKNOWN = "unknown"  # whether spaces differ, where a table has no spec


def compare(
    tables: Sequence[TrialTable], score: float | None = None, names: Sequence[str] | None = None
) -> pd.DataFrame:
    """See `ResultsTable.compare`. tables: the first is that which the others are compared with."""
    runs = run_names(tables, names)
    _check_comparable(tables, runs)
    sign = natural(tables[0].objective, 1.0)
    found = [_reached(table) for table in tables]
    worst = max((sign * one["best"] for one in found if not np.isnan(one["best"])), default=np.nan)
    target = worst if score is None else sign * _checked(score)
    rows = []
    for name, table, reached in zip(runs, tables, found, strict=True):
        order = _order(tables[0], table) if rows else {"chance_of_order": np.nan, "tested": ""}
        space = {"run": name, "space_differs": ", ".join(_space_differences(tables[0], table))}
        rows.append({**space, **reached, **_cost_to(table, target), **order})
    return pd.DataFrame(rows).astype({"best_trial": "Int64", "confirmed_trial": "Int64"})


def differences(tables: Sequence[TrialTable], names: Sequence[str] | None = None) -> pd.DataFrame:
    """See `ResultsTable.differences`."""
    runs = run_names(tables, names)
    known = [settings(table.spec) for table in tables]
    everything = dict.fromkeys(name for each in known for name in each)
    differing = [name for name in everything if len({each.get(name) for each in known}) > 1]
    columns = {run: [each.get(name) for name in differing] for run, each in zip(runs, known, strict=True)}
    return pd.DataFrame({SETTING: differing, **columns})


def run_names(tables: Sequence[TrialTable], names: Sequence[str] | None) -> list[str]:
    """A name for each run, no two alike: those given, or else the last parts of their folders or addresses.

    Raises ResultsError for a single run, and for names that are not one for each run, or alike.
    """
    if wrong := [table for table in tables if not isinstance(table, TrialTable)]:
        raise ResultsError(f"a comparison is with tables (ResultsTable.load), got {shown(wrong[0])}")
    if len(tables) < 2:
        raise ResultsError("a comparison needs another table: table.compare(other)")
    if names is not None:
        if isinstance(names, str) or len(names) != len(tables) or len({*names, SETTING}) <= len(tables):
            raise ResultsError(f"names must be {len(tables)} different ones, of the first run too, got {shown(names)}")
        return list(names)
    found: list[str] = []
    for number, table in enumerate(tables, 1):
        name = table.folder.shown.rstrip("/").rpartition("/")[2] if table.folder else f"run {number}"
        found.append(f"{name} ({number})" if name in (*found, SETTING) else name)
    return found


def _check_comparable(tables: Sequence[TrialTable], runs: Sequence[str]) -> None:
    """Raises ResultsError, which says what differs, for runs with other objectives or another protocol of scores."""
    protocols = [_protocol(table) for table in tables]
    scored = next((place for place, protocol in enumerate(protocols) if protocol), 0)
    for table, run, protocol in zip(tables, runs, protocols, strict=True):
        if table.objectives != tables[0].objectives:
            named = " against ".join(", ".join(each.objectives) for each in (tables[0], table))
            both = f"the runs {shown(runs[0])} and {shown(run)}"
            raise ResultsError(f"{both} have other objectives and cannot be compared: {printable(named)}")
        if protocol not in ("", protocols[scored]):
            parts = printable(_parts_that_differ(protocols[scored].split("/"), protocol.split("/")))
            both = f"the runs {shown(runs[scored])} and {shown(run)}"
            raise ResultsError(f"{both} were scored by different protocols and cannot be compared: {parts}")


def _checked(score: Any) -> float:
    """A score to reach that a person gave. Raises ResultsError if it is no finite number."""
    if isinstance(score, bool) or not isinstance(score, int | float) or not np.isfinite(score):
        raise ResultsError(f"score must be a finite number, got {shown(score)}")
    return float(score)


def _protocol(table: TrialTable) -> str:
    return next(filter(None, table.frame["protocol"].tolist()), "")


def _parts_that_differ(first: list[str], second: list[str]) -> str:
    """What differs in two protocols, whose parts stand in one order."""
    if len(first) != len(second):
        return f"{'/'.join(first)} against {'/'.join(second)}"
    return ", ".join(f"{one} against {other}" for one, other in zip(first, second, strict=True) if one != other)


def _space_differences(first: TrialTable, second: TrialTable) -> list[str]:
    """The hyperparameters that differ between two spaces, in their ranges or values, and `constraints`."""
    if not first.spec or not second.spec:
        return [UNKNOWN]
    one, other = hyperparameters(first.spec), hyperparameters(second.spec)
    return [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]


def _reached(table: TrialTable) -> dict[str, Any]:
    """What a run reached in all, and its cost."""
    trials, sign = table.trials, natural(table.objective, 1.0)
    dead = trials["outcome"].isin(DEAD)
    scored = ~dead & trials["score"].notna()
    broken = scored & (violations(trials, table.objectives[:1]) > 0)
    found = trials.loc[scored & ~broken]
    best: dict[str, Any] = {} if found.empty else dict(found.iloc[0])
    winner: dict[str, Any] = dict(table.confirmed.iloc[0]) if table.winner() is not None else {}
    spent = history(table).iloc[-1]
    return {
        "trials": len(trials),
        "dead": dead.sum(),
        "limits_broken": broken.sum(),
        "best_trial": best.get("trial"),
        "best": sign * best.get("score", np.nan),
        "median": sign * trials["score"].where(scored, np.inf).median(),
        "confirmed_trial": winner.get("trial"),
        "confirmed_median": winner.get("median", np.nan),
        "device_seconds": spent["device_seconds"],
        "images": spent["images"],
    }


def _cost_to(table: TrialTable, target: float) -> dict[str, Any]:
    """What a run had cost when it reached a score, which is minimised; NaN if it never did."""
    course, sign = history(table), natural(table.objective, 1.0)
    trials = table.trials
    dead = course["trial"].isin(trials.loc[trials["outcome"].isin(DEAD), "trial"])
    kept = violations(table.frame.loc[table.frame["replicate"] == 0], table.objectives[:1]) == 0
    reached = course.loc[kept & ~dead & (sign * course["score"] <= target)]
    costs = {"device_seconds_to_score": "device_seconds", "images_to_score": "images", "trials_to_score": "trials"}
    first = {name: np.nan if reached.empty else reached[column].iloc[0] for name, column in costs.items()}
    return {"score_to_reach": sign * target, **first}


def _order(first: TrialTable, second: TrialTable) -> dict[str, Any]:
    """How surely the first run is better or worse than the second, and by what that is tested."""
    scores = [_confirmed_scores(table) for table in (first, second)]
    if all(map(len, scores)):
        better, worse = sorted(scores, key=np.median)
        chance = chance_of_order(better, worse)
        tested = f"{len(scores[0])} and {len(scores[1])} seeds of the confirmed winners"
    else:
        images = next((images for images in _rungs(first) if images in _rungs(second)), None)
        if images is None:
            return {"probability_of_improvement": np.nan, "chance_of_order": np.nan, "tested": "no rung in common"}
        scores = _ranked_at(_places_at(first, _rungs(first)[images]), _places_at(second, _rungs(second)[images]))
        chance = _chance(*scores)
        tested = f"{len(scores[0])} and {len(scores[1])} trials at {images:,} images"
    better_by = probability_of_improvement(*scores) if all(map(len, scores)) else np.nan
    return {"probability_of_improvement": better_by, "chance_of_order": chance, "tested": tested}


def _confirmed_scores(table: TrialTable) -> np.ndarray:
    """The scores of the replicates of the confirmed winner, which are minimised; none without one."""
    return np.empty(0) if table.winner() is None else replicate_scores(table.frame)[table.confirmed["trial"].iloc[0]]


def _rungs(table: TrialTable) -> dict[int, int]:
    """Images -> number of a rung, from the first on: of the ladder in the spec, or as seen in the rows with a score."""
    ladder = table.spec.get("ladder")
    if isinstance(ladder, dict) and isinstance(ladder.get("rungs_images"), list):
        return {int(images): rung for rung, images in enumerate(ladder["rungs_images"])}
    scored: Any = table.frame.loc[(table.frame["replicate"] == 0) & table.frame["score"].notna()]
    return {int(images): int(rung) for rung, images in scored.groupby("rung")["images_seen"].min().items()}


def _places_at(table: TrialTable, rung: int) -> pd.DataFrame:
    """Violation and score, which is minimised, of each trial at a rung: the last place (infinity) for those that died
    there or before. Those that were pruned before, or are not there yet, do not count.
    """
    rows = table.frame.loc[(table.frame["replicate"] == 0) & (table.frame["rung"] <= rung)]
    rows = rows.loc[rows["outcome"].isin(DEAD) | (rows["rung"] == rung)]
    last = rows["outcome"].isin(DEAD) | rows["score"].isna()
    places = pd.DataFrame({"violation": violations(rows, table.objectives[:1]), "score": rows["score"]})
    return places.mask(last, np.inf)


def _ranked_at(first: pd.DataFrame, second: pd.DataFrame) -> list[np.ndarray]:
    """The ranks of both groups among all, [n] each: by violation, then by score; equal places share a rank."""
    ranks = pd.concat([first, second], ignore_index=True).groupby(["violation", "score"]).ngroup().to_numpy(float)
    return [ranks[: len(first)], ranks[len(first) :]]


def _chance(first: np.ndarray, second: np.ndarray) -> float:
    """The p value of the two-sided rank sum test, for many scores; NaN for an empty group."""
    from scipy.stats import mannwhitneyu

    if not len(first) or not len(second):
        return np.nan
    if len(np.unique(np.concatenate([first, second]))) == 1:
        return 1.0
    return float(mannwhitneyu(first, second).pvalue)
