"""Search spaces: read from YAML, checked, drawn from, and turned into configurations.

A space is a base configuration, ranges around it, and constraints. The base is trial 0 of every sweep, so it must lie
in the ranges and satisfy the constraints.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gan_core.config.gan import HALF_LIFE, GanConfig, hyperparameter, is_hyperparameter, parse_value
from gan_core.config.input_error import InputError, home_path, nearest, shortened, shown
from gan_core.config.own_names import NETWORKS, TRAINER, is_reference
from gan_core.files.own_code import with_digests
from gan_core.files.plain_yaml import check_keys, file_named_in, parse_yaml, read_yaml
from search_spaces.constraints import Constraint, parse_constraint
from search_spaces.dependencies import bounds, ordered, possible_values, resolve, without_dead
from search_spaces.fitting import check_ranges
from search_spaces.grid import grid_values
from search_spaces.own_code import check_known, typed_values, values_after, values_before
from search_spaces.range_parsing import nearest_inside, parse_averages, parse_range
from search_spaces.ranges import Range, Suggests

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DATASET, PICTURES = "structure.dataset", "images"
MOST_CONSTRAINTS = 1_000
SPACE_KEYS = ("name", "about", "source", "extends", "base", "ranges", "constraints")


@dataclass(frozen=True)
class SearchSpace:
    """A base configuration, the ranges around it (in the order in which they are drawn), and constraints.

    source: the paper and code in which the ranges were published, if any. averages_images: the half-lives of the moving
    averages of the generator that every trial keeps and is scored with, if the half-life is not drawn. A *parameter* is
    what is drawn for a hyperparameter: its value, its `.ratio` or its `.complement`. Raises InputError if the base lies
    outside a range or breaks a constraint, if a range can never exist, or if ranges can combine to an invalid
    configuration.
    """

    name: str
    about: str
    base: GanConfig
    ranges: Mapping[str, Range]
    constraints: tuple[Constraint, ...] = ()
    source: str = ""
    averages_images: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", ordered(self.ranges))
        check_known(self.name, (n for one in self.constraints for n in one.names), self.base.flatten())
        check_ranges(self.name, self.base.flatten(), self.ranges)
        self._check_average(self.base.lane.ema_half_life_images)
        for text in self.violations(self.base):
            raise InputError(
                f"space {shown(self.name)}: the base breaks the constraint {text!r}; change one of them (it is trial 0)"
            )

    def _check_average(self, half_life: float) -> None:
        if self.averages_images and half_life not in self.averages_images:
            raise InputError(
                f"space {shown(self.name)}: {HALF_LIFE} {half_life!r} is not among every {list(self.averages_images)}; "
                "choose one of them, or add it"
            )

    @classmethod
    def load(
        cls,
        source: str | Path | Mapping[str, Any],
        folder: Path | None = None,
        above: tuple[str, ...] = (),
        instead: Mapping[str, Any] = MappingProxyType({}),
    ) -> "SearchSpace":
        """Loads a shipped space by name, a YAML file by path, or a mapping with the keys of such a file.

        folder: that of the file which names the source, where relative paths are looked up first. above: the files that
        extend this space. instead: values that the space is fixed to afterwards, so that code which bases name in their
        place is not read. Raises InputError for an unknown space, an unreadable file, and unknown keys or names.
        """
        if isinstance(source, Mapping):
            return cls._from_mapping(source, "inline", folder, above, instead)
        if str(source) in shipped_spaces():
            text = (resources.files("search_spaces") / "shipped" / f"{source}.yaml").read_text()
            values = parse_yaml(text, f"space {source}")
            return cls._from_mapping(values, str(source), None, above or (str(source),), instead)
        path = home_path(file_named_in(folder, str(source)))
        if path.suffix not in (".yaml", ".yml"):
            raise InputError(
                f"unknown space {shown(str(source))}; {nearest(source, shipped_spaces())}, or a .yaml file"
            )
        if folder is not None and not os.path.lexists(path):
            raise InputError(f"cannot read {path}: it is neither in {folder}, beside what names it, nor here")
        if (real := os.path.realpath(path)) in above:
            raise InputError(f"space {shown(str(source))} extends itself, by way of {' and '.join(above)}")
        return cls._from_mapping(read_yaml(path), path.stem, path.parent, (*above, real), instead)

    @classmethod
    def _from_mapping(
        cls,
        values: Mapping[str, Any],
        name: str,
        folder: Path | None,
        above: tuple[str, ...],
        instead: Mapping[str, Any],
    ) -> "SearchSpace":
        check_keys(values, SPACE_KEYS, f"space {shown(name)}")
        name = str(values.get("name", name))
        parent = cls._parent(values, name, folder, above, instead)
        given, ranges = values.get("base") or {}, values.get("ranges") or {}
        for part, found in (("base", given), ("ranges", ranges)):
            if not isinstance(found, Mapping):
                raise InputError(f"{part} of space {shown(name)} must map dotted names to values, got {shown(found)}")
        read = {key: value for key, value in given.items() if key not in instead or not is_reference(value)}
        if NETWORKS in given and NETWORKS in instead:  # whose arguments stand beside them
            read[NETWORKS] = instead[NETWORKS]
        return parent._changed(
            with_digests(folder, dataset_named_in(folder, read)),
            with_digests(folder, ranges),
            name=name,
            about=str(values.get("about", parent.about)),
            constraints=tuple(dict.fromkeys((*parent.constraints, *_constraints(values.get("constraints"), name)))),
            source=str(values.get("source", parent.source)),
        )

    @classmethod
    def _parent(
        cls,
        values: Mapping[str, Any],
        name: str,
        folder: Path | None,
        above: tuple[str, ...],
        instead: Mapping[str, Any],
    ) -> "SearchSpace":
        """The space that this one extends, or a space of the default configuration without ranges."""
        if "extends" not in values:
            return cls(name, "", GanConfig(), {})
        source = values["extends"]
        if not isinstance(source, str | Mapping):
            raise InputError(f"extends of space {shown(name)} must be a space's name or file, got {shown(source)}")
        return cls.load(source, folder, above, instead)

    def _changed(self, given: Mapping[str, Any], ranges: Mapping[str, Any], **texts: Any) -> "SearchSpace":
        """The space with other base values and other ranges, as in YAML; a value removes the range of its name."""
        before = values_before(self.base, given)
        given, ranges = typed_values(before, given, ranges)
        average = ranges.get(HALF_LIFE)
        averages = () if HALF_LIFE in given or HALF_LIFE in ranges else self.averages_images
        if isinstance(average, Mapping) and "every" in average:
            averages, ranges = parse_averages(average), {**ranges, HALF_LIFE: None}
        own = {k: parse_range(k, v) for k, v in ranges.items() if v is not None}
        values = values_after(before, given)
        inherited = {k: v for k, v in self.ranges.items() if k in values and k not in given and k not in ranges}
        base = GanConfig.unflatten(values)
        check_known(self.name, (n for k, v in {**inherited, **own}.items() for n in (k, *v.depends_on)), base.flatten())
        base = _followed(base, {**inherited, **own}, given)
        kept = without_dead({**inherited, **own}, base.flatten(), own)
        return replace(self, base=base, ranges=kept, averages_images=averages, **texts)

    def fix(self, values: Mapping[str, Any], ranges: Mapping[str, Any] | None = None) -> "SearchSpace":
        """The space with some hyperparameters fixed, and others searched in other ranges.

        values: those of the fixed hyperparameters, which the base takes; their ranges, and ranges that can no longer
        exist, are removed, and hyperparameters tied to them follow. ranges: name -> a range as in YAML; a base value
        outside of it is replaced by the nearest one inside. Raises InputError if the values do not fit each other, the
        remaining ranges or the constraints.
        """
        values, ranges = typed_values(values_before(self.base, values), values, ranges or {})
        base, now = self.base.flatten(), self.base.in_force()
        inside = {name: nearest_inside(name, now[name], scope) for name, scope in ranges.items() if name in base}
        moved = {name: value for name, value in inside.items() if value != base[name]}
        return self._changed({**moved, **values}, ranges)

    def drawing_averages(self) -> "SearchSpace":
        """The space with a single average per trial, whose half-life is drawn like any hyperparameter."""
        if not self.averages_images:
            return self
        drawn = Range(choices=self.averages_images)
        return replace(self, ranges={**self.ranges, HALF_LIFE: drawn}, averages_images=())

    @property
    def searched(self) -> list[str]:
        """The hyperparameters that differ between trials."""
        return [*self.ranges, *([HALF_LIFE] if self.averages_images else [])]

    @property
    def is_conditional(self) -> bool:
        """Whether any range exists only under a condition."""
        return any(scope.when for scope in self.ranges.values())

    @property
    def spreads_rates_over_budget(self) -> bool:
        """Whether the learning rates of a trial may decay over its whole budget."""
        base = self.base.flatten()
        if TRAINER in base:
            return False
        falls = possible_values("lane.lr_schedule", self.ranges, base) != ["constant"]
        return falls and bounds("lane.lr_schedule_images", self.ranges, base)[0] == 0

    def suggest(self, trial: Suggests) -> dict[str, Any]:
        """Lets a trial draw every parameter that exists, in order; returns parameter -> draw."""
        return resolve(self.base.flatten(), self.ranges, lambda name, scope, _: scope.suggest(trial, name))[1]

    def configuration(self, parameters: Mapping[str, Any], seed: int) -> GanConfig:
        """The configuration of a trial with these draws and this seed.

        Hyperparameters without a draw keep their base value, and draws of ranges that do not exist are ignored. Raises
        ValueError for an unknown parameter.
        """
        known = [scope.parameter(name) for name, scope in self.ranges.items()]
        if unknown := set(parameters) - set(known):
            raise ValueError(f"space {self.name!r} draws no {', '.join(sorted(unknown))}; it draws {', '.join(known)}")
        values, _ = resolve(
            self.base.flatten(), self.ranges, lambda name, scope, _: parameters.get(scope.parameter(name))
        )
        return GanConfig.unflatten({**values, "seed": seed})

    def derived(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The ratios and complements among these drawn parameters."""
        return {name: value for name, value in parameters.items() if not is_hyperparameter(name)}

    def parameters_of(self, values: Mapping[str, Any], *, nearest: bool = False) -> dict[str, Any]:
        """The inverse of `configuration`: the draws that give these hyperparameters, and base values for the others.

        A hyperparameter that is tied to another one follows it unless it is named, and null is drawn as the value that
        it follows. A seed is ignored, as is the half-life of an average that every trial keeps. nearest: replaces a
        value outside its range by the nearest one inside; otherwise, and for a value that differs from the base without
        being searched, InputError is raised with the name.
        """
        given = {name: parse_value(name, value) for name, value in values.items() if name != "seed"}
        if self.averages_images and HALF_LIFE in given:
            self._check_average(given.pop(HALF_LIFE))
        base = self.base.flatten()
        if unknown := [name for name in given if name not in base]:
            raise InputError(f"space {shown(self.name)} has no {unknown[0]}; leave it out")

        def draw(name: str, scope: Range, so_far: Mapping[str, Any]) -> Any:
            if scope.is_tied and name not in given:
                return scope.extremes[0]
            value = so_far[hyperparameter(name).follows if so_far[name] is None else name]
            drawn = scope.nearest(value, so_far) if nearest else scope.drawn(value, so_far)
            if drawn is None:
                raise InputError(
                    f"space {shown(self.name)}: {name} {shown(value)} lies outside its range {scope}; "
                    "choose a value in it, or widen it"
                )
            return drawn

        drawn = resolve({**base, **given}, self.ranges, draw)[1]
        for name, value in given.items():
            scope = self.ranges.get(name)
            if value != base[name] and (scope is None or scope.parameter(name) not in drawn):
                why = f"is searched only {scope.condition}" if scope else "is not searched"
                raise InputError(
                    f"space {shown(self.name)}: {name} {why}, and so must be {shown(base[name])} as in the base, "
                    f"got {shown(value)}"
                )
        return drawn

    def violations(self, config: GanConfig) -> dict[str, float]:
        """The text of each constraint that a configuration breaks -> `Constraint.violation`, above 0."""
        values = config.in_force()
        amounts = {constraint.text: constraint.violation(values) for constraint in self.constraints}
        return {text: amount for text, amount in amounts.items() if amount > 0}

    def grid(self, points: int | None) -> dict[str, list[Any]]:
        """Parameter -> its values in a full grid, as `grid_values` chooses them.

        Raises InputError for a conditional range, and if points are needed and not given, or are too many.
        """
        for name, scope in self.ranges.items():
            if scope.when:
                raise InputError(
                    f"a grid cannot have the range of {name}, which exists only {shortened(scope.condition)}; "
                    "fix one of them, or choose another sampler"
                )
        return {scope.parameter(name): grid_values(name, scope, points) for name, scope in self.ranges.items()}

    def distributions(self) -> "dict[str, BaseDistribution]":
        """Parameter -> its Optuna distribution, in the order in which they are drawn, regardless of conditions."""
        return {scope.parameter(name): distribution(scope) for name, scope in self.ranges.items()}

    def plain(self) -> dict[str, Any]:
        """The space as it is written in YAML, without `extends`."""
        averages = {HALF_LIFE: {"every": list(self.averages_images)}} if self.averages_images else {}
        return {
            "name": self.name,
            "about": self.about,
            **({"source": self.source} if self.source else {}),
            "base": {k: v for k, v in self.base.flatten().items() if k != "seed"},
            "ranges": {**{k: v.plain() for k, v in self.ranges.items()}, **averages},
            **({"constraints": [constraint.text for constraint in self.constraints]} if self.constraints else {}),
        }


