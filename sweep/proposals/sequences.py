"""Points that are known by their turn: of a quasi-random sequence, and of a shuffled grid.

Optuna's own samplers for both count what was asked in the study. A process that is killed asks again, and would leave
points out (qmc) or take them as visited (grid). A turn depends on the trial alone.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.space import SearchSpace
from sweep.spec.sampler import SamplerConfig


def point_by_turn(sampler: SamplerConfig, space: SearchSpace, seed: int, turn: int) -> dict[str, Any] | None:
    """Parameter -> its value at a turn, from 0, of the samplers that go through a sequence; None for the others."""
    if sampler.name == "qmc":
        return _qmc_point(space, sampler.options, seed, turn)
    return _grid_point(space, sampler.options.get("points"), seed, turn) if sampler.name == "grid" else None


def _qmc_point(space: SearchSpace, options: Mapping[str, Any], seed: int, turn: int) -> dict[str, Any]:
    """The point at a turn of a Sobol or Halton sequence, scrambled unless told otherwise; the same as of Optuna's
    QMCSampler.
    """
    from scipy.stats import qmc  # which takes long to load

    searched = {name: found for name, found in sorted(space.distributions().items()) if not found.single()}
    if not searched:
        return {}
    kind = {"sobol": qmc.Sobol, "halton": qmc.Halton}[options.get("qmc_type", "sobol")]
    sequence = kind(len(searched), scramble=options.get("scramble", True), seed=seed)  # `rng` gives other points
    if turn:
        sequence.fast_forward(turn)
    shares = sequence.random(1)[0]
    return {name: _at(found, float(share)) for (name, found), share in zip(searched.items(), shares, strict=True)}


def _at(distribution: Any, share: float) -> Any:
    """The value at a share of a distribution's scale, at least 0 and below 1. Values in steps have equal parts of the
    scale, those at the ends too.
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(share * len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step or 0.0
    if distribution.log:
        least, most = math.log(low - step / 2), math.log(high + step / 2)
        value = math.exp(least + share * (most - least))
    else:
        value = low - step / 2 + share * (high - low + step)
    if step:
        places = (value - low) / step
        value = low + step * (
            round(places) if isinstance(distribution, FloatDistribution) else math.floor(places + 0.5)
        )
    return min(max(value, low), high)


def _grid_point(space: SearchSpace, points: int | None, seed: int, turn: int) -> dict[str, Any]:
    """The point at a turn of the space's grid in a shuffled order."""
    grid = space.grid(points)
    shape = [len(values) for values in grid.values()]
    place = np.random.default_rng(seed).permutation(math.prod(shape))[turn]
    chosen = np.unravel_index(place, shape)
    return {name: values[index] for (name, values), index in zip(grid.items(), chosen, strict=True)}
