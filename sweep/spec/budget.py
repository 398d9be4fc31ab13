"""The limits at which a sweep stops by itself: a cost, or a score that is good enough."""

import math
from dataclasses import dataclass
from typing import Literal

from gan_core.config.fields import check_fields, ranged
from results.objectives import natural

WhenSpent = Literal["finish", "cut"]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a sweep has cost so far, and its best score.

    elapsed_seconds: wall time without pauses; device_seconds: the time of training and scoring, over all lanes; images:
    real images shown, over all discriminators; best_score: that of the objective as it is minimised, infinite if no
    trial that keeps the limits has one.
    """

    elapsed_seconds: float
    device_seconds: float
    images: int
    best_score: float
    objective: str = "fidelity"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits besides the number of trials; the first to be reached ends the search.

    Raises InputError if a value has the wrong type or is out of range.
    """

    hours: float = ranged(0.0, "wall time in hours, without pauses; 0: no limit", low=0.0, high=1e6)
    device_hours: float = ranged(0.0, "hours of training and scoring on all devices; 0: no limit", low=0.0, high=1e9)
    images: float = ranged(0.0, "real images shown to all discriminators; 0: no limit", low=0.0, high=1e18)
    score: float = ranged(-math.inf, "a value of the first objective's score that is good enough; -.inf: no limit")
    when_spent: WhenSpent = ranged("finish", "cut: lanes in training stop and are scored; finish: they end as planned")

    def __post_init__(self) -> None:
        check_fields("budget", self)

    def spent(self, cost: Cost) -> str | None:
        """The reason why the sweep must end now, or None."""
        if self.score != -math.inf and cost.best_score <= natural(cost.objective, self.score):
            best = natural(cost.objective, cost.best_score)
            return f"score {best:.4g} reaches budget.score {self.score:g}"
        for name, used, limit in self._limits(cost):
            if limit and used >= limit:
                return f"budget.{name} of {_plain(limit)} is spent"
        return None

    def used(self, cost: Cost) -> str:
        """How much of each limit is used, such as `0.35 of 2 hours`; "" if there are no limits."""
        words = {"hours": "hours", "device_hours": "device-hours", "images": "images"}
        return ", ".join(
            f"{_plain(used)} of {_plain(limit)} {words[name]}" for name, used, limit in self._limits(cost) if limit
        )

    def _limits(self, cost: Cost) -> tuple[tuple[str, float, float], ...]:
        return (
            ("hours", cost.elapsed_seconds / 3600, self.hours),
            ("device_hours", cost.device_seconds / 3600, self.device_hours),
            ("images", float(cost.images), self.images),
        )


def _plain(number: float) -> str:
    """A number with up to three significant digits, or all digits if whole: `0.35`, `6,080`, `1,000,000`."""
    if number < 1e-3:
        return f"{number:.6f}".rstrip("0").rstrip(".")
    return f"{number:.3g}" if number < 100 else f"{number:,.0f}"
