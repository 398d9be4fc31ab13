"""The rungs, and the rule that prunes. Pure logic: plain numbers in, a verdict with its reason out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gan_core.config import InputError
from results.rows import Outcome


@dataclass(frozen=True)
class Verdict:
    """What the study answers for a lane at a rung. RUNNING: it goes on."""

    outcome: Outcome
    reason: str

    @property
    def goes_on(self) -> bool:
        return self.outcome is Outcome.RUNNING


@dataclass(frozen=True)
class Ladder:
    """rungs_images: the budgets, in real images shown to D, at which lanes are judged, rising.
    keep_fraction: the share of the lanes that have reached a rung which may go on, in (0, 1]; 1 prunes nobody.
    """

    rungs_images: tuple[int, ...]
    keep_fraction: float

    def __post_init__(self) -> None:
        rungs = self.rungs_images
        if not rungs or any(not isinstance(r, int) or isinstance(r, bool) or r < 1 for r in rungs):
            raise InputError(f"ladder.rungs_images must be whole numbers of at least 1, got {list(rungs)}")
        if any(low >= high for low, high in zip(rungs, rungs[1:], strict=False)):
            raise InputError(f"ladder.rungs_images must rise, got {list(rungs)}")
        keep = self.keep_fraction
        if not isinstance(keep, int | float) or isinstance(keep, bool) or not 0 < keep <= 1:
            raise InputError(f"ladder.keep_fraction must be above 0 and at most 1, got {self.keep_fraction!r}")

    def __len__(self) -> int:
        return len(self.rungs_images)

    def judge(self, rung: int, score: float, reached: Sequence[float]) -> Verdict:
        """A lane with this best score so far, among the best scores of all that reached the rung (its own included).

        Lower is better; what is not a number goes nowhere. The best max(1, floor(keep_fraction * count)) go on, ties
        included: asynchronous successive halving (Li et al. 2020, algorithm 2), with at least one survivor so that a
        first small cohort is not lost. All lanes that reach a rung together must be in `reached` before the first is
        judged; then their order is nothing.
        """
        if math.isnan(score):
            return Verdict(Outcome.PRUNED, "its score is not a number")
        rank = 1 + sum(other < score for other in reached)
        if rung == len(self) - 1:
            return Verdict(Outcome.COMPLETED, f"rank {rank} of {len(reached)} at the last rung")
        places = max(1, math.floor(self.keep_fraction * len(reached) + 1e-9))
        if rank <= places:
            return Verdict(Outcome.RUNNING, f"rank {rank} of {len(reached)}")
        return Verdict(Outcome.PRUNED, f"rank {rank} of {len(reached)} at rung {rung}, the best {places} go on")

    def expected_images(self, trials: int) -> int:
        """Images shown in all, if exactly keep_fraction of the trials go on at each rung."""
        total, previous, alive = 0.0, 0, float(trials)
        for images in self.rungs_images:
            total += alive * (images - previous)
            previous, alive = images, max(1.0, alive * self.keep_fraction)
        return round(total)
