"""A sweep at an address: begun, gone on with elsewhere, refused, and never at the cost of what is here."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest
from curve_array import CurveArray, curve_spec, rows_of, run_cohorts, swept
from stores_in_memory import address, put, replace

from gan_core.files.object_store import StoreError, open_store
from results.manifest import LEASE
from results.store import RunFolder
from results.stored_run import DriverPlace, run_folder
from sweep.ledger.endings import PlaceError
from sweep.storage import placed_run
from sweep.storage.copier import CopierTimes
from sweep.storage.lease import LeaseLost, LeaseTimes
from sweep.storage.placed_run import stored

__all__ = ["address"]  # a fixture
pytestmark = pytest.mark.usefixtures("unsynced")
SPEC = curve_spec(tracking={"tensorboard": False})


class Machine:
    """One with a cache of its own, and what a person reads there."""

    def __init__(self, cache: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
        self.cache, self.address, self.patch, self.said = cache, address, monkeypatch, []

    @contextmanager
    def at_work(self):
        """The run at the address."""
        self.patch.setenv("GAN_SWEEP_CACHE", str(self.cache))
        lease = LeaseTimes(renew_seconds=0.0, silent_seconds=0.2, settle_seconds=0.0, look_seconds=0.01)
        copier = CopierTimes(0.01, notice_seconds=0.0, first_wait_seconds=0.01, longest_wait_seconds=0.01)
        with stored(self.address, self.said.append, self.said.append, lease, copier) as run:
            yield run

    def sweeps(self, spec=SPEC) -> RunFolder:
        with self.at_work() as run:
            if not run.folder.holds_run():
                run.folder.spec.write_text(spec.to_yaml())
            run_cohorts(spec, run.folder)
        return run.folder

    def breaks_off(self) -> None:
        """Ctrl-C in the second rung of the first cohort."""
        with pytest.raises(KeyboardInterrupt), self.at_work() as run:
            run.folder.spec.write_text(SPEC.to_yaml())
            run_cohorts(SPEC, run.folder, BrokenOff)


class BrokenOff(CurveArray):
    """Reaches its first rung, and no second."""

    def train_to(self, images, on_step=None):
        if self.images:
            raise KeyboardInterrupt
        return super().train_to(images, on_step)


@pytest.fixture
def machines(tmp_path, monkeypatch, address) -> list[Machine]:
    return [Machine(tmp_path / name, monkeypatch, address) for name in ("a", "b")]


def test_a_path_is_a_run_on_this_machine(tmp_path):
    with stored(tmp_path / "run", print, print) as run:
        assert (run.folder.path, run.check, run.leave) == (tmp_path / "run", None, None)


def test_another_machine_goes_on_to_the_undisturbed_table(machines, tmp_path, address):
    a, b = machines
    a.breaks_off()
    assert a.said[0].startswith("memory://bucket/run is kept up to date from ")
    assert len(a.said) == 1
    folder = b.sweeps()
    assert b.said[0].startswith("fetching memory://bucket/run (")
    assert rows_of(folder) == rows_of(swept(SPEC, tmp_path / "undisturbed"))
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert LEASE not in open_store(address).list()
    again = a.sweeps()  # the store decides; all that was here is there
    assert rows_of(again) == rows_of(folder)
    assert not list(again.path.parent.glob("*aside*"))


def test_a_process_that_ends_without_leaving_has_copied_what_was_left_and_another_machine_goes_on_at_once(
    machines, tmp_path, address
):
    """As where Ray's head died, and the main thread blocks."""
    a, b = machines
    with pytest.raises(KeyboardInterrupt), a.at_work() as run:
        run.folder.spec.write_text(SPEC.to_yaml())
        with pytest.raises(KeyboardInterrupt):
            run_cohorts(SPEC, run.folder, BrokenOff)
        run.leave()
        there = open_store(address).list()
        assert LEASE not in there
        assert DriverPlace(address).note.clean
        raise KeyboardInterrupt
    folder = b.sweeps()
    assert b.said[0].startswith("fetching memory://bucket/run (")
    assert rows_of(folder) == rows_of(swept(SPEC, tmp_path / "undisturbed"))


def test_a_process_that_ends_while_the_store_is_away_says_what_is_not_there(machines, monkeypatch, address):
    a, _ = machines
    monkeypatch.setattr(placed_run, "BREAK_SECONDS", 0.05)
    with pytest.raises(KeyboardInterrupt), a.at_work() as run:
        run.folder.spec.write_text(SPEC.to_yaml())

        def away(*_):
            raise StoreError("no answer")

        with monkeypatch.context() as patch:
            patch.setattr("sweep.storage.mirror.Mirror.copy", away)
            run_cohorts(SPEC, run.folder)
            run.leave()
        assert a.said[-1].endswith(f"it is in {run.folder.path}, and the same command on this machine copies it")
        assert " not in memory://bucket/run yet: no answer; " in a.said[-1]
        assert LEASE in open_store(address).list()
        raise KeyboardInterrupt


def test_the_same_machine_fetches_nothing_again(machines):
    a, _ = machines
    a.breaks_off()
    a.said.clear()
    a.sweeps()
    assert [line for line in a.said if "fetching" in line] == []


