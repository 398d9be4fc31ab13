"""Several averages of one training: each is the average of a lane that keeps it alone, and the best one is reported."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, cast

import pytest
import torch
from tiny_arrays import assert_all_same, bits, configs_of, lane_results, train, trained

from gan_core.config.conditions import Conditions, ScoringConfig
from gan_core.config.gan import GanConfig
from gan_core.config.health import HealthConfig
from gan_core.config.reports import FidelityReport, LaneReport
from gan_core.data.dataset import Dataset
from gan_core.fidelity.protocol import Scorer
from gan_core.fidelity.scorers import build_scorer
from gan_core.training.draws import BLOCK_STEPS, average_weight, effective_half_life
from gan_core.training.lane_array import LaneArray
from gan_core.workshop.memory import lane_memory, row_bytes
from gan_core.workshop.scored_array import ScoredArray
from gan_core.workshop.workshop import Workshop

HALF_LIVES = (0.0, 40.0, 300.0)
FORMS = [*((dtype, "eager") for dtype in (torch.float64, torch.float32)), (torch.float32, "compiled")]
Few = Callable[[str], Dataset]
pytestmark = pytest.mark.usefixtures("arithmetic")


def keeping(configs: Sequence[GanConfig], half_life: float) -> list[GanConfig]:
    """The same lanes with one average each, of this half-life."""
    return [replace(c, lane=replace(c.lane, ema_half_life_images=half_life)) for c in configs]


@pytest.fixture(scope="module")
def scorer(digits: Dataset) -> Scorer:
    return build_scorer(digits, ScoringConfig(samples=200))


@pytest.mark.parametrize(("dtype", "execution"), FORMS)
@pytest.mark.parametrize("case", ["mlp", "mlp_bn"])
def test_each_of_several_averages_is_that_of_lanes_that_keep_it_alone(few: Few, case, dtype, execution):
    """Bit for bit, and so is all else: training does not depend on them. Over a whole block and into the next."""
    data, configs, steps = few("digits"), configs_of(case), BLOCK_STEPS + 3
    array = LaneArray(configs, data, dtype=dtype, execution=execution, averages_images=HALF_LIVES)
    train(array, steps)
    for place, half_life in enumerate(HALF_LIVES):
        array.chosen = [place] * array.lanes
        alone = trained(keeping(configs, half_life), data, dtype, steps, execution=execution)
        assert_all_same(array, lane_results(alone))
    assert array.state.average.shape[:2] == (4, 3)
    assert len({bits(average) for average in array.state.average.flatten(0, 1)}) == 12


def test_lanes_may_be_sampled_from_different_averages(few: Few):
    array = LaneArray(configs_of("mlp"), few("digits"), execution="eager", averages_images=HALF_LIVES)
    train(array, 20)
    every = []
    for place in range(3):
        array.chosen = [place] * 4
        every.append(lane_results(array))
    array.chosen = [2, 0, 1, 2]
    assert_all_same(array, [every[place][lane] for lane, place in enumerate(array.chosen)])
    array.keep([3, 1, 2])
    assert_all_same(array, [every[2][3], every[0][1], every[1][2]])
    array.take_over([1, 1], [array.configs[1], array.configs[1]])
    assert_all_same(array, [every[0][1]] * 2)


def test_averages_go_on_from_files_in_any_grouping_as_if_they_had_not_stopped(few: Few, scorer, tmp_path):
    data, configs = few("digits"), configs_of("mlp")

    def made(lanes: Sequence[int]) -> ScoredArray:
        chosen = [configs[lane] for lane in lanes]
        array = LaneArray(chosen, data, execution="compiled", averages_images=HALF_LIVES)
        return ScoredArray(array, scorer, HealthConfig())

    array = made(range(4))
    train(array.array, 5)
    for lane in range(4):
        array.save_lane(lane, tmp_path / f"{lane}")
    array.save(tmp_path / "all")
    train(array.array, 6)
    expected = array.array.state.average
    one, whole = made([3, 1]), made(range(4))
    one.load_lanes([(tmp_path / "3", 0), (tmp_path / "all", 1)])
    whole.load(tmp_path / "all")
    for other, lanes in ((one, [3, 1]), (whole, [0, 1, 2, 3])):
        train(other.array, 6)
        assert bits(other.array.state.average) == bits(expected[lanes])


class Planted:
    """A scorer that gives each (lane's seed, half-life) a score of its own, and notes what it was asked for."""

    in_c, features_digest = False, ""

    protocol, samples, data_digest = "planted", 7, "digest"

    def __init__(self, scores: dict[tuple[int, float], float]) -> None:
        self.scores, self.asked = scores, []

    def score(self, array: LaneArray) -> list[FidelityReport]:
        chosen = [array.averages_images[place] for place in array.chosen]
        self.asked.append(chosen)
        keys = [(config.seed, half_life) for config, half_life in zip(array.configs, chosen, strict=True)]
        return [FidelityReport({"fidelity": -self.scores[k], "fid": self.scores[k]}, "planted", "d") for k in keys]


def planted_array(data: Dataset, scorer: Planted, **named: Any) -> ScoredArray:
    configs = configs_of("mlp")[:3]  # of seeds 10, 11, 12
    array = LaneArray(configs, data, execution="eager", averages_images=(0.0, 40.0, 50.0, 60.0))
    return ScoredArray(array, cast("Scorer", scorer), HealthConfig(), **named)


def reported(array: ScoredArray, images: int) -> list[tuple[float | None, float]]:
    return [(r.ema_half_life_images, r.fidelity.values["fid"]) for r in array.train_to(images)]


def test_a_lane_is_reported_with_the_average_of_the_lowest_objective(few: Few):
    """At 390 images a half-life is at most 39, so those from 40 on are one still, and are scored once; at 455 there are
    three, at 650 all four. Equal scores: the first; one that is not a number is passed over.
    """
    scores = {(seed, half_life): 5.0 for seed in (10, 11, 12) for half_life in (0.0, 40.0, 50.0, 60.0)}
    scorer = Planted(scores | {(10, 60.0): 1.0, (11, 0.0): math.nan, (12, 40.0): 4.0, (11, 50.0): 4.5})
    array = planted_array(few("digits"), scorer, objective="fid")
    assert reported(array, 390) == [(0.0, 5.0), (40.0, 5.0), (40.0, 4.0)]
    assert scorer.asked == [[0.0] * 3, [40.0] * 3]
    assert reported(array, 455) == [(0.0, 5.0), (50.0, 4.5), (40.0, 4.0)]
    assert scorer.asked[2:] == [[0.0] * 3, [40.0] * 3, [50.0] * 3]
    array.keep([2, 0])
    assert reported(array, 650) == [(40.0, 4.0), (60.0, 1.0)]
    assert array.array.chosen == [1, 3]
    assert len(scorer.asked) == 9


def test_another_objective_may_choose_another_average(few: Few):
    scores = {(seed, half_life): half_life + 1 for seed in (10, 11, 12) for half_life in (0.0, 40.0, 50.0, 60.0)}
    by_fid, by_fidelity = (
        reported(planted_array(few("digits"), Planted(scores), **named), 650) for named in ({"objective": "fid"}, {})
    )
    assert by_fid == [(0.0, 1.0)] * 3
    assert by_fidelity == [(60.0, 61.0)] * 3


def test_what_is_reported_and_saved_is_the_best_of_lanes_with_one_average_each(few: Few, scorer, tmp_path):
    data, configs = few("digits"), configs_of("mlp")
    array = LaneArray(configs, data, execution="eager", averages_images=HALF_LIVES)
    reports = ScoredArray(array, scorer, HealthConfig()).train_to(1_300)
    alone = []
    for half_life in HALF_LIVES:
        single = ScoredArray(LaneArray(keeping(configs, half_life), data, execution="eager"), scorer, HealthConfig())
        alone.append((single, single.train_to(1_300)))
    for lane, report in enumerate(reports):
        fidelities = [found[lane].fidelity.values["fidelity"] for _, found in alone]
        best = fidelities.index(min(fidelities))
        assert report.ema_half_life_images == HALF_LIVES[best]
        assert report.fidelity == alone[best][1][lane].fidelity
        assert report.scored(configs[lane]) == keeping(configs, HALF_LIVES[best])[lane]
        theirs = alone[best][0].array.generator_tensors(lane)
        assert {n: bits(t) for n, t in array.generator_tensors(lane).items()} == {n: bits(t) for n, t in theirs.items()}
        assert alone[best][1][lane].ema_half_life_images is None
        assert alone[best][1][lane].scored(configs[lane]) is configs[lane]
    assert [LaneReport.from_plain(json.loads(json.dumps(asdict(report)))) for report in reports] == reports


def test_an_average_has_at_most_a_tenth_of_what_was_seen_and_is_one_with_another_until_then():
    assert [effective_half_life(2000.0, seen) for seen in (0, 640, 20_000, 10**6)] == [0.0, 64.0, 2000.0, 2000.0]
    assert average_weight(0.0, 64, 640) == 1.0
    assert average_weight(2000.0, 64, 640) == average_weight(10_000.0, 64, 640) == 0.5
    assert average_weight(2000.0, 64, 10**6) == 1 - 0.5 ** (64 / 2000)


def test_a_workshop_builds_arrays_with_averages_and_chooses_by_the_sweeps_objective(few: Few):
    config = GanConfig(structure=configs_of("mlp")[0].structure)
    workshop = Workshop(Conditions(dataset="digits", objective="fid", scoring=ScoringConfig(samples=100)), "cpu")
    array = workshop.build([config, config], (0.0, 100.0))
    assert array.objective == "fid"
    assert array.array.averages_images == (0.0, 100.0)
    assert workshop.build([config]).array.averages_images == ()


def test_memory_counts_every_average():
    config = configs_of("mlp")[0]
    generator = 5 * 7 + 7 + 7 * 7 + 7 + 7 * 64 + 64
    assert row_bytes(config, 3) - row_bytes(config) == 2 * 4 * generator
    one, three = lane_memory(config, samples=10), lane_memory(config, samples=10, averages_images=HALF_LIVES)
    assert three.kept_bytes - one.kept_bytes >= 2 * 4 * generator
    assert three.fed_bytes == pytest.approx(one.fed_bytes, abs=2048)
