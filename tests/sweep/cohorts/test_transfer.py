"""Cohorts whose process does not see the folder of the run: what lies there in the end, and what is refused."""

import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from curve_array import CurveArray, curve_spec, opened, run_cohorts, run_folder, runs
from full_disks import full_disk
from sabotage import Killed, Saboteur, facts

import sweep.cohorts.file_server
import sweep.cohorts.transfer
from results.store import RunFolder, exclusive
from sweep.cohorts.best_rungs import BestRungs
from sweep.cohorts.checkpoints import Checkpoints
from sweep.cohorts.cohort import CohortRun
from sweep.cohorts.file_server import FileServer, Parcel, sha256_of
from sweep.cohorts.transfer import LOCK, OLD_SECONDS, CohortTransfer, Line, fetch_file, own_folder
from sweep.ledger.endings import disk_ending
from sweep.ledger.owners import NoLongerOwner
from sweep.spec.sweep_spec import SweepSpec

pytestmark = pytest.mark.usefixtures("unsynced")
SPEC = curve_spec()
ONE_COHORT = curve_spec(trials=2, lanes_per_cohort=2, checkpoint_minutes=1e-9)
LONGER = curve_spec(ladder={"rungs_images": [100, 300, 900], "keep_fraction": 0.5})
CLIFF = {"cliff_lr": 5e-4, "cliff_beta1": 0.49, "cliff_images": 200}


def build(configs, _=()) -> CurveArray:
    return CurveArray(configs, **CLIFF)


def line_to(server: FileServer) -> Line:
    """Calls the server here, when the call is made."""

    def call(method: str, *given: Any, **named: Any):
        answer = getattr(server, method)(*given, **named)
        return lambda: answer

    return call


def run_apart(spec: SweepSpec, folder: RunFolder) -> None:
    """As `run_cohorts`, with each cohort in a folder of its own, as a process elsewhere has it."""
    server = FileServer(folder)
    with opened(spec, folder) as study:
        while (cohort := study.open_cohort(spec.cohort_size(1))) is not None:
            with own_folder() as own:
                transfer = CohortTransfer(line_to(server), cohort.number, cohort.owner)
                transfer.fetch(cohort.runs if cohort.from_rung else (), own)
                best = BestRungs(study.objective)
                run = CohortRun(
                    cohort,
                    spec.ladder,
                    best,
                    build,
                    study,
                    own,
                    transfer=transfer,
                    checkpoint_seconds=60 * spec.checkpoint_minutes,
                )
                while not run.done:
                    run.advance()


def files_of(folder: RunFolder) -> dict[str, bytes]:
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def _small_pieces(tmp_path, monkeypatch) -> None:
    for module in (sweep.cohorts.file_server, sweep.cohorts.transfer):
        monkeypatch.setattr(module, "PIECE_BYTES", 1_000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def plain_files(folder: RunFolder) -> dict[str, bytes]:
    """Without the journal of Optuna and the files of TensorBoard, which have times."""
    timed = (folder.journal.name, folder.tensorboard.name)
    return {name: content for name, content in files_of(folder).items() if not name.startswith(timed)}


def test_without_a_shared_folder_the_run_is_the_same_byte_for_byte(tmp_path):
    together, apart = run_folder(SPEC, tmp_path / "together"), run_folder(SPEC, tmp_path / "apart")
    run_cohorts(SPEC, together, build)
    run_apart(SPEC, apart)
    expected = plain_files(together)
    assert {"rows.jsonl", "curves.jsonl", "cohorts.jsonl", "samples/trial-0000.png"} <= expected.keys()
    assert any(name.endswith("last.safetensors") for name in expected)
    assert any(name.endswith("generator.safetensors") for name in expected)
    assert plain_files(apart) == expected
    assert list(tmp_path.glob("gan-sweep-files-*")) == []


def test_trials_that_go_up_a_longer_ladder_go_on_from_states_that_are_fetched(tmp_path):
    for name, run in (("together", lambda spec, folder: run_cohorts(spec, folder, build)), ("apart", run_apart)):
        folder = run_folder(SPEC, tmp_path / name)
        run(SPEC, folder)
        folder.spec.write_text(LONGER.to_yaml())
        run(LONGER, folder)
    found = plain_files(RunFolder(tmp_path / "apart"))
    assert b'"rung":2' in found["rows.jsonl"]
    assert found == plain_files(RunFolder(tmp_path / "together"))


ON_EITHER_SIDE = (
    *((FileServer, name) for name in ("take_up", "begin_rung", "put", "end_rung")),
    *((Checkpoints, name) for name in ("finish", "complete", "keep_of_runs")),
    (Path, "rename"),
)


@pytest.mark.parametrize("start", [1, *(pytest.param(start, marks=pytest.mark.slow) for start in (2, 3))])
def test_killed_at_every_third_boundary_on_either_side_the_run_is_the_same_in_the_end(tmp_path, monkeypatch, start):
    monkeypatch.setattr("sabotage.BOUNDARIES", ON_EITHER_SIDE)
    whole = run_folder(ONE_COHORT, tmp_path / "whole")
    run_apart(ONE_COHORT, whole)
    undisturbed, census = facts(whole, ONE_COHORT), Saboteur()
    with pytest.MonkeyPatch.context() as patch:
        census.install(patch)
        run_apart(ONE_COHORT, run_folder(ONE_COHORT, tmp_path / "census"))
    assert len(census.passed) > 30
    assert {"before put", "after put", "before end_rung", "after end_rung", "after begin_rung"} <= set(census.passed)
    differ = []
    for kill_at in range(start, len(census.passed) + 1, 3):
        folder = run_folder(ONE_COHORT, tmp_path / str(kill_at))
        with pytest.MonkeyPatch.context() as patch:
            Saboteur(kill_at).install(patch)
            with pytest.raises(Killed):
                run_apart(ONE_COHORT, folder)
        run_apart(ONE_COHORT, folder)
        found = facts(folder, ONE_COHORT)
        same = (found.rows, found.curves, found.told, found.pictures, found.paths)
        if same != (undisturbed.rows, undisturbed.curves, undisturbed.told, undisturbed.pictures, undisturbed.paths):
            differ.append(census.passed[kill_at - 1])
    assert differ == []


# ---- the server


@pytest.fixture
def server(tmp_path) -> FileServer:
    return FileServer(run_folder(SPEC, tmp_path / "run"))


@pytest.fixture
def run(tmp_path, server) -> RunFolder:
    return RunFolder(tmp_path / "run")


def sent(folder: Path, **files: bytes) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("_", ".", 1)).write_bytes(content)
    return folder


