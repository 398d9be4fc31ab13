"""Wherever the copying ends, the store holds a state in which a sweep could have been killed."""

import os
from pathlib import Path

import pytest
from curve_array import curve_spec, rows_of, run_cohorts, run_folder
from faulty_store import FaultyFiles, away, store_in, tree

from gan_core.files.object_store import StoreError
from results.manifest import LEASE, MANIFEST, Manifest
from results.store import JsonLines, RunFolder
from results.stored_run import pull
from sweep.storage.lease import Lease, LeaseLost, LeaseTimes
from sweep.storage.local_files import GROWING
from sweep.storage.mirror import Mirror

pytestmark = pytest.mark.usefixtures("unsynced")
SPEC = curve_spec(tracking={"tensorboard": False})
AT_ONCE = LeaseTimes(settle_seconds=0.0)


def mirror_of(
    folder: RunFolder, place: Path, files: FaultyFiles | None = None, earlier: tuple[str, ...] = ()
) -> Mirror:
    store = store_in(place, files)
    lease = Lease(store, AT_ONCE)
    lease.take(earlier, lambda line: None)
    return Mirror(store, folder, lease, Manifest.read(store))


def pulled(place: Path, folder: Path) -> RunFolder:
    store = store_in(place)
    manifest = Manifest.read(store)
    assert manifest is not None
    folder.mkdir()
    pull(store, manifest, folder)
    return RunFolder(folder)


def copied_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RunFolder, FaultyFiles, Mirror]:
    """A whole sweep that is copied after each write that the disk has."""
    files, folder = FaultyFiles(), run_folder(SPEC, tmp_path / "run")
    mirror = mirror_of(folder, tmp_path / "store", files)
    monkeypatch.setattr(os, "fsync", lambda file: mirror.copy())
    run_cohorts(SPEC, folder)
    mirror.copy()
    return folder, files, mirror


