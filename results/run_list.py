"""The runs in a folder, one row each: how far they are, their best scores and their costs.

A table of a run reads and checks every number of every row. Here, only the beginning of each line is read, so that a
hundred runs take about a second.
"""

import io
import json
import math
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gan_core.config.input_error import InputError
from gan_core.config.limits import LAST, Place, place, violation
from results.objectives import natural, score_name
from results.printable import printable
from results.rows import DEAD, OWN, Outcome
from results.schema import fault
from results.screen import MISSING, Column, column, laid_out, number_cells
from results.spec_file import read_mapping
from results.store import RESTORE, ResultsError, RunFolder, is_held, read_whole

REST = b',"device":'  # where the beginning of a row ends, in which most of what is needed here stands
REPLICATE = re.compile(rb'"replicate":(\d+)')
VIOLATION = re.compile(rb'"fidelity\.(\w*violation)":([^,}]+)')  # of the limits of an objective
SILENT_SECONDS = 60.0  # a sweep that has not said for so long how far it is was killed, or its machine is lost
COLUMNS = ("run", "state", "done", "trials", "best", "best_trial", "objective", "device_seconds", "changed", "fault")
RUNNING, FINISHED, BROKEN_OFF, NOTHING, DAMAGED = "running", "finished", "broken off", "no result", "damaged"
EDITED = (ValueError, LookupError, TypeError, AttributeError, OverflowError)  # what a key of another form leads to
HEAD = ("trial", "rung", "outcome", "score", "seconds")  # columns that are needed of each row
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))  # seconds, and the name of so many
LIMITS = {"hours": 0, "device_hours": 0, "images": 0, "score": -math.inf}  # keys of `budget` -> no limit


def runs_in(parent: str | Path) -> pd.DataFrame:
    """The runs in a folder, or the one that it is itself, one row each, what changed last first.

    Columns: run, its folder; state: `running`, `finished`, `broken off` (a sweep that could go on), `no result` (no
    trial has reached a rung) or `damaged`; done, trials: trials that have ended, and that were asked for; best,
    best_trial: the best score in the search, as a person reads it, and its trial; objective: what was minimised;
    device_seconds: for training and scoring, replicates included; changed: when something was last recorded; fault: why
    a run is damaged. Raises InputError if there is no such folder.
    """
    folder = Path(parent).expanduser()
    try:
        below = [folder] if RunFolder(folder).holds_run() else sorted(folder.iterdir())
        found = [RunFolder(path) for path in below if (path / "spec.yaml").exists() or (path / "rows.jsonl").exists()]
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}; give the folder that holds runs") from error
    rows = [_summary(run) for run in found]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"best_trial": "Int64", "best": "float64"})
    return frame.sort_values("changed", ascending=False, kind="stable").reset_index(drop=True)


def runs_text(runs: pd.DataFrame, width: int | None = None) -> str:
    """Formats what `runs_in` returns, for a terminal of this width; a damaged run is followed by what is wrong."""
    now = time.time()
    best = [
        MISSING if math.isnan(score) else f"{score_name(name)} {number_cells([score])[0]} (trial {trial})"
        for score, trial, name in zip(runs["best"], runs["best_trial"], runs["objective"], strict=True)
    ]
    columns = [
        column("run", runs["run"]),
        column("state", runs["state"]),
        Column("trials", tuple(f"{done}/{asked}" for done, asked in zip(runs["done"], runs["trials"], strict=True))),
        column("best", best),
        Column("device", tuple(map(_duration, runs["device_seconds"])), rank=2),
        Column("changed", tuple(f"{_duration(now - changed)} ago" for changed in runs["changed"]), rank=1),
    ]
    damaged = runs[runs["fault"] != ""]
    said = [printable(f"{run}: {fault}") for run, fault in zip(damaged["run"], damaged["fault"], strict=True)]
    return "\n".join([laid_out(columns, width)[0], *said])


def _summary(run: RunFolder) -> dict[str, Any]:
    """A row of `runs_in`."""
    found = {"run": run.shown, "state": DAMAGED, "done": 0, "trials": 0, "best": math.nan, "best_trial": None}
    found |= {"objective": "", "device_seconds": 0.0, "changed": _changed(run), "fault": ""}
    try:
        spec = read_mapping(run.spec)
        records = _heads(run)
        found |= _standing(spec, records)
        found["state"] = _state(run, spec, records)
    except ResultsError as error:
        found["fault"] = str(error)
    except EDITED:
        found["fault"] = f"{run.spec} is not as it was written; gan-sweep results {run.shown} may say more"
    return found


