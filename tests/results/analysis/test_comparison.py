"""Two or more runs beside each other."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from scipy.stats import mannwhitneyu
from table_rows import replicates, row, stored

from results.analysis.specs import range_text
from results.rows import Outcome
from results.store import ResultsError, RunFolder
from results.table import ResultsTable

INF = math.inf
SPEC = {
    "name": "x",
    "space": {
        "base": {"lane.beta1": 0.5, "structure.loss": "hinge"},
        "ranges": {"lane.beta1": {"low": 0.0, "high": 0.9}},
    },
    "ladder": {"rungs_images": [100, 200], "keep_fraction": 0.5},
    "seed": 1,
}
ROWS = [  # two trials to the top, one that died, one that was pruned
    row(0, 0, 9.0),
    row(1, 0, 4.0),
    row(2, 0, math.nan, Outcome.DIVERGED, images_seen=50),
    row(0, 1, 8.0, Outcome.COMPLETED),
    row(1, 1, 2.0, Outcome.COMPLETED),
    row(3, 0, 6.0, Outcome.PRUNED),
]
OTHERS = [row(n, 0, score, Outcome.COMPLETED, seconds=3.0) for n, score in enumerate((7.0, 5.0, 3.0, 1.0))]


def table(*rows: dict) -> ResultsTable:
    return ResultsTable(pd.DataFrame(rows))


def run(path: Path, name: str, spec: dict[str, Any] | None = None) -> ResultsTable:
    """The table of a run in a folder of this name."""
    path.joinpath(name).mkdir()
    folder = RunFolder(stored(path / name, ROWS).rename(path / name / name))
    folder.spec.write_text(yaml.safe_dump(SPEC if spec is None else spec))
    return ResultsTable.load(folder.path)


def test_each_run_has_what_it_reached_and_what_that_cost():
    first, second = table(*ROWS).compare(table(*OTHERS)).to_dict("records")
    assert (first["run"], first["trials"], first["dead"]) == ("run 1", 4, 1)
    assert (first["best_trial"], first["best"], first["median"]) == (1, 2.0, 7.0)  # of 2, 6, 8 and the dead one
    assert (first["device_seconds"], first["images"]) == (3.0, 550)
    assert (second["best"], second["median"], second["device_seconds"], second["images"]) == (1.0, 4.0, 12.0, 400)


def test_the_cost_of_a_score_is_by_default_that_of_the_worst_of_the_bests():
    columns = ["score_to_reach", "device_seconds_to_score", "images_to_score", "trials_to_score"]
    found = table(*ROWS).compare(table(*OTHERS))
    assert found[columns].values.tolist() == [[2.0, 2.5, 450, 3], [2.0, 12.0, 400, 4]]
    found = table(*ROWS).compare(table(*OTHERS), score=4)
    assert found[columns].values.tolist() == [[4.0, 1.0, 200, 2], [4.0, 9.0, 300, 3]]
    never = table(*ROWS).compare(table(*OTHERS), score=1.5)["images_to_score"].tolist()
    assert math.isnan(never[0])
    assert never[1] == 400


def test_without_confirmation_all_trials_at_the_first_common_rung_are_tested():
    found = table(*ROWS).compare(table(*OTHERS)).iloc[1]
    test = mannwhitneyu([9.0, 4.0, INF, 6.0], [7.0, 5.0, 3.0, 1.0])
    assert found["tested"] == "4 and 4 trials at 100 images"
    assert found["chance_of_order"] == pytest.approx(test.pvalue)
    assert found["probability_of_improvement"] == 1 - test.statistic / 16 == (0 + 2 + 0 + 1) / 16


def test_the_first_run_has_nothing_to_be_compared_with():
    first: Any = table(*ROWS).compare(table(*OTHERS)).iloc[0]
    assert math.isnan(first["chance_of_order"])
    assert first["tested"] == ""


def test_equal_runs_differ_by_chance_with_certainty():
    same = [row(n, 0, 1.0, Outcome.COMPLETED) for n in range(3)]
    found = table(*same).compare(table(*same)).iloc[1]
    assert (found["probability_of_improvement"], found["chance_of_order"]) == (0.5, 1.0)


@pytest.mark.parametrize("swapped", [False, True])
def test_the_replicates_of_confirmed_winners_are_tested_exactly(swapped):
    one = table(*ROWS, *replicates(1, 1.0, 2.0, 3.0))
    other = table(*OTHERS, *replicates(2, 4.0, 5.0, INF), *replicates(3, 90.0, 91.0, 92.0))
    first, second = (other, one) if swapped else (one, other)
    found = first.compare(second)
    assert found["confirmed_trial"].tolist() == ([2, 1] if swapped else [1, 2])
    assert found["confirmed_median"].tolist() == ([5.0, 2.0] if swapped else [2.0, 5.0])
    last = found.iloc[1]
    assert last["tested"] == "3 and 3 seeds of the confirmed winners"
    assert last["chance_of_order"] == 2 / 20
    assert last["probability_of_improvement"] == (0.0 if swapped else 1.0)


def test_one_confirmed_run_is_tested_by_its_trials():
    found = table(*ROWS, *replicates(1, 1.0, 2.0, 3.0)).compare(table(*OTHERS))
    assert found["confirmed_trial"].isna().tolist() == [False, True]
    assert found["tested"].tolist()[1] == "4 and 4 trials at 100 images"


def test_where_more_is_better_scores_are_not_negated():
    rows = [
        pd.DataFrame([row(n, 0, -score, Outcome.COMPLETED) for n, score in enumerate(scores)])
        for scores in ((0.25, 0.5), (0.75, 0.125))
    ]
    first, second = (ResultsTable(each.assign(objective="-coverage")) for each in rows)
    found = first.compare(second)
    assert (found["best"].tolist(), found["median"].tolist()) == ([0.5, 0.75], [0.375, 0.4375])
    assert found["score_to_reach"].tolist() == [0.5, 0.5]
    assert found["trials_to_score"].tolist() == [2, 1]
    assert found["probability_of_improvement"].tolist()[1] == 0.5


def test_runs_without_a_common_rung_or_without_any_score_are_not_tested():
    longer = [{**each, "images_seen": 7000} for each in OTHERS]
    found: Any = table(*ROWS).compare(table(*longer)).iloc[1]
    assert (found["tested"], math.isnan(found["chance_of_order"])) == ("no rung in common", True)
    dead = row(0, 0, math.nan, Outcome.DIVERGED)
    both: Any = table(dead).compare(table(dead))
    assert both["best_trial"].isna().tolist() == [True, True]
    assert all(map(math.isnan, [*both["best"], *both["score_to_reach"], *both["images_to_score"]]))
    assert both["median"].tolist() == [INF, INF]


def test_a_rung_that_nobody_reached_yet_compares_no_scores(tmp_path):
    spec = {**SPEC, "ladder": {"rungs_images": [100]}}
    other = run(tmp_path, "other", spec)
    going = ResultsTable(pd.DataFrame([{**ROWS[0], "rung": 1}]), other.folder)
    found: Any = going.compare(other).iloc[1]
    assert found["tested"] == "0 and 4 trials at 100 images"
    assert math.isnan(found["chance_of_order"])
    assert math.isnan(found["probability_of_improvement"])


def broken(rows: list[dict], *trials: int) -> ResultsTable:
    """The rows, in which these trials break a limit of fidelity by 0.5."""
    off = [0.5 if one["trial"] in trials else 0.0 for one in rows]
    return ResultsTable(pd.DataFrame(rows).assign(**{"fidelity.violation": off, "fidelity.coverage_violation": off}))


def test_what_breaks_limits_is_not_the_best_reaches_nothing_and_ranks_behind():
    found: Any = table(*ROWS).compare(broken(OTHERS, 2, 3)).iloc[1]
    assert (found["limits_broken"], found["best_trial"], found["best"], found["median"]) == (2, 1, 5.0, 4.0)
    assert (found["score_to_reach"], found["trials_to_score"]) == (5.0, 2)
    # by rank: 4, 5, 6, 7, 9, then the two that break limits, then the dead one
    test = mannwhitneyu([0, 2, 4, 7], [1, 3, 5.5, 5], method="asymptotic")
    assert found["probability_of_improvement"] == (4 + 3 + 2 + 0) / 16 == 1 - test.statistic / 16
    none: Any = broken(OTHERS, 0, 1, 2, 3).compare(table(*ROWS))
    assert none["best_trial"].isna().tolist() == [True, False]
    assert none["score_to_reach"].tolist() == [2.0, 2.0]
    assert math.isnan(none["images_to_score"].tolist()[0])


# ---- what may be compared


def test_other_objectives_are_refused_and_named():
    other = ResultsTable(pd.DataFrame(ROWS).assign(objective="fid, -coverage"))
    says = "the runs 'run 1' and 'run 2' have other objectives and cannot be compared: fidelity against fid, -coverage"
    with pytest.raises(ResultsError, match=says):
        table(*ROWS).compare(other)


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ("fid/c64@a/digits/2000@42", "fid/c64@b/digits/5000@42", "c64@a against c64@b, 2000@42 against 5000@42"),
        ("fid/c64@a/x", "wasserstein/x", "fid/c64@a/x against wasserstein/x"),
        ("fid/\x1b[31m", "fid/b", r"\\x1b\[31m against b"),
    ],
)
def test_other_protocols_are_refused_and_the_parts_that_differ_named(first, second, says):
    one, other = (ResultsTable(pd.DataFrame(ROWS).assign(protocol=each)) for each in (first, second))
    with pytest.raises(ResultsError, match=f"different protocols and cannot be compared: {says}$"):
        one.compare(other)
    unscored = ResultsTable(pd.DataFrame(ROWS[2:3]).assign(protocol=""))
    assert len(one.compare(unscored)) == 2
    with pytest.raises(ResultsError, match="the runs 'run 2' and 'run 3' were scored by different protocols"):
        unscored.compare(one, other)


def test_a_comparison_needs_another_run_and_a_score_that_is_a_number():
    with pytest.raises(ResultsError, match="needs another table"):
        table(*ROWS).compare()
    wrong: list[Any] = [math.nan, INF, "2", True]
    for score in wrong:
        with pytest.raises(ResultsError, match="score must be a finite number, got"):
            table(*ROWS).compare(table(*OTHERS), score=score)


@pytest.mark.parametrize("names", [["a"], ["a", "a"], "ab", ["a", "b", "c"], ["a", "setting"]])
def test_names_are_one_for_each_run(names):
    with pytest.raises(ResultsError, match="names must be 2 different ones, of the first run too, got"):
        table(*ROWS).compare(table(*OTHERS), names=names)


def test_runs_are_named_by_their_folders_or_as_one_likes(tmp_path):
    one, other = run(tmp_path, "one"), run(tmp_path, "other")
    assert one.compare(other, one, table(*ROWS))["run"].tolist() == ["one", "other", "one (3)", "run 4"]
    assert run(tmp_path, "setting").differences(one).columns.tolist() == ["setting", "setting (1)", "one"]
    assert one.compare(other, names=["A", "B"])["run"].tolist() == ["A", "B"]


# ---- spaces and settings


def test_what_differs_in_space_and_settings_is_said(tmp_path):
    ranges = {"lane.beta1": {"low": 0, "high": 0.5}, "lane.beta2": {"choices": [0.9, 1.0]}}
    base = {"lane.beta1": 0.5, "structure.loss": "minimax"}
    space = {"base": base, "ranges": ranges, "constraints": ["lane.beta1 < lane.beta2"]}
    spec = {**SPEC, "space": space, "ladder": {"rungs_images": [100, 200], "keep_fraction": 1.0}, "name": "y"}
    one, other = run(tmp_path, "one"), run(tmp_path, "other", spec)
    compared = one.compare(other, one, table(*ROWS))["space_differs"].tolist()
    assert compared == ["", "lane.beta1, structure.loss, lane.beta2, constraints", "", "unknown"]
    found = one.differences(other)
    assert found.astype(object).where(found.notna(), None).values.tolist() == [
        ["lane.beta1", "0 to 0.9", "0 to 0.5"],
        ["structure.loss", "hinge", "minimax"],
        ["ladder.keep_fraction", "0.5", "1"],
        ["lane.beta2", None, "0.9, 1"],
        ["constraints", None, "lane.beta1 < lane.beta2"],
    ]


def test_equal_specs_and_specs_that_are_none_have_no_differences(tmp_path):
    one = run(tmp_path, "one")
    assert one.differences(one).empty
    assert table(*ROWS).differences(table(*ROWS)).empty
    assert run(tmp_path, "other", {"space": 3}).differences(one)["setting"].tolist()[-1] == "seed"


@pytest.mark.parametrize(
    ("scope", "says"),
    [
        ({"low": 1e-5, "high": 1e-2, "log": True}, "1e-05 to 0.01, log"),
        ({"low": 1, "high": 9, "step": 2}, "1 to 9, step 2"),
        ({"every": [0.0, 500.0]}, "every one of 0, 500"),
        ({"low": 0.5, "high": 2.0, "ratio_to": "lane.beta1"}, "0.5 to 2, ratio_to lane.beta1"),
        ({"choices": [True], "when": {"structure.loss": ["a", "b"]}}, "True, when structure.loss is a or b"),
        ({"low": 0.1, "high": 0.2, "complement": True}, "0.1 to 0.2, complement"),
    ],
)
def test_ranges_in_words(scope, says):
    assert range_text(scope) == says