def test_a_rung_appears_whole_or_not_at_all(tmp_path, server, run):
    folder = sent(tmp_path / "rung", reports_json=b"{}" * 1_000, **{"array-0_safetensors": b"x" * 2_500})
    calls: list[str] = []

    def line(method: str, *given: Any, **named: Any):
        calls.append(method)
        assert Checkpoints(run, 3).latest() is None
        return line_to(server)(method, *given, **named)

    CohortTransfer(line, 3, 1).deliver(0, folder, whole=True)
    assert calls == ["begin_rung", *["put"] * 5, "end_rung"]
    latest = Checkpoints(run, 3).latest()
    assert latest is not None
    assert sorted((path.name, path.read_bytes()) for path in latest.iterdir()) == [
        ("array-0.safetensors", b"x" * 2_500),
        ("reports.json", b"{}" * 1_000),
    ]


def test_what_an_earlier_owner_sends_is_refused_and_spoils_nothing(tmp_path, server, run):
    folder = sent(tmp_path / "rung", reports_json=b"old")
    old, new = (CohortTransfer(line_to(server), 3, owner) for owner in (1, 2))
    old.fetch((), RunFolder(tmp_path / "own"))
    server.begin_rung(3, 1, 0)
    new.fetch((), RunFolder(tmp_path / "own"))
    (folder / "reports.json").write_bytes(b"new")
    new.deliver(0, folder, whole=True)
    for call in (lambda: old.deliver(0, folder, whole=True), lambda: old.forget(runs(0)), lambda: old.fetch((), run)):
        with pytest.raises(NoLongerOwner, match="cohort 3 was handed to another process"):
            call()
    for method, given in (("put", (0, "reports.json", 0, b"late")), ("end_rung", (0, ()))):
        with pytest.raises(NoLongerOwner):
            getattr(server, method)(3, 1, *given, **({"whole": True} if method == "end_rung" else {}))
    assert (run.checkpoint(3) / "rung-0" / "reports.json").read_bytes() == b"new"
    assert CohortTransfer(line_to(server), 4, 1).fetch((), RunFolder(tmp_path / "own")) is None


@pytest.mark.parametrize(
    "name", ["../reports.json", "/etc/passwd", "a/reports.json", "..", "", "trial-1.sh", ".mark", "reports.json\n"]
)
def test_a_name_that_no_file_of_a_rung_has_is_refused(tmp_path, server, run, name):
    server.begin_rung(0, 1, 0)
    before = files_of(run)
    with pytest.raises(ValueError, match="no file of a rung has the name"):
        server.put(0, 1, 0, name, 0, b"x")
    assert files_of(run) == before


def test_only_what_was_given_out_can_be_asked_for(server):
    with pytest.raises(ValueError, match="no file was given out by the name '../spec.yaml'"):
        server.piece("../spec.yaml", 0)
    with pytest.raises(ValueError, match="no file was given out by the name 'spec.yaml'"):
        server.piece("spec.yaml", 0)


