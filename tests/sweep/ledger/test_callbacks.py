"""What `run_sweep` tells callbacks, what it prints, and where its first trials come from."""

from pathlib import Path

import pytest
from tiny_runs import TINY

from gan_core.config.input_error import InputError
from results.rows import ResultRow
from results.store import RunFolder
from results.table import ResultsTable
from sweep.ledger.callbacks import RowFeed
from sweep.ledger.cohort_record import read_rows
from sweep.proposals.warm_start import warm_started
from sweep.run import run_sweep
from sweep.spec.sweep_spec import SweepSpec

pytestmark = pytest.mark.usefixtures("unsynced")


class Heard:
    """A callback that keeps what it is told, and fails at one row."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.rows: list[ResultRow] = []
        self.tables: list[ResultsTable] = []
        self._fails_at = fails_at

    def row(self, row: ResultRow) -> None:
        self.rows.append(row)
        if len(self.rows) == self._fails_at:
            raise ZeroDivisionError("the person's own")

    def end(self, table: ResultsTable) -> None:
        self.tables.append(table)


def spec(*assignments: str) -> SweepSpec:
    return SweepSpec.from_mapping({"tracking": {"tensorboard": False}}, [*TINY, *assignments])


def places(rows: list[ResultRow]) -> list[tuple[int, int, float]]:
    return [(row.trial, row.rung, row.score) for row in rows]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("undisturbed") / "run"
    run_sweep(spec(), home, local=True, progress=False)
    return home


def test_an_error_of_a_callback_is_its_own_and_the_same_call_goes_on(tmp_path, undisturbed, capsys):
    home, first, second, third = tmp_path / "run", Heard(fails_at=3), Heard(), Heard()
    with pytest.raises(ZeroDivisionError, match="the person's own"):
        run_sweep(spec(), home, local=True, progress=False, callbacks=[first])
    recorded = read_rows(RunFolder(home))
    assert first.tables == []
    assert places(first.rows) == places(recorded[:3])
    run_sweep(spec(), home, local=True, progress=False, callbacks=[second])
    everything = read_rows(RunFolder(home))
    assert places(recorded + second.rows) == places(everything)  # what an earlier call recorded is not told again
    assert places(everything) == places(read_rows(RunFolder(undisturbed)))
    run_sweep(spec(), home, local=True, progress=False, callbacks=[third])
    assert third.rows == []  # the run was found finished
    assert [len(table.frame) for table in (*second.tables, *third.tables)] == [len(everything)] * 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([3], "a callback must have the methods `row` and `end`, got 3"),
        ([Heard], None),
        (Heard(), "callbacks must be a list of objects with `row` and `end`, got <"),
    ],
    ids=["a number", "a class", "no list"],
)
def test_what_is_no_callback_is_refused_before_anything_starts(tmp_path, given, says):
    with pytest.raises(InputError, match=says or "got <class"):
        run_sweep(spec(), tmp_path / "run", local=True, callbacks=given)
    assert not (tmp_path / "run").exists()


def test_a_row_that_is_half_written_is_told_when_it_is_whole(tmp_path, undisturbed):
    lines = RunFolder(undisturbed).rows.read_bytes().splitlines(keepends=True)
    heard, folder = Heard(), RunFolder(tmp_path)
    folder.rows.write_bytes(lines[0])
    feed = RowFeed([heard], folder)
    feed.look()
    assert heard.rows == []  # it was there before
    for part, told in ((lines[1] + lines[2][:20], 1), (lines[2][20:], 2), (b"", 2)):
        with folder.rows.open("ab") as file:
            file.write(part)
        feed.look()
        assert len(heard.rows) == told
    assert places(heard.rows) == places(read_rows(RunFolder(undisturbed))[1:3])


def test_a_warm_start_tries_an_earlier_runs_best_first_and_progress_is_printed(tmp_path, undisturbed, capsys):
    table = run_sweep(spec("trials=2", "seed=5"), tmp_path / "run", local=True, warm_start=undisturbed)
    best = ResultsTable.load(undisturbed).best()
    rates = dict(zip(table.trials["trial"], table.trials["lane.generator_lr"], strict=True))
    assert rates[1] == best["lane.generator_lr"]
    assert "trials 2/2 done" in capsys.readouterr().out
    begun = SweepSpec.from_yaml(tmp_path / "run" / "spec.yaml").enqueue
    again = warm_started(spec("trials=2", "seed=5"), RunFolder(tmp_path / "run"), "no run")
    assert again.enqueue == begun  # as it began, whatever has become of the earlier run
    assert len(begun) == 4
