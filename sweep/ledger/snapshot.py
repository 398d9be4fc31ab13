"""Where a sweep stands, as those who watch it are told."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Snapshot:
    """Where a sweep stands. images: real images shown to all lanes so far; best: of the best trial, or None.

    device_seconds: all lanes' shares of training and scoring, together; budget_used: of the limits that a person set,
    in words, or nothing; confirmations: that are asked for, confirmed: of these that have ended; notes: what went wrong
    beside the trials, each a line that stays; phase: what those that train do beside training ("compiling ..."), or
    nothing.
    """

    trials: int
    done: int
    running: int
    outcomes: dict[str, int]
    images: int
    best_trial: int | None
    best_score: float
    best_config: dict[str, Any]
    baseline_score: float
    device_seconds: float = 0.0
    budget_used: str = ""
    confirmations: int = 0
    confirmed: int = 0
    notes: tuple[str, ...] = ()
    phase: str = ""
