"""The resources of a machine that each cohort gets."""

from dataclasses import dataclass, fields
from typing import Any

from gan_core.config.fields import as_number, is_number
from gan_core.config.input_error import InputError, shown
from sweep.spec.assignments import parse_mapping


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
    """The resources of one cohort.

    gpus_per_cohort: `auto` (one GPU if there are any, or wait_for names some, else none), or a number; with 0.25, four
    cohorts share a GPU.
    """

    gpus_per_cohort: float | str = "auto"
    cpus_per_cohort: float = 1
    wait_for: WaitFor = WaitFor()

    @classmethod
    def read(cls, values: Any) -> "Resources":
        """Reads the value of `resources` in a spec. Raises InputError for what is no such value."""
        part = dict(parse_mapping(values, tuple(f.name for f in fields(cls)), "resources"))
        awaited = parse_mapping(part.pop("wait_for", {}), tuple(f.name for f in fields(WaitFor)), "resources.wait_for")
        wait_for = WaitFor(**{key: as_number(float, value) for key, value in awaited.items()})
        return cls(**{key: as_number(float, value) for key, value in part.items()}, wait_for=wait_for)

    def __post_init__(self) -> None:
        gpus, cpus = self.gpus_per_cohort, self.cpus_per_cohort
        if gpus != "auto" and not is_number(gpus, 0):
            raise InputError(f"resources.gpus_per_cohort must be 'auto' or a number of at least 0, got {shown(gpus)}")
        if gpus != "auto" and float(gpus) > 1 and not float(gpus).is_integer():
            raise InputError(f"resources.gpus_per_cohort above 1 must be whole, got {shown(gpus)}")
        if not is_number(cpus) or cpus <= 0:
            raise InputError(f"resources.cpus_per_cohort must be a number above 0, got {shown(cpus)}")
