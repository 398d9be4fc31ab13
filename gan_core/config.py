"""What one GAN is and how it is trained: frozen dataclasses, checked when they are made. Loads without torch.

Every hyperparameter has one dotted name everywhere (`lane.generator_lr`, `structure.generator_width`): in a space's
file, in the table, in an exported configuration. Where a field stands says what it is: a *structure* field fixes
shapes, so only lanes of equal structure share an array; a *lane* field is one number a lane.
"""

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import Field, asdict, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin, get_type_hints

Architecture = Literal["gaussian", "mlp"]
DatasetName = Literal["gaussian", "digits", "mnist", "fashion_mnist"]
LatentDistribution = Literal["normal", "uniform"]
LossName = Literal["non_saturating", "minimax", "least_squares", "hinge"]
DiscriminatorInput = Literal["sample", "minibatch", "moments"]

LARGEST_SEED = 2**63 - 1


class InputError(ValueError):
    """Something a person wrote is wrong. The message is one line: the rule, the value, the fix."""


def nearest(name: str, known: Iterable[str]) -> str:
    """How an unknown name is answered: the closest known one, or the list of all.

    >>> nearest("lane.generator_rl", ["lane.generator_lr", "seed"])
    "did you mean 'lane.generator_lr'?"
    """
    known = list(known)
    close = get_close_matches(str(name), known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def _ranged(default: Any, says: str, *, low: float = -math.inf, high: float = math.inf, below: float = math.inf) -> Any:
    """A dataclass field with its range: low <= value <= high, and value < below."""
    return field(default=default, metadata={"says": says, "low": low, "high": high, "below": below})


@dataclass(frozen=True, kw_only=True)
class StructureConfig:
    """The hyperparameters that fix shapes. Lanes of one array share all of them. Defaults: the `mlp` family's.

    Raises InputError when a value has the wrong type, is out of range, or does not fit the others.
    """

    architecture: Architecture = _ranged("mlp", "the networks of G and D")
    dataset: DatasetName = _ranged("digits", "what real samples are drawn from")
    generator_width: int = _ranged(256, "units of each hidden layer of G", low=1, high=65536)
    discriminator_width: int = _ranged(256, "units of each hidden layer of D", low=1, high=65536)
    latent_size: int = _ranged(100, "numbers in a latent", low=1, high=65536)
    latent_distribution: LatentDistribution = _ranged("normal", "N(0, 1) or U(0, 1)")
    batch_size: int = _ranged(64, "real images D sees at each of its steps", low=1, high=65536)
    loss: LossName = _ranged("non_saturating", "the game that is played")
    discriminator_input: DiscriminatorInput = _ranged("sample", "what D decides on: a sample, or a whole minibatch")

    def __post_init__(self) -> None:
        _check("structure", self)
        if (self.architecture == "gaussian") != (self.dataset == "gaussian"):
            raise InputError(
                f"structure.architecture 'gaussian' and structure.dataset 'gaussian' go together, got "
                f"architecture {self.architecture!r} with dataset {self.dataset!r}; images need architecture 'mlp'"
            )
        if self.discriminator_input != "sample" and self.architecture != "gaussian":
            raise InputError(
                f"structure.discriminator_input {self.discriminator_input!r} needs architecture 'gaussian', "
                f"got {self.architecture!r}; use 'sample'"
            )


@dataclass(frozen=True, kw_only=True)
class LaneConfig:
    """The hyperparameters that enter as one number a lane. Defaults: the `mlp` family's published settings.

    Raises InputError when a value has the wrong type or is out of range.
    """

    generator_lr: float = _ranged(2e-4, "Adam's learning rate of G", low=0.0, high=10.0)
    discriminator_lr: float = _ranged(2e-4, "Adam's learning rate of D", low=0.0, high=10.0)
    beta1: float = _ranged(0.9, "Adam's decay of the mean, in G and D", low=0.0, below=1.0)
    beta2: float = _ranged(0.999, "Adam's decay of the mean square, in G and D", low=0.0, below=1.0)
    discriminator_steps: int = _ranged(1, "k: D updates for each G update", low=1, high=1000)
    ema_half_life_images: float = _ranged(
        0.0, "half-life of the average of G's weights that is scored and exported; 0: no average", low=0.0, high=1e12
    )

    def __post_init__(self) -> None:
        _check("lane", self)


@dataclass(frozen=True, kw_only=True)
class GanConfig:
    """One configuration: structure, lane parameters, and the two seeds of everything random in it."""

    structure: StructureConfig = field(default_factory=StructureConfig)
    lane: LaneConfig = field(default_factory=LaneConfig)
    seed: int = _ranged(0, "of initial weights and latents", low=0, high=LARGEST_SEED)
    data_seed: int = _ranged(0, "of the order in which real samples are shown", low=0, high=LARGEST_SEED)

    def __post_init__(self) -> None:
        _check("", self)

    def flatten(self) -> dict[str, Any]:
        """Dotted name -> plain value, in the order of the fields; `GanConfig.unflatten` is its inverse."""
        return {
            **{f"structure.{name}": value for name, value in asdict(self.structure).items()},
            **{f"lane.{name}": value for name, value in asdict(self.lane).items()},
            "seed": self.seed,
            "data_seed": self.data_seed,
        }

    @classmethod
    def unflatten(cls, values: Mapping[str, Any]) -> "GanConfig":
        """Dotted names -> configuration; what is not named keeps its default. Raises InputError on an unknown name."""
        parts: dict[str, dict[str, Any]] = {"structure": {}, "lane": {}, "": {}}
        for name, value in values.items():
            known = hyperparameter(name)
            parts[name.rpartition(".")[0]][known.name] = parse_value(name, value)
        return cls(structure=StructureConfig(**parts["structure"]), lane=LaneConfig(**parts["lane"]), **parts[""])


@dataclass(frozen=True)
class Hyperparameter:
    """What is known of one dotted name. `choices` is empty for a number; bounds are low <= value <= high, < below."""

    name: str
    kind: type
    choices: tuple[str, ...]
    default: Any
    says: str
    low: float
    high: float
    below: float


def _describe(cls: type, item: "Field[Any]") -> Hyperparameter:
    hint = get_type_hints(cls)[item.name]
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    bounds = {key: item.metadata[key] for key in ("says", "low", "high", "below")}
    return Hyperparameter(item.name, str if choices else hint, choices, item.default, **bounds)


HYPERPARAMETERS: Mapping[str, Hyperparameter] = {
    **{f"structure.{item.name}": _describe(StructureConfig, item) for item in fields(StructureConfig)},
    **{f"lane.{item.name}": _describe(LaneConfig, item) for item in fields(LaneConfig)},
    **{name: _describe(GanConfig, item) for item in fields(GanConfig) if (name := item.name) in ("seed", "data_seed")},
}


def hyperparameter(name: str) -> Hyperparameter:
    """What is known of a dotted name. Raises InputError, naming the nearest right one."""
    if name not in HYPERPARAMETERS:
        raise InputError(f"unknown hyperparameter {name!r}; {nearest(name, HYPERPARAMETERS)}")
    return HYPERPARAMETERS[name]


def parse_value(name: str, value: Any) -> Any:
    """A value as YAML or a command line gives it -> the hyperparameter's own type, checked against its range.

    YAML 1.1 reads `1e-4` as text; a text that is a number is taken for one where a number is due.
    Raises InputError on a wrong type or a value out of range.
    """
    known = hyperparameter(name)
    if known.kind in (int, float) and isinstance(value, str):
        with suppress(ValueError):  # the check below says what is wrong, with the value as it was written
            value = known.kind(value)
    if known.kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if known.kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    _check_value(name, known, value)
    return value


def _check(prefix: str, config: Any) -> None:
    for item in fields(config):
        name = f"{prefix}.{item.name}" if prefix else item.name
        if "says" in item.metadata:
            _check_value(name, _describe(type(config), item), getattr(config, item.name))


def _check_value(name: str, known: Hyperparameter, value: Any) -> None:
    if known.choices:
        if value not in known.choices:
            raise InputError(f"{name} must be one of {', '.join(known.choices)}, got {value!r}")
        return
    right_type = isinstance(value, int) if known.kind is int else isinstance(value, int | float)
    if not right_type or isinstance(value, bool):
        noun = "a whole number" if known.kind is int else "a number"
        raise InputError(f"{name} must be {noun} ({known.says}), got {value!r}")
    if not (known.low <= value <= known.high and value < known.below):
        upper = f"below {known.below:g}" if math.isfinite(known.below) else f"at most {known.high:g}"
        raise InputError(f"{name} must be at least {known.low:g} and {upper} ({known.says}), got {value!r}")