def test_wherever_the_copying_is_cut_off_another_machine_goes_on_to_the_undisturbed_table(tmp_path, monkeypatch):
    undisturbed, files, _ = copied_sweep(tmp_path, monkeypatch)
    monkeypatch.setattr(os, "fsync", lambda file: None)
    begun, tables, last = 0, 0, b""
    for path, content in files.done:
        place = tmp_path / "again" / Path(path).relative_to(tmp_path / "store")
        place.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            place.unlink()
        elif place.name not in (MANIFEST, LEASE):  # which appear at once, as every small object does
            place.write_bytes(content[: len(content) // 2])
        now = (tmp_path / "again" / MANIFEST).read_bytes() if (tmp_path / "again" / MANIFEST).exists() else b""
        if now:  # half of an object is there
            begun += 1
            pulled(tmp_path / "again", tmp_path / f"half-{begun}")
        if content is not None:
            place.write_bytes(content)
        if place.name == MANIFEST and content != last:
            last, tables = content, tables + 1
            folder = pulled(tmp_path / "again", tmp_path / f"run-{tables}")
            assert set(GROWING) >= {path.name for path in folder.path.glob("*.jsonl")}
            run_cohorts(SPEC, folder)
            assert rows_of(folder) == rows_of(undisturbed)

    assert (begun > 60, tables > 10) == (True, True)


def test_what_is_pulled_is_the_folder_to_the_last_byte_and_nothing_else_is_in_the_store(tmp_path, monkeypatch):
    folder, _, mirror = copied_sweep(tmp_path, monkeypatch)
    there = {name: content for name, content in tree(folder.path).items() if not name.startswith(".")}
    got = tree(pulled(tmp_path / "store", tmp_path / "other").path)
    got.pop(".fetched.json")
    assert got == there
    assert len(there) > 10
    assert set(tree(tmp_path / "store")) == mirror.manifest.keys | {MANIFEST, LEASE}


def test_a_copy_of_nothing_new_writes_nothing(tmp_path, monkeypatch):
    _, files, mirror = copied_sweep(tmp_path, monkeypatch)
    before = len(files.requests)
    mirror.copy()
    assert files.requests[before:] == [("read", str(tmp_path / "store" / MANIFEST))]  # whether it is still this one's


def test_a_file_of_many_appends_is_few_pieces_and_each_byte_is_written_few_times(tmp_path):
    files, folder = FaultyFiles(), run_folder(SPEC, tmp_path / "run")
    mirror, lines = mirror_of(folder, tmp_path / "store", files), JsonLines(folder.rows)
    for number in range(256):
        lines.append([{"number": 1000 + number}])
        mirror.copy()
        assert len(mirror.manifest.files["rows.jsonl"]) <= 9
    written = sum(len(content or b"") for path, content in files.done if "rows.jsonl" in path)
    assert written <= 9 * folder.rows.stat().st_size
    assert pulled(tmp_path / "store", tmp_path / "other").rows.read_bytes() == folder.rows.read_bytes()


def test_what_a_new_study_cut_off_and_wrote_anew_is_copied_anew(tmp_path):
    folder = run_folder(SPEC, tmp_path / "run")
    mirror = mirror_of(folder, tmp_path / "store")
    folder.journal.write_bytes(b"a" * 100)
    mirror.copy()
    folder.journal.write_bytes(b"a" * 100 + b"b" * 10)
    mirror.copy()
    folder.journal.write_bytes(b"a" * 100 + b"c" * 20)
    mirror.copy()
    assert pulled(tmp_path / "store", tmp_path / "one").journal.read_bytes() == b"a" * 100 + b"c" * 20
    folder.journal.write_bytes(b"a" * 50)
    mirror.copy()
    assert pulled(tmp_path / "store", tmp_path / "two").journal.read_bytes() == b"a" * 50


def test_an_object_that_the_manifest_names_is_never_written_again(tmp_path):
    files, folder = FaultyFiles(), run_folder(SPEC, tmp_path / "run")
    mirror = mirror_of(folder, tmp_path / "store", files)
    for number in range(4):
        folder.best_samples.write_text(f"picture {number}")
        mirror.copy()
    pictures = [Path(path).name for path, content in files.done if "best" in path and content is not None]
    assert pictures == ["best.png", "best~.png", "best.png", "best~.png"]
    assert [name for name in tree(tmp_path / "store") if "best" in name] == ["best~.png"]
    os.utime(folder.best_samples)  # the same content, at another time
    mirror.copy()
    assert len([path for path, content in files.done if "best" in path and content is not None]) == 4


def test_a_manifest_of_a_driver_that_had_stood_still_is_replaced_at_the_next_copy(tmp_path):
    folder, place = run_folder(SPEC, tmp_path / "run"), tmp_path / "store"
    mirror = mirror_of(folder, place)
    mirror.copy()
    written = (place / MANIFEST).read_bytes()
    (place / MANIFEST).write_bytes(Manifest("other").to_bytes())
    mirror.copy()
    assert (place / MANIFEST).read_bytes() == written


def test_a_driver_that_was_taken_over_writes_no_manifest_even_before_it_renews_its_lease(tmp_path):
    folder, place = run_folder(SPEC, tmp_path / "run"), tmp_path / "store"
    mirror = mirror_of(folder, place)
    mirror.copy()
    written = (place / MANIFEST).read_bytes()
    mirror_of(run_folder(SPEC, tmp_path / "other"), place, earlier=(mirror.manifest.owner,))
    folder.best_samples.write_text("picture")
    with pytest.raises(LeaseLost):
        mirror.copy()
    assert (place / MANIFEST).read_bytes() == written


def test_two_drivers_give_the_pieces_of_files_different_keys(tmp_path):
    for name in ("one", "other"):
        folder = run_folder(SPEC, tmp_path / name)
        folder.journal.write_bytes(b"a")
        mirror_of(folder, tmp_path / "store" / name).copy()
    keys = [{key for key in tree(tmp_path / "store" / name) if "jsonl" in key} for name in ("one", "other")]
    assert (len(keys[0]), keys[0] & keys[1]) == (1, set())


def test_a_checkpoint_that_goes_while_it_is_copied_stays_in_the_store_until_the_rows_say_why(tmp_path, monkeypatch):
    """A row that ends a cohort is not in the cut if it was written after it."""
    folder = run_folder(SPEC, tmp_path / "run")
    mirror = mirror_of(folder, tmp_path / "store")
    folder.checkpoint(0).mkdir(parents=True)
    (folder.checkpoint(0) / "array").write_text("state")
    mirror.copy()
    monkeypatch.setattr(
        "sweep.storage.mirror.growing_sizes", lambda folder: (folder.checkpoint(0) / "array").unlink() or {}
    )
    mirror.copy()
    assert "checkpoints/cohort-0000/array" in mirror.manifest.files
    monkeypatch.undo()
    mirror.copy()
    assert [name for name in tree(tmp_path / "store") if "checkpoints" in name] == []


def test_what_was_written_before_an_outage_is_not_written_again(tmp_path):
    files, folder = FaultyFiles(), run_folder(SPEC, tmp_path / "run")
    mirror = mirror_of(folder, tmp_path / "store", files)
    (folder.samples).mkdir()
    (folder.samples / "trial-0000.png").write_text("picture")
    files.fault = lambda kind, path: away(kind, path) if path.endswith(MANIFEST) else None
    with pytest.raises(StoreError, match=r"cannot write to s3://bucket/run: it does not answer"):
        mirror.copy()
    assert mirror.missing() == (2, folder.spec.stat().st_size + len("picture"))
    files.fault = lambda kind, path: None
    mirror.copy()
    written = [Path(path).name for path, content in files.done if content is not None]
    assert sorted(written) == [LEASE, f"{LEASE}.{mirror.manifest.owner}", MANIFEST, "spec.yaml", "trial-0000.png"]
    assert mirror.missing() == (0, 0)


def test_objects_that_a_killed_driver_left_are_removed_and_a_persons_own_are_not(tmp_path):
    folder, place = run_folder(SPEC, tmp_path / "run"), tmp_path / "store"
    for name in ("samples/trial-0009.png", "rows.jsonl/000007", "spec~.yaml", "notes.txt"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("left")
    mirror_of(folder, place).copy()
    assert set(tree(place)) == {"notes.txt", "spec.yaml", MANIFEST, LEASE}


def test_a_file_that_becomes_shorter_while_it_is_read_is_an_error_and_no_object_of_the_run(tmp_path):
    path = tmp_path / "file"
    path.write_text("abc")
    with path.open("rb") as file, pytest.raises(StoreError, match="became shorter while it was copied"):
        store_in(tmp_path / "store").upload("key", file, 5, lambda: None)
