"""SearchSpace: a YAML file -> checked names -> Optuna distributions -> GanConfig.

A space is a base configuration and ranges around it. The base is trial 0 of every sweep, so a range must contain it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gan_core.config import HYPERPARAMETERS, GanConfig, InputError, hyperparameter, nearest, parse_value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SPACE_KEYS = ("name", "about", "extends", "base", "ranges")
NEVER_SEARCHED = {
    "seed": "every trial has a seed of its own, from the sweep's",
    "data_seed": "all trials are shown the same order of samples",
    "structure.dataset": "scores on different data sets cannot be compared; make a space for each",
    "structure.image_size_pixels": "scores at different sizes cannot be compared; make a space for each",
}
RANGE_KEYS = ("low", "high", "log", "step", "choices")
COMBINED = frozenset(  # what gan_core.combinations looks at: the names whose ranges may not fit each other
    {f"structure.{name}" for name in ("architecture", "batch_size", "categorical_codes", "continuous_codes")}
    | {f"structure.{name}" for name in ("loss", "gradient_penalty", "discriminator_norm", "discriminator_input")}
    | {f"lane.{name}" for name in ("label_smoothing", "generator_dropout", "instance_noise", "instance_noise_images")}
    | {f"lane.{name}" for name in ("batch_norm_eps", "batch_norm_momentum")}
    | {f"lane.{name}" for name in ("information_weight", "continuous_code_weight")}
)


@dataclass(frozen=True)
class Range:
    """What one hyperparameter may be: either `choices`, or low..high (both included), on a log scale or in steps."""

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None

    @property
    def extremes(self) -> tuple[Any, ...]:
        """The values that decide whether the range fits: every choice, or both ends."""
        return self.choices or (self.low, self.high)

    def contains(self, value: Any) -> bool:
        """Whether a value lies in the range (a step's grid is not asked about)."""
        return value in self.choices if self.choices else self.low <= value <= self.high

    def distribution(self, kind: type) -> "BaseDistribution":
        """The Optuna distribution of a hyperparameter of this type."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if kind is int:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def __str__(self) -> str:
        if self.choices:
            return " | ".join(str(choice) for choice in self.choices)
        scale = " log" if self.log else f" step {self.step:g}" if self.step else ""
        return f"{self.low:g} .. {self.high:g}{scale}"

    def plain(self) -> dict[str, Any]:
        """As it would stand in a YAML file."""
        if self.choices:
            return {"choices": list(self.choices)}
        return {
            "low": self.low,
            "high": self.high,
            **({"log": True} if self.log else {}),
            **({"step": self.step} if self.step else {}),
        }


def parse_range(name: str, value: Any) -> Range:
    """A range as YAML gives it. Raises InputError, naming the hyperparameter, the rule and the value."""
    known = hyperparameter(name)
    if not isinstance(value, Mapping):
        raise InputError(
            f"the range of {name} must be {{low, high}} or {{choices: [...]}}, got {value!r}; "
            "a fixed value belongs under 'base'"
        )
    check_keys(value, RANGE_KEYS, f"the range of {name}")
    if "choices" in value:
        if len(value) > 1 or not isinstance(value["choices"], list) or not value["choices"]:
            raise InputError(f"the choices of {name} must be a list of at least one value, alone, got {dict(value)}")
        return Range(choices=tuple(parse_value(name, choice) for choice in value["choices"]))
    if known.kind is str:
        raise InputError(f"the range of {name} must be {{choices: [...]}}: it is not a number")
    if missing := {"low", "high"} - set(value):
        raise InputError(f"the range of {name} lacks {' and '.join(sorted(missing))}, got {dict(value)}")
    low, high = parse_value(name, value["low"]), parse_value(name, value["high"])
    log, step = value.get("log", False), value.get("step")
    if low > high:
        raise InputError(f"the range of {name} must have low <= high, got low={low}, high={high}")
    if not isinstance(log, bool):
        raise InputError(f"log in the range of {name} must be true or false, got {log!r}")
    if log and low <= 0:
        raise InputError(f"a log range must have low > 0, got {name} with low={low}; raise low or drop 'log'")
    if step is not None:
        kind = int if known.kind is int else (int, float)
        if not isinstance(step, kind) or isinstance(step, bool) or not 0 < step < math.inf or log:
            noun = "whole number" if known.kind is int else "number"
            raise InputError(f"step in the range of {name} must be a {noun} above 0, without log, got step={step!r}")
    return Range(low=low, high=high, log=log, step=step)


@dataclass(frozen=True)
class SearchSpace:
    """A base configuration and the ranges around it. Raises InputError when the base lies outside a range, when an
    extreme value of a range does not fit the rest of the base, or when those of two ranges do not fit each other.
    """

    name: str
    about: str
    base: GanConfig
    ranges: Mapping[str, Range]

    def __post_init__(self) -> None:
        values = self.base.flatten()
        for name, scope in self.ranges.items():
            if name in NEVER_SEARCHED:
                raise InputError(f"{name} cannot be searched: {NEVER_SEARCHED[name]}")
            if not scope.contains(values[name]):
                raise InputError(
                    f"space {self.name!r}: the base value {values[name]!r} of {name} lies outside its range {scope}; "
                    "widen the range or change the base (it is trial 0)"
                )
            for value in scope.extremes:
                GanConfig.unflatten({**values, name: value})
        self._check_pairs(values)

    def _check_pairs(self, values: Mapping[str, Any]) -> None:
        """Raises InputError where two ranges can combine into a configuration that makes no sense: here, and not in
        the middle of a sweep.
        """
        for one, other in combinations(sorted(COMBINED & set(self.ranges)), 2):
            for pair in product(self.ranges[one].extremes, self.ranges[other].extremes):
                try:
                    GanConfig.unflatten({**values, one: pair[0], other: pair[1]})
                except InputError as error:
                    raise InputError(
                        f"space {self.name!r} can combine {one} {pair[0]!r} with {other} {pair[1]!r}: {error}, "
                        "or narrow one of the two ranges"
                    ) from error

    @classmethod
    def load(cls, source: str | Path | Mapping[str, Any], above: tuple[str, ...] = ()) -> "SearchSpace":
        """A shipped space by name, a YAML file by path, or a mapping of the keys of one. above: what extends it.

        Raises InputError for an unknown name (listing the shipped ones), an unreadable file, an unknown key or name.
        """
        if isinstance(source, Mapping):
            return cls._from_mapping(source, "inline", above)
        if str(source) in shipped_spaces():
            text = (resources.files("search_spaces") / f"{source}.yaml").read_text()
            return cls._from_mapping(parse_yaml(text, f"space {source}"), str(source), above or (str(source),))
        path = Path(source).expanduser()
        if path.suffix not in (".yaml", ".yml"):
            raise InputError(
                f"unknown space {str(source)!r}; {nearest(str(source), shipped_spaces())}, or a .yaml file"
            )
        return cls._from_mapping(read_yaml(path), path.stem, above or (str(source),))

    @classmethod
    def _from_mapping(cls, values: Mapping[str, Any], name: str, above: tuple[str, ...]) -> "SearchSpace":
        check_keys(values, SPACE_KEYS, f"space {name!r}")
        name = str(values.get("name", name))
        parent = cls(name, "", GanConfig(), {})
        if "extends" in values:
            source = values["extends"]
            if not isinstance(source, str | Mapping):
                raise InputError(f"extends of space {name!r} must be a space's name or file, got {source!r}")
            if str(source) in above:
                raise InputError(f"space {name!r} extends itself, by way of {' and '.join(above)}")
            parent = cls.load(source, above=(*above, str(source)))
        base, ranges = values.get("base") or {}, values.get("ranges") or {}
        for part, found in (("base", base), ("ranges", ranges)):
            if not isinstance(found, Mapping):
                raise InputError(f"{part} of space {name!r} must map dotted names to values, got {found!r}")
        parsed = {**parent.ranges, **{k: parse_range(k, v) for k, v in ranges.items() if v is not None}}
        kept = {k: v for k, v in parsed.items() if not (k in ranges and ranges[k] is None)}
        return cls(
            name,
            str(values.get("about", parent.about)),
            GanConfig.unflatten({**parent.base.flatten(), **base}),
            {k: v for k, v in kept.items() if k not in base or k in ranges},
        )

    def fix(self, values: Mapping[str, Any]) -> "SearchSpace":
        """The same space with some hyperparameters fixed, all together: their ranges are gone, and the base has the
        values. Raises InputError when the values do not fit each other or the ranges that remain.
        """
        base = GanConfig.unflatten({**self.base.flatten(), **values})
        return SearchSpace(self.name, self.about, base, {k: v for k, v in self.ranges.items() if k not in values})

    def distributions(self) -> "dict[str, BaseDistribution]":
        """Dotted name -> Optuna distribution, in the order of the fields."""
        return {
            name: self.ranges[name].distribution(known.kind)
            for name, known in HYPERPARAMETERS.items()
            if name in self.ranges
        }

    def configuration(self, parameters: Mapping[str, Any], seed: int) -> GanConfig:
        """What a sampler proposed -> the configuration of a trial with this seed."""
        return GanConfig.unflatten({**self.base.flatten(), **parameters, "seed": seed})

    def baseline(self) -> dict[str, Any]:
        """The base's values of what is searched: the parameters of trial 0."""
        values = self.base.flatten()
        return {name: values[name] for name in self.distributions()}

    def plain(self) -> dict[str, Any]:
        """As it would stand in a YAML file, everything written out."""
        base = {k: v for k, v in self.base.flatten().items() if k != "seed"}
        ranges = {k: v.plain() for k, v in self.ranges.items()}
        return {"name": self.name, "about": self.about, "base": base, "ranges": ranges}


def shipped_spaces() -> list[str]:
    """The names of the spaces that come with the package."""
    files = resources.files("search_spaces").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def parse_yaml(text: str, source: str) -> Mapping[str, Any]:
    """YAML text -> a mapping, by the safe loader alone: a tag that would build a Python object is refused."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{source} is not plain YAML{where}: {problem}") from error
    except ValueError as error:  # what looks like a date, or is tagged a number, and is none
        raise InputError(f"{source} is not plain YAML: {error}") from error
    if not isinstance(values, Mapping):
        raise InputError(f"{source} must hold 'key: value' lines, got {type(values).__name__}")
    return values


def read_yaml(path: Path) -> Mapping[str, Any]:
    """A YAML file -> a mapping. Raises InputError when it cannot be read or is not plain YAML."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InputError(f"cannot read {path}: {reason}") from error
    return parse_yaml(text, str(path))


def check_keys(values: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raises InputError for the first key that is not known, naming the nearest right one."""
    for key in values:
        if key not in known:
            raise InputError(f"unknown key {str(key)!r} in {where}; {nearest(str(key), known)}")
