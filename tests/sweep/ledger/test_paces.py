"""How fast each kind of device is, learnt from rows, so that slow nodes do not spoil what is said of fast ones."""

import math

import pytest
from curve_array import curve_spec, run_folder
from events import Clock

from gan_core.config.arithmetic import Arithmetic
from gan_core.config.reports import FidelityReport, LaneReport
from sweep.ledger.owners import Taker
from sweep.ledger.paces import Paces
from sweep.ledger.snapshot import Snapshot
from sweep.ledger.standings import Standings
from sweep.ledger.study import LaneStudy

FAST, SLOW = "NVIDIA H200", "NVIDIA T4"


def report(images: int, seconds: float, processor: str) -> LaneReport:
    fidelity = FidelityReport({"fidelity": 1.0}, "p", "d")
    return LaneReport(
        images, 1.0, 0.5, fidelity, {}, (), None, seconds, processor, arithmetic=Arithmetic(processor=processor)
    )


def test_the_speed_of_cohorts_in_training_is_that_of_their_nodes_also_after_a_restart(tmp_path, monkeypatch):
    """Two lanes a cohort: the fast card shows 200 images a second, the slow one 20."""
    clock = Clock()
    monkeypatch.setattr("sweep.ledger.study.time", clock)
    spec = curve_spec(trials=10, lanes_per_cohort=2, ladder={"rungs_images": [100, 300], "keep_fraction": 1.0})
    folder = run_folder(spec, tmp_path / "run")
    study = LaneStudy(spec, folder)
    try:
        assert math.isnan(study.snapshot().images_per_second)
        for host, seconds in (("a", 1.0), ("b", 10.0)):
            cohort = study.open_cohort(2, Taker(host, "", "", host))
            assert cohort is not None
            for images in (0, 50, 100):
                study.note_images(cohort.owner, cohort.runs, images)
                clock.seconds += seconds / 2
            study.note_phase(cohort.owner, "scoring samples")
            clock.seconds += 60  # which is no training
            study.judge(cohort.owner, 0, cohort.runs, [report(100, seconds / 2, FAST if host == "a" else SLOW)] * 2)
        assert study.snapshot().images_per_second == pytest.approx(200 + 20)
        study.open_cohort(2, Taker("c", "", "", "a"))
        assert study.snapshot().images_per_second == pytest.approx(200 + 20 + 200)
        study.open_cohort(2, Taker("d", "", "", "new"))
        assert study.snapshot().images_per_second == pytest.approx((200 + 20 + 200) * 4 / 3)
        said = study.snapshot()
        assert Snapshot.from_plain(said.plain()) == said
    finally:
        study.close()
    again = Standings.load(spec, folder).paces
    assert again.images_per_second(["a", "b", "b"]) == pytest.approx(200 + 20 + 20)
    assert math.isnan(again.images_per_second(["elsewhere"]))
    assert math.isnan(again.images_per_second([]))


def test_what_lies_long_back_counts_less_and_lanes_that_are_dropped_or_trained_again_tell_no_pace():
    paces = Paces()
    for step in range(2_000):  # for as long as it remembers it is fast, and then slow
        paces.note_images(0, "a", 1, 100 * min(step, 1_000) + max(0, step - 1_000), float(step))
    assert 1.0 < paces.images_per_second(["a"]) < 25.0
    before = paces.images_per_second(["a"])
    for lanes, images in ((2, 200_000), (1, 300_000), (1, 100)):
        paces.note_images(0, "a", lanes, images, 3_000.0 + images)
    assert paces.images_per_second(["a"]) == before
