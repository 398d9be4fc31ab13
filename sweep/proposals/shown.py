"""The study in memory in which a sampler draws, and which trials of a long study it is shown there.

A run's own study is in the journal. A sampler is never asked in it: it would write there what it drew, and it would see
every trial as it was told. It is asked in a study in memory that holds what it may learn from. What it draws becomes a
trial of the run's study once the configuration has been accepted.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

# Trials of a long study that a sampler is shown. TPE counts at most 25 trials as good, and goes through all that it is
# shown for each hyperparameter. In a study of 1,000 formula trials with five hyperparameters (`benchmarks.formulas`, 32
# lanes a cohort) a proposal took 11 ms of CPU time with 250, 16 ms with 500 and 21 ms with 1,000. The best and the
# median score of completed trials were 0.038 and 0.046 with each.
LATEST, BEST = 250, 25
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class DrawingStudy:
    """A study in memory with the trials that a sampler is shown. What was drawn stays in it as a running trial, so that
    samplers keep away from it (the constant liar of TPE). objectives: how many, all minimised.
    """

    def __init__(self, trials: Iterable[FrozenTrial], objectives: int) -> None:
        directions = [StudyDirection.MINIMIZE] * objectives
        self._study = optuna.create_study(
            storage=InMemoryStorage(), sampler=RandomSampler(seed=0), directions=directions
        )
        self._study.add_trials(trials)

    def draw(
        self,
        sampler: BaseSampler,
        suggest: Callable[[optuna.Trial], dict[str, Any]],
        point: Mapping[str, Any] | None = None,
    ) -> tuple[dict[str, Any], FrozenTrial]:
        """What `suggest` let a new trial draw with this sampler, and that trial with what the sampler noted of it.
        point: values that are known, which are not drawn.
        """
        self._study.sampler = sampler
        if point is not None:
            self._study.enqueue_trial(dict(point))
        drawn = suggest(self._study.ask())
        return drawn, self._study.get_trials(deepcopy=False)[-1]

    def draw_from(self, sampler: BaseSampler, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
        """A new trial with a value for each of these distributions."""
        self._study.sampler = sampler
        self._study.ask(dict(distributions))
        return self._study.get_trials(deepcopy=False)[-1]


def best_and_latest(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Of the trials that ended the BEST best, in the order of TPE, and the LATEST latest; and all that are running. For
    one objective.
    """
    ended = [trial for trial in trials if trial.state in ENDED]
    best = heapq.nsmallest(BEST, ended, key=_place) if len(ended) > LATEST else []
    kept = {trial.number for trial in [*best, *ended[-LATEST:]]}
    return [trial for trial in trials if trial.number in kept or trial.state is TrialState.RUNNING]


def _place(trial: FrozenTrial) -> tuple[float, ...]:
    """How good TPE takes a trial to be, lower is better: completed trials by their value, before pruned trials by how
    many images they reached and their score there, before infeasible ones by how much they break their constraints.
    """
    if broken := sum(amount for amount in trial.constraints.values() if amount > 0):
        return 2, broken
    if trial.state is TrialState.PRUNED:
        images, score = max(trial.intermediate_values.items(), default=(-1, math.inf))
        return 1, -images, score
    return 0, trial.values[0]