def _heads(run: RunFolder) -> list[dict[str, Any]]:
    """The beginnings of all rows (`_head`). Raises ResultsError, which names the line, for one that is no row."""
    records = []
    for number, line in enumerate(io.BytesIO(read_whole(run.rows) or b""), 1):
        if line.endswith(b"\n"):  # another one is just being written
            try:
                record = _head(line)
                wrong = fault({name: record[name] for name in HEAD}, OWN, HEAD, lambda name: None)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise ResultsError(f"{run.rows}, line {number} is no row; {RESTORE}") from error
            if wrong:
                raise ResultsError(f"{run.rows}, line {number}: {wrong}; {RESTORE}")
            records.append(record)
    return records


def _head(line: bytes) -> dict[str, Any]:
    """The beginning of a row, with `replicate` and `violations`: name -> by how much limits are broken."""
    head, cut, _ = line.partition(REST)
    record = json.loads(head + b"}" if cut else line)
    replicate = REPLICATE.search(line)
    violations = {name.decode(): json.loads(amount) or 0.0 for name, amount in VIOLATION.findall(line)}
    return {**record, "replicate": int(replicate[1]) if replicate else 0, "violations": violations}


def _standing(spec: Mapping[str, Any], records: list[dict[str, Any]]) -> dict[str, Any]:
    objective = _objective(spec)
    ends = _ends(records)
    search = [record for record in records if not record["replicate"]]
    scored = [record for record in search if record["score"] is not None]
    living = [record for record in scored if ends[record["trial"], 0] not in DEAD]
    best = min(living, key=lambda record: (_place(objective, record), record["trial"]), default=None)
    return {
        "done": sum(end != Outcome.RUNNING for (_, replicate), end in ends.items() if not replicate),
        "trials": int(spec["trials"]),
        "best": math.nan if best is None else natural(objective, float(best["score"])),
        "best_trial": None if best is None else int(best["trial"]),
        "objective": objective,
        "device_seconds": float(sum(record["seconds"] for record in records)),
    }


def _finalists(objective: str, records: list[dict[str, Any]], ends: Mapping[tuple[int, int], str], top: int) -> int:
    """How many of the first `top` trials keep the limits, because only these are confirmed."""
    best: dict[int, Place] = {}
    for record in records:
        trial = record["trial"]
        if not record["replicate"] and record["score"] is not None and ends[trial, 0] not in DEAD:
            best[trial] = min(best.get(trial, LAST), _place(objective, record))
    return sum(not violated for violated, _ in sorted(best.values())[:top])


def _objective(spec: Mapping[str, Any]) -> str:
    """The first objective."""
    return spec["objective"] if isinstance(spec["objective"], str) else spec["objective"][0]


def _place(objective: str, record: Mapping[str, Any]) -> Place:
    return place(record["score"], violation(record["violations"], objective))


def _ends(records: list[dict[str, Any]]) -> dict[tuple[int, int], str]:
    """(trial, replicate) -> the outcome at its last rung."""
    last: dict[tuple[int, int], dict[str, Any]] = {}
    for record in records:
        run = record["trial"], record["replicate"]
        if run not in last or record["rung"] > last[run]["rung"]:
            last[run] = record
    return {run: record["outcome"] for run, record in last.items()}


def _state(run: RunFolder, spec: Mapping[str, Any], records: list[dict[str, Any]]) -> str:
    """The state of a run. Where a budget may have ended the search early, it is finished if all that began has ended;
    `gan-sweep results` and `run` know it exactly.
    """
    if is_held(run.driver_lock) or time.time() - _modified(run.progress) < SILENT_SECONDS:
        return RUNNING
    if not records:
        return NOTHING
    ends, confirm = _ends(records), spec.get("confirm") or {}
    searched = {trial for trial, replicate in ends if not replicate}
    wanted = _finalists(_objective(spec), records, ends, int(confirm.get("top", 0))) * int(confirm.get("seeds", 0))
    budget = spec.get("budget") or {}
    limited = any(budget.get(name, none) != none for name, none in LIMITS.items())
    is_over = len(searched) >= int(spec["trials"]) or limited
    is_confirmed = sum(replicate > 0 for _, replicate in ends) >= wanted
    return FINISHED if is_over and is_confirmed and Outcome.RUNNING not in ends.values() else BROKEN_OFF


def _changed(run: RunFolder) -> float:
    """When something was last recorded, in seconds since 1970."""
    return max(map(_modified, (run.rows, run.progress, run.spec)))


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _duration(seconds: float) -> str:
    """A duration in one unit, such as `3.5 min` or `12 d`."""
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= size), UNITS[-1])
    amount = max(0.0, seconds) / size
    return f"{amount:.1f} {unit}" if amount < 10 and size > 1 else f"{amount:.0f} {unit}"
