"""What samplers are shown of trials that ended early, and of those that break limits of scores.

TPE reads trials as they were told: it ranks completed trials by their score, before pruned ones by how many images they
reached, before those that break limits by how far they are off, before those that died. The samplers of
LEARN_FROM_COMPLETED read completed trials alone, and with pruning most trials do not complete. Scores at different
rungs cannot be compared, so these samplers are shown an order in place of scores, in which every trial that ended has
its place:

- Trials that reached the same rung are ordered by their best rung: those that keep the limits by their score, before
  the others by how far they are off (`gan_core.config.limits`).
- A trial that stopped at a rung is placed among those that went on from it by where it stood at that rung: behind as
  many of them as were better there, and these are ordered as they are now. Where the rule pruned well that is behind
  all of them. A trial that went on alone, early in a sweep, is passed by those that were better at its rung.
- Trials that died, and proposals that broke a constraint, come last, and are infeasible.

The order makes no guess of how scores fall with more images, and does not change when scores are put on another scale.
It is shown as normal scores (the quantiles of a normal distribution at even steps), because a Gaussian process works
with the differences between values. Broken limits are shown as a constraint besides, which `gp` and `nsga2` know.
CMA-ES knows no constraints: it goes by the order alone, in which trials that break limits stand behind those that keep
them.
"""

import copy
import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from gan_core.config.limits import Place
from sweep.proposals.generations import notes
from sweep.proposals.journal import EXTENDS
from sweep.proposals.shown import ENDED

FIRST: Place = (-math.inf, -math.inf)
LEARN_FROM_COMPLETED = ("gp", "cmaes", "nsga2")
LEARN_NOTHING = ("random", "qmc", "grid")
LIMITS = "limits"  # the constraint of a trial that breaks limits of scores
VIOLATION = "violation:"  # begins the attribute of a trial that is by how much it broke limits by so many images
IMAGES = "images"  # the attribute of a pruned trial of several objectives, for which Optuna keeps no course


def as_seen_by(name: str, trials: Sequence[FrozenTrial], objectives: int) -> Sequence[FrozenTrial]:
    """The trials of a study as the sampler of this name is shown them, in the same order. Each has its identity as its
    number. objectives: how many the study has.
    """
    if name not in LEARN_FROM_COMPLETED:
        return [] if name in LEARN_NOTHING else trials
    again = {t.user_attrs[EXTENDS]: t for t in trials if EXTENDS in t.user_attrs}  # the last of each is its best
    trials = [t for t in trials if EXTENDS not in t.user_attrs]
    ended = [t for t in trials if t.state in ENDED]
    infeasible = {t.number: broken for t in ended if (broken := _broken(t)) > 0}
    limited = {t.number: off for t in ended if (off := again.get(t.number, t).constraints.get(LIMITS, 0.0)) > 0}
    scored = [t for t in ended if t.number not in infeasible and t.values]
    if objectives == 1:
        courses = {t.number: _course(t, again.get(t.number)) for t in scored}
        keys = [{number: place for place, number in enumerate(in_order(courses))}]
    else:
        off = {t.number: limited.get(t.number, 0.0) for t in scored}
        keys = [{t.number: (off[t.number], -_images(t), t.values[n]) for t in scored} for n in range(objectives)]
    scores = [_normal_scores(key, len(ended)) for key in keys]
    last = NormalDist().inv_cdf((len(scored) + len(ended)) / 2 / len(ended)) if len(scored) < len(ended) else 0.0
    constraints = {"infeasible": infeasible, LIMITS: limited}
    return [_shown(t, [score.get(t.number, last) for score in scores], constraints) for t in trials]


def violation_at(images: int, violation: float) -> dict[str, float]:
    """The attribute of a trial that says by how much it broke limits at its best rung by so many images; none if it
    kept them.
    """
    return {f"{VIOLATION}{images}": violation} if violation > 0 else {}


def in_order(courses: Mapping[int, Mapping[int, Place]]) -> list[int]:
    """Trials from best to worst, whatever rung each reached. courses: trial -> images -> the place of its best rung by
    then (`gan_core.config.limits`), for at least one number of images; a trial stopped at its most images.
    """
    order: list[int] = []
    for images in sorted({max(course) for course in courses.values()}, reverse=True):
        there = sorted(_at(courses[trial], images) for trial in order)
        places = [(place, FIRST, trial) for place, trial in enumerate(order, start=1)]
        for trial, course in courses.items():
            if max(course) == images:
                places.append((bisect_right(there, course[images]), course[images], trial))
        order = [trial for _, _, trial in sorted(places)]
    return order


def _at(course: Mapping[int, Place], images: int) -> Place:
    """The place of a trial by the time it had seen so many images."""
    reached = [i for i in course if i <= images]
    return course[max(reached) if reached else min(course)]


def _course(trial: FrozenTrial, again: FrozenTrial | None) -> dict[int, Place]:
    """Images -> its place by then, of a trial that has a score. again: the same trial after it went on."""
    course = {
        images: (told.user_attrs.get(f"{VIOLATION}{images}", 0.0), value)
        for told in (trial, *([] if again is None else [again]))
        for images, value in told.intermediate_values.items()
    }
    return course or {0: (trial.constraints.get(LIMITS, 0.0), trial.values[0])}


def _images(trial: FrozenTrial) -> float:
    return math.inf if trial.state is TrialState.COMPLETE else trial.user_attrs.get(IMAGES, 0)


def _broken(trial: FrozenTrial) -> float:
    """By how much a trial breaks its constraints in all, but for limits of scores; 0 where it breaks none."""
    return sum(amount for name, amount in trial.constraints.items() if amount > 0 and name != LIMITS)


def _normal_scores(keys: Mapping[int, Any], count: int) -> dict[int, float]:
    """The normal score of each key's rank among `count` trials, of which those without a key come last; equal keys have
    the same score.
    """
    ranks = sorted(keys.values())
    middle = {n: (bisect_left(ranks, key) + bisect_right(ranks, key)) / 2 for n, key in keys.items()}
    return {number: NormalDist().inv_cdf(rank / count) for number, rank in middle.items()}


def _shown(trial: FrozenTrial, values: list[float], constraints: Mapping[str, Mapping[int, float]]) -> FrozenTrial:
    """A trial with no attributes but its sampler's notes, and if it ended, as if it had completed with these values.
    constraints: name -> trial -> by how much it breaks it. Where any trial breaks one each has it, as a Gaussian
    process needs.
    """
    shown = copy.copy(trial)
    shown.system_attrs = notes(trial)
    if trial.state in ENDED:
        shown.state, shown.values = TrialState.COMPLETE, values
        for name, broken in constraints.items():
            if broken:
                shown.set_constraint(name, broken.get(trial.number, -1.0))
    return shown
