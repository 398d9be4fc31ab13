"""What the configurations of an array must have in common: with each other, with the data set, and with the lanes that
they continue.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from gan_core.config.conditions import Precision
from gan_core.config.dataset_name import same_name
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError, shown
from gan_core.config.own_names import IN_PYTHON
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


def check_pair(networks: object) -> None:
    """Raises InputError unless these are two classes, or functions that make modules."""
    pair = networks if isinstance(networks, tuple | list) else ()
    if len(pair) != 2 or not all(callable(one) and not isinstance(one, nn.Module) for one in pair):
        made = ", ".join(f"an object of {type(one).__name__}" for one in pair if isinstance(one, nn.Module))
        raise InputError(
            f"networks must be two classes of your own, (Generator, Discriminator), got {made or shown(networks)}; a "
            "file with them is named in structure.networks"
        )


def of_classes(configs: Sequence[GanConfig]) -> list[GanConfig]:
    """The same configurations, of networks that are given as classes in Python. Raises InputError for one that has what
    only layers of ours do.
    """
    own: dict[str, Any] = {"architecture": "own", "networks": IN_PYTHON}
    return [replace(config, structure=replace(config.structure, **own)) for config in configs]


def check_precision(precision: Precision) -> None:
    """Raises InputError for a precision that a person's own modules cannot be computed in."""
    if precision == "bfloat16":
        raise InputError("precision 'bfloat16' is not for your own networks; take float32, or tf32 on a GPU")


def check_successors(lanes: Sequence[GanConfig], sources: Sequence[int], configs: Sequence[GanConfig]) -> None:
    """Raises ValueError where configs[i] has another structure or other seeds than lanes[sources[i]], whose random
    numbers it goes on with.
    """
    for source, config in zip(sources, configs, strict=True):
        donor = lanes[source]
        if replace(config, lane=donor.lane) != donor:
            raise ValueError(f"what copies lane {source} must have its structure, seed {donor.seed} and data_seed")
