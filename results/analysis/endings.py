"""How trials ended: in which regions of the space, and which signs of trouble came before a death."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from gan_core.config.conditions import parse_section
from gan_core.config.health import HealthConfig, each_sign
from gan_core.config.input_error import shown
from results.analysis.drawn import Parameter, parameters
from results.analysis.specs import value_text
from results.curves import load_curves
from results.rows import Outcome
from results.store import ResultsError
from results.trial_table import TrialTable

MOST_BINS = 100
NOT_DRAWN = "not drawn"  # the region of trials in which a parameter is idle
DEATHS = (Outcome.DIVERGED, Outcome.COLLAPSED)  # which training itself brings about
OTHER_FAILURES = (Outcome.FAILED, Outcome.OUT_OF_MEMORY)

Regions = tuple[list[str], list[float], list[float], np.ndarray]  # names, lowest and highest values, place of each row


def outcomes(table: TrialTable, bins: int = 5) -> pd.DataFrame:
    """See `ResultsTable.outcomes`."""
    if isinstance(bins, bool) or not isinstance(bins, int) or not 1 <= bins <= MOST_BINS:
        raise ResultsError(f"bins must be a whole number from 1 to {MOST_BINS}, got {shown(bins)}")
    last = _last_rows(table)
    known = [str(outcome) for outcome in Outcome if (last["outcome"] == outcome).any()]
    ends = last["outcome"].map({name: place for place, name in enumerate(known)}).to_numpy(int)
    parts = [_of_parameter(each, ends, known, bins) for each in parameters(table, last)]
    columns = ["parameter", "region", "low", "high", "outcome", "trials", "share"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def signs_before_death(table: TrialTable, between_rungs: bool = True) -> pd.DataFrame:
    """See `ResultsTable.signs_before_death`."""
    ends = _last_rows(table).set_index("trial")[["outcome", "images_seen"]]
    ends = ends.loc[~ends["outcome"].isin(OTHER_FAILURES)]
    seen = _signs_at_rungs(table)
    if between_rungs:
        seen = pd.concat([seen, _signs_between_rungs(table)])
    seen = seen.join(ends.rename(columns={"images_seen": "end_images"}), on="trial", how="inner")
    dead = seen["outcome"].isin(DEATHS)
    seen = seen.assign(dead=dead).loc[~dead | (seen["images_seen"] < seen["end_images"])]
    watched = seen.drop_duplicates("trial")["dead"]
    of = {"dead": int(watched.sum()), "survivors": int((~watched).sum())}
    first: Any = seen.loc[seen["sign"] != ""].sort_values("images_seen").drop_duplicates(["trial", "sign"])
    first["early"] = (first["end_images"] - first["images_seen"]).where(first["dead"])
    found = first.groupby("sign").agg(
        dead=("dead", "sum"), trials=("dead", "size"), median_images_before_death=("early", "median")
    )
    found["survivors"] = found["trials"] - found["dead"]
    for name, count in of.items():
        found[f"of_{name}"] = count
        found[f"{name}_share"] = found[name] / count if count else np.nan
    order = ["dead", "of_dead", "dead_share", "survivors", "of_survivors", "survivors_share"]
    found = found.sort_values(["dead", "survivors"], ascending=[False, True], kind="stable")
    return found[[*order, "median_images_before_death"]].reset_index()


def _last_rows(table: TrialTable) -> Any:
    """The last row of each trial of the search, by trial number."""
    search = table.frame.loc[table.frame["replicate"] == 0].sort_values(["trial", "rung"])
    return search.groupby("trial").tail(1).reset_index(drop=True)


def _of_parameter(parameter: Parameter, ends: np.ndarray, known: list[str], bins: int) -> pd.DataFrame:
    """How the trials of each region of one parameter ended. ends: the place in `known` of each trial's outcome."""
    names, low, high, places = _categories(parameter) if parameter.choices else _intervals(parameter, bins)
    if not parameter.exists.all():
        places = np.where(parameter.exists, places, len(names))
        names, low, high = [*names, NOT_DRAWN], [*low, np.nan], [*high, np.nan]
    counts = np.zeros((len(names), len(known)), int)
    np.add.at(counts, (places, ends), 1)
    totals = counts.sum(axis=1, keepdims=True)
    return pd.DataFrame(
        {
            "parameter": parameter.name,
            "region": np.repeat(np.array(names, object), len(known)),
            "low": np.repeat(low, len(known)),
            "high": np.repeat(high, len(known)),
            "outcome": known * len(names),
            "trials": counts.ravel(),
            "share": np.where(totals > 0, counts / np.maximum(totals, 1), np.nan).ravel(),
        }
    )


def _categories(parameter: Parameter) -> Regions:
    """A region for each choice."""
    place = {choice: number for number, choice in enumerate(parameter.choices)}
    empty = [np.nan] * len(place)
    return list(map(value_text, place)), empty, empty, np.array([place.get(value, 0) for value in parameter.values])


def _intervals(parameter: Parameter, bins: int) -> Regions:
    """Intervals of equal length on the scale of the range; the first and the last have what lies outside."""
    low, high = parameter.low, parameter.high
    space = np.geomspace if parameter.log else np.linspace
    if isinstance(low, int) and isinstance(high, int):
        edges = np.unique(space(low, high + 1, min(bins, high + 1 - low) + 1).round())
        lows, highs = edges[:-1], edges[1:] - 1
        names = [f"{a:.0f}" if a == b else f"{a:.0f} to {b:.0f}" for a, b in zip(lows, highs, strict=True)]
    else:
        edges = space(low, high, bins + 1)
        lows, highs = edges[:-1], edges[1:]
        names = [f"{a:.3g} to {b:.3g}" for a, b in zip(lows, highs, strict=True)]
    values = np.where(parameter.exists, parameter.values, low).astype(float)
    return names, lows.tolist(), highs.tolist(), np.searchsorted(lows[1:], values, side="right")


def _signs_at_rungs(table: TrialTable) -> Any:
    """trial, images_seen and sign: a row for each sign in a row of the search, and one without a sign, "", for each."""
    frame: Any = table.frame.loc[table.frame["replicate"] == 0]
    texts = frame["signs"] if "signs" in frame.columns else pd.Series("", frame.index)
    found = frame[["trial", "images_seen"]].assign(sign=texts.str.split(" "))
    return found.explode("sign").fillna({"sign": ""})


def _signs_between_rungs(table: TrialTable) -> Any:
    """The same for the points of the run's curves, by its thresholds of health; no rows for a run without curves."""
    if table.folder is None or not table.folder.curves.is_file() or not table.folder.curves.stat().st_size:
        return pd.DataFrame({"trial": [], "images_seen": [], "sign": []}).astype({"trial": int, "sign": object})
    written = table.spec.get("health")
    health = parse_section(HealthConfig, "health", written) if isinstance(written, Mapping) else HealthConfig()
    points: Any = load_curves(table.folder.path)
    points = points.loc[points["replicate"] == 0]
    moments = points[["trial", "images_seen"]].assign(sign="")
    watched = {name.removeprefix("health."): points[name].to_numpy() for name in points.columns}
    shows = each_sign(watched["images_seen"], watched, health)
    return pd.concat([moments, *(moments.loc[when].assign(sign=name) for name, when in shows.items() if when.any())])
