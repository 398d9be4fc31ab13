"""Lineage: which rows led to the state of a trial, where the lanes of a population take over each other's states."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from gan_core.config.arguments import CHANGING_PREFIXES
from results.store import ResultsError
from results.trial_table import configuration_of


def lineage(frame: pd.DataFrame, trial: int, rung: int) -> list[dict[str, Any]]:
    """The rows of the search, from rung 0 to this one, whose training one after another led to the state of the trial.

    A row holds the parameters that were in force on the way to its rung, and in `parent` the trial whose state this one
    took over after it. So the row of the rung before is that of the trial itself or of its parent. Raises ResultsError
    when a row is missing.
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
    """The segments `{from_images, lane.*}` (or `trainer.*`) of a lineage: all parameters that ever change, with their
    values (None for null) and the number of images from which on they hold. Empty if none changes.
    """
    configurations = [configuration_of(row) for row in rows]
    names = [name for name in configurations[-1] if name.startswith(CHANGING_PREFIXES)]
    known = {name: {values[name] for values in configurations if name in values} for name in names}
    changing = [name for name in names if len(known[name]) > 1]
    segments: list[dict[str, Any]] = []
    in_force: dict[str, Any] = {}
    for before, configuration in zip([{"images_seen": 0}, *rows], configurations, strict=False):
        values = {name: configuration[name] for name in changing if name in configuration}
        if values != in_force:
            segments.append({"from_images": before["images_seen"], **values})
        in_force = values
    return segments
