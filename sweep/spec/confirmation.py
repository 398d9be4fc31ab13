"""Confirmation: the finalists run again as lanes that differ only in their seed, at the full budget, unpruned."""

from dataclasses import dataclass

from gan_core.config.fields import check_fields, ranged
from results.store import SEEDS_APART


@dataclass(frozen=True, kw_only=True)
class ConfirmConfig:
    """How many finalists run again, each with how many new seeds. Raises InputError when a value has the wrong type or
    range.
    """

    top: int = ranged(0, "finalists that run again once the search has ended; 0: none", low=0, high=1000)
    seeds: int = ranged(5, "new seeds of each", low=2, high=1000)

    def __post_init__(self) -> None:
        check_fields("confirm", self)


def run_number(trial: int, replicate: int) -> int:
    """One number for a trial (replicate 0) or one of its confirmations, as cohorts and checkpoints name them."""
    return replicate * SEEDS_APART + trial


def trial_and_replicate(run: int) -> tuple[int, int]:
    """The inverse of `run_number`."""
    return run % SEEDS_APART, run // SEEDS_APART
