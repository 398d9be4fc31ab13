"""The rungs, and the rule that prunes. Pure logic: plain numbers in, a verdict with its reason out."""

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from gan_core.config.fields import check_whole, is_number, is_whole
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError, nearest, shown
from results.pareto import pareto_ranks
from results.rows import Outcome

Rule = Literal["asha", "hyperband", "none"]
RULES: tuple[Rule, ...] = get_args(Rule)
STANDARD_ERRORS = 2.0  # a difference smaller than so many of them prunes nobody


@dataclass(frozen=True)
class Change:
    """What becomes of a lane of a population: a copy of the trial `source` as it stands, going on with `config`."""

    source: int
    config: GanConfig


@dataclass(frozen=True)
class Verdict:
    """What the study answers for a lane at a rung. RUNNING: it goes on, as it is or with a change."""

    outcome: Outcome
    reason: str
    change: Change | None = None

    @property
    def goes_on(self) -> bool:
        return self.outcome is Outcome.RUNNING


@dataclass(frozen=True)
class Standing:
    """How a lane stands when it reached a rung: its best so far, a number for each objective, lower is better; errors:
    their standard errors, 0 where there are none.
    """

    best: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def known(self) -> bool:
        return not any(map(math.isnan, self.best))

    @property
    def hopeful(self) -> tuple[float, ...]:
        """The best so far, were it better by STANDARD_ERRORS of its standard errors."""
        return tuple(b - STANDARD_ERRORS * e for b, e in zip(self.best, self.errors, strict=True))


@dataclass
class Reached:
    """All that have reached one rung of one bracket alive: their best so far at that rung."""

    values: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, standings: Sequence[Standing]) -> None:
        """Takes in lanes that reached the rung together. Those whose score is not a number count for nothing."""
        for standing in standings:
            if standing.known:
                insort(self.values, standing.best)

    def rank(self, best: tuple[float, ...]) -> int:
        """1 + how many are better. With several objectives: fewer fronts below it, and on the same front a lower first
        objective, as multi-objective ASHA sorts (Schmucker et al. 2021, section 3), which breaks ties by spread.
        """
        if len(best) == 1:
            return 1 + bisect_left(self.values, best)
        import numpy as np

        ranks = pareto_ranks(np.array([best, *self.values]))
        return 1 + sum(
            (rank, value[0]) < (ranks[0], best[0]) for rank, value in zip(ranks[1:], self.values, strict=True)
        )


@dataclass(frozen=True)
class Ladder:
    """rungs_images: the budgets, in real images shown to D, at which lanes are judged, rising.
    keep_fraction: the share of the lanes that have reached a rung which may go on, in (0, 1]; 1 prunes nobody.
    rule: `asha`, rank among all that reached the rung; `hyperband`, the same in brackets, of which each begins to prune
    a rung later; `none`. grace_images: nobody is pruned before so many. patience_rungs: a lane that has not improved
    for so many rungs ends; 0: never.
    """

    rungs_images: tuple[int, ...]
    keep_fraction: float
    rule: Rule = "asha"
    grace_images: int = 0
    patience_rungs: int = 0

    def __post_init__(self) -> None:
        rungs = self.rungs_images
        if not rungs or any(not is_whole(r, 1) for r in rungs):
            raise InputError(f"ladder.rungs_images must be whole numbers of at least 1, got {shown(list(rungs))}")
        if any(low >= high for low, high in zip(rungs, rungs[1:], strict=False)):
            raise InputError(f"ladder.rungs_images must rise, got {shown(list(rungs))}")
        keep = self.keep_fraction
        if not is_number(keep, 0, 1) or keep == 0:
            raise InputError(f"ladder.keep_fraction must be above 0 and at most 1, got {shown(self.keep_fraction)}")
        if self.rule not in RULES:
            raise InputError(f"unknown ladder.rule {shown(self.rule)}; {nearest(self.rule, RULES)}")
        for name in ("grace_images", "patience_rungs"):
            check_whole(f"ladder.{name}", getattr(self, name), 0)

    def __len__(self) -> int:
        return len(self.rungs_images)

    def bracket(self, draw: float) -> int:
        """The bracket of a trial, from a draw in [0, 1): lanes of bracket b are first judged at rung b, and with others
        of their bracket alone. Always 0 but for Hyperband, whose bracket b has a share of about keep^b / (top - b + 1)
        of the trials, top the last rung's number (Li et al. 2018, algorithm 1: each bracket costs the same).
        """
        if self.rule != "hyperband":
            return 0
        top = len(self) - 1
        weights = [self.keep_fraction**b / (top - b + 1) for b in range(top + 1)]
        total = 0.0
        for b, weight in enumerate(weights):
            total += weight / sum(weights)
            if draw < total:
                return b
        return top

    def judge(self, rung: int, bracket: int, standing: Standing, reached: Reached) -> Verdict:
        """A lane among all of its bracket that reached the rung, itself included, better ones first.

        The best max(1, floor(keep_fraction * count)) go on, ties included: asynchronous successive halving (Li et al.
        2020, algorithm 2), with at least one survivor so that a first small cohort is not lost. So does one that is
        worse than them by less than STANDARD_ERRORS of its score's standard error. All lanes that reach a rung together
        must be in `reached` before the first is judged; then their order is nothing.
        """
        if not standing.known:
            return Verdict(Outcome.PRUNED, "its score is not a number")
        rank, count = reached.rank(standing.best), len(reached.values)
        if rung == len(self) - 1:
            return Verdict(Outcome.COMPLETED, f"rank {rank} of {count} at the last rung")
        if self.rule == "none" or rung < bracket or self.rungs_images[rung] < self.grace_images:
            return Verdict(Outcome.RUNNING, f"rank {rank} of {count}, nobody is pruned here")
        places = max(1, math.floor(self.keep_fraction * count + 1e-9))
        if rank <= places:
            return Verdict(Outcome.RUNNING, f"rank {rank} of {count}")
        if reached.rank(standing.hopeful) <= places:
            return Verdict(
                Outcome.RUNNING, f"rank {rank} of {count}, within twice its standard error of the best {places}"
            )
        return Verdict(Outcome.PRUNED, f"rank {rank} of {count} at rung {rung}, the best {places} go on")

    def is_plateau(self, course: Sequence[Standing]) -> bool:
        """Whether a lane, by its standings rung by rung, has not improved for `patience_rungs` rungs by more than
        STANDARD_ERRORS of its standard error, in the first objective.
        """
        patience = self.patience_rungs
        if not patience or len(course) <= patience:
            return False
        before, now = course[-1 - patience], course[-1]
        return now.best[0] >= before.best[0] - STANDARD_ERRORS * before.errors[0]

    def expected_lanes(self, trials: int) -> list[float]:
        """How many trials reach each rung, if exactly keep_fraction, and at least one, go on where any are pruned."""
        lanes, alive = [], float(trials)
        for images in self.rungs_images:
            lanes.append(alive)
            if self.rule != "none" and images >= self.grace_images:
                alive = max(1.0, alive * self.keep_fraction)
        return lanes

    def expected_images(self, trials: int) -> int:
        """Images shown in all, of so many trials at each rung."""
        stretches = [after - before for before, after in zip((0, *self.rungs_images), self.rungs_images, strict=False)]
        return round(sum(lanes * images for lanes, images in zip(self.expected_lanes(trials), stretches, strict=True)))
