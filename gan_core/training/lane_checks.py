"""What the configurations of an array must have in common: with each other, with the data set, and with the lanes that
they continue.
"""

from collections.abc import Sequence
from dataclasses import replace

from gan_core.config.conditions import Precision
from gan_core.config.dataset_name import same_name
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError, shown
from gan_core.config.structure import StructureConfig, check_size
from gan_core.data.dataset import Dataset


def shared_structure(configs: Sequence[GanConfig], dataset: Dataset) -> StructureConfig:
    """The structure that all configurations share. Raises InputError where they differ or do not fit the data set."""
    structures = {config.structure for config in configs}
    if len(structures) != 1:
        raise InputError(f"an array needs lanes of one structure, got {len(structures)} in {len(configs)} lanes")
    structure = structures.pop()
    if not same_name(structure.dataset, dataset.name):
        raise InputError(f"the configuration is for data set {structure.dataset!r}, got {dataset.name!r}")
    size, side = structure.image_size_pixels, dataset.sample_shape[-1]
    if size not in (0, side):
        raise InputError(f"structure.image_size_pixels is {size}, got images of {side}; load them at {size}")
    check_size(structure, side)
    return structure


def check_own(configs: Sequence[GanConfig], precision: Precision) -> None:
    """Raises InputError where something is asked of a person's own modules that only layers of ours do."""
    structure = configs[0].structure
    if precision == "bfloat16":
        raise InputError("precision 'bfloat16' is not for your own networks; take float32, or tf32 on a GPU")
    for name in ("discriminator_norm", "discriminator_input"):
        default = StructureConfig.__dataclass_fields__[name].default
        if getattr(structure, name) != default:
            raise InputError(
                f"structure.{name} has no effect on your own networks, got {shown(getattr(structure, name))}; leave it "
                f"at {default!r}"
            )
    for name in ("generator_dropout", "discriminator_dropout"):
        for config in configs:
            if share := getattr(config.lane, name):
                raise InputError(
                    f"lane.{name} has no effect on your own networks, got {share:g}; use nn.Dropout in them, with its "
                    "share as an argument of the constructor"
                )


def check_successors(lanes: Sequence[GanConfig], sources: Sequence[int], configs: Sequence[GanConfig]) -> None:
    """Raises ValueError where configs[i] has another structure or other seeds than lanes[sources[i]], whose random
    numbers it goes on with.
    """
    for source, config in zip(sources, configs, strict=True):
        donor = lanes[source]
        if replace(config, lane=donor.lane) != donor:
            raise ValueError(f"what copies lane {source} must have its structure, seed {donor.seed} and data_seed")
