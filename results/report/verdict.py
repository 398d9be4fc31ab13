"""The verdict on a run in two sentences: who won and by how much; what it cost, and how sure it is."""

import math
from typing import Any

import pandas as pd

from results.objectives import higher_is_better, natural, score_name
from results.report.wording import counted, lasting, many, short
from results.table import ResultsTable
from results.text import noise_text, seeds_text

CLEAR_CHANCE = 0.05  # below it the order of two finalists is called clear
CLEAR_ERRORS = 2.0  # a lead of so many standard errors is more than other latents would change
MEAN = "interquartile_mean"  # what finalists are told by, which has an interval
DISTANCES = ("fidelity", "fid", "kid", "wasserstein", "energy")  # of which a ratio means something
BASELINE = "trial 0, the defaults of the space"


def winner(table: ResultsTable) -> Any:
    """The row of `trials` of the winner: of the finalists, or else of the search; None where no trial has a score."""
    found: Any = table.winner()
    if found is not None:
        return table.trial(int(found["trial"]))
    return None if table.contenders.empty else table.best()


def verdict(table: ResultsTable, *, going_on: bool = False) -> list[str]:
    """The two sentences. going_on: whether trials may follow."""
    won = winner(table)
    if won is None:
        return [f"No trial of this run has a score: {table.endings}.", f"{_cost(table, going_on)}."]
    return [_result(table, won), f"{_cost(table, going_on)}; {_certainty(table, won)}."]


def warnings(table: ResultsTable) -> list[str]:
    """Lines on what a reader should know before they trust the order of the trials."""
    noise = noise_text(table)
    return [f"{noise[:1].upper()}{noise[1:]}."] if noise else []


def _result(table: ResultsTable, won: Any) -> str:
    number, name = int(won["trial"]), score_name(table.objective)
    confirmed = {int(row["trial"]): row for row in table.finalists().to_dict("records")}
    reached = _reached(table, won)
    if number in confirmed:
        row = confirmed[number]
        interval = f", 95% interval {short(row['low'])} to {short(row['high'])}" if row["seeds"] > 1 else ""
        reached = f"{name} {short(row[MEAN])} over {seeds_text(row)} (interquartile mean{interval})"
    front, broken = " on the Pareto front" if "pareto_rank" in won else "", _broken(table, won)
    rank = "comes nearest to the limits, which no trial keeps" if broken else f"is the best{front}"
    if number == 0:
        return f"No trial is better than {BASELINE}: {reached}{broken}."
    return f"Trial {number} {rank}: {reached}{broken}, {_against(table, won, confirmed)}."


def _reached(table: ResultsTable, row: Any) -> str:
    name = score_name(table.objective)
    error = standard_error(table, row)
    beside = f" ± {short(error)}" if math.isfinite(error) else ""
    return f"{name} {short(natural(table.objective, row['score']))}{beside} at {many(row['images_seen'])} images"


def _broken(table: ResultsTable, row: Any) -> str:
    """What is said where a trial breaks limits of its objective."""
    broken = table.breaks(row)
    return _aside([f"it breaks {broken}"] if broken else [])


def _against(table: ResultsTable, won: Any, confirmed: dict[int, Any]) -> str:
    """What the winner is compared with: trial 0, from other seeds where it was a finalist too."""
    base: Any = table.trial(0) if 0 in table.trials["trial"].tolist() else None
    if base is None:
        return f"while {BASELINE}, has not been judged yet"
    if pd.isna(base["score"]):
        return f"while {BASELINE}, has no score ({base['outcome']})"
    before, now = (
        confirmed[int(row["trial"])][MEAN] if int(row["trial"]) in confirmed else natural(table.objective, row["score"])
        for row in (base, won)
    )
    notes = ["from one seed"] if confirmed and 0 not in confirmed else []
    if score_name(table.objective) in DISTANCES and 0 < now < before < math.inf and not table.breaks(base):
        return f"{short(100 * (1 - now / before))}% below the {short(before)} of {BASELINE}{_aside(notes)}"
    if broken := table.breaks(base):
        notes.append(f"it breaks {broken}")
    return f"against {short(before)} of {BASELINE}{_aside(notes)}"


def _aside(notes: list[str]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""


def _cost(table: ResultsTable, going_on: bool) -> str:
    frame: Any = table.frame
    trials = counted(int(frame.loc[frame["replicate"] == 0, "trial"].nunique()), "trial")
    again = int(frame.loc[frame["replicate"] > 0, ["trial", "replicate"]].drop_duplicates().shape[0])
    images = frame.groupby(["trial", "replicate"])["images_seen"].max().sum()
    so_far = "So far this took" if going_on else "It took"
    more = f" and {counted(again, 'replicate')} of finalists" if again else ""
    return f"{so_far} {trials}{more}, {many(images)} images and {lasting(frame['seconds'].sum())} of device time"


def _certainty(table: ResultsTable, won: Any) -> str:
    confirmed, chance = table.confirmed, table.chance_of_order()
    number = int(won["trial"])
    if number in confirmed["trial"].tolist():
        if chance is None:
            return "it was the only finalist, so other seeds say nothing about its rank"
        second = confirmed["trial"].iloc[1]
        said = f"chance alone would put it so clearly before trial {second} with probability {chance:.2g}"
        return said if chance < CLEAR_CHANCE else f"{said}, so which of the two is better is open"
    lone = "it rests on one seed, which confirming finalists would check"
    rest = table.contenders.loc[lambda rows: rows["trial"] != number]
    if len(table.objectives) > 1 or rest.empty:
        return lone
    second = rest.iloc[0]
    if table.breaks(won):
        return lone
    if table.breaks(second):
        return f"no other trial keeps the limits, and {lone}"
    lead = float(second["score"] - won["score"])
    error = math.hypot(standard_error(table, won), standard_error(table, second))
    if not math.isfinite(error) or not error:
        return lone
    clear = "more than" if lead > CLEAR_ERRORS * error else "no more than"
    lead_text = f"its lead of {short(lead)} on trial {second['trial']} is {clear} other latents would change"
    return f"{lead_text}, and {lone}"


def standard_error(table: ResultsTable, row: Any) -> float:
    """The standard error of the first objective of a row of `trials`; NaN where it is not known."""
    name = score_name(table.objective)
    columns = (f"fidelity.{name}_latent_error", f"fidelity.{name}_error")
    known = [float(row[column]) for column in columns if column in row and pd.notna(row[column])]
    return known[0] if known and not higher_is_better(table.objective) else math.nan
