"""The benchmarks of the search, as far as they need neither Ray nor MNIST."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from curve_array import climbing, run_folder

from benchmarks.first_impression import COLUMNS, Watched, cells, impression, line, watch_command
from benchmarks.formulas import SPACE, FormulaArray
from benchmarks.judge import FEATURES, Judge, accuracy, judged_distance, trained_judge
from benchmarks.kills import differences
from benchmarks.search_case import search_spec
from gan_core.config.gan import GanConfig
from results.store import JsonLines
from results.table import ResultsTable
from sweep.ledger.study import LaneStudy
from sweep.spec.sweep_spec import SweepSpec


@pytest.fixture(scope="module")
def bars() -> Any:
    """Ten classes of images: a bright bar at one of ten heights, and noise."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(600) % 10
    images = 0.2 * torch.randn(600, 1, 28, 28, generator=draw) - 0.8
    for image, label in zip(images, labels, strict=True):
        image[0, 2 * int(label) + 3] = 1.0
    return SimpleNamespace(
        train=images[:400], train_labels=labels[:400], held_out=images[400:], held_out_labels=labels[400:], classes=10
    )


def test_the_judge_learns_classes_and_is_read_back_as_it_was(bars, tmp_path):
    judge = trained_judge(bars, tmp_path / "judge.safetensors")
    assert accuracy(judge, bars) > 0.7
    again = trained_judge(bars, tmp_path / "judge.safetensors")
    assert torch.equal(again.all_features(bars.held_out), judge.all_features(bars.held_out))
    assert again.all_features(bars.held_out).shape == (200, FEATURES)


def test_the_judge_puts_real_images_before_one_class_and_that_before_noise(bars):
    judge = Judge()
    noise = torch.randn(200, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    one_class = bars.train[::10]
    real, same, far = (judged_distance(judge, bars, images) for images in (bars.train, one_class, noise))
    assert 0 <= real < same < far


def test_a_sweep_over_formulas_finds_the_minimum_with_the_study_as_it_is(tmp_path):
    ladder = {"rungs_images": [100, 300, 900, 2700], "keep_fraction": 1 / 3}
    spec = SweepSpec.from_mapping({"space": SPACE, "trials": 64, "lanes_per_cohort": 16, "ladder": ladder})
    folder = run_folder(spec, tmp_path)
    study = LaneStudy(spec, folder)
    while (cohort := study.open_cohort(16)) is not None:
        run = climbing(cohort, study, FormulaArray)
        while not run.done:
            run.advance()
    study.close()
    rows = JsonLines(folder.rows).read()
    assert len({row["trial"] for row in rows}) == 64
    assert min(row["score"] for row in rows) < 0.3
    assert differences(tmp_path, tmp_path) == []


def test_both_sides_of_the_search_read_one_sweep():
    spec = search_spec("somewhere", seed=3, hours=0.05)
    assert spec.space.base == SweepSpec.from_mapping({"space": "mlp"}).space.base
    assert [high / low for low, high in zip(spec.ladder.rungs_images, spec.ladder.rungs_images[1:], strict=False)] == [
        3,
        3,
    ]
    assert (spec.seed, spec.budget.hours, spec.budget.when_spent) == (3, 0.05, "cut")
    assert isinstance(spec.space.configuration(spec.known_points[0], seed=1), GanConfig)


def test_a_first_impression_is_good_where_the_winner_draws_every_class_and_breaks_no_limit(digits_run):
    found = impression(digits_run)
    table = ResultsTable.load(digits_run)
    best: Any = table.best()
    assert (found.best_trial, found.trials, found.images) == (best["trial"], 4, table.trials["images_seen"].sum())
    assert found.scores["fid"] == best["fidelity.fid"]
    assert found.scores["violation"] > 0  # a few hundred images teach nobody all classes
    assert (found.good, found.within_limits) == (False, 0)
    whole = {**found.scores, "violation": 0.0, "classes_covered": 10.0}
    assert replace(found, scores=whole).good
    assert not replace(found, scores={**whole, "classes_covered": 9.0}).good
    assert not replace(found, scores={**whole, "violation": 0.01}).good
    cells_of = cells(3, replace(found, scores=whole), Watched(12.34, 0.5, 23.4, ""))
    assert len(cells_of) == len(COLUMNS)
    assert line(cells_of).startswith(f"| 3 | {best['trial']} | ")
    assert line(cells_of).endswith(
        f"| 0 of 4 | {found.completed} | {found.images / 1e6:.2f} M | 0.5 s | 12.3 s | 23 s |"
    )


def test_a_watched_command_tells_when_its_first_line_came_and_what_it_cost(tmp_path, monkeypatch):
    """It goes on until the system has counted some of its time."""
    seen = tmp_path / "seen"

    def family(pid: int) -> set[int]:
        if int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]) > 0:
            seen.touch()
        return {pid}

    monkeypatch.setattr("benchmarks.first_impression.family_of", family)
    busy = "import os, sys\nprint('first', flush=True)\nwhile not os.path.exists(sys.argv[1]): pass\nprint('last')"
    took = watch_command([sys.executable, "-c", busy, str(seen)], os.environ)
    assert took.said == "first\nlast\n"
    assert 0 < took.first_line_seconds < took.seconds
    assert 0.0 < took.cpu_seconds <= took.seconds
    with pytest.raises(RuntimeError, match=r"failed:\nno luck"):
        watch_command([sys.executable, "-c", "print('no luck'); raise SystemExit(3)"], os.environ)