def shipped_spaces() -> list[str]:
    """The names of the spaces that come with the package."""
    files = (resources.files("search_spaces") / "shipped").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def distribution(scope: Range) -> "BaseDistribution":
    """The Optuna distribution of the draws of a range."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if scope.choices:
        return CategoricalDistribution(scope.choices)
    if scope.is_whole:
        return IntDistribution(int(scope.low), int(scope.high), log=scope.log, step=int(scope.step or 1))
    return FloatDistribution(scope.low, scope.high, log=scope.log, step=scope.step)


def dataset_named_in(folder: Path | None, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The hyperparameters in a file of this folder, with the path of a folder of images resolved by `file_named_in`."""
    kind, colon, pictures = str(values.get(DATASET, "")).partition(":")
    if kind != PICTURES or not colon:
        return values
    return {**values, DATASET: f"{PICTURES}:{file_named_in(folder, pictures)}"}


def _followed(base: GanConfig, ranges: Mapping[str, Range], named: Mapping[str, Any]) -> GanConfig:
    """The base, in which hyperparameters that are tied to another one follow it, unless they are named."""

    def draw(name: str, scope: Range, _: Mapping[str, Any]) -> Any:
        return scope.extremes[0] if scope.is_tied and name not in named else None

    return GanConfig.unflatten(resolve(base.flatten(), ordered(ranges), draw)[0])


def _constraints(written: Any, name: str) -> Sequence[Constraint]:
    """Parses the constraints of a space as they are written in YAML."""
    if written is None:
        return []
    if not isinstance(written, list):
        raise InputError(f"constraints of space {shown(name)} must be a list of comparisons, got {shown(written)}")
    if len(written) > MOST_CONSTRAINTS:
        raise InputError(f"space {shown(name)} has {len(written):,} constraints, and may have {MOST_CONSTRAINTS:,}")
    return [parse_constraint(text) for text in written]
