"""What every tracker takes from a row, and how it says that it can no more."""

import math
from collections.abc import Mapping
from typing import Any

from gan_core.config.gan import HALF_LIFE
from results.curves import WHOLE
from results.rows import DEAD, Outcome, ResultRow

NUMBERS = ("d_loss", "g_loss", "score", "best_score", "seconds")


class TrackerFailed(Exception):
    """A tracker's own library gave up. The message is for a person, in one line."""


def numbers(row: ResultRow) -> dict[str, float]:
    """The row's finite numbers. A group's first dot is a slash (`fidelity/fid`), by which viewers make sections. The
    half-life of the average that was scored is among them: it may be another at each rung.
    """
    named = {name: float(getattr(row, name)) for name in NUMBERS}
    if HALF_LIFE in row.hyperparameters:
        named["scored/ema_half_life_images"] = float(row.hyperparameters[HALF_LIFE])
    named |= {f"fidelity/{name}": float(value) for name, value in row.fidelity.items()}
    named |= {f"health/{name}": float(value) for name, value in row.health.items()}
    return {name: value for name, value in named.items() if math.isfinite(value)}


def point_numbers(point: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a curve's point, under the names that a row's have."""
    named = {name.replace(".", "/", 1): value for name, value in point.items() if name not in WHOLE}
    return {name: float(value) for name, value in named.items() if value is not None and math.isfinite(value)}


def words(row: ResultRow) -> dict[str, str]:
    """How the trial stands after the row."""
    return {"outcome": str(row.outcome), "reason": row.reason, "signs": row.signs}


def hyperparameters(row: ResultRow) -> dict[str, Any]:
    """Every hyperparameter and the seeds, under their dotted names; a list as text, as viewers take it."""
    return {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in row.hyperparameters.items()}


def is_best_so_far(row: ResultRow) -> bool:
    """Whether the trial's picture is of this row."""
    return row.outcome not in DEAD and math.isfinite(row.score) and row.score <= row.best_score


def has_ended(row: ResultRow) -> bool:
    """Whether it is the trial's last row."""
    return row.outcome is not Outcome.RUNNING


def trial_name(trial: int) -> str:
    """The trial's name in every viewer."""
    return f"trial-{trial:04d}"
