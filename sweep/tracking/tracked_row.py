"""What trackers read from a row, and the error by which a tracker gives up."""

import math
from collections.abc import Mapping
from typing import Any

from gan_core.config.gan import HALF_LIFE
from results.curves import WHOLE
from results.rows import DEAD, Outcome, ResultRow

NUMBERS = ("d_loss", "g_loss", "score", "best_score", "seconds")


class TrackerFailed(Exception):
    """A tracker's library gave up. The message is one line for the user."""


def numbers(row: ResultRow) -> dict[str, float]:
    """The row's finite numbers. A slash follows the name of a group (`fidelity/fid`): viewers group charts by it. The
    half-life of the moving average of the weights that was scored is included, as it may differ from rung to rung.
    """
    named = {name: float(getattr(row, name)) for name in NUMBERS}
    if HALF_LIFE in row.hyperparameters:
        named["scored/ema_half_life_images"] = float(row.hyperparameters[HALF_LIFE])
    named |= {f"fidelity/{name}": float(value) for name, value in row.fidelity.items()}
    named |= {f"report/{name}": float(value) for name, value in row.report.items()}
    named |= {f"health/{name}": float(value) for name, value in row.health.items()}
    return {name: value for name, value in named.items() if math.isfinite(value)}


def point_numbers(point: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of one point of a training curve, named as in `numbers`."""
    named = {name.replace(".", "/", 1): value for name, value in point.items() if name not in WHOLE}
    return {name: float(value) for name, value in named.items() if value is not None and math.isfinite(value)}


def words(row: ResultRow) -> dict[str, str]:
    """The trial's outcome after the row, the reason for it, the limits that it breaks, and any signs of trouble."""
    said = {"outcome": str(row.outcome), "reason": row.reason}
    return {**said, "limits_broken": row.limits_broken, "signs": row.signs}


def hyperparameters(row: ResultRow) -> dict[str, Any]:
    """All hyperparameters and seeds by their dotted names. Lists become text, because viewers accept only scalars."""
    return {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in row.hyperparameters.items()}


def is_best_so_far(row: ResultRow) -> bool:
    """Whether the row is the trial's best so far, so that the trial's picture shows it."""
    return row.outcome not in DEAD and math.isfinite(row.score) and row.score == row.best_score


def has_ended(row: ResultRow) -> bool:
    """Whether it is the trial's last row."""
    return row.outcome is not Outcome.RUNNING


def trial_name(trial: int) -> str:
    """The trial's name in every viewer."""
    return f"trial-{trial:04d}"
