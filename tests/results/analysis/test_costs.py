"""Where the time of a run went, what pruning saved, and the timeline of its cohorts."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from table_rows import row, stored

from results.rows import Outcome
from results.store import JsonLines, ResultsError, RunFolder
from results.table import ResultsTable

WIDE: dict[str, Any] = {"structure.width": 64}
NARROW: dict[str, Any] = {"structure.width": 32}
ROWS = [
    row(0, 0, 3.0, seconds=1.0, node="a", elapsed_seconds=3.0, **WIDE),
    row(0, 1, 2.0, Outcome.COMPLETED, seconds=4.0, images_seen=400, node="b", elapsed_seconds=9.0, **WIDE),
    row(1, 0, 5.0, Outcome.PRUNED, seconds=2.0, node="a", elapsed_seconds=3.0, **NARROW),
    row(2, 0, math.nan, Outcome.DIVERGED, seconds=1.0, images_seen=50, cohort=1, node="a", elapsed_seconds=2.5),
    row(0, 0, 2.0, Outcome.COMPLETED, seconds=2.0, replicate=1, cohort=2, node="a", elapsed_seconds=12.0, **WIDE),
]
ROWS[3] |= NARROW
SPEC = "name: x\nladder: {rungs_images: [100, 500]}\n"


def table(path: Path, *cohorts: dict[str, Any], spec: str = SPEC) -> ResultsTable:
    folder = RunFolder(stored(path, ROWS))
    folder.spec.write_text(spec)
    JsonLines(folder.cohorts).append(cohorts)
    return ResultsTable.load(folder.path)


def part(found: Any, by: str) -> dict[str, tuple[float, ...]]:
    rows = found[found["by"] == by]
    return {name: tuple(values) for name, *values in rows[["name", "seconds", "images", "trials", "share"]].values}


def test_each_division_of_the_cost_has_all_of_it(tmp_path):
    found = table(tmp_path).cost()
    assert part(found, "phase") == {"search": (8.0, 550, 3, 0.8), "confirmation": (2.0, 100, 1, 0.2)}
    assert part(found, "outcome") == {
        "completed": (7.0, 500, 2, 0.7),
        "pruned": (2.0, 100, 1, 0.2),
        "diverged": (1.0, 50, 1, 0.1),
    }
    assert part(found, "rung") == {"0": (6.0, 350, 4, 0.6), "1": (4.0, 300, 1, 0.4)}
    assert part(found, "structure") == {"width=64": (7.0, 500, 2, 0.7), "width=32": (3.0, 150, 2, 0.3)}
    assert part(found, "node") == {"a": (6.0, 350, 4, 0.6), "b": (4.0, 300, 1, 0.4)}
    assert list(part(found, "outcome")) == ["completed", "pruned", "diverged"]
    shares: Any = found.groupby("by")["share"].sum()
    assert shares.tolist() == pytest.approx([1.0] * 5)


def test_rungs_come_in_their_order_and_one_structure_is_all():
    rows = [row(0, rung, 1.0, seconds=1.0 + rung) for rung in range(12)]
    found = ResultsTable(pd.DataFrame(rows)).cost()
    assert list(part(found, "rung")) == [str(rung) for rung in range(12)]
    assert list(part(found, "structure")) == ["all"]
    assert found["images"].tolist()[0] == 1200


def test_a_structure_is_named_by_what_differs_and_is_not_missing():
    values: list[Any] = [
        {"structure.loss": "hinge", "structure.codes": 2},
        {"structure.loss": "hinge"},
        {"structure.loss": "<b>"},
    ]
    rows = [row(n, 0, 1.0, seconds=3.0 - n, **{"structure.same": 1, **each}) for n, each in enumerate(values)]
    found = ResultsTable(pd.DataFrame(rows)).cost()
    assert list(part(found, "structure")) == ["loss=hinge, codes=2", "loss=hinge", "loss=<b>"]


def test_a_run_that_took_no_time_has_no_shares():
    assert all(map(math.isnan, ResultsTable(pd.DataFrame([row(0, 0, 1.0, seconds=0.0)])).cost()["share"]))


# ---- what pruning saved


def test_pruned_trials_save_the_way_to_the_last_rung_at_their_own_pace(tmp_path):
    found = table(tmp_path).savings()
    assert found.to_dict("records") == [{"rung": 0, "trials": 1, "images": 400, "seconds": 8.0, "share": 0.5}]


@pytest.mark.parametrize("spec", ["name: x\n", "ladder: 3\n", "ladder: {rungs_images: []}\n"])
def test_without_a_ladder_the_last_rung_is_the_longest_training(tmp_path, spec):
    assert table(tmp_path, spec=spec).savings()["images"].tolist() == [300]


def test_a_search_without_pruning_has_saved_nothing():
    found = ResultsTable(pd.DataFrame(ROWS[:2])).savings()
    assert (len(found), found.columns.tolist()) == (0, ["rung", "trials", "images", "seconds", "share"])


# ---- the timeline


def opened(cohort: int, seconds: float | None) -> dict[str, Any]:
    return {"cohort": cohort, "elapsed_seconds": seconds}


def spans(found: pd.DataFrame) -> dict[tuple[int, int], tuple[Any, ...]]:
    columns = ["node", "slot", "begins_seconds", "ends_seconds"]
    return {(one["cohort"], one["rung"]): tuple(one[c] for c in columns) for one in found.to_dict("records")}


def test_a_rung_begins_where_the_one_before_ended_and_the_first_when_the_cohort_was_handed_out(tmp_path):
    found = table(tmp_path, opened(0, 0.5), opened(1, 1.0), opened(2, 9.5)).timeline()
    assert spans(found) == {
        (0, 0): ("a", 0, 0.5, 3.0),
        (0, 1): ("b", 0, 3.0, 9.0),
        (1, 0): ("a", 1, 1.0, 2.5),
        (2, 0): ("a", 0, 9.5, 12.0),
    }
    lanes = found.set_index(["cohort", "rung"])[["lanes", "seconds", "confirmation"]]
    assert lanes.loc[[(0, 0), (2, 0)]].values.tolist() == [[2, 3.0, False], [1, 2.0, True]]


def test_without_the_files_of_the_run_the_first_rung_takes_the_time_of_its_lanes():
    found = spans(ResultsTable(pd.DataFrame(ROWS)).timeline())
    assert found[0, 0] == ("a", 0, 0.0, 3.0)
    assert found[1, 0] == ("a", 1, 1.5, 2.5)
    assert found[2, 0] == ("a", 0, 10.0, 12.0)


def test_cohorts_that_follow_each_other_share_a_slot_and_the_lowest_free_one_is_taken():
    times = [(0.0, 10.0), (0.0, 4.0), (1.0, 3.0), (4.0, 6.0), (4.0, 12.0), (10.0, 11.0)]  # of the cohorts
    rows = [row(n, 0, 1.0, cohort=n, seconds=end - begin, elapsed_seconds=end) for n, (begin, end) in enumerate(times)]
    found = ResultsTable(pd.DataFrame(rows)).timeline().sort_values("cohort")
    assert found["slot"].tolist() == [0, 1, 2, 1, 2, 0]


def test_a_file_of_cohorts_that_was_changed_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="cohorts.jsonl: cohort and elapsed_seconds are not such numbers"):
        table(tmp_path, {"cohort": "x", "elapsed_seconds": 1.0}).timeline()
    with pytest.raises(ResultsError, match="are not such numbers"):
        table(tmp_path / "other", opened(0, -1.0)).timeline()


def test_a_run_of_an_early_version_has_no_times_of_cohorts(tmp_path):
    found = table(tmp_path, {"cohort": 0}, opened(1, None)).timeline()
    assert spans(found)[0, 0] == ("a", 0, 0.0, 3.0)
