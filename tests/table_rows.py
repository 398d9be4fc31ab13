"""Records of results as a run writes them, and the folder of a run with them."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from tiny_runs import ROW

from results.rows import Outcome
from results.store import JsonLines, RunFolder


def row(trial: int, rung: int, score: float, outcome: Outcome = Outcome.RUNNING, **values: Any) -> dict[str, Any]:
    """The record of one trial at one rung; values: columns with other values than the defaults."""
    plain = replace(
        ROW,
        trial=trial,
        cohort=0,
        lane=trial,
        rung=rung,
        images_seen=100 * (rung + 1),
        outcome=outcome,
        reason=f"{outcome} at {rung}",
        d_loss=1.0,
        g_loss=math.nan,
        score=score,
        best_score=score,
        signs="oscillation" if trial == 1 else "",
        fidelity={"fidelity": score, "fid": score + 1},
        health={"d_gradient": 10.0 * trial},
        hyperparameters={"lane.beta1": trial / 10},
    ).flat()
    return {**plain, **values}


def stored(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The folder of a run with these records."""
    folder = RunFolder(path / "run").create()
    folder.spec.write_text("name: x\n")
    JsonLines(folder.rows).append(rows)
    return folder.path


def replicates(trial: int, *scores: float, last: Outcome = Outcome.COMPLETED) -> list[dict[str, Any]]:
    """Rows of the replicates of a finalist, whose lowest score is at the first of two rungs."""
    rows = []
    for number, score in enumerate(scores, 1):
        rows += [
            row(trial, 0, score, replicate=number),
            row(trial, 1, score + 1, Outcome.FAILED if math.isinf(score) else last, replicate=number),
        ]
    return rows
