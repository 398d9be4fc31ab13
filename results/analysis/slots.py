"""The cohorts of a run on the machines that trained them, as a timeline."""

from heapq import heappop, heappush
from typing import Any

import pandas as pd

from results.schema import AMOUNT, whole_number
from results.store import RESTORE, JsonLines, ResultsError
from results.trial_table import TrialTable

COHORT = whole_number()
LATER = {"node": "", "device": "", "elapsed_seconds": 0.0}  # columns that a table may lack


def timeline(table: TrialTable) -> pd.DataFrame:
    """See `ResultsTable.timeline`."""
    frame = table.frame
    absent = {name: value for name, value in LATER.items() if name not in frame.columns}
    frame = frame.assign(confirmation=frame["replicate"] > 0, **absent)
    steps: Any = frame.groupby(["cohort", "rung"], as_index=False).agg(
        node=("node", "last"),
        device=("device", "last"),
        ends_seconds=("elapsed_seconds", "max"),
        lanes=("trial", "size"),
        seconds=("seconds", "sum"),
        confirmation=("confirmation", "any"),
    )
    before = steps.groupby("cohort")["ends_seconds"].shift()
    begins = before.fillna(steps["cohort"].map(_opened(table)))
    steps["begins_seconds"] = begins.fillna(steps["ends_seconds"] - steps["seconds"]).clip(lower=0)
    steps["begins_seconds"] = steps[["begins_seconds", "ends_seconds"]].min(axis=1)
    steps["slot"] = _slots(steps)
    order = ["node", "slot", "cohort", "rung", "begins_seconds", "ends_seconds", "seconds", "lanes", "device"]
    return steps.sort_values(["node", "slot", "begins_seconds"], ignore_index=True)[[*order, "confirmation"]]


def _opened(table: TrialTable) -> dict[int, float]:
    """Cohort -> when it was handed out, in seconds since the sweep began, as far as the run's folder says it."""
    if table.folder is None:
        return {}
    records = JsonLines(table.folder.cohorts).read()
    found: Any = {record.get("cohort"): record.get("elapsed_seconds") for record in records}
    for cohort, seconds in found.items():
        if not COHORT.fits(cohort) or not AMOUNT.or_none().fits(seconds):
            raise ResultsError(f"{table.folder.cohorts}: cohort and elapsed_seconds are not such numbers; {RESTORE}")
    return {cohort: seconds for cohort, seconds in found.items() if seconds is not None}


def _slots(steps: pd.DataFrame) -> pd.Series:
    """The slot of each step on its node, from 0. Rows do not record it, so the cohorts of a node are packed on as few
    slots as possible: in the order in which they begin, each on the lowest slot that is free.
    """
    stays: Any = steps.groupby(["cohort", "node"], as_index=False).agg(
        begins=("begins_seconds", "min"), ends=("ends_seconds", "max")
    )
    free: dict[str, list[int]] = {}
    taken: dict[str, list[tuple[float, int]]] = {}  # node -> (until when, slot), the first that ends at the top
    slots = dict.fromkeys(stays["node"], 0)
    found = {}
    for cohort, node, begins, ends in stays.sort_values(["begins", "cohort"]).itertuples(index=False):
        busy, idle = taken.setdefault(node, []), free.setdefault(node, [])
        while busy and busy[0][0] <= begins:
            heappush(idle, heappop(busy)[1])
        if not idle:
            heappush(idle, slots[node])
            slots[node] += 1
        slot = heappop(idle)
        heappush(busy, (ends, slot))
        found[cohort, node] = slot
    return pd.Series([found[key] for key in zip(steps["cohort"], steps["node"], strict=True)], steps.index, "int64")
