"""What all trials of a sweep share beside their search space: the data, how lanes are scored and watched. No torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, get_args

from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.fields import check_fields, check_whole, describe, fitted, ranged
from gan_core.config.health import HealthConfig
from gan_core.config.input_error import InputError, nearest, shown

Section = TypeVar("Section")
Execution = Literal["auto", "compiled", "replayed", "eager"]
Precision = Literal["float32", "tf32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
EXECUTIONS: tuple[Execution, ...] = get_args(Execution)
LARGEST_PAIRED_SAMPLES = 50_000  # of images, and of points in the plane; what they cost grows with the square


FEATURES_OF_AUTO = ("classifier", "classifier+pixels", "pca", "pixels")
FEATURES = "classifier, classifier+pixels, pca, pixels, inception, or a .pt, .ts or .pt2 file; auto: what fits the data"


@dataclass(frozen=True, kw_only=True)
class ScoringConfig:
    """The protocol by which samples are scored. Raises InputError when a value has the wrong type or range."""

    features: str = ranged(
        "auto",
        FEATURES,
    )
    inception_weights: str = ranged("", "the file of Inception's weights; empty: torch.hub's folder")
    samples: int = ranged(0, "drawn for a score; 0: 2,000 images or 10,000 numbers", low=0, high=10**6)
    class_kl_limit: float = ranged(0.1, "KL of classes in nats that fidelity puts up with", low=1e-6, high=1e3)
    coverage_limit: float = ranged(0.5, "share of real samples' coverage that it asks for", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        check_fields("scoring", self)


def as_scored_before(scoring: ScoringConfig, protocol: object) -> ScoringConfig:
    """A scoring whose features `auto` are those that an earlier protocol names: which features pass their examination
    may change with a version or a machine, and what goes on must not. protocol: of a row or a file, or anything else.
    """
    kinds = "|".join(map(re.escape, FEATURES_OF_AUTO))
    named = re.match(rf"fid/({kinds})\d+-", protocol) if isinstance(protocol, str) else None
    if named is None or scoring.features != "auto" or scoring.inception_weights:
        return scoring
    return replace(scoring, features=named[1])


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """All that a process must know to train and score any configuration of a sweep.

    dataset: as `structure.dataset`; objective: the score that is minimised; data_root: the folder of data sets on
    disk; skip_corrupt_images: leave out the pictures of a folder that cannot be read, with a warning, instead of
    refusing the folder. precision: of products, see `gan_core.lanes.precision`; execution: how a step is
    carried out, see `gan_core.execution.programs`; lanes_per_call: how many lanes a kernel is called for, or `auto`,
    which measures. budget_images: that a configuration is trained for, over which its learning rates fall where its
    `lane.lr_schedule_images` is 0; 0: none fall. Raises InputError for a precision, an execution or a number of lanes
    that there is not, and for more samples than can be compared in pairs.
    """

    dataset: str
    objective: str = "fidelity"
    image_size_pixels: int = 0
    data_root: str | None = None
    skip_corrupt_images: bool = False
    precision: Precision = "float32"
    execution: Execution = "auto"
    lanes_per_call: int | Literal["auto"] = "auto"
    budget_images: int = 0
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    health: HealthConfig = field(default_factory=HealthConfig)

    def __post_init__(self) -> None:
        if self.scoring.samples > LARGEST_PAIRED_SAMPLES and parse_dataset_name(self.dataset).value_size != 1:
            raise InputError(
                f"scoring.samples of {self.dataset!r} must be at most {LARGEST_PAIRED_SAMPLES}, got "
                f"{self.scoring.samples}: samples are compared in pairs, and so many take a third of a minute a score"
            )
        parse_precision(self.precision)
        parse_execution(self.execution)
        check_whole("lanes_per_call", self.lanes_per_call, 1, or_auto=True)


def parse_precision(value: Any) -> Precision:
    """What stands under `precision` of a file. Raises InputError for a name that there is not."""
    for known in PRECISIONS:
        if value == known:
            return known
    raise InputError(f"unknown precision {shown(value)}; {nearest(str(value), PRECISIONS)}")


def parse_execution(value: Any) -> Execution:
    """What stands under `execution` of a file. Raises InputError for a name that there is not."""
    for known in EXECUTIONS:
        if value == known:
            return known
    raise InputError(f"unknown execution {shown(value)}; {nearest(str(value), EXECUTIONS)}")


def parse_section(section: type[Section], key: str, values: Any) -> Section:
    """A mapping under `key` of a file -> ScoringConfig or HealthConfig; what is not named keeps its default.

    Raises InputError for what is no mapping, for an unknown key (naming the nearest right one) and for a wrong value.
    """
    known = describe(section)
    if not isinstance(values, Mapping):
        raise InputError(f"{key} must map {', '.join(known)} to values, got {shown(values)}")
    for name in values:
        if name not in known:
            raise InputError(f"unknown key {shown(str(name))} in {key}; {nearest(str(name), known)}")
    return section(**{name: fitted(f"{key}.{name}", known[name], value) for name, value in values.items()})
