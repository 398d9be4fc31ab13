"""Folders and files of stores come into the cache once, and again when they change."""

import warnings
from pathlib import Path

import pytest
from stores_in_memory import address, put

from gan_core.config.input_error import InputError
from gan_core.data.roots import data_folder
from gan_core.files.fetched import at_once, inside, local_file, local_folder
from gan_core.files.object_store import StoreError

__all__ = ["address"]  # a fixture


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path / "cache"))


def test_a_path_is_itself(tmp_path):
    assert local_folder(tmp_path) == tmp_path
    assert local_folder(f"file://{tmp_path}") == tmp_path
    assert local_file("best.yaml") == Path("best.yaml")
    assert data_folder(None, "mnist") is None
    assert data_folder(str(tmp_path), "mnist") == tmp_path


def test_what_is_needed_is_fetched_once_with_one_line_into_a_folder_of_the_user_alone(address):
    put(address, {"MNIST/raw/a": b"one", "MNIST/raw/b.gz": b"two", "other/c": b"three"})
    with pytest.warns(UserWarning, match=r"^fetching 2 files \(0\.0 MB\) of memory://bucket/run into ") as said:
        folder = data_folder(address, "mnist")
    assert len(said) == 1
    assert folder is not None
    assert (folder / "MNIST/raw/b.gz").read_bytes() == b"two"
    assert not (folder / "other").exists()
    assert folder.stat().st_mode & 0o777 == 0o700
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert data_folder(address, "mnist") == folder
        (folder / "MNIST/raw/a").unlink()
    put(address, {"MNIST/raw/b.gz": b"changed"})
    with pytest.warns(UserWarning, match="fetching 2 files"):
        data_folder(address, "mnist")
    assert (folder / "MNIST/raw/b.gz").read_bytes() == b"changed"
    (folder / ".fetched.json").write_text("{")
    with pytest.warns(UserWarning, match="fetching 2 files"):
        data_folder(address, "mnist")


def test_files_that_are_not_there_are_named(address):
    put(address, {"other": b"one"})
    with pytest.raises(StoreError, match=r"there are no files in memory://bucket/run/MNIST/raw; give another address"):
        data_folder(address, "mnist")
    with pytest.raises(StoreError, match=r"there is no memory://bucket/run/best.yaml; give another address"):
        local_file(f"{address}/best.yaml")


def test_a_key_in_the_address_of_data_is_refused_because_it_would_stand_in_the_run():
    with pytest.raises(InputError, match="s3://bucket/data is given with a user or a key") as raised:
        local_folder("s3://me:hush@bucket/data")
    assert "hush" not in str(raised.value)


def test_a_file_is_fetched_by_its_own_address(address):
    put(address, {"best.yaml": b"one: 1"})
    with pytest.warns(UserWarning, match="fetching 1 files"):
        assert local_file(f"{address}/best.yaml").read_bytes() == b"one: 1"


@pytest.mark.parametrize("key", ["../a", "/a", "a//b", "a/./b", "a/..", "a\0b", ""])
def test_a_name_in_a_store_that_leads_out_of_the_folder_is_refused(tmp_path, key):
    with pytest.raises(StoreError, match="in the store is no path within a folder; it was not made by this program"):
        inside(tmp_path, key)


def test_of_many_calls_the_first_error_is_raised():
    done: list[int] = []
    at_once(lambda n=n: done.append(n) for n in range(20))
    assert sorted(done) == list(range(20))
    with pytest.raises(ZeroDivisionError):
        at_once([lambda: 1, lambda: 1 / 0])
