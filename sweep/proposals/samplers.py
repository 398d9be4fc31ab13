"""The Optuna sampler that draws one proposal, by its name in a sweep's file and with the options there."""

import warnings
from collections.abc import Mapping
from typing import Any

from optuna import samplers

from search_spaces.space import SearchSpace
from sweep.spec.sampler import TPE_STARTS_AFTER, SamplerConfig, first_trials


def build_sampler(sampler: SamplerConfig, space: SearchSpace, seed: int, objectives: int = 1) -> samplers.BaseSampler:
    """A sampler with its own stream of random numbers. The points of qmc and grid are drawn by their turn
    (`sweep.proposals.sequences`): of them this is the sampler that draws nothing more.
    """
    options = dict(sampler.options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some options are experimental
        match sampler.name:
            case "tpe":
                return _tpe(space, seed, options)
            case "gp":
                rest = _for_the_rest(space, seed, options)
                return samplers.GPSampler(
                    seed=seed, independent_sampler=rest, warn_independent_sampling=False, **options
                )
            case "cmaes":
                rest = _for_the_rest(space, seed, options)
                return samplers.CmaEsSampler(
                    seed=seed, independent_sampler=rest, warn_independent_sampling=False, **options
                )
            case "nsga2":
                return samplers.NSGAIISampler(seed=seed, **{**options, **dict([first_trials(sampler, objectives)])})
    return samplers.RandomSampler(seed=seed)


def _tpe(space: SearchSpace, seed: int, options: Mapping[str, Any]) -> samplers.BaseSampler:
    """TPE that models each parameter by itself, unless `multivariate` or `group` is asked for.

    Optuna's default models them jointly. Jointly, a value of a category that the few good trials lack is taken for bad
    together with all that they have in common, so that the search stays with what the first good trial had, also in
    what decides how good a GAN becomes (its width, its average). The gaussian sweep with pruning (`benchmarks.sweep`)
    ended at 0.005, 0.013 and 0.005 in seeds 0 to 2 with single models, and at 0.081, 0.018 and 0.020 with joint ones.
    """
    jointly = options.get("multivariate", options.get("group", False))
    group = options.get("group", jointly and space.is_conditional)
    return samplers.TPESampler(seed=seed, **{**options, "multivariate": jointly, "group": group})


def _for_the_rest(space: SearchSpace, seed: int, options: Mapping[str, Any]) -> samplers.BaseSampler:
    """What draws the first trials, and the values that a sampler cannot search (categories, and what exists only under
    a condition): TPE, which begins to search no earlier than that sampler does.
    """
    starts = max(TPE_STARTS_AFTER, options.get("n_startup_trials", 0))
    return _tpe(space, seed, {"n_startup_trials": starts})
