"""Population-based training: which members copy which at a rung, and how copies explore. Pure logic, no torch.

Truncation selection, perturbation and resampling are those of Jaderberg et al. 2017, section 4. Three things are ours:
a difference that may be noise makes nobody copy, the dead always copy, and what is perturbed is the parameter that the
space draws, which may be the ratio of two rates or 1 minus a decay.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from gan_core.config.arguments import CHANGING_PREFIXES
from gan_core.config.fields import as_number, check_fields, describe, fitted, ranged
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError, nearest, shown
from gan_core.config.limits import Place, place
from gan_core.config.structure import StructureConfig

CERTAIN_ERRORS = 2.0  # a difference counts from so many standard errors of the worse score on
EXPLORATIONS = 20  # attempts to find a change that keeps the constraints
PERTURB = "population.perturb"


class Scope(Protocol):
    """What the population needs of a range; `search_spaces.ranges.Range` has it."""

    @property
    def choices(self) -> tuple[Any, ...]: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def log(self) -> bool: ...
    @property
    def step(self) -> float | None: ...
    def parameter(self, name: str) -> str: ...


class Space(Protocol):
    """What the population needs of a space; `search_spaces.space.SearchSpace` has it. A parameter is what is drawn,
    from which the values of a configuration follow.
    """

    @property
    def ranges(self) -> Mapping[str, Any]: ...
    def parameters_of(self, values: Mapping[str, Any], *, nearest: bool = False) -> dict[str, Any]: ...
    def configuration(self, parameters: Mapping[str, Any], seed: int) -> GanConfig: ...
    def violations(self, config: GanConfig) -> Mapping[str, float]: ...


@dataclass(frozen=True, kw_only=True)
class PopulationConfig:
    """How a population exploits and explores. perturb: two factors, one below 1 and one above; a parameter is
    multiplied by either with equal probability. Raises InputError for a value of the wrong type or out of range.
    """

    exploit_fraction: float = ranged(0.25, "share of members that copy, and that are copied", low=0.01, high=0.5)
    perturb: tuple[float, float] = (0.8, 1.25)
    resample_probability: float = ranged(0.25, "chance that a parameter is drawn anew", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        check_fields("population", self)
        down, up = self.perturb
        if not 0 < down < 1 < up < math.inf:
            raise InputError(f"{PERTURB} must be a factor between 0 and 1 and one above 1, got [{down:g}, {up:g}]")

    @classmethod
    def read(cls, values: Any) -> "PopulationConfig":
        """From a mapping of a file; what it does not name has its default. Raises InputError also for unknown keys."""
        known = describe(cls)
        if not isinstance(values, Mapping):
            raise InputError(f"population must map {', '.join([*known, 'perturb'])} to values, got {shown(values)}")
        given: dict[str, Any] = {}
        for name, value in values.items():
            if name == "perturb":
                given[name] = _factors(value)
            elif name in known:
                given[name] = fitted(f"population.{name}", known[name], value)
            else:
                raise InputError(f"unknown key {shown(str(name))} in population; {nearest(name, [*known, 'perturb'])}")
        return cls(**given)


def _factors(value: Any) -> tuple[float, float]:
    numbers = [as_number(float, one) for one in value] if isinstance(value, list | tuple) else []
    if len(numbers) != 2 or not all(isinstance(one, float) for one in numbers):
        raise InputError(f"{PERTURB} must be two factors, such as [0.8, 1.25], got {shown(value)}")
    return numbers[0], numbers[1]


@dataclass(frozen=True)
class Member:
    """A trial of a population at a rung. score: its score there, lower is better; not finite if the trial is dead.
    error: the standard error of the score, 0 or NaN if it is not known. violation, violation_error: the same of limits
    that it breaks there.
    """

    trial: int
    config: GanConfig
    score: float
    error: float = 0.0
    violation: float = 0.0
    violation_error: float = 0.0

    @property
    def lives(self) -> bool:
        return math.isfinite(self.score)

    @property
    def place(self) -> Place:
        """Its place in the order of `gan_core.config.limits`; dead trials come last."""
        return place(self.score, self.violation)


@dataclass(frozen=True)
class Move:
    """What a member does after a rung, and why: it goes on from the state of trial `source`, which may be itself, with
    `config`, which has the structure and the seeds of the source.
    """

    trial: int
    source: int
    config: GanConfig
    reason: str


def plan(members: Sequence[Member], space: Space, settings: PopulationConfig, rung: int, seed: int) -> tuple[Move, ...]:
    """One move for each member. Their order decides nothing: a move depends on the set of members and on (seed, rung,
    trial) alone. Members copy only others of equal structure, and the best of each structure always stay as they are.
    """
    groups: dict[StructureConfig, list[Member]] = {}
    for member in members:
        groups.setdefault(member.config.structure, []).append(member)
    moves: dict[int, Move] = {}
    for group in groups.values():
        ranked = sorted(group, key=lambda member: (member.place, member.trial))
        for rank, member in enumerate(ranked):
            generator = np.random.default_rng([seed, rung, member.trial])
            donor, why = _donor(rank, ranked, settings, generator)
            if donor is None:
                moves[member.trial] = Move(member.trial, member.trial, member.config, why)
            else:
                config, changes = explore(donor.config, space, settings, generator)
                moves[member.trial] = Move(member.trial, donor.trial, config, "; ".join((why, *changes)))
    return tuple(moves[member.trial] for member in members)


def _donor(
    rank: int, ranked: Sequence[Member], settings: PopulationConfig, generator: np.random.Generator
) -> tuple[Member | None, str]:
    """The member that this one copies and the reason; None if it copies none. rank: this member's place, from 0, in
    `ranked`, which has all members of its structure, best first.
    """
    member, living = ranked[rank], [member for member in ranked if member.lives]
    many = max(1, math.floor(settings.exploit_fraction * len(ranked))) if len(ranked) > 1 else 0
    if member.lives and rank < len(ranked) - many:
        return None, f"kept: place {rank + 1} of {len(ranked)}"
    if not living or many == 0:
        return None, "kept: there is no other of its structure that lives"
    donor = living[:many][generator.integers(min(many, len(living)))]
    if not member.lives:
        return donor, f"dead, copied trial {donor.trial}"
    if member.violation == donor.violation:
        behind, error, what = member.score - donor.score, member.error, ""
    else:
        behind, error, what = member.violation - donor.violation, member.violation_error, " in its limits"
    certain = CERTAIN_ERRORS * error
    if behind < certain or behind <= 0:
        return None, f"kept: {behind:.3g} behind trial {donor.trial}{what}, and less than {certain:.3g} may be noise"
    return donor, f"copied trial {donor.trial}"


def explore(
    config: GanConfig, space: Space, settings: PopulationConfig, generator: np.random.Generator
) -> tuple[GanConfig, tuple[str, ...]]:
    """A configuration in which every parameter of its lane, or of its own training, that is searched is perturbed or
    drawn anew, within its range and the constraints; and the changes in words. Structure and seeds stay. A parameter
    that is searched only because of a change begins at its base value, or at the nearest value in its range.
    """
    parameters = space.parameters_of(config.flatten(), nearest=True)
    for _ in range(EXPLORATIONS):
        found, changes = dict(parameters), []
        for name, scope in sorted(space.ranges.items()):
            parameter = scope.parameter(name)
            if name.startswith(CHANGING_PREFIXES) and parameter in parameters:
                found[parameter], how = _moved(scope, parameters[parameter], settings, generator)
                if found[parameter] != parameters[parameter]:
                    changes.append(f"{parameter.partition('.')[2]} {how}")
        begun = space.parameters_of(space.configuration(found, config.seed).flatten(), nearest=True)
        drawn = space.configuration({**begun, **found}, config.seed)
        explored = replace(config, lane=drawn.lane, trainer=drawn.trainer)
        if not space.violations(explored):
            return explored, tuple(changes)
    return config, ("no change was found that keeps the constraints",)


def _moved(scope: Scope, value: Any, settings: PopulationConfig, generator: np.random.Generator) -> tuple[Any, str]:
    """Another value in a range, and in words how it was found."""
    if generator.random() < settings.resample_probability:
        anew = draw(scope, generator)
        return anew, f"drawn anew: {_text(anew)}"
    up = bool(generator.random() < 0.5)
    if scope.choices:
        place = scope.choices.index(value)
        places = [p for p in (place - 1, place + 1) if 0 <= p < len(scope.choices)] or [place]
        new = scope.choices[places[-1 if up else 0]]
        return new, f"to {_text(new)}"
    factor = settings.perturb[up]
    new = perturbed(scope, value, factor)
    return new, f"x {factor:g}" if new == value * factor else f"to {_text(new)}"


def perturbed(scope: Scope, value: float, factor: float) -> float:
    """A number times a factor, clipped to its range. On a grid it is the nearest point, or if that is the point of the
    number itself, the next point in that direction if there is one. A float of 0 stays 0; only drawing it anew can
    change it.
    """
    step = _grid_step(scope)
    if step is None:
        return min(max(value * factor, scope.low), scope.high)
    here, there = (round((number - scope.low) / step) for number in (value, value * factor))
    if there == here:
        there += 1 if factor > 1 else -1
    return _point(scope, max(there, 0), step)


def draw(scope: Scope, generator: np.random.Generator) -> Any:
    """A random value of a range, uniform or, for a logarithmic range, uniform in the logarithm."""
    if scope.choices:
        return scope.choices[int(generator.integers(len(scope.choices)))]
    step = _grid_step(scope)
    if not scope.log:
        if step is None:
            return float(generator.uniform(scope.low, scope.high))
        return _point(scope, int(generator.integers(_last_point(scope, step) + 1)), step)
    margin = 0.0 if step is None else 0.5  # so that the whole numbers at both ends are drawn as often as others
    found = math.exp(generator.uniform(math.log(scope.low - margin), math.log(scope.high + margin)))
    return min(max(found if step is None else round(found), scope.low), scope.high)


def _grid_step(scope: Scope) -> float | None:
    """The step of the grid of a range: for whole numbers 1 unless another is given; None if there is no grid."""
    whole = isinstance(scope.low, int) and isinstance(scope.high, int)
    return int(scope.step or 1) if whole else scope.step


def _last_point(scope: Scope, step: float) -> int:
    """The number of the highest point of a grid, counted from 0."""
    return math.floor((scope.high - scope.low) / step + 1e-8)


def _point(scope: Scope, number: int, step: float) -> float:
    """The point of a grid with this number, or the highest point. Rounding never takes it above the range."""
    return min(scope.low + min(number, _last_point(scope, step)) * step, scope.high)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
