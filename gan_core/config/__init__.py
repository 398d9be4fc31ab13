"""What a GAN is and what is reported of one, as plain values: hyperparameters with their ranges and the rules that
combine them, learning-rate schedules, names of data sets, thresholds of health, and what all trials of a sweep share.

Imports no other package of this project, and neither torch nor numpy. `GanConfig` is one configuration, `Conditions` is
what a whole sweep shares, `LaneReport` is what is known of a lane at a rung, and all of them raise `InputError`.
"""

from gan_core.config.conditions import Conditions, ScoringConfig
from gan_core.config.gan import GanConfig
from gan_core.config.health import HealthConfig
from gan_core.config.input_error import InputError
from gan_core.config.lane import LaneConfig
from gan_core.config.reports import LaneReport
from gan_core.config.structure import StructureConfig

__all__ = [
    "Conditions",
    "GanConfig",
    "HealthConfig",
    "InputError",
    "LaneConfig",
    "LaneReport",
    "ScoringConfig",
    "StructureConfig",
]
