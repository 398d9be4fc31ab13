"""Learning rates that fall: by how much, over how many images, and whoever does not say over how many is refused."""

import math
from dataclasses import replace
from typing import get_args

import pytest
import torch
from tiny_arrays import GAUSSIAN, assert_same, lane_results, train

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.lane import LaneConfig, LrSchedule
from gan_core.config.structure import StructureConfig
from gan_core.training.course import LR_SCHEDULES, lr_share
from gan_core.training.lane_array import LaneArray

BUDGET = 1000


def test_every_schedule_that_can_be_chosen_begins_with_the_whole_rate_and_those_that_fall_end_at_0():
    assert set(LR_SCHEDULES) == set(get_args(LrSchedule))
    assert {name: (share(0.0), share(1.0)) for name, share in LR_SCHEDULES.items()} == {
        "constant": (1.0, 1.0),
        "linear": (1.0, 0.0),
        "cosine": (1.0, 0.0),
    }


@pytest.mark.parametrize(
    ("lane", "shares"),
    [
        (LaneConfig(), (1.0, 1.0, 1.0, 1.0, 1.0)),
        (LaneConfig(lr_schedule="linear"), (1.0, 0.75, 0.5, 0.0, 0.0)),
        (LaneConfig(lr_schedule="cosine"), (1.0, (1 + math.sqrt(0.5)) / 2, 0.5, 0.0, 0.0)),
        (LaneConfig(lr_schedule="linear", lr_schedule_images=500.0), (1.0, 0.5, 0.0, 0.0, 0.0)),
        (LaneConfig(lr_schedule="linear", lr_schedule_images=4000.0), (1.0, 0.9375, 0.875, 0.75, 0.5)),
    ],
    ids=["constant", "linear", "cosine", "over fewer images", "over more images"],
)
def test_rates_fall_over_the_budget_or_over_what_the_lane_says(lane, shares):
    seen = (0, 250, 500, 1000, 2000)
    assert [lr_share(lane, images, BUDGET) for images in seen] == pytest.approx(shares, abs=1e-15)


def test_an_array_must_know_over_how_many_images_rates_fall(gaussian):
    structure = StructureConfig(**GAUSSIAN)
    falling = [GanConfig(structure=structure, lane=LaneConfig(lr_schedule="cosine", generator_lr=0.01))]
    with pytest.raises(InputError, match="'cosine' must know over how many images rates fall; set lane.lr_schedule_im"):
        LaneArray(falling, gaussian)
    told = [replace(falling[0], lane=replace(falling[0].lane, lr_schedule_images=65.0))]
    constant = [replace(falling[0], lane=LaneConfig(generator_lr=0.01))]
    arrays = [
        LaneArray(configs, gaussian, dtype=torch.float64, execution="eager", budget_images=budget)
        for configs, budget in ((falling, 65), (told, 0), (constant, 65))
    ]
    for array in arrays:
        train(array, 5)  # of 13 images
    by_budget, by_lane, plain = (lane_results(array)[0] for array in arrays)
    assert_same(by_budget, by_lane)
    assert by_budget["generator"] != plain["generator"]
    with pytest.raises(InputError, match="must know over how many images"):
        arrays[1].take_over([0], falling)
