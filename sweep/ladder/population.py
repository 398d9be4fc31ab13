"""Population-based training: which members copy which at a rung, and how copies explore. Plain logic, no torch.

Truncation selection, perturbing and resampling are of Jaderberg et al. 2017, section 4. Ours: a difference that may be
noise makes nobody copy, the dead always copy, and what is perturbed is what the space draws (a ratio, a complement).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from gan_core.config.fields import check_fields, describe, fitted, ranged
from gan_core.config.gan import GanConfig, InputError, StructureConfig, as_number, nearest, shown

CERTAIN_ERRORS = 2.0  # standard errors of the worse score by which a difference counts
EXPLORATIONS = 20  # tries to find a change that keeps the constraints
PERTURB = "population.perturb"


class Scope(Protocol):
    """What the population asks of a range; `search_spaces.ranges.Range` is one."""

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
    """What the population asks of a space; `search_spaces.space.SearchSpace` is one. A parameter is what is drawn."""

    @property
    def ranges(self) -> Mapping[str, Any]: ...
    def parameters_of(self, values: Mapping[str, Any], *, nearest: bool = False) -> dict[str, Any]: ...
    def configuration(self, parameters: Mapping[str, Any], seed: int) -> GanConfig: ...
    def violations(self, config: GanConfig) -> Mapping[str, float]: ...


@dataclass(frozen=True, kw_only=True)
class PopulationConfig:
    """How a population exploits and explores. perturb: the two factors, one below 1 and one above, that a parameter is
    multiplied by with equal chance. Raises InputError when a value has the wrong type or range.
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
        """A mapping of a file; what is not named keeps its default. Raises InputError for an unknown key too."""
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
    """A trial of a population at a rung. score: there, lower is better; not finite where the trial is dead. error: the
    score's standard error, 0 or NaN where it is not known.
    """

    trial: int
    config: GanConfig
    score: float
    error: float = 0.0

    @property
    def lives(self) -> bool:
        return math.isfinite(self.score)


@dataclass(frozen=True)
class Move:
    """What a member does after a rung: it goes on from the state of trial `source`, which may be itself, with this
    configuration, which has the source's structure and seeds; and why.
    """

    trial: int
    source: int
    config: GanConfig
    reason: str


def plan(members: Sequence[Member], space: Space, settings: PopulationConfig, rung: int, seed: int) -> tuple[Move, ...]:
    """One move a member, in their order, which decides nothing: a move is a function of the members and of (seed, rung,
    trial). Members copy inside their structure only, and the best of each always stay.
    """
    groups: dict[StructureConfig, list[Member]] = {}
    for member in members:
        groups.setdefault(member.config.structure, []).append(member)
    moves: dict[int, Move] = {}
    for group in groups.values():
        ranked = sorted(group, key=lambda member: (member.score if member.lives else math.inf, member.trial))
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
    """Whom the member of this rank copies, or None; and why. ranked: the members of its structure, best first."""
    member, living = ranked[rank], [member for member in ranked if member.lives]
    many = max(1, math.floor(settings.exploit_fraction * len(ranked))) if len(ranked) > 1 else 0
    if member.lives and rank < len(ranked) - many:
        return None, f"kept: place {rank + 1} of {len(ranked)}"
    if not living or many == 0:
        return None, "kept: there is no other of its structure that lives"
    donor = living[:many][generator.integers(min(many, len(living)))]
    if not member.lives:
        return donor, f"dead, copied trial {donor.trial}"
    behind, certain = member.score - donor.score, CERTAIN_ERRORS * member.error
    if behind < certain or behind <= 0:
        return None, f"kept: {behind:.3g} behind trial {donor.trial}, and less than {certain:.3g} may be noise"
    return donor, f"copied trial {donor.trial}"


def explore(
    config: GanConfig, space: Space, settings: PopulationConfig, generator: np.random.Generator
) -> tuple[GanConfig, tuple[str, ...]]:
    """A configuration with every searched lane parameter perturbed or drawn anew, inside its range and within the
    constraints; and what was changed, in words. Structure and seeds stay. What comes to be searched by what is changed
    has its base value, or the nearest in its range.
    """
    parameters = space.parameters_of(config.flatten(), nearest=True)
    for _ in range(EXPLORATIONS):
        found, changes = dict(parameters), []
        for name, scope in sorted(space.ranges.items()):
            parameter = scope.parameter(name)
            if name.startswith("lane.") and parameter in parameters:
                found[parameter], how = _moved(scope, parameters[parameter], settings, generator)
                if found[parameter] != parameters[parameter]:
                    changes.append(f"{parameter.removeprefix('lane.')} {how}")
        begun = space.parameters_of(space.configuration(found, config.seed).flatten(), nearest=True)
        explored = replace(config, lane=space.configuration({**begun, **found}, config.seed).lane)
        if not space.violations(explored):
            return explored, tuple(changes)
    return config, ("no change was found that keeps the constraints",)


def _moved(scope: Scope, value: Any, settings: PopulationConfig, generator: np.random.Generator) -> tuple[Any, str]:
    """Another value in a range, and how it came about."""
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
    """A number times a factor, clipped to its range. On a grid of steps the nearest point, but another one than value
    where there is one in that direction. A float that is 0 stays so: only a draw anew leaves it.
    """
    step = _grid_step(scope)
    if step is None:
        return min(max(value * factor, scope.low), scope.high)
    here, there = (round((number - scope.low) / step) for number in (value, value * factor))
    if there == here:
        there += 1 if factor > 1 else -1
    return _point(scope, max(there, 0), step)


def draw(scope: Scope, generator: np.random.Generator) -> Any:
    """A value of a range, as a sampler that knows nothing draws it: evenly, or evenly in its logarithm."""
    if scope.choices:
        return scope.choices[int(generator.integers(len(scope.choices)))]
    step = _grid_step(scope)
    if not scope.log:
        if step is None:
            return float(generator.uniform(scope.low, scope.high))
        return _point(scope, int(generator.integers(_last_point(scope, step) + 1)), step)
    margin = 0.0 if step is None else 0.5  # so that whole numbers at the ends have their share
    found = math.exp(generator.uniform(math.log(scope.low - margin), math.log(scope.high + margin)))
    return min(max(found if step is None else round(found), scope.low), scope.high)


def _grid_step(scope: Scope) -> float | None:
    """The step of a range's grid: of whole numbers 1 where none is given; None where it has no grid."""
    whole = isinstance(scope.low, int) and isinstance(scope.high, int)
    return int(scope.step or 1) if whole else scope.step


def _last_point(scope: Scope, step: float) -> int:
    """The number of the highest point of a grid, from 0 on."""
    return math.floor((scope.high - scope.low) / step + 1e-8)


def _point(scope: Scope, number: int, step: float) -> float:
    """A point of a grid, or its highest; never above the range by rounding."""
    return min(scope.low + min(number, _last_point(scope, step)) * step, scope.high)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
