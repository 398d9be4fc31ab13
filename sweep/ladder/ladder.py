"""The rungs, and the rule that prunes: from plain numbers to a verdict with its reason. No files, no torch."""

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from gan_core.config.fields import check_whole, is_number, is_whole
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError, nearest, shown
from results.pareto import constrained_ranks
from results.rows import Outcome
from results.trial_run import TrialRun

Rule = Literal["asha", "hyperband", "none"]
RULES: tuple[Rule, ...] = get_args(Rule)
STANDARD_ERRORS = 2.0  # a difference of fewer standard errors prunes no trial


@dataclass(frozen=True)
class Change:
    """What becomes of a lane of a population: it takes over the state of the run `source` and goes on with `config`."""

    source: TrialRun
    config: GanConfig


@dataclass(frozen=True)
class Verdict:
    """What the study answers for a lane at a rung. outcome: RUNNING if the lane goes on. change: in a population, what
    becomes of the lane, None if it goes on as it is. overruled: whether the rule would have pruned the lane, which goes
    on because it is the baseline.
    """

    outcome: Outcome
    reason: str
    change: Change | None = None
    overruled: bool = False

    @property
    def goes_on(self) -> bool:
        return self.outcome is Outcome.RUNNING


@dataclass(frozen=True)
class Standing:
    """How a lane stands at a rung. best: the value of each objective at its best rung so far, lower is better. errors:
    their standard errors, 0 where they are not known. violation: by how much it breaks limits there, 0 if it keeps them
    (`gan_core.config.limits`); violation_error: the standard error of that.
    """

    best: tuple[float, ...]
    errors: tuple[float, ...]
    violation: float = 0.0
    violation_error: float = 0.0

    @property
    def known(self) -> bool:
        return not any(map(math.isnan, self.best))

    @property
    def place(self) -> tuple[float, ...]:
        """The violation, then the best values: of two lanes and one objective, the lower place is the better."""
        return self.violation, *self.best

    @property
    def hopeful(self) -> tuple[float, ...]:
        """The place with all its values lowered by STANDARD_ERRORS standard errors, the violation to no less than 0."""
        violation = max(0.0, self.violation - STANDARD_ERRORS * self.violation_error)
        return violation, *(b - STANDARD_ERRORS * e for b, e in zip(self.best, self.errors, strict=True))


@dataclass
class Reached:
    """The places so far of all lanes of one bracket that have reached one rung alive, sorted."""

    places: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, standings: Sequence[Standing]) -> None:
        """Takes in lanes that reached the rung together. Those whose score is not a number are left out."""
        for standing in standings:
            if standing.known:
                insort(self.places, standing.place)

    def rank(self, place: tuple[float, ...]) -> int:
        """The rank among these lanes: 1 + the number of better ones. With several objectives, a lane is better if it is
        on an earlier front of `constrained_ranks`, or on the same with a lower first objective. Multi-objective ASHA
        (Schmucker et al. 2021, section 3) sorts by fronts too, and breaks ties by how far apart solutions are.
        """
        if len(place) == 2:
            return 1 + bisect_left(self.places, place)
        import numpy as np

        table = np.array([place, *self.places])
        ranks = constrained_ranks(table[:, 1:], table[:, 0])
        return 1 + sum(
            (rank, other[1]) < (ranks[0], place[1]) for rank, other in zip(ranks[1:], self.places, strict=True)
        )


@dataclass(frozen=True)
class Ladder:
    """At which budgets lanes are judged, and by which rule. Raises InputError for a value that is out of range.

    rungs_images: the budgets, in real images shown to the discriminator, rising. keep_fraction: the share, in (0, 1],
    of the lanes that have reached a rung which go on; 1 prunes none. rule: `asha` ranks a lane among all that reached
    the rung; `hyperband` does the same in brackets, each of which begins to prune one rung later; `none` prunes none.
    grace_images: no lane is pruned before so many images. patience_rungs: a lane ends if it has not improved for so
    many rungs; 0: never.
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
        """The bracket of a trial, from a random number in [0, 1). Lanes of bracket b are pruned from rung b on, by
        their rank within the bracket. Without Hyperband it is always 0. With it, bracket b gets a share of the trials
        in proportion to keep_fraction^b / (top - b + 1), where top is the number of the last rung, so that all brackets
        cost about the same (Li et al. 2018, algorithm 1).
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
        """The verdict on a lane by its rank in `reached`, all of its bracket that reached the rung, itself included.

        The best max(1, floor(keep_fraction * count)) go on, ties included, by asynchronous successive halving (Li et
        al. 2020, algorithm 2); at least one goes on, so that a small first cohort is not lost. A lane also goes on if
        it is worse than these by less than STANDARD_ERRORS standard errors of its score. All lanes that reach a rung
        together must be in `reached` before the first is judged, so that their order decides nothing.
        """
        if not standing.known:
            return Verdict(Outcome.PRUNED, "its score is not a number")
        rank, count = reached.rank(standing.place), len(reached.places)
        if rung == len(self) - 1:
            return Verdict(Outcome.COMPLETED, f"rank {rank} of {count} at the last rung")
        if self.rule == "none" or rung < bracket or self.rungs_images[rung] < self.grace_images:
            return Verdict(Outcome.RUNNING, f"rank {rank} of {count}, no trial is pruned at this rung")
        places = max(1, math.floor(self.keep_fraction * count + 1e-9))
        if rank <= places:
            return Verdict(Outcome.RUNNING, f"rank {rank} of {count}")
        if reached.rank(standing.hopeful) <= places:
            return Verdict(
                Outcome.RUNNING, f"rank {rank} of {count}, within twice its standard error of the best {places}"
            )
        return Verdict(Outcome.PRUNED, f"rank {rank} of {count} at rung {rung}, the best {places} go on")

    def is_plateau(self, course: Sequence[Standing]) -> bool:
        """Whether a lane has not improved over the last `patience_rungs` rungs by more than STANDARD_ERRORS standard
        errors, in its first objective or, as long as it breaks limits, in the violation. course: the standings of the
        lane, rung by rung.
        """
        patience = self.patience_rungs
        if not patience or len(course) <= patience:
            return False
        before, now = course[-1 - patience], course[-1]
        return now.place[:2] >= before.hopeful[:2]

    def expected_lanes(self, trials: int) -> list[float]:
        """How many of so many trials reach each rung, if exactly keep_fraction of them, at least one, always go on."""
        lanes, alive = [], float(trials)
        for images in self.rungs_images:
            lanes.append(alive)
            if self.rule != "none" and images >= self.grace_images:
                alive = max(1.0, alive * self.keep_fraction)
        return lanes

    def expected_images(self, trials: int) -> int:
        """The real images shown to so many trials together, if as many reach each rung as `expected_lanes` says."""
        stretches = [after - before for before, after in zip((0, *self.rungs_images), self.rungs_images, strict=False)]
        return round(sum(lanes * images for lanes, images in zip(self.expected_lanes(trials), stretches, strict=True)))
