"""The resources of a machine that each cohort gets."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from gan_core.config.fields import as_number, is_number
from gan_core.config.input_error import InputError, shown
from sweep.spec.assignments import parse_mapping
from sweep.spec.labels import check_wanted_labels

LEAST_CUSTOM = 1e-4  # Ray counts resources in ten-thousandths
MOST_GB = 1e6
KEYS_OF_RAY = {  # Ray's name of a resource -> the key that asks for it; None: no cohort can ask for it
    "CPU": "cpus_per_cohort",
    "GPU": "gpus_per_cohort",
    "memory": "memory_gb",
    "object_store_memory": None,
}


@dataclass(frozen=True)
class WaitFor:
    """What a cluster will have, where it has less when a sweep starts: nodes that join later, or that an autoscaler
    starts when it is asked for them. The sweep starts without an error, trains as soon as one cohort finds room, and
    asks for as many places as these CPUs and GPUs have. minutes: after which a sweep ends for which no node has room.
    """

    cpus: float = 0
    gpus: float = 0
    minutes: float = 10

    def __post_init__(self) -> None:
        for name in ("cpus", "gpus"):
            if not is_number(value := getattr(self, name), 0):
                raise InputError(f"resources.wait_for.{name} must be a number of at least 0, got {shown(value)}")
        if not is_number(self.minutes) or self.minutes <= 0:
            raise InputError(f"resources.wait_for.minutes must be a number above 0, got {shown(self.minutes)}")


@dataclass(frozen=True)
class Resources:
    """The resources of one cohort, all of them on one node.

    gpus_per_cohort: `auto` (one GPU if there are any, or wait_for names some, else none), or a number; with 0.25, four
    cohorts share a GPU. memory_gb: host memory, in 10^9 bytes; 0: none is reserved. labels: name -> what the label of a
    node must be, as in `check_wanted_labels`. custom: name of a resource of one's own -> how much of it.
    """

    gpus_per_cohort: float | str = "auto"
    cpus_per_cohort: float = 1
    memory_gb: float = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    custom: Mapping[str, float] = field(default_factory=dict)
    wait_for: WaitFor = WaitFor()

    @classmethod
    def read(cls, values: Any) -> "Resources":
        """Reads the value of `resources` in a spec. Raises InputError for what is no such value."""
        part = dict(parse_mapping(values, tuple(f.name for f in fields(cls)), "resources"))
        awaited = parse_mapping(part.pop("wait_for", {}), tuple(f.name for f in fields(WaitFor)), "resources.wait_for")
        wait_for = WaitFor(**{key: as_number(float, value) for key, value in awaited.items()})
        named: dict[str, Any] = {key: part.pop(key) for key in ("labels", "custom") if key in part}
        if isinstance(custom := named.get("custom"), Mapping):
            named["custom"] = {key: as_number(float, value) for key, value in custom.items()}
        return cls(**{key: as_number(float, value) for key, value in part.items()}, **named, wait_for=wait_for)

    def __post_init__(self) -> None:
        gpus, cpus = self.gpus_per_cohort, self.cpus_per_cohort
        if gpus != "auto" and not is_number(gpus, 0):
            raise InputError(f"resources.gpus_per_cohort must be 'auto' or a number of at least 0, got {shown(gpus)}")
        if gpus != "auto" and float(gpus) > 1 and not float(gpus).is_integer():
            raise InputError(f"resources.gpus_per_cohort above 1 must be whole, got {shown(gpus)}")
        if not is_number(cpus) or cpus <= 0:
            raise InputError(f"resources.cpus_per_cohort must be a number above 0, got {shown(cpus)}")
        if not is_number(self.memory_gb, 0, MOST_GB):
            raise InputError(f"resources.memory_gb must be a number from 0 to 1e6, got {shown(self.memory_gb)}")
        check_wanted_labels(self.labels)
        _check_custom(self.custom)


def _check_custom(custom: Any) -> None:
    if not isinstance(custom, Mapping):
        raise InputError(f"resources.custom must map names of resources to numbers, got {shown(custom)}")
    for name, amount in custom.items():
        if not isinstance(name, str) or not name:
            raise InputError(f"resources.custom names {shown(name)}, which is no name of a resource")
        if name in KEYS_OF_RAY:
            instead = f"; use resources.{KEYS_OF_RAY[name]}" if KEYS_OF_RAY[name] else ""
            raise InputError(f"resources.custom cannot name {name}, which is a resource of Ray's own{instead}")
        if not is_number(amount, LEAST_CUSTOM):
            key = f"resources.custom.{name}"
            raise InputError(f"{key} must be a number of at least {LEAST_CUSTOM}, got {shown(amount)}")