def test_what_was_never_copied_is_set_aside_and_named_where_another_machine_went_on(machines, address):
    a, b = machines
    a.breaks_off()
    driver = DriverPlace(address)
    driver.write(driver.note.__class__(driver.note.driver, driver.note.owners, clean=False))
    (driver.folder / "best.png").write_text("only here")
    b.sweeps()
    a.said.clear()
    folder = a.sweeps()
    line = next(line for line in a.said if "aside" in line)
    assert line.startswith("another machine went on with memory://bucket/run; what this machine had of it is kept in /")
    assert (Path(line.rpartition(" ")[2]) / "best.png").read_text() == "only here"
    assert not folder.best_samples.exists()


def test_a_run_that_was_removed_from_the_store_begins_anew_and_what_was_here_is_set_aside(machines, address):
    a, _ = machines
    a.breaks_off()
    store = open_store(address)
    for key in store.list():
        store.delete(key)
    a.said.clear()
    with a.at_work() as run:
        assert not run.folder.holds_run()
    assert a.said[0].startswith("memory://bucket/run does not hold the run any more that was copied there; what this")


def test_a_cache_that_was_emptied_takes_nothing_from_the_store(machines, address):
    a, _ = machines
    a.breaks_off()
    driver = DriverPlace(address)
    for path in (driver.folder / "rows.jsonl", driver.folder / "spec.yaml"):
        path.unlink()
    with a.at_work() as run:
        assert len(rows_of(run.folder)) == 3


def test_another_process_of_this_machine_is_refused(machines):
    a, _ = machines
    with a.at_work(), pytest.raises(StoreError) as raised, a.at_work():
        pass
    where = "another process of this machine is at work in memory://bucket/run"
    assert str(raised.value) == f"{where}; wait for it, stop it, or choose another --out"


def test_an_address_that_holds_other_things_is_refused_and_they_stay(machines, address):
    store = put(address, {"notes.txt": b"mine"})
    with pytest.raises(StoreError, match="memory://bucket/run holds notes.txt and is no run; choose another --out"):
        machines[0].sweeps()
    assert list(store.list()) == ["notes.txt"]


def test_a_sweep_whose_run_was_taken_over_ends_and_says_where_its_files_are(machines, address):
    a, _ = machines
    with pytest.raises(LeaseLost) as raised, a.at_work() as run:
        assert run.check is not None
        taken = json.dumps({"owner": "x", "host": "there", "process": 7}).encode()
        while True:  # the other one renews its lease too: this driver may be between a look at it and its own renewal
            replace(f"{address}/{LEASE}", taken)
            run.check()
    assert str(raised.value).endswith(
        f"process 7 of host there took over memory://bucket/run; this sweep stops; what it had is in {run.folder.path}"
    )
    assert LEASE in open_store(address).list()


def test_a_sweep_that_could_not_be_copied_ends_with_an_error_and_the_same_command_copies_it(
    machines, address, monkeypatch
):
    a, _ = machines
    monkeypatch.setattr(placed_run, "FINISH_SECONDS", 0.1)
    write = placed_run.ObjectStore.write
    with pytest.raises(PlaceError) as raised, a.at_work() as run:
        monkeypatch.setattr(placed_run.ObjectStore, "write", refusing)
        run.folder.spec.write_text(SPEC.to_yaml())
        run_cohorts(SPEC, run.folder)
    said = str(raised.value)
    assert said.startswith("the sweep has ended, with ")
    assert f"not in memory://bucket/run yet: nothing can be written; it is in {run.folder.path}, and the same" in said
    monkeypatch.setattr(placed_run.ObjectStore, "write", write)
    assert rows_of(a.sweeps()) == rows_of(run_folder(address))


def test_a_broken_off_sweep_that_could_not_be_copied_says_so(machines, monkeypatch):
    a, _ = machines
    monkeypatch.setattr(placed_run, "BREAK_SECONDS", 0.1)
    with pytest.raises(KeyboardInterrupt), a.at_work() as run:
        monkeypatch.setattr(placed_run.ObjectStore, "write", refusing)
        run.folder.spec.write_text("name: x\n")
        raise KeyboardInterrupt
    assert a.said[-1].endswith("and the same command on this machine copies it")


def test_a_sweep_that_is_broken_off_while_it_copies_what_is_left_says_what_is_missing(machines, monkeypatch):
    a, _ = machines
    monkeypatch.setattr(placed_run, "BREAK_SECONDS", 0.1)
    finish = placed_run.Copier.finish

    def interrupted(copier: placed_run.Copier, seconds: float) -> str:
        if seconds == placed_run.FINISH_SECONDS:
            raise KeyboardInterrupt
        return finish(copier, seconds)

    monkeypatch.setattr(placed_run.Copier, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt), a.at_work() as run:
        monkeypatch.setattr(placed_run.ObjectStore, "write", refusing)
        run.folder.spec.write_text("name: x\n")
    assert a.said[-1].endswith("and the same command on this machine copies it")


def refusing(*_: object) -> None:
    """As a store that cannot be written."""
    raise StoreError("nothing can be written")


def test_a_store_that_cannot_be_written_is_known_before_anything_starts(machines, monkeypatch):
    monkeypatch.setattr(placed_run.ObjectStore, "write", refusing)
    with pytest.raises(StoreError, match="nothing can be written"), machines[0].at_work():
        raise AssertionError
