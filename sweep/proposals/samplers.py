"""Which Optuna sampler proposes, by name, with its options. Optuna is loaded when one is made."""

import io
import math
import pickle
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from search_spaces.space import SearchSpace
from sweep.spec.sampler import TPE_STARTS_AFTER, SamplerConfig, first_trials

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from sweep.proposals.tpe import History

LOADABLE = {  # what a CMA-ES optimiser is made of
    *(("cmaes._cma", "CMA"), ("cmaes._cmawm", "CMAwM"), ("cmaes._sepcma", "SepCMA")),
    *(("numpy", "dtype"), ("numpy", "ndarray")),
    *(("numpy._core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "scalar")),
}


def build_sampler(
    sampler: SamplerConfig,
    space: SearchSpace,
    seeds: tuple[int, int],
    turn: int,
    history: "History",
    objectives: int = 1,
) -> "BaseSampler":
    """Optuna's sampler for one proposal. seeds: of the study, for those that go through one sequence (qmc, grid), and
    of this proposal; turn: the proposal's place in that sequence, from 0. history: the same one for all proposals of a
    study; objectives: how many it has.
    """
    from optuna import samplers

    options, (study_seed, seed) = dict(sampler.options), seeds
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some options are experimental
        match sampler.name:
            case "random":
                return samplers.RandomSampler(seed=seed)
            case "gp":
                rest = _for_the_rest(space, seed, options, history)
                return samplers.GPSampler(
                    seed=seed, independent_sampler=rest, warn_independent_sampling=False, **options
                )
            case "cmaes":
                return _cmaes(seed, options, _for_the_rest(space, seed, options, history))
            case "qmc":
                return _qmc(space, {"seed": study_seed, "scramble": True, **options}, turn)
            case "nsga2":
                return samplers.NSGAIISampler(seed=seed, **{**options, **dict([first_trials(sampler, objectives)])})
            case "grid":
                point = _grid_point(space, options.get("points"), study_seed, turn)
                return samplers.PartialFixedSampler(point, samplers.RandomSampler(seed=seed))
        from sweep.proposals.tpe import QuickTPESampler

        return QuickTPESampler(space, {"seed": seed, **options}, history)


def _for_the_rest(space: SearchSpace, seed: int, options: Mapping[str, Any], history: "History") -> "BaseSampler":
    """What draws the values that a sampler cannot search, categories or what exists under a condition, and the first
    trials: TPE, which begins at random and no earlier than that sampler.
    """
    from sweep.proposals.tpe import QuickTPESampler

    starts = max(TPE_STARTS_AFTER, options.get("n_startup_trials", 0))
    return QuickTPESampler(space, {"seed": seed, "n_startup_trials": starts}, history)


def _qmc(space: SearchSpace, options: dict[str, Any], turn: int) -> "BaseSampler":
    """The point of a sequence by its turn. Optuna's own counts what was asked for, so that a killed owner, whose
    proposals are asked for anew, would leave points out; and it draws its first points at random.
    """
    from optuna.samplers import QMCSampler

    whole = {n: found for n, found in sorted(space.distributions().items()) if not found.single()}

    class TurnQMCSampler(QMCSampler):
        def infer_relative_search_space(self, study: "Study", trial: "FrozenTrial") -> "dict[str, BaseDistribution]":
            return whole

        def _find_sample_id(self, study: "Study", search_space: "dict[str, BaseDistribution]") -> int:
            return turn

    return TurnQMCSampler(warn_independent_sampling=False, **options)


def _grid_point(space: SearchSpace, points: int | None, seed: int, turn: int) -> dict[str, Any]:
    """The point of a shuffled grid by its turn. Optuna's own takes what a killed owner asked for as visited."""
    grid = space.grid(points)
    shape = [len(values) for values in grid.values()]
    place = np.random.default_rng(seed).permutation(math.prod(shape))[turn]
    chosen = np.unravel_index(place, shape)
    return {name: values[index] for (name, values), index in zip(grid.items(), chosen, strict=True)}


def _cmaes(seed: int, options: dict[str, Any], rest: "BaseSampler") -> "BaseSampler":
    """Optuna keeps the optimiser of CMA-ES as a pickle in its journal, which is a file that may come from a stranger:
    here only what such an optimiser is made of is loaded from it.
    """
    from optuna.samplers import CmaEsSampler

    class GuardedCmaEsSampler(CmaEsSampler):
        def _restore_optimizer(self, completed_trials: "list[FrozenTrial]") -> Any:
            for trial in reversed(completed_trials):
                kept = {k: v for k, v in trial.system_attrs.items() if k.startswith(self._attr_key_optimizer)}
                if kept:
                    return _GuardedUnpickler(io.BytesIO(bytes.fromhex(self._concat_optimizer_attrs(kept)))).load()
            return None

    return GuardedCmaEsSampler(seed=seed, independent_sampler=rest, warn_independent_sampling=False, **options)


class _GuardedUnpickler(pickle.Unpickler):
    """Loads what a CMA-ES optimiser is made of, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in LOADABLE:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"the journal's CMA-ES state names {module}.{name}; it was changed by hand")
