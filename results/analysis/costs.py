"""Where the time of a run went, and what pruning saved of it."""

from typing import Any

import numpy as np
import pandas as pd

from gan_core.config.arguments import STRUCTURE_PREFIXES
from results.analysis.specs import value_text
from results.rows import Outcome, short
from results.trial_table import TrialTable

TRAINING = ["trial", "replicate"]  # the columns that tell one training from another


def cost(table: TrialTable) -> pd.DataFrame:
    """See `ResultsTable.cost`."""
    frame: Any = table.frame
    trainings = frame[[*TRAINING, "rung", "outcome", "images_seen"]].sort_values("rung").groupby(TRAINING)
    last = trainings["outcome"].last().rename("ended")
    images = frame["images_seen"] - trainings["images_seen"].shift(fill_value=0)  # since the rung before
    names = {
        "phase": np.where(frame["replicate"] > 0, "confirmation", "search"),
        "outcome": frame[TRAINING].join(last, on=TRAINING)["ended"],
        "rung": frame["rung"].astype(str),
        "structure": structures(frame),
        "node": frame["node"] if "node" in frame.columns else pd.Series("", frame.index),
    }
    rows = frame[[*TRAINING, "seconds"]].assign(images=images.clip(lower=0))
    parts = [_shares(rows.assign(name=values), by) for by, values in names.items()]
    return pd.concat(parts, ignore_index=True)


def structures(frame: pd.DataFrame) -> pd.Series:
    """The structure of each row in words, such as `generator_width=64, loss=hinge`: the hyperparameters of structure
    that differ between rows; "all" if none does.
    """
    columns = [name for name in frame.columns if name.startswith((*STRUCTURE_PREFIXES, "trainer."))]
    differing = [name for name in columns if len(frame[name].unique()) > 1]
    if not differing:
        return pd.Series("all", frame.index)
    codes: Any = frame.groupby(differing, dropna=False, sort=False).ngroup()
    first = ~codes.duplicated()
    texts = [
        _settings(dict(zip(map(short, differing), values, strict=True)))
        for values in frame.loc[first, differing].values.tolist()
    ]
    return codes.map(dict(zip(codes[first], texts, strict=True)))


def savings(table: TrialTable) -> pd.DataFrame:
    """See `ResultsTable.savings`."""
    columns = ["trial", "rung", "outcome", "images_seen", "seconds"]
    search = table.frame.loc[table.frame["replicate"] == 0, columns].sort_values(["trial", "rung"])
    trained: Any = search.groupby("trial").agg(
        rung=("rung", "last"), outcome=("outcome", "last"), seen=("images_seen", "last"), seconds=("seconds", "sum")
    )
    pruned = trained.loc[trained["outcome"] == Outcome.PRUNED]
    images = (_top_images(table, search) - pruned["seen"]).clip(lower=0)
    saved = pruned.assign(images=images, seconds=images * pruned["seconds"] / pruned["seen"].clip(lower=1))
    found = saved.groupby("rung").agg(trials=("seen", "size"), images=("images", "sum"), seconds=("seconds", "sum"))
    would_be = search["seconds"].sum() + found["seconds"].sum()
    return found.assign(share=found["seconds"] / would_be if would_be else np.nan).reset_index()


def _top_images(table: TrialTable, search: pd.DataFrame) -> int:
    """The images of the last rung: of the run's ladder, or without a spec of the longest training."""
    ladder = table.spec.get("ladder")
    rungs = ladder.get("rungs_images") if isinstance(ladder, dict) else None
    return int(rungs[-1]) if isinstance(rungs, list) and rungs else max(search["images_seen"].tolist())


def _shares(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """What the rows of each name took together; the most first, but rungs in their order."""
    groups = rows.groupby("name", sort=False, dropna=False)
    sums: Any = groups[["seconds", "images"]].sum()
    sums["trials"] = rows.drop_duplicates([*TRAINING, "name"]).groupby("name", dropna=False).size()
    total = sums["seconds"].sum()
    found = sums.assign(share=sums["seconds"] / total if total else np.nan, by=by).reset_index()
    place = found["name"].astype(int) if by == "rung" else -found["seconds"]
    return found.loc[place.sort_values(kind="stable").index, ["by", "name", "seconds", "images", "trials", "share"]]


def _settings(values: dict[str, Any]) -> str:
    """Settings in words, without those that are missing."""
    return ", ".join(f"{name}={value_text(value)}" for name, value in values.items() if not pd.isna(value))
