"""Whose training led to a rung: the lanes of a population take over each other's states."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from results.store import ResultsError

LANE_PREFIX = "lane."


def lineage(frame: pd.DataFrame, trial: int, rung: int) -> list[dict[str, Any]]:
    """The rows of the search, from rung 0 to this one, whose training one after another led to the trial's state there.

    A row holds the parameters that were in force on the way to its rung, and in `parent` whose state the trial went on
    from after it, so the row below is the trial's own or its parent's. Raises ResultsError when one is missing.
    """
    search = frame.loc[frame["replicate"] == 0].to_dict("records")
    rows = {(record["trial"], record["rung"]): {str(k): v for k, v in record.items()} for record in search}
    found, owner = [], trial
    for step in range(rung, -1, -1):
        own = rows.get((owner, step))
        if own is not None and step < rung and not pd.isna(own["parent"]):
            owner = int(own["parent"])
        if own is None or (owner, step) not in rows:
            raise ResultsError(
                f"rows.jsonl lacks trial {owner} at rung {step}, which led to trial {trial}: a line was taken out"
            )
        found.append(rows[owner, step])
    return found[::-1]


def schedule_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A lineage -> its segments, `{from_images, lane.*}`: the lane parameters that ever change, and after how many
    images they took these values. Empty where none changes: then it is one configuration.
    """
    names = [name for name in rows[-1] if name.startswith(LANE_PREFIX)]
    known = {name: {row[name] for row in rows if not pd.isna(row[name])} for name in names}
    changing = [name for name in names if len(known[name]) > 1]
    segments: list[dict[str, Any]] = []
    for before, row in zip([{"images_seen": 0}, *rows], rows, strict=False):
        values = {name: row[name] for name in changing}
        if changing and (not segments or any(segments[-1][name] != value for name, value in values.items())):
            segments.append({"from_images": before["images_seen"], **values})
    return segments
