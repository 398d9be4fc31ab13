"""Real lanes that die between rungs: what is told of them, and that their neighbours never notice."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from events import Clock

from gan_core.config.conditions import Conditions, ScoringConfig
from gan_core.config.gan import GanConfig
from gan_core.config.health import HealthConfig
from gan_core.config.lane import LaneConfig
from gan_core.config.reports import LaneReport
from gan_core.config.structure import StructureConfig
from gan_core.workshop.scored_array import ScoredArray
from gan_core.workshop.workshop import Workshop
from results.store import JsonLines, RunFolder
from results.table import ResultsTable
from sweep.cohorts.cohort import CohortRun
from sweep.ledger.study import LaneStudy
from sweep.run import run_sweep
from sweep.spec.sweep_spec import SweepSpec

pytestmark = pytest.mark.usefixtures("arithmetic")
RUNGS = (320, 1600, 2400)
RING = StructureConfig(
    architecture="gaussian", dataset="ring", generator_width=16, discriminator_width=16, latent_size=2, batch_size=16
)
HEALTH = HealthConfig(collapsed_deviation=0.05, collapsed_images=1000, vanished_images=400)
GOOD = [
    GanConfig(structure=RING, lane=LaneConfig(generator_lr=rate, discriminator_lr=rate, beta1=0.5), seed=seed)
    for seed, rate in ((1, 1e-2), (2, 2e-2))
]
STILL = GanConfig(structure=RING, lane=LaneConfig(generator_lr=0.0, discriminator_lr=1e-2, beta1=0.5), seed=3)
WILD = GanConfig(structure=RING, lane=LaneConfig(generator_lr=10, discriminator_lr=10, beta1=0, beta2=0), seed=8)
ALL = [STILL, GOOD[0], WILD, GOOD[1]]
DEATHS = {0: ("collapsed", 1024, "G ignores its latent"), 2: ("diverged", 512, "no gradient for G")}


@pytest.fixture(scope="module")
def workshop() -> Workshop:
    return Workshop(Conditions(dataset="ring", scoring=ScoringConfig(samples=100), health=HEALTH), "cpu")


def climbed(array: ScoredArray, rungs: Sequence[int] = RUNGS) -> list[list[LaneReport]]:
    """The reports of each rung; after each, the lanes that are alive go on, as a cohort has it."""
    found = []
    for images in rungs:
        reports = array.train_to(images)
        found.append(reports)
        alive = [lane for lane, report in enumerate(reports) if report.death is None]
        if len(alive) == len(reports):
            continue
        if not alive:
            break
        array.keep(alive)
    return found


def untimed(reports: list[list[LaneReport]]) -> str:
    """Reports as text, to the last bit, NaN equal to itself; without how long they took, and in what company."""
    return json.dumps([[asdict(replace(report, seconds=0.0, device="")) for report in rung] for rung in reports])


@pytest.fixture(scope="module")
def whole(workshop, arithmetic) -> list[list[LaneReport]]:
    return climbed(workshop.build(ALL))


def test_a_lane_that_dies_between_rungs_is_reported_with_its_reason_at_the_images_where_it_died(whole):
    assert [report.death for report in whole[0]] == [None] * 4
    for lane, (outcome, images, reason) in DEATHS.items():
        report = whole[1][lane]
        assert report.death is not None
        assert (report.death.outcome, report.images_seen) == (outcome, images)
        assert report.death.reason.startswith(reason)
        assert RUNGS[0] < images < RUNGS[1]
        assert np.isnan(report.fidelity.values["fidelity"])
        assert (report.fidelity.protocol, report.signs) == (whole[0][0].fidelity.protocol, ())
        assert np.isfinite(report.d_loss)  # of the steps that it was trained
        assert report.health["sample_deviation"] == report.health["sample_deviation"]
    assert [len(rung) for rung in whole] == [4, 4, 2]
    assert [report.images_seen for report in whole[2]] == [2400, 2400]


@pytest.mark.parametrize("without", [[0], [2], [0, 2]], ids=str)
def test_the_reports_of_the_others_equal_those_of_an_array_without_the_dead(workshop, whole, without):
    kept = [lane for lane in range(4) if lane not in without]
    found = climbed(workshop.build([ALL[lane] for lane in kept]))
    assert untimed(found[:2]) == untimed([[rung[lane] for lane in kept] for rung in whole[:2]])
    assert untimed(found[2:]) == untimed(whole[2:])


def test_each_lane_alone_has_the_reports_that_it_has_among_the_others(workshop, whole):
    for lane, config in enumerate(ALL):
        alone = climbed(workshop.build([config]))
        among = [rung[lane] for rung in whole[:2]]
        if lane not in DEATHS:
            among.append(whole[2][[1, 3].index(lane)])
        assert untimed(alone) == untimed([[report] for report in among])


def test_pictures_after_a_death_are_those_of_the_lane_that_is_asked_for(workshop):
    array, alone = workshop.build(ALL), workshop.build([GOOD[1]])
    array.train_to(1600)
    alone.train_to(1600)
    assert array.array.lanes == 2
    np.testing.assert_array_equal(array.picture(3, 20), alone.picture(0, 20))
    assert (array.picture(1, 20) != array.picture(3, 20)).any()
    array.keep([3])
    np.testing.assert_array_equal(array.picture(0, 20), alone.picture(0, 20))


@pytest.mark.parametrize("stop", [320, 800, 1600])
def test_saved_with_dead_lanes_and_loaded_an_array_goes_on_as_if_it_had_not_stopped(workshop, whole, tmp_path, stop):
    """At 800 images the diverged lane is dead and the still one is not yet."""
    first = workshop.build(ALL)
    reports = first.train_to(stop)
    first.save(tmp_path / "array")
    again = workshop.build(ALL)
    again.load(tmp_path / "array")
    alive = [lane for lane, report in enumerate(reports) if report.death is None]
    assert alive == {320: [0, 1, 2, 3], 800: [0, 1, 3], 1600: [1, 3]}[stop]
    for array in (first, again):
        array.keep(alive)
    rest = [images for images in RUNGS if images > stop]
    assert untimed(climbed(again, rest)) == untimed(climbed(first, rest))
    mine, theirs = first.array.state.tensors(), again.array.state.tensors()
    assert all(torch.equal(theirs[name].nan_to_num(7.0), mine[name].nan_to_num(7.0)) for name in mine)


def test_an_array_whose_lanes_are_all_dead_is_reported_saved_and_loaded(workshop, tmp_path):
    array = workshop.build([STILL, WILD])
    reports = array.train_to(1600)
    assert [report.death.outcome for report in reports if report.death] == ["collapsed", "diverged"]
    assert [report.images_seen for report in reports] == [1024, 512]
    array.save(tmp_path / "array")
    again = workshop.build([STILL, WILD])
    again.load(tmp_path / "array")
    assert again._living == array._living == []


def test_the_shares_of_time_add_up_to_what_passed(workshop, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("gan_core.workshop.scored_array.time", clock)
    reports = workshop.build(ALL).train_to(1600, clock.tick)
    assert sum(report.seconds for report in reports) == pytest.approx(clock.seconds)
    assert all(report.seconds > 0 for report in reports)
    assert reports[2].seconds < reports[0].seconds < reports[1].seconds == reports[3].seconds


# ---- as trials of a sweep

RATES = {"lane.generator_lr": {"choices": [0.0, 0.01, 0.02]}, "lane.discriminator_lr": {"choices": [0.01, 0.02]}}
SPACE = {
    "extends": "ring",
    "base": {f"structure.{name}": 16 for name in ("generator_width", "discriminator_width", "batch_size")}
    | {"lane.generator_lr": 0.01, "lane.discriminator_lr": 0.01, "lane.beta2": 0.999, "lane.discriminator_steps": 1}
    | {"lane.ema_half_life_images": 0.0},
    "ranges": RATES,
}
TIMES = ("seconds", "elapsed_seconds", "device")
SWEEP = {
    "name": "dying",
    "space": SPACE,
    "trials": 6,
    "lanes_per_cohort": 6,
    "sampler": "random",
    "ladder": {"rungs_images": list(RUNGS), "keep_fraction": 1.0},
    "scoring": {"samples": 100},
    "health": {"collapsed_deviation": 0.05, "collapsed_images": 1000},
}


def table_of(path: Path, **changes: Any) -> Any:
    frame: Any = run_sweep(SweepSpec.from_mapping({**SWEEP, **changes}), path, local=True).frame
    return frame.drop(columns=[*TIMES, "cohort", "lane", "code_version"]).sort_values(["trial", "rung"])


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> tuple[Any, Path]:
    path = tmp_path_factory.mktemp("dying") / "run"
    return table_of(path), path


def test_trials_that_die_between_rungs_end_there_and_every_row_equals_that_of_a_sweep_of_each_alone(together, tmp_path):
    frame, path = together
    ends = frame.groupby("trial").tail(1).set_index("trial")
    collapsed = ends[ends["outcome"] == "collapsed"]
    assert 1 <= len(collapsed) <= 4
    assert (collapsed["lane.generator_lr"] == 0.0).all()
    assert set(collapsed["images_seen"]) <= {1024, 1280}  # not a rung
    assert collapsed["reason"].str.startswith("G ignores its latent").all()
    assert set(ends["outcome"]) == {"collapsed", "completed"}
    alone = table_of(tmp_path / "alone", lanes_per_cohort=1)
    ranked = frame["reason"].str.startswith("rank")  # one after another they are ranked among fewer
    assert (
        frame[~ranked]
        .reset_index(drop=True)
        .equals(alone[~alone["reason"].str.startswith("rank")].reset_index(drop=True))
    )
    numbers = [column for column in frame.columns if column != "reason"]
    assert frame[numbers].reset_index(drop=True).equals(alone[numbers].reset_index(drop=True))
    assert not set(collapsed.index) & set(ResultsTable.load(path).contenders["trial"])


class Killed(BaseException):
    """As abrupt as a signal."""


def test_killed_between_a_death_and_its_verdict_a_sweep_resumes_to_the_same_rows(together, tmp_path, monkeypatch):
    frame, _ = together
    judge, calls = LaneStudy.judge, []

    def die_at_the_second(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise Killed
        return judge(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(LaneStudy, "judge", die_at_the_second)
        with pytest.raises(Killed):
            table_of(tmp_path / "run")
    assert {row["outcome"] for row in JsonLines(RunFolder(tmp_path / "run").rows).read()} == {"running"}
    trained: list[int] = []
    advance = CohortRun.advance

    def counted(run: CohortRun) -> Any:
        trained.append(run.rung)
        return advance(run)

    monkeypatch.setattr(CohortRun, "advance", counted)
    assert table_of(tmp_path / "run").reset_index(drop=True).equals(frame.reset_index(drop=True))
    assert trained == [2]  # the second rung is not trained twice, and its dead stay dead
