"""Which sampler proposes, by name with its options, and whether it can propose from a space. Loads no Optuna."""

import importlib.util
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gan_core.config.fields import as_number, check_flag, check_whole, is_number
from gan_core.config.input_error import InputError, nearest, shown
from search_spaces.space import SearchSpace

OPTIONS: Mapping[str, Mapping[str, type]] = {  # name -> the options of Optuna's class that are plain values
    "tpe": {
        "n_startup_trials": int,
        "n_ei_candidates": int,
        "multivariate": bool,
        "group": bool,
        "constant_liar": bool,
    },
    "random": {},
    "gp": {"n_startup_trials": int, "deterministic_objective": bool},
    "cmaes": {"n_startup_trials": int, "popsize": int, "use_separable_cma": bool, "with_margin": bool}
    | {"lr_adapt": bool, "consider_pruned_trials": bool},
    "qmc": {"qmc_type": str, "scramble": bool},
    "nsga2": {"population_size": int, "mutation_prob": float, "crossover_prob": float, "swapping_prob": float},
    "grid": {"points": int},  # not Optuna's: into how many values a float without a step is divided
}
SMALLEST = {"n_startup_trials": 1, "n_ei_candidates": 1, "popsize": 4, "population_size": 2, "points": 2}
TPE_STARTS_AFTER = 10  # Optuna's own
# The population of nsga2 for one objective and for several; Optuna's default of 50 is all the trials of most sweeps.
POPULATION, POPULATION_OF_SEVERAL = 12, 30
ONE_OF = ("lr_adapt", "use_separable_cma", "with_margin")  # variants of CMA-ES that exclude each other
SINGLE_OBJECTIVE = ("cmaes",)
NEEDS = {"cmaes": "cmaes"}  # sampler -> a package that the extra of the same name installs
QMC_TYPES = ("sobol", "halton")
LARGEST_GRID = 1_000_000  # points, which are shuffled at each proposal
LARGEST_CONSTRAINED_GRID = 20_000  # points, each of which is checked against the constraints when the spec is made


@dataclass(frozen=True)
class SamplerConfig:
    """A sampler by name with options. Raises InputError for an unknown name or option, and for a value of the wrong
    type or outside its range.
    """

    name: str = "tpe"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in OPTIONS:
            raise InputError(f"unknown sampler {shown(self.name)}; {nearest(self.name, OPTIONS)}")
        known = OPTIONS[self.name]
        for option, value in self.options.items():
            if option not in known:
                hint = nearest(option, known) if known else "it has none"
                raise InputError(f"unknown option {shown(option)} of sampler {self.name}; {hint}")
            self._check(option, known[option], value)
        if self.options.get("group") and self.options.get("multivariate") is False:
            raise InputError(
                "sampler.group models groups of parameters jointly; leave multivariate out, or make it true"
            )
        if self.options.get("consider_pruned_trials") is False:
            raise InputError("sampler.consider_pruned_trials is always true: cmaes learns from them; leave it out")
        if sum(self.options.get(option, False) for option in ONE_OF) > 1:
            raise InputError(f"sampler {self.name}: take one of {', '.join(ONE_OF[:-1])} and {ONE_OF[-1]}")

    def _check(self, option: str, kind: type, value: Any) -> None:
        where = f"sampler.{option}"
        if kind is bool:
            check_flag(where, value)
        if kind is int:
            check_whole(where, value, SMALLEST[option])
        if kind is float and not is_number(value, 0, 1):
            raise InputError(f"{where} must be a number from 0 to 1, got {shown(value)}")
        if kind is str and value not in QMC_TYPES:
            raise InputError(f"{where} must be one of {', '.join(QMC_TYPES)}, got {shown(value)}")

    @classmethod
    def parse(cls, value: Any) -> "SamplerConfig":
        """What stands under `sampler` of a spec: a name, or a mapping of `name` and options."""
        if isinstance(value, str):
            return cls(value)
        if not isinstance(value, Mapping):
            raise InputError(f"sampler must be a name, or a mapping of name and options, got {shown(value)}")
        name = value.get("name", cls.name)
        kinds = OPTIONS.get(name, {}) if isinstance(name, str) else {}
        options = {str(key): option for key, option in value.items() if key != "name"}
        numbers = [key for key in options if kinds.get(key) in (int, float)]
        return cls(name, {**options, **{key: as_number(kinds[key], options[key]) for key in numbers}})

    def plain(self) -> str | dict[str, Any]:
        """The inverse of `parse`."""
        return {"name": self.name, **self.options} if self.options else self.name


def first_trials(sampler: SamplerConfig, objectives: int) -> tuple[str, int]:
    """The option that says how many trials are drawn at random before a sampler searches, and that number. The option
    is "" where a sampler never searches, or does so from the second trial on.
    """
    if sampler.name in ("tpe", "gp"):
        return "n_startup_trials", sampler.options.get("n_startup_trials", TPE_STARTS_AFTER)
    if sampler.name == "nsga2":
        usual = POPULATION if objectives == 1 else POPULATION_OF_SEVERAL
        return "population_size", sampler.options.get("population_size", usual)
    return "", 0


def unsearched(sampler: SamplerConfig, trials: int, objectives: int) -> str:
    """A line that says so where a sampler that learns would draw all of so many trials at random; otherwise empty."""
    option, first = first_trials(sampler, objectives)
    if not option or trials > first:
        return ""
    return (
        f"sampler {sampler.name} draws its first {first} trials at random, and there are {trials}; "
        f"lower sampler.{option}, or give more trials"
    )


def check_sampler(sampler: SamplerConfig, space: SearchSpace, trials: int, enqueued: int, objectives: int) -> None:
    """Raises InputError where a sampler cannot propose from a space: for several objectives, for conditions in a grid,
    for more trials than a grid has points, and where its package is missing. enqueued: how many known points are tried
    before the first proposal.
    """
    if objectives > 1 and sampler.name in SINGLE_OBJECTIVE:
        raise InputError(f"sampler {sampler.name} minimises one objective, got {objectives}; take tpe or nsga2")
    if sampler.name in NEEDS and importlib.util.find_spec(NEEDS[sampler.name]) is None:
        raise InputError(f'sampler {sampler.name} needs a package: pip install "gan-sweep[{sampler.name}]"')
    if sampler.name == "grid":
        size = math.prod(map(len, space.grid(sampler.options.get("points")).values()))
        if size > LARGEST_GRID:
            raise InputError(f"the grid has {size:,} points, and at most {LARGEST_GRID:,}; lower points, or fix some")
        if space.constraints and size > LARGEST_CONSTRAINED_GRID:
            raise InputError(
                f"the grid has {size:,} points, and at most {LARGEST_CONSTRAINED_GRID:,} where constraints are to be "
                f"looked at; lower points, or fix some"
            )
        broken = _broken_points(space, sampler.options.get("points")) if space.constraints else 0
        if trials > (most := size - broken + enqueued):
            less = f", {broken:,} of which break a constraint" if broken else ""
            raise InputError(
                f"the grid has {size:,} points{less}, and {enqueued} are tried before it (trial 0 and enqueue); trials "
                f"must be at most {most}, got {trials}"
            )


def _broken_points(space: SearchSpace, points: int | None) -> int:
    """How many points of a grid break a constraint, or are no valid configuration."""
    grid, broken = space.grid(points), 0
    for values in itertools.product(*grid.values()):
        try:
            broken += bool(space.violations(space.configuration(dict(zip(grid, values, strict=True)), 0)))
        except InputError:
            broken += 1
    return broken
