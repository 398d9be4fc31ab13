"""Searches by formula: tables of runs whose scores are known functions of what was drawn."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from table_rows import row, stored

from results.rows import Outcome
from results.store import RunFolder
from results.table import ResultsTable

SPACE = {
    "base": {"lane.generator_lr": 1e-3},
    "ranges": {
        "lane.generator_lr": {"low": 1e-5, "high": 1e-1, "log": True},
        "lane.beta1": {"low": 0.0, "high": 0.9},
        "lane.discriminator_lr": {"ratio_to": "lane.generator_lr", "low": 0.5, "high": 2.0, "log": True},
        "lane.discriminator_steps": {"low": 1, "high": 3},
        "structure.loss": {"choices": ["hinge", "wasserstein_gp"]},
        "lane.penalty_weight": {"low": 0.1, "high": 10.0, "log": True, "when": {"structure.loss": ["wasserstein_gp"]}},
        "lane.ema_half_life_images": {"every": [0.0, 500.0]},
        "lane.beta2": {"low": 0.9, "high": 0.9},
    },
}


def run_of(path: Path, records: list[dict[str, Any]], **spec: Any) -> ResultsTable:
    """The table of a run with these records and this spec."""
    folder = RunFolder(stored(path, records))
    folder.spec.write_text(yaml.safe_dump({"name": "x", "space": SPACE, **spec}, sort_keys=False))
    return ResultsTable.load(folder.path)


def drawn(trials: int, seed: int = 0) -> list[dict[str, Any]]:
    """The hyperparameters of so many trials, drawn from SPACE, as columns of rows."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(trials):
        lr, ratio = float(10 ** random.uniform(-5, -1)), float(2 ** random.uniform(-1, 1))
        gp = bool(random.random() < 0.5)
        found.append(
            {
                "lane.generator_lr": lr,
                "lane.beta1": float(random.uniform(0, 0.9)),
                "lane.discriminator_lr": lr * ratio,
                "proposed.lane.discriminator_lr.ratio": ratio,
                "lane.discriminator_steps": int(random.integers(1, 4)),
                "structure.loss": "wasserstein_gp" if gp else "hinge",
                "structure.gradient_penalty": "none",
                "lane.penalty_weight": float(10 ** random.uniform(-1, 1)) if gp else 10.0,
                "lane.ema_half_life_images": 500.0,
                "lane.beta2": 0.9,
            }
        )
    return found


def formula_search(path: Path, trials: int = 60, **spec: Any) -> ResultsTable:
    """A search of two rungs whose score is the distance of the learning rate of G from 1e-3, in decades, and 1 more at
    the first rung. The last tenth of the trials dies at the first rung; of the others every third is pruned there.
    """
    records = []
    for number, values in enumerate(drawn(trials)):
        score = abs(np.log10(values["lane.generator_lr"]) + 3)
        if number >= trials - trials // 10:
            records.append(row(number, 0, float("nan"), Outcome.DIVERGED, **values))
            continue
        pruned = number % 3 == 2
        records.append(row(number, 0, score + 1, Outcome.PRUNED if pruned else Outcome.RUNNING, **values))
        if not pruned:
            records.append(row(number, 1, score, Outcome.COMPLETED, **values))
    return run_of(path, records, **spec)


BREAKING = [(1.0, 0.2), (5.0, 0.0), (0.5, 0.3), (6.0, 0.0)]  # scores, and by how much they break the limit of coverage


def limits(violation: float) -> dict[str, Any]:
    """The columns of a row that breaks the limit of coverage by so much."""
    return {
        "fidelity.violation": violation,
        "fidelity.coverage_violation": violation,
        "limits_broken": "coverage" if violation else "",
    }
