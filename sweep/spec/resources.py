"""The resources of a machine that each cohort gets."""

from dataclasses import dataclass

from gan_core.config.fields import is_number
from gan_core.config.input_error import InputError, shown


@dataclass(frozen=True)
class Resources:
    """The resources of one cohort.

    gpus_per_cohort: `auto` (one GPU if there are any, else none), or a number; with 0.25, four cohorts share a GPU.
    """

    gpus_per_cohort: float | str = "auto"
    cpus_per_cohort: float = 1

    def __post_init__(self) -> None:
        gpus, cpus = self.gpus_per_cohort, self.cpus_per_cohort
        if gpus != "auto" and not is_number(gpus, 0):
            raise InputError(f"resources.gpus_per_cohort must be 'auto' or a number of at least 0, got {shown(gpus)}")
        if gpus != "auto" and float(gpus) > 1 and not float(gpus).is_integer():
            raise InputError(f"resources.gpus_per_cohort above 1 must be whole, got {shown(gpus)}")
        if not is_number(cpus) or cpus <= 0:
            raise InputError(f"resources.cpus_per_cohort must be a number above 0, got {shown(cpus)}")
