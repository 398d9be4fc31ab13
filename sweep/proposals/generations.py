"""The generations of CMA-ES and NSGA-II.

Both propose a generation from the one before. In Optuna they note the generation of each trial among its attributes,
and keep there or in the study what else they need: CMA-ES its optimiser, as a pickle, and NSGA-II the parents of each
generation. The journal keeps no pickle. It may come from a stranger, so none is ever read from it either: the
optimiser is computed again from the trials, generation by generation.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import NSGAIISampler
from optuna.search_space import intersection_search_space
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces.space import SearchSpace
from sweep.proposals.samplers import build_sampler
from sweep.proposals.shown import DrawingStudy
from sweep.spec.sampler import SamplerConfig

GENERATION, POSITION = "generation", "x_for_tell"  # how the names of these attributes end
DRAWN_JOINTLY = "relative_params"  # what is in the names of those with the values that a sampler drew at once, as JSON


def notes(trial: FrozenTrial) -> dict[str, Any]:
    """What a sampler noted of a trial that the journal keeps: its generation, where CMA-ES with margin drew it, and the
    values that were drawn at once, of which some may not exist in the trial.
    """
    return {
        name: value
        for name, value in trial.system_attrs.items()
        if name.endswith((GENERATION, POSITION)) or DRAWN_JOINTLY in name
    }


def generation(trial: FrozenTrial) -> int:
    """The generation of a trial, from 0; -1 where its sampler noted none, as for known points."""
    return next((value for name, value in trial.system_attrs.items() if name.endswith(GENERATION)), -1)


# ---- NSGA-II


@cache
def nsga2_generation_name() -> str:
    """The name under which Optuna's NSGA-II notes the generation of a trial."""
    trial = DrawingStudy([], 1).draw_from(NSGAIISampler(seed=0), {"x": FloatDistribution(0.0, 1.0)})
    return next(iter(notes(trial)))


def shown_in_two_generations(trials: Sequence[FrozenTrial]) -> tuple[list[FrozenTrial], int]:
    """The trials as NSGA-II is shown them, the latest generation as 1 and all before it as 0, known points too; and
    which generation is called 0. Parents are the best of all before either way. Optuna looks for them by recursion
    through all generations, and Python allows only a few hundred. Changes the attributes of the trials.
    """
    completed = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    first = max(0, max(map(generation, completed), default=0) - 1)
    for trial in completed:
        trial.system_attrs = {**trial.system_attrs, nsga2_generation_name(): max(0, generation(trial) - first)}
    return list(trials), first


def generations_from(first: int, noted: Mapping[str, Any]) -> dict[str, Any]:
    """What was noted in a study in which the generation `first` is called 0, as the journal keeps it."""
    return {name: value + first if name.endswith(GENERATION) else value for name, value in noted.items()}


# ---- CMA-ES


class Optimisers:
    """The optimisers of CMA-ES after each generation that is complete, each computed once. sampler: the study's."""

    def __init__(self, sampler: SamplerConfig, space: SearchSpace) -> None:
        self._sampler, self._space = sampler, space
        self._known: list[tuple[Any, Mapping[str, str]]] = []  # what each generation was told, and the optimiser then

    def shown_in(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """The trials with the optimiser among the attributes of the last completed one, where the sampler finds it.
        Changes the attributes of the trials.
        """
        completed = [trial for trial in trials if trial.state is TrialState.COMPLETE]
        space = intersection_search_space(completed)
        numbers = {name: found for name, found in space.items() if not isinstance(found, CategoricalDistribution)}
        searched = {name: found for name, found in numbers.items() if not found.single()}
        for trial in completed:  # under conditions the space that all trials share becomes smaller
            position = next((value for name, value in trial.system_attrs.items() if name.endswith(POSITION)), None)
            if position is not None and len(position) != len(searched):
                trial.system_attrs = {}
        if searched and (optimiser := self._after(completed, searched)):
            completed[-1].system_attrs = {**completed[-1].system_attrs, **optimiser}
        return list(trials)

    def _after(self, completed: Iterable[FrozenTrial], space: Mapping[str, Any]) -> Mapping[str, str]:
        """The optimiser after the last generation that is complete, as the attributes of a trial; empty before."""
        members = dict[int, list[FrozenTrial]]()
        for trial in completed:
            members.setdefault(generation(trial), []).append(trial)
        before: Mapping[str, str] = {}
        for number in range(max(members, default=-1) + 1):
            there = members.get(number, [])
            told = [trial.number for trial in sorted(there, key=lambda trial: trial.values[0])], space
            if number == len(self._known) or self._known[number][0] != told:
                self._known[number:] = [(told, self._told(there, before, space))]
            if not (optimiser := self._known[number][1]):
                break
            before = optimiser
        return before

    def _told(
        self, members: Sequence[FrozenTrial], optimiser: Mapping[str, str], space: Mapping[str, Any]
    ) -> dict[str, str]:
        """The optimiser once it has been told a generation; empty where it waits for more members. Optuna's sampler
        tells it when it is asked for a trial, and writes it to that trial as text.
        """
        shown = [
            create_trial(
                values=trial.values,
                params={name: trial.params[name] for name in space},
                distributions=dict(space),
                system_attrs={**trial.system_attrs, **(optimiser if trial is members[0] else {})},
            )
            for trial in members
        ]
        ready = replace(self._sampler, options={**self._sampler.options, "n_startup_trials": 1})
        asked = DrawingStudy(shown, 1).draw_from(build_sampler(ready, self._space, seed=0), space)
        return {name: value for name, value in asked.system_attrs.items() if isinstance(value, str)}
