"""A curve's points lie where a lane's own steps put them, add up to what its rung reports, and change nothing."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tiny_arrays import GAUSSIAN

from gan_core.config.conditions import Conditions, ScoringConfig
from gan_core.config.gan import GanConfig
from gan_core.config.health import HealthConfig
from gan_core.config.input_error import InputError
from gan_core.config.lane import LaneConfig
from gan_core.config.reports import LaneReport
from gan_core.config.structure import StructureConfig
from gan_core.lanes.axis import lane_arithmetic
from gan_core.training.draws import BLOCK_STEPS
from gan_core.training.watch import Watch, is_marked
from gan_core.workshop.scored_array import ScoredArray
from gan_core.workshop.workshop import Workshop

BATCH = 4
BLOCK_IMAGES = BLOCK_STEPS * BATCH
LANES = [
    GanConfig(
        structure=StructureConfig(**{**GAUSSIAN, "batch_size": BATCH}),
        lane=LaneConfig(generator_lr=rate, discriminator_lr=1e-3, discriminator_steps=k),
        seed=seed,
    )
    for seed, (rate, k) in enumerate([(1e-4, 1), (3e-3, 2), (1e-3, 3)])
]


@pytest.fixture(scope="module")
def workshop() -> Workshop:
    conditions = Conditions(dataset="gaussian", scoring=ScoringConfig(samples=50), execution="compiled")
    return Workshop(conditions, device="cpu")


def climbed(
    workshop: Workshop, configs: Sequence[GanConfig], *rungs: int, poisoned: int = -1
) -> list[list[LaneReport]]:
    """The reports of each lane, rung after rung. poisoned: a lane whose weights are not finite."""
    with lane_arithmetic():
        array = workshop.build(configs)
        if poisoned >= 0:
            array.array.state.discriminator.flat[poisoned] = math.nan
        return list(zip(*[array.train_to(images) for images in rungs], strict=True))  # type: ignore[return-value]


def curve(reports: Sequence[LaneReport]) -> str:
    """All points, with NaN as itself."""
    return repr([point for report in reports for point in report.curve])


def test_points_come_after_each_of_the_first_blocks_and_then_eight_times_in_each_doubling():
    assert all(is_marked(block) for block in range(1, 17))
    for doubling in range(4, 20):
        assert sum(is_marked(block) for block in range(2**doubling, 2 ** (doubling + 1))) == 8
    assert [block for block in range(16, 40) if is_marked(block)] == [*range(16, 32, 2), 32, 36]


def test_a_lanes_points_are_the_same_alone_and_beside_others_one_of_which_dies(workshop):
    rungs = (3 * BLOCK_IMAGES + 8, 20 * BLOCK_IMAGES)
    together = climbed(workshop, [*LANES, LANES[0]], *rungs, poisoned=3)
    alone = [climbed(workshop, [config], *rungs)[0] for config in LANES]
    assert [curve(lane) for lane in together[:3]] == [curve(lane) for lane in alone]
    assert len({curve(lane) for lane in alone}) == 3
    places = [[point["images_seen"] for point in report.curve] for report in together[1]]
    assert places[0] == [BLOCK_IMAGES, 2 * BLOCK_IMAGES, 3 * BLOCK_IMAGES, rungs[0]]  # the last as it stands at a rung
    assert places[1] == [BLOCK_IMAGES * block for block in (*range(4, 17), 18, 20)]
    died = together[3][0]
    assert died.death is not None
    assert died.curve[-1]["images_seen"] == died.images_seen <= rungs[0]


def test_the_means_of_a_stretch_are_those_of_its_points(workshop):
    for reports in climbed(workshop, LANES, 3 * BLOCK_IMAGES + 8, 7 * BLOCK_IMAGES):
        before = 0
        for report in reports:
            ends = [before, *(int(point["images_seen"]) for point in report.curve)]
            shares = [(end - start) / (report.images_seen - before) for start, end in zip(ends, ends[1:], strict=False)]
            for name, whole in {"d_loss": report.d_loss, "health.d_gradient": report.health["d_gradient"]}.items():
                parts = sum(share * point[name] for share, point in zip(shares, report.curve, strict=True))
                assert parts == pytest.approx(whole, rel=1e-5)
            before = report.images_seen
        assert len({point.get("g_loss") for report in reports for point in report.curve}) > 5


def test_marks_change_no_bit_of_training(workshop, monkeypatch, tmp_path):
    def trained(path: Path) -> tuple[bytes, str]:
        with lane_arithmetic():
            array = workshop.build(LANES)
            reports = array.train_to(5 * BLOCK_IMAGES)
        array.save(path)
        return path.read_bytes(), repr([(r.d_loss, r.g_loss, r.health, r.fidelity) for r in reports])

    marked = trained(tmp_path / "marked")
    monkeypatch.setattr("gan_core.training.lane_array.is_marked", lambda blocks: False)
    assert trained(tmp_path / "unmarked") == marked


def test_a_checkpoint_between_marks_goes_on_with_the_same_points(workshop, tmp_path):
    def broken_off(images: int) -> None:
        if images == 17 * BLOCK_IMAGES:  # between the marks at 16 and 18
            raise InterruptedError

    with lane_arithmetic():
        whole = workshop.build(LANES[1:2]).train_to(24 * BLOCK_IMAGES)[0].curve
        array = workshop.build(LANES[1:2])
        with pytest.raises(InterruptedError):
            array.train_to(24 * BLOCK_IMAGES, broken_off)
        before = array.array.state.watch.curves()[0]
        array.save(tmp_path / "state")
        resumed = workshop.build(LANES[1:2])
        resumed.load(tmp_path / "state")
        after = resumed.train_to(24 * BLOCK_IMAGES)[0].curve
    assert repr([*before, *after]) == repr(list(whole))
    assert (len(before), len(after)) == (16, 4)


def test_a_mark_of_another_array_is_refused(workshop, tmp_path):
    watch = Watch.begin(2, torch.empty(0), HealthConfig())
    with pytest.raises(InputError, match="'marked' does not fit"):
        watch.go_on_from(torch.zeros(3, 1))


def test_a_stretch_without_steps_is_no_point_and_what_was_not_seen_is_left_out(workshop):
    watch = Watch.begin(1, torch.empty(0), HealthConfig())
    watch.mark(8)
    ones = torch.ones(1, 1)
    watch.add_discriminator_steps(ones, ones.unsqueeze(2), -ones.unsqueeze(2), ones, ones, 1.23456789 * ones)
    (points,) = watch.curves(16)
    assert [point["images_seen"] for point in points] == [16]
    assert (points[0]["health.d_gradient"], points[0]["health.discriminator_accuracy"]) == (1.23457, 1.0)
    assert not {"g_loss", "health.g_gradient", "health.sample_deviation"} & points[0].keys()


def test_lanes_that_are_taken_keep_their_points(workshop):
    with lane_arithmetic():
        array: ScoredArray = workshop.build(LANES)
        array.array.train_to(3 * BLOCK_IMAGES)
        points = array.array.state.watch.curves()
        array.keep([2, 0])
        assert repr(array.array.state.watch.curves()) == repr([points[2], points[0]])
    assert len(points[2]) == 3
