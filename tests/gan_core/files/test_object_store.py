"""Objects by their keys, and what is said when a store cannot be used."""

import pyarrow.fs
import pytest
from faulty_store import FaultyFiles, away, full, refused, store_in
from stores_in_memory import address, put

from gan_core.files.object_store import PART_BYTES, StoreError, open_store

__all__ = ["address"]  # a fixture


def test_what_is_written_is_read_listed_and_removed(address, tmp_path):
    store = open_store(address)
    assert (store.read("a"), store.look("a"), store.list()) == (None, None, {})
    store.write("a", b"one")
    (tmp_path / "file").write_bytes(b"0123456789")
    with (tmp_path / "file").open("rb") as file:
        file.seek(2)
        store.upload("b/c", file, 3, lambda: None)
    assert (store.read("a"), store.read("b/c")) == (b"one", b"234")
    assert {key: kept.size_bytes for key, kept in store.list().items()} == {"a": 3, "b/c": 3}
    assert list(store.list("b")) == ["b/c"]
    store.delete("a")
    store.delete("a")
    assert list(store.list()) == ["b/c"]
    assert not store.download("a", print)


def test_folders_are_made_where_a_file_system_needs_them(tmp_path):
    store = store_in(tmp_path / "not" / "there", pyarrow.fs.LocalFileSystem())
    store.write("a/b", b"one")
    assert store.read("a/b") == b"one"


def test_a_large_file_goes_in_parts_with_a_look_after_each(tmp_path, address):
    (tmp_path / "file").write_bytes(b"x" * (2 * PART_BYTES + 1))
    looks = []
    with (tmp_path / "file").open("rb") as file:
        open_store(address).upload("key", file, 2 * PART_BYTES + 1, lambda: looks.append(1))
    assert len(looks) == 3


@pytest.mark.parametrize(
    ("fault", "meaning", "lasting"),
    [
        (away, "it does not answer", False),
        (full, "it is full, or over its quota; free space there", False),
        (refused, "the key is refused; check the credentials", True),
        (
            lambda *_: (_ for _ in ()).throw(OSError("AWS Error NO_SUCH_BUCKET during PutObject")),
            "no such bucket",
            True,
        ),
        (
            lambda *_: (_ for _ in ()).throw(OSError("AWS Error INTERNAL_FAILURE during PutObject operation")),
            "it has an error of its own; it may be full",
            False,
        ),
        (lambda *_: (_ for _ in ()).throw(RuntimeError("odd s3://me:hush@b/r")), "RuntimeError: odd s3://b/r", False),
    ],
)
def test_what_went_wrong_is_one_line_that_says_whether_it_lasts(tmp_path, fault, meaning, lasting):
    store = store_in(tmp_path, FaultyFiles(fault=fault))
    with pytest.raises(StoreError) as raised:
        store.write("key", b"content")
    assert str(raised.value).startswith("cannot write to s3://bucket/run: ")
    assert meaning in str(raised.value)
    assert "hush" not in str(raised.value)
    assert raised.value.lasting is lasting


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("s3://bucket", "an address names a bucket and a place in it, as in s3://bucket/run, got s3://bucket"),
        ("s3://bucket/?scheme=http", "as in s3://bucket/run, got s3://bucket"),
        ("s3://me:hush@bucket/run?colour=red", "cannot open s3://bucket/run: ArrowInvalid: Unexpected query parameter"),
        ("nosuch://bucket/run", "cannot open nosuch://bucket/run: ValueError: Protocol not known"),
        ("oss://bucket/run", "oss://bucket/run needs a package: Install ossfs"),
    ],
)
def test_an_address_that_cannot_be_opened_is_one_line(address, says):
    with pytest.raises(StoreError) as raised:
        open_store(address)
    assert says in str(raised.value)
    assert "hush" not in str(raised.value)


def test_s3_gcs_and_azure_are_known_without_a_further_package(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for place in ("s3://bucket/run", "gs://bucket/run", "abfss://box@account.dfs.core.windows.net/run"):
        assert open_store(place).name == place


def test_objects_of_other_addresses_are_not_seen(address):
    put(address, {"a": b"one"})
    other = put(f"{address}-other", {"b": b"two"})
    assert list(other.list()) == ["b"]
    assert list(open_store(address).list()) == ["a"]
