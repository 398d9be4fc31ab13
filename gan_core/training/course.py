"""What a step's number decides in the lanes of a chunk: whose G is updated, what weights weigh in averages, and what
share of its learning rates a lane has left. All are functions of a configuration and the images seen.

K lanes, A averages a lane.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from gan_core.config.gan import GanConfig, LaneConfig, LrSchedule
from gan_core.config.input_error import InputError
from gan_core.training.draws import average_weight, takes_turn

# The share of a learning rate that is left, given the share of its fall that is behind, from 0 to 1.
LR_SCHEDULES: Mapping[LrSchedule, Callable[[float], float]] = {
    "constant": lambda behind: 1.0,
    "linear": lambda behind: 1.0 - behind,  # torch's LinearLR, from 1 to 0
    "cosine": lambda behind: (1.0 + math.cos(math.pi * behind)) / 2,  # Loshchilov & Hutter 2017 (SGDR), eq. 5, to 0
}


def fall_images(lane: LaneConfig, budget_images: int) -> float:
    """Over how many images a lane's learning rates fall, where it is trained for budget_images, 0 where nobody knows.
    Raises InputError where rates fall that must know it.
    """
    images = lane.lr_schedule_images or budget_images
    if not images and lane.lr_schedule != "constant":
        raise InputError(
            f"lane.lr_schedule {lane.lr_schedule!r} must know over how many images rates fall; set "
            "lane.lr_schedule_images, or give the array budget_images"
        )
    return images


def lr_share(lane: LaneConfig, images_seen: int, budget_images: int) -> float:
    """The share of its learning rates that a lane has in the step after so many images: 0 once they have fallen."""
    if lane.lr_schedule == "constant":
        return 1.0
    return LR_SCHEDULES[lane.lr_schedule](min(1.0, images_seen / fall_images(lane, budget_images)))


class Course:
    """Of K lanes that share a batch size. half_lives_images: of their averages, [K][A]; budget_images: for how many
    images they are trained, 0 where nobody knows.
    """

    def __init__(
        self, configs: Sequence[GanConfig], half_lives_images: Sequence[Sequence[float]], budget_images: int
    ) -> None:
        self._configs, self._half_lives, self._budget = list(configs), half_lives_images, budget_images
        self._batch = configs[0].structure.batch_size
        self._lengths = {each for of_lane in half_lives_images for each in of_lane}
        periods = [config.lane.discriminator_steps for config in configs]
        places = [next(s for s in range(p) if takes_turn(c, s)) for p, c in zip(periods, configs, strict=True)]
        self._turns = list(zip(periods, places, strict=True))  # G's turns, in D steps
        self.since_last_images = [self._batch * period for period in periods]
        self._patterns: dict[tuple[bool, ...], list[tuple[bool, ...]]] = {}
        self.rates_fall = any(config.lane.lr_schedule != "constant" for config in configs)

    def updates(self, step: int) -> list[tuple[bool, ...]]:
        """Which lanes take part in each of G's updates in a step; looked up, once the same lanes had their turn."""
        turn = tuple(step % period == place for period, place in self._turns)
        if turn not in self._patterns:
            steps = [c.lane.generator_steps if goes else 0 for c, goes in zip(self._configs, turn, strict=True)]
            self._patterns[turn] = [tuple(j < count for count in steps) for j in range(max(steps))]
        return self._patterns[turn]

    def average_weights(self, step: int) -> list[list[float]]:
        """What G's weights weigh in the averages after a step, [K, A]."""
        seen = (step + 1) * self._batch
        weights = {each: average_weight(each, self._batch, seen) for each in self._lengths}
        return [[weights[each] for each in of_lane] for of_lane in self._half_lives]

    def lr_shares(self, step: int) -> list[float]:
        """What share of its learning rates each lane has in a step, [K]."""
        return [lr_share(config.lane, step * self._batch, self._budget) for config in self._configs]
