"""Runs in stores are read from the cache, where only what changed is fetched."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from curve_array import curve_spec, swept
from faulty_store import FaultyFiles, store_in
from stores_in_memory import address, put
from table_rows import row

from gan_core.files.object_store import ObjectStore, StoreError, open_store
from results.manifest import LEASE, MANIFEST, Manifest, Piece, whole_key
from results.store import ResultsError, RunFolder, exclusive
from results.stored_run import DriverNote, DriverPlace, generators, is_leased, pull, run_folder
from results.table import ResultsTable

__all__ = ["address"]  # a fixture


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path / "cache"))


def stored_files(store: ObjectStore, files: dict[str, list[bytes]], owner: str = "driver") -> Manifest:
    """Writes files, each as these pieces, and the manifest."""
    made = {}
    for name, parts in files.items():
        made[name] = [Piece(f"{name}/{n:06d}", len(p), hashlib.sha256(p).hexdigest()) for n, p in enumerate(parts)]
        for piece, part in zip(made[name], parts, strict=True):
            store.write(piece.key, part)
    manifest = Manifest(owner, 9, made)
    store.write(MANIFEST, manifest.to_bytes())
    return manifest


def lines(*records: dict) -> list[bytes]:
    plain = [{k: None if v != v else v for k, v in record.items()} for record in records]
    return [f"{json.dumps(record)}\n".encode() for record in plain]


def test_a_table_is_read_by_its_address_and_only_what_it_needs_is_fetched(address):
    rows = lines(row(0, 0, 2.0), row(1, 0, 3.0))
    store = open_store(address)
    weights = "checkpoints/trial-0000/generator.safetensors"
    stored_files(store, {"spec.yaml": [b"name: x\n"], "rows.jsonl": rows, weights: [b"w"], "samples/a.png": [b"p"]})
    assert ResultsTable.load(address).frame["trial"].tolist() == [0, 1]
    folder = run_folder(address)
    assert {p.name for p in folder.path.rglob("*") if p.is_file() and not p.name.startswith(".")} == {
        "spec.yaml",
        "rows.jsonl",
    }
    assert (folder.shown, folder.path.stat().st_mode & 0o777) == (address, 0o700)
    assert (run_folder(address, generators).path / weights).read_bytes() == b"w"
    stored_files(store, {"spec.yaml": [b"name: x\n"], "rows.jsonl": [*rows, *lines(row(2, 0, 4.0))]})
    assert ResultsTable.load(address).frame["trial"].tolist() == [0, 1, 2]
    assert not (folder.path / weights).exists()  # which the run has no more


def test_a_second_call_asks_for_the_manifest_alone_and_a_longer_file_for_its_new_piece(tmp_path):
    files, folder = FaultyFiles(), tmp_path / "folder"
    store = store_in(tmp_path / "store", files)
    folder.mkdir()
    one = stored_files(store, {"rows.jsonl": [b"one\n", b"two\n"], "best.png": [b"picture"]})
    pull(store, one, folder)
    files.requests.clear()
    pull(store, one, folder)
    assert files.requests == []
    two = stored_files(store, {"rows.jsonl": [b"one\n", b"two\n", b"three\n"], "best.png": [b"picture"]})
    files.requests.clear()
    pull(store, two, folder)
    assert [Path(path).name for _, path in files.requests] == ["000002"]
    assert (folder / "rows.jsonl").read_bytes() == b"one\ntwo\nthree\n"
    (folder / "rows.jsonl").write_bytes(b"one\nchanged\n")
    pull(store, two, folder)
    assert (folder / "rows.jsonl").read_bytes() == b"one\ntwo\nthree\n"


def test_what_is_not_there_is_no_run(address):
    with pytest.raises(ResultsError, match="memory://bucket/run is no run folder: it has no spec.yaml"):
        ResultsTable.load(address)
    assert run_folder("runs/x").path == Path("runs/x")
    stored_files(open_store(address), {"spec.yaml": [b"name: x\n"]})
    with pytest.raises(ResultsError, match="memory://bucket/run has no results yet"):
        ResultsTable.load(address)


def test_a_run_that_this_machine_is_ahead_of_is_read_from_the_folder_of_its_driver(address):
    stored_files(open_store(address), {"spec.yaml": [b"name: x\n"]}, owner="mine")
    driver = DriverPlace(address)
    (driver.folder / "spec.yaml").write_text("name: newer\n")
    assert run_folder(address).path != driver.folder
    driver.write(DriverNote("last", ("mine",), clean=False))
    assert run_folder(address).path == driver.folder
    driver.write(DriverNote("other", clean=False))
    assert run_folder(address).path != driver.folder
    with exclusive(driver.lock):  # the sweep goes on
        assert run_folder(address).path == driver.folder


def test_whether_a_driver_has_the_lease(address):
    assert not is_leased("runs/x")
    assert not is_leased(address)
    put(address, {LEASE: b"{}"})
    assert is_leased(address)


def test_objects_that_vanish_while_they_are_fetched_are_asked_for_by_the_new_manifest(address, monkeypatch):
    """As they do while a sweep goes on."""
    store, read, readings = open_store(address), Manifest.read, []
    stored_files(store, {"spec.yaml": [b"name: x\n"], "rows.jsonl": [b"old\n"]})
    store.delete("rows.jsonl/000000")

    def reading(store: ObjectStore) -> Manifest | None:
        readings.append(read(store))
        if len(readings) == mended_at:
            stored_files(store, {"spec.yaml": [b"name: x\n"], "rows.jsonl": [b"new\n"]})
        return readings[-1]

    monkeypatch.setattr(Manifest, "read", staticmethod(reading))
    mended_at = 6
    with pytest.raises(StoreError, match="memory://bucket/run lacks rows.jsonl/000000, which its manifest names"):
        run_folder(address)
    assert len(readings) == 5
    assert run_folder(address).rows.read_bytes() == b"new\n"


def test_an_object_that_was_changed_is_not_taken(tmp_path):
    store = store_in(tmp_path / "store")
    manifest = stored_files(store, {"best.png": [b"picture"]})
    store.write("best.png/000000", b"another")
    with pytest.raises(StoreError, match=r"best.png/000000 in s3://bucket/run is not as it was written; restore it"):
        pull(store, manifest, tmp_path)
    assert not (tmp_path / "best.png").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"version":2,"owner":"x","next_piece":0,"files":{}}', b"\xff", b'{"version":1,"owner":7}']
    + [
        f'{{"version":1,"owner":"x","next_piece":0,"files":{{"a":[{piece}]}}}}'.encode()
        for piece in ("7", '["a",-1,""]')
    ],
)
def test_a_manifest_that_this_program_did_not_write_is_refused(address, content):
    put(address, {MANIFEST: content})
    with pytest.raises(
        StoreError, match=r"memory://bucket/run/manifest.json is not as this program writes it; restore"
    ):
        run_folder(address)


def test_a_manifest_cannot_name_files_outside_the_folder(tmp_path):
    store = store_in(tmp_path / "store")
    manifest = stored_files(store, {"a": [b"x"]})
    with pytest.raises(StoreError, match=r"'../b' in the store is no path within a folder"):
        pull(store, Manifest("x", 0, {"../b": manifest.files["a"]}), tmp_path / "store")


def test_a_manifest_is_read_as_it_was_written():
    manifest = Manifest("x", 3, {"rows.jsonl": [Piece("rows.jsonl/000001", 5, "d")], "empty": []})
    store = put("memory://other/run", {MANIFEST: manifest.to_bytes()})
    assert Manifest.read(store) == manifest
    store.delete(MANIFEST)
    assert [whole_key("a/b.png", frozenset(taken)) for taken in ((), ("a/b.png",))] == ["a/b.png", "a/b~.png"]


def test_a_run_without_an_address_is_as_before(tmp_path):
    folder = swept(curve_spec(), tmp_path / "run")
    assert ResultsTable.load(str(folder.path)).frame.equals(ResultsTable.load(f"file://{folder.path}").frame)
    assert RunFolder(folder.path).shown == os.fspath(folder.path)
