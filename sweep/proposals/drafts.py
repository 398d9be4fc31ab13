"""Drafts: a proposal is drawn beside the study that it is for, which receives it once it keeps the constraints."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import FrozenTrial


class Seen(Study):
    """A study as a sampler sees it: of the trials that it is shown. noted: what the sampler notes of the trial that it
    draws (a generation, an optimiser's state), which is not in the study yet; notes about the study itself go there.
    """

    def __init__(self, study: Study, trials: Sequence[FrozenTrial]) -> None:
        self.noted: dict[str, Any] = {}
        storage: Any = _Aside(study._storage, self.noted)
        super().__init__(study.study_name, storage, sampler=study.sampler)
        self._shown = trials

    def _get_trials(self, deepcopy: bool = True, states: Any = None, use_cache: bool = False) -> list[FrozenTrial]:
        found = [trial for trial in self._shown if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found


class _Aside:
    """A storage whose notes about the trial that is drawn are kept aside."""

    def __init__(self, storage: Any, noted: dict[str, Any]) -> None:
        self._storage, self._noted = storage, noted

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._noted[key] = value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


class _Looking(BaseSampler):
    """A sampler that draws for one study and looks at another. number: of the draft among the trials it looks at."""

    def __init__(self, sampler: BaseSampler, seen: Seen, number: int) -> None:
        self._sampler, self._seen, self._number = sampler, seen, number

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(self._seen, self._numbered(trial))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(self._seen, self._numbered(trial), search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(self._seen, self._numbered(trial), param_name, param_distribution)

    def _numbered(self, trial: FrozenTrial) -> FrozenTrial:
        found = copy.copy(trial)
        found.number = self._number
        return found


def draft(seen: Seen, sampler: BaseSampler, number: int, point: Mapping[str, Any] | None) -> optuna.Trial:
    """A trial that lets a sampler draw what is suggested to it. number: that it would have among those that the sampler
    sees; point: values that are known, which are not drawn.
    """
    scratch = optuna.create_study(
        storage=InMemoryStorage(), sampler=_Looking(sampler, seen, number), directions=seen.directions
    )
    if point is not None:
        scratch.enqueue_trial(dict(point))
    return scratch.ask()


def numbered(trial: FrozenTrial) -> FrozenTrial:
    """A trial whose number is its id, which is one sequence over all studies of a storage."""
    if trial.number == trial._trial_id:
        return trial
    found = copy.copy(trial)
    found.number = trial._trial_id
    return found
