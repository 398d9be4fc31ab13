"""The frozen description of a sweep, read from YAML. It is the only input of a run and loads neither torch nor Ray."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from gan_core.config.conditions import Conditions, Execution, Precision, ScoringConfig, parse_section
from gan_core.config.fields import as_number, check_flag, check_whole, is_number, is_whole
from gan_core.config.gan import LARGEST_SEED
from gan_core.config.health import HealthConfig
from gan_core.config.input_error import InputError, home_path, shown
from gan_core.config.own_names import REFERENCES, OwnCode, is_reference, parse_code, plain_code
from gan_core.files.addresses import is_address
from gan_core.files.own_code import bring, code_of
from gan_core.files.plain_yaml import check_keys, dump_yaml, read_yaml
from results.trial_run import MOST_TRIALS
from search_spaces.space import DATASET, PICTURES, SearchSpace
from sweep.ladder.ladder import Ladder
from sweep.ladder.population import PopulationConfig
from sweep.spec.budget import Budget
from sweep.spec.confirmation import ConfirmConfig
from sweep.spec.differences import differing_keys
from sweep.spec.objectives import COSTS, OF_TRAINERS, check_objectives, check_reported
from sweep.spec.resources import Resources
from sweep.spec.sampler import SamplerConfig, check_sampler
from sweep.spec.spec_keys import (
    FILES_OF_SCORING,
    SECTIONS,
    WHOLE_KEYS,
    Assignment,
    located,
    parse_assignments,
    parse_ladder,
    parse_points,
    space_source,
    space_with_training,
    take_assignments,
)
from sweep.spec.tracking import Tracking, parse_tracking, plain_tracking

DEFAULT_SPACE = "digits"
LONGEST_NAME = 100
LARGEST_AUTO_COHORT = 32
# With `lanes_per_cohort: auto` each slot trains this many cohorts, one after the other, so that the sampler can learn
# from earlier ones. On CPUs there are more of them, because lanes gain little from larger cohorts.
COHORTS_PER_SLOT, COHORTS_PER_GPU_SLOT = 16, 4
MOST_MINUTES = 1e6
OF_GANS = ("precision", "execution", "lanes_per_call", "data_root", "skip_corrupt_images", "scoring", "health")
PARTS = (
    *("space", "train", "ladder", "resources", "objective", "sampler", "enqueue", "tracking", "population"),
    *SECTIONS,
)


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """A sweep. The defaults are those of `gan-sweep run` without arguments: 32 trials of mlp on the 8x8 digits.

    objectives: what is minimised: scores, and `seconds`, the time of a trial. The first must be a score, and decides
    which rung is a trial's best. `fidelity` is the main distance of the data set minus its noise floor, and far larger
    if modes are missing. enqueue: points that are tried after trial 0, as dotted names; names that are missing take
    their base value. scoring: how scores are computed; health: thresholds of the warning signs; skip_corrupt_images,
    precision, execution, lanes_per_call: see `gan_core.config.conditions`. keep_checkpoints: the number of ended trials
    of which the best generator and the last state are kept. checkpoint_minutes: between two checkpoints on the way from
    one rung to the next, to which a cohort goes back at most if its process or its machine is lost; 0: it goes back to
    the rung. tracking: see `sweep.spec.tracking`. seed: that of the sampler and, with a trial's number, of each trial.
    Raises InputError for invalid values.
    """

    name: str = DEFAULT_SPACE
    space: SearchSpace = field(default_factory=lambda: SearchSpace.load(DEFAULT_SPACE))
    trials: int = 32
    ladder: Ladder = Ladder((16_000, 64_000, 192_000), 1 / 2)
    lanes_per_cohort: int | str = "auto"
    lanes_per_call: int | Literal["auto"] = "auto"
    precision: Precision = "float32"
    execution: Execution = "auto"
    objectives: tuple[str, ...] = ("fidelity",)
    sampler: SamplerConfig = SamplerConfig()
    enqueue: tuple[Mapping[str, Any], ...] = ()
    population: PopulationConfig | None = None
    confirm: ConfirmConfig = ConfirmConfig()
    budget: Budget = Budget()
    keep_checkpoints: int = 4
    checkpoint_minutes: float = 10.0
    tracking: Tracking = field(default_factory=lambda: parse_tracking(None))
    seed: int = 0
    data_root: str | None = None
    skip_corrupt_images: bool = False
    scoring: ScoringConfig = ScoringConfig()
    health: HealthConfig = HealthConfig()
    resources: Resources = Resources()

    def __post_init__(self) -> None:
        name = self.name
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or "/" in name or name in (".", ".."):
            raise InputError(f"name must be a folder's name of up to {LONGEST_NAME} characters, got {shown(name)}")
        for key, low, high in (("trials", 1, MOST_TRIALS - 1), ("keep_checkpoints", 0, MOST_TRIALS)):
            value = getattr(self, key)
            if not is_whole(value, low, high):
                bound = f"at most {high}" if is_whole(value, low) else f"at least {low}"
                raise InputError(f"{key} must be a whole number of {bound}, got {shown(value)}")
        if not is_number(self.checkpoint_minutes, 0.0, MOST_MINUTES):
            raise InputError(
                f"checkpoint_minutes must be a number from 0 (none between rungs) to {MOST_MINUTES:g}, got "
                f"{shown(self.checkpoint_minutes)}"
            )
        if not is_whole(self.seed, 0, LARGEST_SEED):
            raise InputError(f"seed must be a whole number from 0 to {LARGEST_SEED}, got {shown(self.seed)}")
        check_whole("lanes_per_cohort", self.lanes_per_cohort, 1, or_auto=True)
        if self.data_root is not None and not isinstance(self.data_root, str):
            raise InputError(f"data_root must be a folder, got {shown(self.data_root)}")
        check_flag("skip_corrupt_images", self.skip_corrupt_images)
        if self.population:  # its lanes copy one another, and so cannot keep averages for scoring alone
            object.__setattr__(self, "space", self.space.drawing_averages())
        if self.trainer:
            check_reported(self.objectives)
            self._check_training()
        else:
            check_objectives(self.objectives, self.space.base.structure.dataset)
        if self.population and (self.confirm.top or len(self.objectives) > 1):
            raise InputError(
                "a population has one objective and no confirm: its winner is a schedule; drop one of them"
            )
        check_sampler(self.sampler, self.space, self.trials, len(self.known_points), len(self.objectives))
        self.conditions()  # checks its own values

    def _check_training(self) -> None:
        """Raises InputError for a setting that has no effect on a person's own training."""
        for key in OF_GANS:
            if getattr(self, key) != type(self).__dataclass_fields__[key].default:
                raise InputError(f"{key} is of GANs, and has no effect on your own training; take it out")

    @property
    def objective(self) -> str:
        """The first objective, a score, which decides which rung is a trial's best."""
        return self.objectives[0]

    @cached_property
    def known_points(self) -> list[dict[str, Any]]:
        """The draws of the first trials: trial 0, which is the base, then `enqueue`.

        Raises InputError if a point lies outside the space or breaks one of its constraints.
        """
        points = [self.space.parameters_of({})]
        for place, values in enumerate(self.enqueue):
            if not isinstance(values, Mapping):
                raise InputError(f"enqueue must list mappings of dotted names to values, got {shown(values)}")
            try:
                point = self.space.parameters_of(values)
                broken = self.space.violations(self.space.configuration(point, seed=0))
            except InputError as error:
                raise InputError(f"point {place + 1} of enqueue: {error}") from error
            if broken:
                raise InputError(
                    f"point {place + 1} of enqueue breaks {shown(next(iter(broken)))}; change or remove it"
                )
            points.append(point)
        return points[: self.trials]

    @property
    def trainer(self) -> str:
        """The person's own training that is swept, as `structure.trainer`; "" where it is GANs."""
        return self.space.base.structure.trainer

    @property
    def code(self) -> tuple[OwnCode, ...]:
        """The person's own code that the spec refers to, which every process of the run needs."""
        structure, losses = self.space.base.structure, self.space.ranges.get("structure.loss")
        named = (
            structure.networks,
            structure.trainer,
            structure.dataset,
            structure.loss,
            *(losses.choices if losses else ()),
        )
        return code_of(one for one in (*named, *self.objectives) if is_reference(one))

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled for another process, with the person's own code, which that process then knows."""
        return {**self.__dict__, "code": self.code}

    def __setstate__(self, state: dict[str, Any]) -> None:
        bring(state["code"])
        self.__dict__.update({name: value for name, value in state.items() if name != "code"})

    def conditions(self) -> Conditions:
        """The settings that all trials of this sweep share, which a process needs to train any of them."""
        structure = self.space.base.structure
        return Conditions(
            dataset=structure.dataset,
            objective=self.objective,
            further_objectives=tuple(name for name in self.objectives[1:] if name not in COSTS),
            image_size_pixels=structure.image_size_pixels,
            data_root=self.data_root,
            skip_corrupt_images=self.skip_corrupt_images,
            precision=self.precision,
            execution=self.execution,
            lanes_per_call=self.lanes_per_call,
            budget_images=self.ladder.rungs_images[-1],
            scoring=self.scoring,
            health=self.health,
            code=self.code,
            trainer=self.trainer,
        )

    def cohort_size(self, slots: int, *, on_gpu: bool = False) -> int:
        """The trials per cohort. slots: how many cohorts train at the same time; on_gpu: each on a share of a GPU."""
        if isinstance(self.lanes_per_cohort, int):
            return min(self.lanes_per_cohort, self.trials)
        if self.trainer:  # which are trained one after another, and so gain nothing
            return 1
        cohorts = slots * (COHORTS_PER_GPU_SLOT if on_gpu else COHORTS_PER_SLOT)
        return max(1, min(LARGEST_AUTO_COHORT, self.trials // cohorts))

    @classmethod
    def from_yaml(cls, path: str | Path, assignments: Sequence[Assignment] = ()) -> "SweepSpec":
        """Reads a spec file and applies `KEY=VALUE` assignments. Unless it has a name, the run gets the file's name.

        Relative paths in the file are looked up in its folder first, then in the working directory. Raises InputError
        for anything invalid.
        """
        path = home_path(path)
        return cls.from_mapping({"name": path.stem, **read_yaml(path)}, assignments, path.parent)

    @classmethod
    def from_mapping(
        cls, values: Mapping[str, Any], assignments: Sequence[Assignment] = (), folder: Path | None = None
    ) -> "SweepSpec":
        """Makes a checked spec of keys and values as they are written in YAML, and applies assignments.

        The key of an assignment is a spec key (`trials`, `ladder.keep_fraction`) or the dotted name of a
        hyperparameter: a value fixes it for all trials, and a range (`{low, high, log}`, `{choices}`) replaces its own.
        folder: that of the file from which the values come. Raises InputError for anything invalid.
        """
        values = dict(values)
        bring(parse_code(values.pop("code", {})))  # which its references name by their digests
        assigned = parse_assignments(assignments)
        values = located({key: value for key, value in values.items() if key not in dict(assigned)}, folder)
        fixed, ranges = take_assignments(values, assigned)
        keys = [f.name for f in fields(cls) if f.name != "objectives"]
        check_keys(values, (*keys, "objective", "train"), "the spec")
        if values.get("train") is not None:
            values["space"] = space_with_training(values.get("space"), values["train"])
        given: dict[str, Any] = {k: v for k, v in values.items() if k not in PARTS}
        given |= {key: as_number(int, given[key]) for key in WHOLE_KEYS if key in given}
        beside = None if "space" in dict(assigned) else folder  # where the file of the space is looked up
        other_code = {name: value for name, value in fixed.items() if name in REFERENCES and value}
        space = SearchSpace.load(space_source(values.get("space", DEFAULT_SPACE)), beside, instead=other_code)
        given["space"] = space.fix(fixed, ranges)
        given.setdefault("name", space.name)
        if "ladder" in values:
            given["ladder"] = parse_ladder(values["ladder"], cls.ladder)
        if "resources" in values:
            given["resources"] = Resources.read(values["resources"])
        if "objective" in values:
            named = values["objective"]
            given["objectives"] = tuple(named) if isinstance(named, list | tuple) else (named,)
        elif given["space"].base.structure.trainer:
            given["objectives"] = OF_TRAINERS
        if "sampler" in values:
            given["sampler"] = SamplerConfig.parse(values["sampler"])
        if "enqueue" in values:
            given["enqueue"] = parse_points(values["enqueue"])
        if values.get("population") is not None:
            given["population"] = PopulationConfig.read(values["population"])
        if "tracking" in values:
            given["tracking"] = parse_tracking(values["tracking"])
        for key, part_class in SECTIONS.items():
            if key in values:
                given[key] = parse_section(part_class, key, values[key])
        return cls(**given)

    def plain(self) -> dict[str, Any]:
        """The complete spec as plain values, which `from_mapping` reads back."""
        return {
            "name": self.name,
            "space": self.space.plain(),
            "trials": self.trials,
            "ladder": {**asdict(self.ladder), "rungs_images": list(self.ladder.rungs_images)},
            "lanes_per_cohort": self.lanes_per_cohort,
            "lanes_per_call": self.lanes_per_call,
            "precision": self.precision,
            "execution": self.execution,
            "objective": self.objective if len(self.objectives) == 1 else list(self.objectives),
            "sampler": self.sampler.plain(),
            "enqueue": [dict(point) for point in self.enqueue],
            "population": _plain_population(self.population),
            "confirm": asdict(self.confirm),
            "budget": asdict(self.budget),
            "keep_checkpoints": self.keep_checkpoints,
            "checkpoint_minutes": self.checkpoint_minutes,
            "tracking": plain_tracking(self.tracking),
            "seed": self.seed,
            "data_root": self.data_root,
            "skip_corrupt_images": self.skip_corrupt_images,
            "scoring": asdict(self.scoring),
            "health": asdict(self.health),
            "resources": asdict(self.resources),
            **({"code": plain_code(self.code)} if self.code else {}),
        }

    def placed(self) -> "SweepSpec":
        """The same spec with absolute paths, so that it means the same wherever it is read, as in the run's folder."""
        kind, _, pictures = self.space.base.structure.dataset.partition(":")
        space = self.space.fix({DATASET: f"{kind}:{_absolute(pictures)}"}) if kind == PICTURES else self.space
        written = {name: getattr(self.scoring, name) for name in FILES_OF_SCORING}
        files = {name: _absolute(path) for name, path in written.items() if Path(path).suffix}
        root = None if self.data_root is None else _absolute(self.data_root)
        return replace(self, space=space, scoring=replace(self.scoring, **files), data_root=root)

    def to_yaml(self) -> str:
        """The result of `plain` as YAML."""
        return dump_yaml(self.plain())

    def differences(self, other: "SweepSpec", *, extended: bool = False) -> list[str]:
        """The dotted keys whose differences forbid resuming this spec as `other`; WHERE_IT_RUNS may differ.

        extended: `other` may also have more trials, further rungs, another budget and other confirmations.
        """
        found = differing_keys(self.plain(), other.plain(), extended=extended)
        before, after = self.ladder.rungs_images, other.ladder.rungs_images
        if extended and other.trials < self.trials:
            found.append("trials (fewer)")
        if extended and after[: len(before)] != before:
            found.append("ladder.rungs_images (rungs may only be added at its end)")
        elif extended and self.population and after != before:
            found.append("ladder.rungs_images (a population's rungs cannot be extended)")
        elif extended and after != before and self.space.spreads_rates_over_budget:
            found.append("ladder.rungs_images (learning rates fall over the last rung's images, which would be others)")
        return found


def _absolute(path: str) -> str:
    """Of a path; an address of a store stays as it is."""
    return path if is_address(path) else os.path.abspath(os.path.expanduser(path))


def _plain_population(population: PopulationConfig | None) -> dict[str, Any] | None:
    return None if population is None else {**asdict(population), "perturb": list(population.perturb)}
