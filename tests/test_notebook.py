"""The notebook of the examples runs from its sweep to its decision, and shows the sweep as one line."""

from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("plotly")

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "examples" / "analysis.ipynb"


@pytest.fixture(scope="module")
def notebook(tmp_path_factory) -> tuple[Any, Path]:
    """The notebook after all its cells have run, and the folder in which they did."""
    place, read = tmp_path_factory.mktemp("notebook"), nbformat.read(NOTEBOOK, as_version=4)
    here = {"metadata": {"path": place}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        nbclient.NotebookClient(read, timeout=240, kernel_name="python3", resources=here).execute()
    return read, place


def outputs(notebook: Any, part: str) -> list[Any]:
    """What the first cell says that contains this text; without tqdm's advice to install widgets."""
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code" and part in cell.source)
    return [one for one in cell.outputs if "TqdmWarning" not in one.get("text", "")]


def test_no_output_is_kept_in_the_file():
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert len(cells) > 8
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


def test_a_sweep_in_a_notebook_is_one_line_that_says_at_last_that_all_is_done(notebook):
    (line,) = outputs(notebook[0], "run_sweep(")
    assert line.output_type == "display_data"
    assert "] trials 24/24 done, 0 running; best fidelity " in line.data["text/plain"]
    assert line.data["text/html"].startswith("<pre ")
    assert line.data["text/plain"] in line.data["text/html"]


def test_the_table_is_shown_with_its_best_trials_and_its_analyses(notebook):
    (shown,) = outputs(notebook[0], "ResultsTable.load(run)")
    assert shown.data["text/html"].count("<tr>") == 11
    assert "importance()" in shown.data["text/html"]


def test_each_figure_is_drawn_and_the_decision_names_the_winner(notebook):
    for part in ("plots.history(", "plots.slices(", "plots.replicates("):
        (drawn,) = outputs(notebook[0], part)
        assert "application/vnd.plotly.v1+json" in drawn.data
    (said,) = outputs(notebook[0], "order_text(table)")
    assert "median" in said.text
    assert "over 3 seeds; by chance with probability" in said.text


def test_the_winner_and_the_rows_are_written(notebook):
    for name in ("best.yaml", "rows.parquet", "history.html"):
        assert (notebook[1] / name).stat().st_size > 1_000
