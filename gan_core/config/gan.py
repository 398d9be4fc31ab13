"""One configuration of a GAN: its structure, its lane parameters and its seeds, by the names they have everywhere.

Every hyperparameter has one dotted name everywhere (`lane.generator_lr`, `structure.generator_width`): in a space's
file, in the table, in an exported configuration. Where a field stands says what it is: a *structure* field fixes
shapes, so only lanes of equal structure share an array; a *lane* field is one number a lane. Loads without torch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any

from gan_core.config.arguments import OWN_GROUPS, Arguments, is_own, plain_value
from gan_core.config.combinations import check_lane, check_trainer
from gan_core.config.fields import Hyperparameter, check_fields, describe, fitted, ranged
from gan_core.config.input_error import InputError, nearest, shown
from gan_core.config.lane import LaneConfig
from gan_core.config.own_names import IN_PYTHON, TRAINER
from gan_core.config.structure import OF_OUR_LAYERS, StructureConfig

LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class GanConfig:
    """One configuration: structure, lane parameters, and the two seeds from which all its random numbers follow.

    Raises InputError when a lane parameter that is set would have no effect in this structure.
    """

    structure: StructureConfig = field(default_factory=StructureConfig)
    lane: LaneConfig = field(default_factory=LaneConfig)
    seed: int = ranged(0, "of initial weights and latents", low=0, high=LARGEST_SEED)
    data_seed: int = ranged(0, "of the order in which real samples are shown", low=0, high=LARGEST_SEED)
    trainer: Arguments = field(default=Arguments())  # the hyperparameters of a person's own training

    def __post_init__(self) -> None:
        check_fields("", self)
        check_lane(self.structure, self.lane)
        if self.structure.trainer or self.trainer:
            changed = [name for name, known in HYPERPARAMETERS.items() if attrgetter(name)(self) != known.default]
            check_trainer(self.structure, self.trainer, changed)

    def flatten(self) -> dict[str, Any]:
        """Dotted name -> plain value, in the order of the fields, without what has no effect on a person's own networks
        or training; `GanConfig.unflatten` is its inverse.
        """
        if self.structure.trainer:  # what belongs to a GAN is not part of it
            own = {f"trainer.{name}": value for name, value in self.trainer.items()}
            return {TRAINER: self.structure.trainer, **own, "seed": self.seed}
        left_out = OF_OUR_LAYERS if self.structure.is_own else ()
        values = {name: attrgetter(name)(self) for name in HYPERPARAMETERS if name not in left_out}
        own = {"generator": self.structure.generator, "discriminator": self.structure.discriminator}
        return values | {f"{group}.{name}": value for group, given in own.items() for name, value in given.items()}

    def in_force(self) -> dict[str, Any]:
        """The same, where each hyperparameter that is None has the value of the one that it follows."""
        values = self.flatten()
        followed = {name: hyperparameter(name).follows for name, value in values.items() if value is None}
        return {**values, **{name: values[other] for name, other in followed.items()}}

    @classmethod
    def unflatten(cls, values: Mapping[str, Any]) -> "GanConfig":
        """Dotted names -> configuration; missing ones keep their defaults. Where an argument of own networks is named
        and their file is not, they are classes that are given in Python. Raises InputError for an unknown name.
        """
        parts: dict[str, dict[str, Any]] = {group: {} for group in ("structure", "lane", "", *OWN_GROUPS)}
        for name, value in values.items():
            known = hyperparameter(name)
            parts[name.rpartition(".")[0]][known.name] = parse_value(name, value)
        is_own = parts["generator"] or parts["discriminator"] or parts["structure"].get("architecture") == "own"
        classes: dict[str, Any] = {"architecture": "own", "networks": IN_PYTHON} if is_own else {}
        classes |= {group: Arguments.of(parts[group]) for group in ("generator", "discriminator")}
        structure = StructureConfig(**classes | parts["structure"])
        return cls(
            structure=structure, lane=LaneConfig(**parts["lane"]), **parts[""], trainer=Arguments.of(parts["trainer"])
        )


HALF_LIFE = "lane.ema_half_life_images"  # training does not depend on it, so a lane can keep several averages

# Those of GANs; what trains in place of one is named by `structure.trainer`.
HYPERPARAMETERS: Mapping[str, Hyperparameter] = {
    **{f"structure.{name}": known for name, known in describe(StructureConfig).items() if name != "trainer"},
    **{
        f"lane.{name}": replace(known, follows=f"lane.{known.follows}") if known.follows else known
        for name, known in describe(LaneConfig).items()
    },
    **describe(GanConfig),
}


def is_hyperparameter(name: object) -> bool:
    """Whether a text is the dotted name of a hyperparameter, or of an argument of a person's own code."""
    return name == TRAINER or name in HYPERPARAMETERS or is_own(name)


def hyperparameter(name: str) -> Hyperparameter:
    """The hyperparameter of a dotted name. An argument of a person's own code (`generator.width`) has the kind
    `object`: any number, text or truth value. Raises InputError for an unknown name, naming the nearest known one.
    """
    if name == TRAINER:
        return describe(StructureConfig)["trainer"]
    if name not in HYPERPARAMETERS and is_own(name):
        says = "an argument of your own code"
        return Hyperparameter(name.partition(".")[2], object, (), None, says, -math.inf, math.inf, math.inf)
    if name not in HYPERPARAMETERS:
        raise InputError(f"unknown hyperparameter {shown(name)}; {nearest(name, HYPERPARAMETERS)}")
    return HYPERPARAMETERS[name]


def parse_value(name: str, value: Any) -> Any:
    """The value of a hyperparameter from YAML or a command line, converted to its type and checked. Raises
    InputError.
    """
    known = hyperparameter(name)
    return plain_value(name, value) if known.kind is object else fitted(name, known, value)
