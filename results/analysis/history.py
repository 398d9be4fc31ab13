"""How the best score of a search went down, and what had been spent by then."""

from typing import Any

import numpy as np
import pandas as pd

from results.analysis.rung_rows import died, is_scored, places
from results.objectives import higher_is_better
from results.trial_table import TrialTable


def history(table: TrialTable) -> pd.DataFrame:
    """`ResultsTable.history` says what it is."""
    frame = table.frame.loc[table.frame["replicate"] == 0].reset_index(drop=True)
    trials = table.trials
    counts = is_scored(frame) & ~frame["trial"].isin(trials.loc[died(trials), "trial"]).to_numpy()
    place = np.where(counts, places(table, frame), np.inf)
    best_place = np.minimum.accumulate(place)
    scores = dict(zip(place.tolist(), frame["score"].tolist(), strict=True)) | {np.inf: np.nan}
    sign = -1.0 if higher_is_better(table.objective) else 1.0
    default = table.baseline()
    finalists = table.frame.loc[table.frame["replicate"] > 0, "trial"].unique()
    best_rungs = pd.MultiIndex.from_frame(trials.loc[trials["trial"].isin(finalists), ["trial", "rung"]])
    return pd.DataFrame(
        {
            "trial": frame["trial"],
            "rung": frame["rung"],
            "score": sign * frame["score"],
            "trials": (~frame["trial"].duplicated()).cumsum(),
            "images": _since_the_rung_before(frame).cumsum(),
            "device_seconds": frame["seconds"].fillna(0.0).cumsum(),
            "elapsed_seconds": frame.get("elapsed_seconds", np.nan),
            "best": [sign * scores[found] for found in best_place.tolist()],
            "improved": place < np.concatenate([[np.inf], best_place[:-1]]),
            "default": np.nan if default is None else sign * default["score"],
            "finalist": pd.MultiIndex.from_frame(frame[["trial", "rung"]]).isin(best_rungs),
        }
    )


def _since_the_rung_before(frame: pd.DataFrame) -> pd.Series:
    """The images that each row's trial was shown since its rung before, int64 [n]."""
    ordered: Any = frame[["trial", "rung", "images_seen"]]
    ordered = ordered.sort_values(["trial", "rung"])
    shown: Any = ordered.groupby("trial")["images_seen"].diff()
    return shown.fillna(ordered["images_seen"]).astype("int64").reindex(frame.index)
