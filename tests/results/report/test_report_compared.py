"""Several runs at the top of their page: what can be said of their order, and why nothing can where it cannot."""

from table_rows import row, stored

from results.report.compared import compared, distinct_names
from results.report.runs import ReportedRun
from results.rows import Outcome
from results.store import RunFolder


def run(path, scores, name="", **values):
    found = [row(n, 0, score, Outcome.COMPLETED, **values) for n, score in enumerate(scores)]
    place = stored(path, found)
    RunFolder(place).spec.write_text(f"name: {name or path.name}\nseed: {len(scores)}\n")
    return ReportedRun.load(place)


def test_the_lead_names_the_best_run_and_the_chance_that_the_order_is_luck(tmp_path):
    a, b = run(tmp_path / "a", [5.0, 4.0, 6.0, 7.0]), run(tmp_path / "b", [3.0, 2.0, 1.0])
    found = compared([a, b])
    assert found.lead.startswith("b reached the best fidelity, 1 (trial 2), against 4 of a. a is better than b with ")
    assert "probability 0 (4 and 3 trials at 100 images)" in found.lead
    assert [cells[:4] for cells in found.rows] == [
        ["a", "fidelity 4 (trial 1)", "5", "4"],
        ["b", "fidelity 1 (trial 2)", "3", "3"],
    ]
    assert [figure.title for figure in found.figures] == ["The best score so far", "All trials at their best rungs"]
    assert ["seed", "4", "3"] in found.differences


def test_runs_of_other_protocols_stand_beside_each_other_without_a_comparison(tmp_path):
    found = compared([run(tmp_path / "a", [5.0]), run(tmp_path / "b", [3.0], protocol="q")])
    assert found.lead.endswith("were scored by different protocols and cannot be compared: p against q.")
    assert (len(found.rows), found.figures, found.differences) == (2, [], [])


def test_a_run_without_trials_has_a_line_and_no_comparison(tmp_path):
    young = RunFolder(tmp_path / "young").create()
    young.spec.write_text("name: young\n")
    found = compared([run(tmp_path / "a", [5.0]), ReportedRun.load(young.path)])
    assert found.lead == "Two runs with trials are needed for a comparison."
    assert found.rows[1] == ["young", "no trial yet", "", "0", "", ""]


def test_runs_of_one_name_are_told_apart_by_their_places(tmp_path):
    a, b = run(tmp_path / "a", [5.0], "same"), run(tmp_path / "b", [3.0], "same")
    assert distinct_names([a, b]) == [f"same ({a.folder.path})", f"same ({b.folder.path})"]
    assert distinct_names([a]) == ["same"]
