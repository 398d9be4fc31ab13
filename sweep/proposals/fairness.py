"""What samplers are shown of trials that ended early.

TPE reads trials as they were told: completed ones by score, before pruned ones by how far they came, before dead ones.
The samplers of LOOK_AT_COMPLETED know completed trials alone, and with pruning most are none. A score at a lower rung
is no score at the last one, so they are shown no scores but an order, in which every trial that ended has its place:

- Trials that came equally far stand by their best score.
- One that stopped at a rung stands among those that went on from it where it stood at that rung: behind so many of
  them as were better there, and these stand as they do now. Where the rule pruned well that is behind them all; one
  that went on alone, early in a sweep, is passed by what was better at its rung.
- Dead ones, and proposals that were refused, come last, and are infeasible.

Nothing is guessed of how scores fall with images, and nothing changes when all scores are squared. The order is told as
normal scores (the quantiles of a normal distribution at even steps), because a Gaussian process takes differences for
what they are, and broken limits cost a thousand (`gan_core.fidelity.distances`).
"""

import copy
import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sweep.proposals.journal import EXTENDS

LOOK_AT_COMPLETED = ("gp", "cmaes", "nsga2")
IMAGES = "images"  # the attribute of a pruned trial of several objectives, of which Optuna keeps no course
GENERATION = "NSGAIISampler:generation"  # the attribute by which Optuna's NSGA-II knows a population


def as_seen_by(name: str, trials: Sequence[FrozenTrial], objectives: int) -> Sequence[FrozenTrial]:
    """The trials of a study as the sampler of this name is shown them, in the same order; objectives: how many."""
    if name not in LOOK_AT_COMPLETED:
        return trials
    again = {t.user_attrs[EXTENDS]: t for t in trials if EXTENDS in t.user_attrs}  # the last of each is its best
    trials = [t for t in trials if EXTENDS not in t.user_attrs]
    ended = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    infeasible = {t.number: broken for t in ended if (broken := _broken(t)) > 0}
    scored = [t for t in ended if t.number not in infeasible and t.values]
    if objectives == 1:
        courses = {t.number: _course(t, again.get(t._trial_id)) for t in scored}
        keys = [{number: place for place, number in enumerate(in_order(courses))}]
    else:
        keys = [{t.number: (-_images(t), values[n]) for t in scored if (values := t.values)} for n in range(objectives)]
    scores = [_normal_scores(key, len(ended)) for key in keys]
    last = NormalDist().inv_cdf((len(scored) + len(ended)) / 2 / len(ended)) if len(scored) < len(ended) else 0.0
    return [
        _completed(t, [score.get(t.number, last) for score in scores], infeasible, name)
        if t.state in (TrialState.COMPLETE, TrialState.PRUNED)
        else t
        for t in trials
    ]


def in_order(courses: Mapping[int, Mapping[int, float]]) -> list[int]:
    """Trials from best to worst, whatever rung each came to. courses: trial -> images -> its best score so far there,
    lower is better, at least one of each; a trial stopped at its most images.
    """
    order: list[int] = []
    for images in sorted({max(course) for course in courses.values()}, reverse=True):
        there = sorted(_at(courses[trial], images) for trial in order)
        places = [(place, -math.inf, trial) for place, trial in enumerate(order, start=1)]
        for trial, course in courses.items():
            if max(course) == images:
                places.append((bisect_right(there, course[images]), course[images], trial))
        order = [trial for _, _, trial in sorted(places)]
    return order


def _at(course: Mapping[int, float], images: int) -> float:
    """The best score of a trial when it had come so far."""
    reached = [i for i in course if i <= images]
    return course[max(reached) if reached else min(course)]


def _course(trial: FrozenTrial, again: FrozenTrial | None) -> dict[int, float]:
    """Images -> best score so far, of a trial that has a score; again: the same trial, told a second time."""
    later = again.intermediate_values if again is not None else {}
    return {**trial.intermediate_values, **later} or {0: trial.values[0]}


def _images(trial: FrozenTrial) -> float:
    return math.inf if trial.state is TrialState.COMPLETE else trial.user_attrs.get(IMAGES, 0)


def _broken(trial: FrozenTrial) -> float:
    """By how much a trial is infeasible; 0 where it is not."""
    return sum(amount for amount in trial.constraints.values() if amount > 0)


def _normal_scores(keys: Mapping[int, Any], count: int) -> dict[int, float]:
    """The normal score of each key's rank among so many, of which those without a key come last; ties share one."""
    ranks = sorted(keys.values())
    middle = {n: (bisect_left(ranks, key) + bisect_right(ranks, key)) / 2 for n, key in keys.items()}
    return {number: NormalDist().inv_cdf(rank / count) for number, rank in middle.items()}


def _completed(trial: FrozenTrial, values: list[float], infeasible: Mapping[int, float], sampler: str) -> FrozenTrial:
    """A trial as one that completed. Where any is infeasible each has the one constraint, as a Gaussian process needs.
    Known points, which NSGA-II did not draw, are of its first generation.
    """
    found = copy.copy(trial)
    found.state, found.values = TrialState.COMPLETE, values
    found.system_attrs = {k: v for k, v in trial.system_attrs.items() if not k.startswith("constraints:")}
    if sampler == "nsga2":
        found.system_attrs.setdefault(GENERATION, 0)
    if infeasible:
        found.set_constraint("infeasible", infeasible.get(trial.number, -1.0))
    return found
