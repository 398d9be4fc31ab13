"""How trials ended, by region of the space, and which signs came before a death."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from table_rows import row, stored

from results.rows import Outcome
from results.store import JsonLines, ResultsError, RunFolder
from results.table import ResultsTable

LOSS, LR, STEPS, BETA = "structure.loss", "lane.generator_lr", "lane.generator_steps", "lane.beta1"
RANGES = {
    LOSS: {"choices": ["hinge", "wasserstein_gp"]},
    LR: {"low": 1e-4, "high": 1e-2, "log": True},
    STEPS: {"low": 1, "high": 3},
    BETA: {"low": 0.0, "high": 0.9, "when": {LOSS: ["hinge"]}},
}
DRAWN = [  # loss, learning rate, steps and beta1 of a trial, and how it ended
    ("hinge", 1e-4, 1, 0.0, Outcome.COMPLETED),
    ("hinge", 9e-4, 1, 0.44, Outcome.COMPLETED),
    ("hinge", 1e-3, 2, 0.45, Outcome.DIVERGED),
    ("wasserstein_gp", 1e-2, 2, 0.5, Outcome.PRUNED),
    ("wasserstein_gp", 9e-3, 2, 0.5, Outcome.DIVERGED),
]


def searched(path: Path, rows: list[dict[str, Any]], points: tuple = (), **spec: Any) -> ResultsTable:
    """The table of a run with this space, with these points of its curves."""
    folder = RunFolder(stored(path, rows))
    folder.spec.write_text(yaml.safe_dump({"space": {"base": {}, "ranges": RANGES}} | spec))
    JsonLines(folder.curves).append(points)
    return ResultsTable.load(folder.path, whole=True)


@pytest.fixture
def table(tmp_path) -> ResultsTable:
    rows = [
        {**row(n, 0, 1.0, end), LOSS: loss, LR: lr, STEPS: steps, BETA: beta}
        for n, (loss, lr, steps, beta, end) in enumerate(DRAWN)
    ]
    return searched(tmp_path, rows)


def counts(found: Any, parameter: str) -> dict[str, list[int]]:
    """Region -> how many of its trials completed, were pruned and diverged."""
    rows = found[found["parameter"] == parameter]
    assert rows["outcome"].tolist()[:3] == ["completed", "pruned", "diverged"]
    return {region: of["trials"].tolist() for region, of in rows.groupby("region", sort=False)}


def test_trials_are_counted_by_region_and_outcome_on_the_scale_of_the_space(table):
    found = table.outcomes(bins=2)
    assert counts(found, LOSS) == {"hinge": [2, 0, 1], "wasserstein_gp": [0, 1, 1]}
    assert counts(found, LR) == {"0.0001 to 0.001": [2, 0, 0], "0.001 to 0.01": [0, 1, 2]}
    assert counts(found, STEPS) == {"1": [2, 0, 0], "2 to 3": [0, 1, 2]}
    assert counts(found, BETA) == {"0 to 0.45": [2, 0, 0], "0.45 to 0.9": [0, 0, 1], "not drawn": [0, 1, 1]}
    ends: Any = found[found["parameter"] == LR][["low", "high"]].drop_duplicates()
    assert ends.values.ravel().tolist() == pytest.approx([1e-4, 1e-3, 1e-3, 1e-2])


def test_whole_numbers_of_which_there_are_few_are_a_region_each(table):
    assert counts(table.outcomes(bins=5), STEPS) == {"1": [2, 0, 0], "2": [0, 1, 2], "3": [0, 0, 0]}


def test_choices_of_numbers_are_named_without_a_point(tmp_path):
    rows = [
        {**row(n, 0, 1.0, Outcome.COMPLETED), "lane.ema_half_life_images": value} for n, value in enumerate((0.0, 4e6))
    ]
    space = {"base": {}, "ranges": {"lane.ema_half_life_images": {"choices": [0.0, 0.5, 4e6]}}}
    assert searched(tmp_path, rows, space=space).outcomes()["region"].tolist() == ["0", "0.5", "4000000"]


def test_shares_are_of_the_trials_of_a_region_and_missing_where_there_are_none(table):
    found: Any = table.outcomes(bins=3)
    shares = found[found["parameter"] == STEPS].set_index(["region", "outcome"])["share"]
    assert shares["2", "diverged"] == pytest.approx(2 / 3)
    assert math.isnan(shares["3", "completed"])
    sums = found.groupby(["parameter", "region"])["share"].sum(min_count=1).dropna()
    assert sums.tolist() == pytest.approx([1.0] * len(sums))


def test_of_a_trial_its_last_row_counts(tmp_path):
    first = {**row(0, 0, 1.0), LR: 2e-4}
    last = {**row(0, 1, math.nan, Outcome.COLLAPSED), LR: 5e-3}
    other = {**row(1, 0, 1.0, Outcome.COMPLETED), LR: 3e-4}
    found: Any = searched(tmp_path, [first, last, other]).outcomes(bins=2)
    found = found[found["parameter"] == LR]
    assert found["trials"].tolist() == [1, 0, 0, 1]
    assert found["outcome"].tolist() == ["completed", "collapsed"] * 2


def test_without_a_spec_what_differs_is_divided():
    rows = [{**row(n, 0, 1.0, Outcome.COMPLETED), LR: 0.5 * n, "lane.beta1": 0.5} for n in range(5)]
    found = ResultsTable(pd.DataFrame(rows)).outcomes(bins=2)
    assert found[["parameter", "region", "trials"]].values.tolist() == [[LR, "0 to 1", 2], [LR, "1 to 2", 3]]


def test_trials_that_are_all_equal_have_no_regions():
    found = ResultsTable(pd.DataFrame([row(0, 0, 1.0)])).outcomes()
    assert (len(found), found.columns.tolist()[0]) == (0, "parameter")


@pytest.mark.parametrize("bins", [0, -1, 101, 2.0, True, "2"])
def test_bins_are_a_whole_number(table, bins):
    with pytest.raises(ResultsError, match="bins must be a whole number from 1 to 100, got"):
        table.outcomes(bins)


# ---- signs


def lived(trial: int, *signs: str, end: Outcome) -> list[dict[str, Any]]:
    """Rows of a trial with these signs at its rungs, at 100, 200, ... images; the last is its end."""
    last = len(signs) - 1
    return [row(trial, n, 1.0, end if n == last else Outcome.RUNNING, signs=said) for n, said in enumerate(signs)]


ENDS = [
    *lived(0, "oscillation", "oscillation ignores_latent", "", end=Outcome.DIVERGED),
    *lived(1, "", "ignores_latent", end=Outcome.COLLAPSED),
    *lived(2, "oscillation", "", end=Outcome.COLLAPSED),
    *lived(3, "exploded_gradient", end=Outcome.DIVERGED),
    *lived(4, "", "", "oscillation", end=Outcome.COMPLETED),
    *lived(5, "", "low_coverage", end=Outcome.PRUNED),
    *lived(6, "oscillation", "", end=Outcome.OUT_OF_MEMORY),
]


def test_signs_before_a_death_are_counted_among_the_dead_and_the_survivors():
    found = ResultsTable(pd.DataFrame(ENDS)).signs_before_death()
    assert found.drop(columns="median_images_before_death").values.tolist() == [
        ["oscillation", 2, 3, 2 / 3, 1, 2, 0.5],
        ["ignores_latent", 1, 3, 1 / 3, 0, 2, 0.0],
        ["low_coverage", 0, 3, 0.0, 1, 2, 0.5],
    ]
    early = found["median_images_before_death"].tolist()
    assert early[:2] == [150.0, 100.0]  # 200 and 100 before; 100 before
    assert math.isnan(early[2])


def test_points_between_rungs_show_signs_by_the_runs_thresholds(tmp_path):
    rows = [*lived(0, "", end=Outcome.DIVERGED), *lived(1, "", end=Outcome.COMPLETED)]
    watched = [(0, 10, 5.0), (0, 40, 25.0), (0, 60, 26.0), (0, 100, 30.0), (1, 50, 15.0), (7, 50, 99.0)]
    points = tuple(
        {"trial": trial, "replicate": 0, "images_seen": images, "d_loss": 1.0, "health.d_gradient": gradient}
        for trial, images, gradient in watched
    )
    again = {**points[-2], "replicate": 1, "health.d_gradient": 99.0}
    table = searched(tmp_path, rows, (*points, again), health={"exploded_gradient": 20.0})
    assert table.signs_before_death().values.tolist() == [["exploded_gradient", 1, 1, 1.0, 0, 1, 0.0, 60.0]]
    assert table.signs_before_death(between_rungs=False).empty


def test_without_thresholds_in_the_spec_the_defaults_count(tmp_path):
    points = ({"trial": 0, "replicate": 0, "images_seen": 50, "d_loss": 1.0, "health.d_gradient": 101.0},)
    table = searched(tmp_path, lived(0, "", end=Outcome.COMPLETED), points)
    assert table.signs_before_death()["sign"].tolist() == ["exploded_gradient"]


def test_a_search_without_signs_or_in_which_all_died_at_once_has_no_rows():
    table = ResultsTable(pd.DataFrame(lived(3, "exploded_gradient", end=Outcome.DIVERGED)))
    found = table.signs_before_death()
    assert (len(found), found.columns.tolist()[0]) == (0, "sign")
