"""What all trials of a sweep share beside the search space: data, scoring, thresholds of health, ways to compute.

Loads without torch.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, get_args

from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.fields import check_fields, check_whole, describe, fitted, ranged
from gan_core.config.health import HealthConfig
from gan_core.config.input_error import InputError, nearest, shown
from gan_core.config.own_names import OwnCode

Section = TypeVar("Section")
Execution = Literal["auto", "compiled", "replayed", "eager"]
Precision = Literal["float32", "tf32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
EXECUTIONS: tuple[Execution, ...] = get_args(Execution)
LARGEST_PAIRED_SAMPLES = 50_000  # images, or points in the plane; the cost grows with the square


FEATURES_OF_AUTO = ("classifier", "classifier+pixels", "pca", "pixels")
FEATURES = "classifier, classifier+pixels, pca, pixels, inception, or a .pt, .ts or .pt2 file; auto: what fits the data"


@dataclass(frozen=True, kw_only=True)
class ScoringConfig:
    """How samples are scored. Raises InputError when a value has the wrong type or is out of range."""

    features: str = ranged(
        "auto",
        FEATURES,
    )
    inception_weights: str = ranged("", "the file of Inception's weights; empty: torch.hub's folder")
    samples: int = ranged(0, "drawn for a score; 0: 2,000 images or 10,000 numbers", low=0, high=10**6)
    class_kl_limit: float = ranged(0.1, "KL of classes in nats above its floor that is put up with", low=1e-6, high=1e3)
    coverage_limit: float = ranged(0.5, "share of real samples' coverage that it asks for", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        check_fields("scoring", self)


def as_scored_before(scoring: ScoringConfig, protocol: object) -> ScoringConfig:
    """The scoring with features `auto` replaced by those that an earlier protocol names. Which features pass their
    examination may change with the version or the machine, but must not change for a run that goes on. protocol: from a
    row or a file, of any type.
    """
    kinds = "|".join(map(re.escape, FEATURES_OF_AUTO))
    named = re.match(rf"fid/({kinds})\d+-", protocol) if isinstance(protocol, str) else None
    if named is None or scoring.features != "auto" or scoring.inception_weights:
        return scoring
    return replace(scoring, features=named[1])


def with_weights(protocol: str, features_digest: str) -> str:
    """A protocol of image scores with the digest of the weights of the classifier, which earlier versions did not write
    there: `fid/FEATURES@DIGEST/...`. Others are returned as they are.
    """
    kind, _, rest = protocol.partition("/")
    features, slash, others = rest.partition("/")
    if kind != "fid" or not features_digest or "@" in features:
        return protocol
    return f"{kind}/{features}@{features_digest}{slash}{others}"


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """All that a process must know to train and score any configuration of a sweep.

    dataset: as `structure.dataset`. objective: the score that is minimised, the first of them; further_objectives: the
    others. data_root: the folder of data sets on disk.
    skip_corrupt_images: leave out pictures that cannot be read, with a warning, instead of refusing their folder.
    precision: of products, see `gan_core.lanes.precision`. execution: how steps are carried out, see
    `gan_core.execution.programs`. lanes_per_call: how many lanes are computed in one call; `auto` measures this.
    budget_images: how many images a configuration is trained for; its learning rates fall over this budget where
    `lane.lr_schedule_images` is 0. With a budget of 0 none fall. code: the person's own code that
    configurations refer to. trainer: as `structure.trainer`; where there is one, it trains and scores, and only the
    objectives and `code` are of interest.

    Raises InputError for an unknown precision or execution, a wrong number of lanes, and for more samples than can be
    compared in pairs.
    """

    dataset: str
    objective: str = "fidelity"
    further_objectives: tuple[str, ...] = ()
    image_size_pixels: int = 0
    data_root: str | None = None
    skip_corrupt_images: bool = False
    precision: Precision = "float32"
    execution: Execution = "auto"
    lanes_per_call: int | Literal["auto"] = "auto"
    budget_images: int = 0
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    health: HealthConfig = field(default_factory=HealthConfig)
    code: tuple[OwnCode, ...] = ()
    trainer: str = ""

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
    """A precision from a file. Raises InputError for an unknown name."""
    for known in PRECISIONS:
        if value == known:
            return known
    raise InputError(f"unknown precision {shown(value)}; {nearest(str(value), PRECISIONS)}")


def parse_execution(value: Any) -> Execution:
    """An execution from a file. Raises InputError for an unknown name."""
    for known in EXECUTIONS:
        if value == known:
            return known
    raise InputError(f"unknown execution {shown(value)}; {nearest(str(value), EXECUTIONS)}")


def parse_section(section: type[Section], key: str, values: Any) -> Section:
    """A ScoringConfig or HealthConfig from the mapping under `key` of a file; missing values keep their defaults.

    Raises InputError for anything but a mapping, for an unknown key (naming the nearest known one) and a wrong value.
    """
    known = describe(section)
    if not isinstance(values, Mapping):
        raise InputError(f"{key} must map {', '.join(known)} to values, got {shown(values)}")
    for name in values:
        if name not in known:
            raise InputError(f"unknown key {shown(str(name))} in {key}; {nearest(str(name), known)}")
    return section(**{name: fitted(f"{key}.{name}", known[name], value) for name, value in values.items()})
