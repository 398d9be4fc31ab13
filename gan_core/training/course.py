"""What depends on the number of a step: which lanes update G, how much the weights count in the moving averages, and
how far learning rates have fallen. All are functions of a configuration and the images seen.

K lanes, A averages of a lane.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.lane import LaneConfig, LrSchedule
from gan_core.training.draws import average_weight, takes_turn

# The factor of a learning rate, given how much of its schedule has passed, from 0 to 1.
LR_SCHEDULES: Mapping[LrSchedule, Callable[[float], float]] = {
    "constant": lambda behind: 1.0,
    "linear": lambda behind: 1.0 - behind,  # torch's LinearLR, from 1 to 0
    "cosine": lambda behind: (1.0 + math.cos(math.pi * behind)) / 2,  # Loshchilov & Hutter 2017 (SGDR), eq. 5, to 0
}


def fall_images(lane: LaneConfig, budget_images: int) -> float:
    """The number of images over which a lane's learning rates fall. budget_images: how many it is trained for, 0 where
    that is not known. Raises InputError where learning rates fall and the number is not known.
    """
    images = lane.lr_schedule_images or budget_images
    if not images and lane.lr_schedule != "constant":
        raise InputError(
            f"lane.lr_schedule {lane.lr_schedule!r} must know over how many images rates fall; set "
            "lane.lr_schedule_images, or give the array budget_images"
        )
    return images


def lr_share(lane: LaneConfig, images_seen: int, budget_images: int) -> float:
    """The factor of a lane's learning rates in the step after so many images, from 1 down to 0."""
    if lane.lr_schedule == "constant":
        return 1.0
    return LR_SCHEDULES[lane.lr_schedule](min(1.0, images_seen / fall_images(lane, budget_images)))


class Course:
    """The course of training of K lanes with one batch size. half_lives_images: of their averages, [K][A];
    budget_images: how many images they are trained for, 0 where that is not known.
    """

    def __init__(
        self, configs: Sequence[GanConfig], half_lives_images: Sequence[Sequence[float]], budget_images: int
    ) -> None:
        self._configs, self._half_lives, self._budget = list(configs), half_lives_images, budget_images
        self._batch = configs[0].structure.batch_size
        self._lengths = {each for of_lane in half_lives_images for each in of_lane}
        periods = [config.lane.discriminator_steps for config in configs]
        places = [next(s for s in range(p) if takes_turn(c, s)) for p, c in zip(periods, configs, strict=True)]
        self._turns = list(zip(periods, places, strict=True))  # when G has its turns, in steps of D
        self.since_last_images = [self._batch * period for period in periods]
        self._patterns: dict[tuple[bool, ...], list[tuple[bool, ...]]] = {}
        self.rates_fall = any(config.lane.lr_schedule != "constant" for config in configs)

    def updates(self, step: int) -> list[tuple[bool, ...]]:
        """For each update of G in a step, the lanes that take part in it, [updates][K]."""
        turn = tuple(step % period == place for period, place in self._turns)
        if turn not in self._patterns:
            steps = [c.lane.generator_steps if goes else 0 for c, goes in zip(self._configs, turn, strict=True)]
            self._patterns[turn] = [tuple(j < count for count in steps) for j in range(max(steps))]
        return self._patterns[turn]

    def average_weights(self, step: int) -> list[list[float]]:
        """How much G's weights count in the moving averages after a step, [K][A]."""
        seen = (step + 1) * self._batch
        weights = {each: average_weight(each, self._batch, seen) for each in self._lengths}
        return [[weights[each] for each in of_lane] for of_lane in self._half_lives]

    def lr_shares(self, step: int) -> list[float]:
        """The factor of each lane's learning rates in a step, [K]."""
        return [lr_share(config.lane, step * self._batch, self._budget) for config in self._configs]
