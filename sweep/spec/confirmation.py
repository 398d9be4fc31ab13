"""Confirmation: how many finalists are trained again from other seeds, to the last rung and without pruning."""

from dataclasses import dataclass

from gan_core.config.fields import check_fields, ranged


@dataclass(frozen=True, kw_only=True)
class ConfirmConfig:
    """How many finalists are trained again, and from how many seeds each. Raises InputError for a value of the wrong
    type or out of range.
    """

    top: int = ranged(0, "finalists that run again once the search has ended; 0: none", low=0, high=1000)
    seeds: int = ranged(5, "new seeds of each", low=2, high=1000)

    def __post_init__(self) -> None:
        check_fields("confirm", self)
