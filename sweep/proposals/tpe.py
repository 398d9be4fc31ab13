"""TPE as Optuna has it, quick in a long study."""

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search_spaces.space import SearchSpace

LATEST, BEST = 1_000, 25  # trials of a long study that TPE looks at; 25 is its own most of good ones
Values = dict[str, np.ndarray]  # parameter -> those of some trials, as TPE has them inside


@dataclass
class History:
    """What TPE has read of a study's trials. places: how good it takes those that ended to be, by number; told: how
    many times one was told. When they were last read: at, what told was then; ended, how many had; halves, the numbers
    and values of the good ones and of the others.
    """

    places: dict[int, tuple] = field(default_factory=dict)
    told: int = 0
    at: int = -1
    ended: int = 0
    halves: list[tuple[list[int], Values]] = field(default_factory=list)


class QuickTPESampler(TPESampler):
    """TPE that models each parameter by itself, unless `multivariate` is asked for, and stays quick in a long study.

    Optuna's default models them jointly, and takes a category that the few good trials lack for bad with all that they
    have: of what decides how good a GAN gets (its width, its average), what the first good trial had would stay. The
    gaussian sweep with pruning (`benchmarks.sweep`) ended at 0.005, 0.013 and 0.005 in seeds 0 to 2 with single models,
    at 0.081, 0.018 and 0.020 with joint ones.

    Optuna's own looks through all trials, at each proposal, for what they have in common: in a space without conditions
    that is known. And of more than LATEST trials it is shown the best, as many as it models as good, and the latest.
    Single models read it once for all proposals between which no trial is told.
    """

    def __init__(self, space: SearchSpace, options: Mapping[str, Any], history: History) -> None:
        """options: TPESampler's, its seed among them. history: the same one for all proposals of a study."""
        jointly = options.get("multivariate", options.get("group", False))
        grouped = options.get("group", jointly and space.is_conditional)
        super().__init__(**{**options, "multivariate": jointly, "group": grouped})
        self._jointly, self._grouped, self._conditional = jointly, grouped, space.is_conditional
        self._whole = {n: found for n, found in sorted(space.distributions().items()) if not found.single()}
        self._history, self._halves = history, list[Values]()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if self._jointly and not self._grouped:
            return self._whole
        return super().infer_relative_search_space(study, trial)

    def _sample(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        if len(study.directions) > 1 or self._grouped:
            return super()._sample(study, trial, search_space)
        if self._jointly:
            return super()._sample(best_and_latest(study, self._history.places), trial, search_space)
        good, others = (
            self._parzen_estimator_cls(
                {name: half[name] for name in search_space}, search_space, self._parzen_estimator_parameters
            )
            for half in self._observed(study, trial, search_space if self._conditional else self._whole)
        )
        candidates = good.sample(self._rng.rng, self._n_ei_candidates)
        chosen = self._compare(candidates, self._compute_acquisition_func(candidates, good, others))
        return {name: found.to_external_repr(chosen[name]) for name, found in search_space.items()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As Optuna's, which counts all trials for each parameter of a proposal."""
        if self._jointly or self._conditional or len(study.directions) > 1:
            return super().sample_independent(study, trial, param_name, param_distribution)
        self._read_ended(study, self._whole)
        if self._history.ended < self._n_startup_trials:
            return self._random_sampler.sample_independent(study, trial, param_name, param_distribution)
        return self._sample(study, trial, {param_name: param_distribution})[param_name]

    def _observed(self, study: Study, trial: FrozenTrial, wanted: dict[str, BaseDistribution]) -> list[Values]:
        """The values of the good trials and of the others, which are the same for all parameters of a proposal.
        What is running stands among the others, in the order of numbers, unless `constant_liar` is off.
        """
        if not self._halves or self._conditional:
            self._read_ended(study, wanted)
            (_, good), (numbers, others) = self._history.halves
            if self._constant_liar:
                running = study._get_trials(deepcopy=False, states=(TrialState.RUNNING,))
                more, theirs = self._read(study, [t for t in running if t.number != trial.number], wanted)
                order = np.argsort([*numbers, *more])
                others = {name: np.concatenate([others[name], theirs[name]])[order] for name in wanted}
            self._halves = [good, others]
        return self._halves

    def _read_ended(self, study: Study, wanted: dict[str, BaseDistribution]) -> None:
        """Reads all that have ended, where one was told since that was done."""
        if self._history.at == self._history.told and not self._conditional:
            return
        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        trials = best_and_latest(study, self._history.places)._get_trials(deepcopy=False, states=ended)
        halves = _split_trials(study, trials, default_gamma(len(trials)))
        self._history.halves = [self._read(study, half, wanted) for half in halves]
        self._history.at, self._history.ended = self._history.told, len(study._get_trials(deepcopy=False, states=ended))

    def _read(
        self, study: Study, trials: list[FrozenTrial], wanted: dict[str, BaseDistribution]
    ) -> tuple[list[int], Values]:
        """The numbers and values of those trials that have all that is wanted."""
        whole_ones = [trial for trial in trials if wanted.keys() <= trial.params.keys()]
        return [trial.number for trial in whole_ones], self._get_internal_repr(whole_ones, wanted, study)


def best_and_latest(study: Study, places: dict[int, tuple]) -> Study:
    """A study as seen by a sampler: the BEST best of its trials, in TPE's own order, and the LATEST latest. places: of
    trials that have ended, by number; what is missing is filled in.
    """

    class ShortenedStudy(Study):
        def _get_trials(self, deepcopy: bool = True, states: Any = None, use_cache: bool = False) -> Any:
            found = study._get_trials(deepcopy, states, use_cache)
            if use_cache or len(found) <= LATEST:  # with a cache they are only counted
                return found
            older, latest = found[:-LATEST], found[-LATEST:]
            for trial in found:
                if trial.number not in places and trial.state.is_finished():
                    places[trial.number] = _place(trial)
            best = set(heapq.nsmallest(BEST, (t.number for t in found if t.number in places), key=places.__getitem__))
            return [*(t for t in older if t.number in best or not t.state.is_finished()), *latest]

    return ShortenedStudy(study.study_name, study._storage)


def _place(trial: FrozenTrial) -> tuple[float, bool, int, float]:
    """How good TPE takes a trial to be, lower is better: completed ones by value, before pruned ones by how far they
    came, before infeasible ones by how much they break.
    """
    if broken := sum(amount for amount in trial.constraints.values() if amount > 0):
        return broken, False, 0, 0.0
    if trial.state == TrialState.PRUNED:
        step, value = max(trial.intermediate_values.items(), default=(-1, math.inf))
        return 0.0, True, -step, value
    return 0.0, False, 0, math.inf if trial.value is None else trial.value