def test_pieces_that_were_damaged_on_their_way_are_noticed_on_both_sides(tmp_path, server, run):
    folder = sent(tmp_path / "rung", reports_json=b"content")

    def damaging(method: str, *given: Any, **named: Any):
        if method == "put":
            given = (*given[:-1], b"CONTENT")
        return line_to(server)(method, *given, **named)

    with pytest.raises(OSError, match="what arrived is not what was sent"):
        CohortTransfer(damaging, 0, 1).deliver(0, folder, whole=True)
    assert Checkpoints(run, 0).latest() is None
    given = server.give(folder / "reports.json", "name")
    with pytest.raises(OSError, match="what arrived is not what was sent") as failed:
        fetch_file(line_to(server), given._replace(sha256="0" * 64), tmp_path / "fetched")
    ending = disk_ending(failed.value, run)
    assert ending is not None
    assert f"cannot write {tmp_path / 'fetched'}: Input/output error" in str(ending)


def test_calls_whose_answers_were_lost_may_be_repeated(tmp_path, server, run):
    folder = sent(tmp_path / "rung", reports_json=b"x" * 2_500, **{"trial-0003_png": b"picture"})

    def twice(method: str, *given: Any, **named: Any):
        line_to(server)(method, *given, **named)
        return line_to(server)(method, *given, **named)

    for whole, rung in ((True, 0), (False, 1)):
        CohortTransfer(twice, 0, 1).deliver(rung, folder, whole=whole)
        assert run.trial_samples(runs(3)[0]).read_bytes() == b"picture"
        run.trial_samples(runs(3)[0]).unlink()
    assert files_of(run).keys() == {"spec.yaml", "checkpoints/cohort-0000/rung-0/reports.json"}


def test_two_pieces_are_on_their_way_at_most_and_arrive_in_order(tmp_path, server):
    content = os.urandom(10_500)
    given = server.give(sent(tmp_path / "rung", reports_json=content) / "reports.json", "name")
    on_their_way, most = 0, 0

    def counting(method: str, *arguments: Any):
        nonlocal on_their_way, most
        on_their_way += 1
        most = max(most, on_their_way)
        answer = server.piece(*arguments)

        def wait() -> bytes:
            nonlocal on_their_way
            on_their_way -= 1
            return answer

        return wait

    fetch_file(counting, given, tmp_path / "fetched")
    assert (most, on_their_way, (tmp_path / "fetched").read_bytes()) == (2, 0, content)


def test_an_empty_file_travels_too(tmp_path, server):
    folder = sent(tmp_path / "rung", reports_json=b"")
    fetch_file(line_to(server), server.give(folder / "reports.json", "name"), tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == b""
    assert server.give(tmp_path / "fetched", "again") == Parcel("again", 0, sha256_of(folder / "reports.json"))


@pytest.mark.parametrize("side", ["server", "own"])
def test_a_full_disk_on_either_side_ends_with_one_line_that_names_the_file(tmp_path, server, run, side):
    folder = sent(tmp_path / "rung", reports_json=b"x" * 5_000)
    with pytest.raises(OSError, match="reports") as failed, full_disk(4_000):
        if side == "server":
            CohortTransfer(line_to(server), 0, 1).deliver(0, folder, whole=True)
        else:
            given = server.give(folder / "reports.json", "name")
            fetch_file(line_to(server), given, tmp_path / "reports")
    assert failed.value.errno == errno.EFBIG
    ending = disk_ending(failed.value, run)
    assert ending is not None
    assert f"cannot write {failed.value.filename}: File too large" in str(ending)
    assert Checkpoints(run, 0).latest() is None


# ---- folders of processes


def test_a_folder_of_a_process_is_removed_at_the_end_and_an_error_changes_nothing_about_that(tmp_path):
    def fail() -> None:
        with own_folder() as own:
            (own.path / "checkpoints").mkdir()
            assert own.path.parent == tmp_path
            raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(OSError, match="no space"):
        fail()
    assert list(tmp_path.iterdir()) == []


@contextmanager
def left_folder(place: Path, name: str, seconds: float, *, held: bool = False) -> Iterator[Path]:
    folder = place / f"gan-sweep-files-{name}"
    folder.mkdir()
    (folder / LOCK).touch()
    os.utime(folder / LOCK, (time.time() - seconds, time.time() - seconds))
    if not held:
        yield folder
        return
    with exclusive(folder / LOCK):
        yield folder


def test_folders_that_killed_processes_left_are_removed_and_no_others(tmp_path):
    (tmp_path / "gan-sweep-files-strange").mkdir()
    with (
        left_folder(tmp_path, "left", 2 * OLD_SECONDS),
        left_folder(tmp_path, "held", 2 * OLD_SECONDS, held=True) as held,
        left_folder(tmp_path, "young", 0) as young,
        own_folder() as own,
    ):
        there = {path.name for path in tmp_path.iterdir()}
        assert there == {"gan-sweep-files-strange", held.name, young.name, own.path.name}


def test_folders_of_processes_that_begin_at_once_differ(tmp_path):
    met, found = threading.Barrier(4), list[Path]()

    def begin() -> None:
        met.wait()
        with own_folder() as own:
            found.append(own.path)
            met.wait()

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 4
