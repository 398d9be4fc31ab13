"""A machine without the data set of a run gets it from beside the driver, once, and trains on the same samples."""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_files import pictures, write_mnist
from stores_in_memory import address, put
from test_transfer import line_to

from gan_core.config.conditions import Conditions
from gan_core.config.input_error import InputError
from gan_core.data.carried_images import read_images, write_images
from gan_core.data.dataset import image_dataset, load_dataset
from gan_core.data.published_images import ImageSplits
from gan_core.files.object_store import ObjectStore, StoreError
from gan_core.files.own_code import code_of, pinned
from gan_core.workshop.workshop import load_data
from results.store import RunFolder
from sweep.cohorts.brought_data import fetched_images, held_here, is_here, packed_images, place_of_data
from sweep.cohorts.file_server import FileServer

__all__ = ["address"]  # a fixture


@pytest.fixture
def asked(tmp_path) -> list[str]:
    """The methods of the server that were called."""
    return []


def line_from(folder: Path, conditions: Conditions, cache: str, asked: list[str], monkeypatch):
    """To a server on another machine, which has a cache of its own."""
    here = str(folder / "here")

    def pack() -> Path:
        with monkeypatch.context() as there:
            there.setenv("GAN_SWEEP_CACHE", cache)
            return packed_images(conditions)

    monkeypatch.setenv("GAN_SWEEP_CACHE", here)
    server = FileServer(RunFolder(folder / "run"), pack_data=pack)

    def call(method: str, *given: Any):
        asked.append(method)
        return line_to(server)(method, *given)

    return call


@pytest.mark.parametrize(("kind", "size"), [("mnist", 0), ("mnist", 14), ("images", 8)])
def test_the_samples_are_those_of_the_driver_bit_for_bit(tmp_path, monkeypatch, asked, kind, size):
    name, root = "mnist", str(tmp_path / "data")
    if kind == "mnist":
        write_mnist(tmp_path)
    else:
        name, root = f"images:{tmp_path / 'pictures'}", None
        pictures(tmp_path / "pictures")
    conditions = Conditions(dataset=name, data_root=root, image_size_pixels=size)
    assert is_here(conditions)
    line = line_from(tmp_path, conditions, str(tmp_path / "there"), asked, monkeypatch)
    mine = load_dataset(name, None if root is None else Path(root), image_size_pixels=size)
    brought = image_dataset(name, fetched_images(line), size)
    assert brought.digest == mine.digest
    assert np.array_equal(brought.train.numpy(), mine.train.numpy())
    assert asked.count("piece") >= 1
    asked.clear()
    again = fetched_images(line)  # as another process of this machine
    assert asked == ["data"]
    assert np.array_equal(again.train, fetched_images(line).train)


OWN = """
import numpy as np
def train_set(root):
    return np.load(root / "a.npy"), np.arange(40) % 2
"""


@pytest.mark.parametrize("kind", ["npz", "tar", "own"])
def test_images_that_were_collected_are_brought_bit_for_bit(tmp_path, monkeypatch, asked, kind):
    """Those of own code are not asked for again where they train: the function may find other files there."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path / "there"))
    name, root, code = f"images:{tmp_path}/a.npy", None, ()
    if kind == "tar":
        name = f"images:{tmp_path}/s-*.tar"
        with tarfile.open(tmp_path / "s-0.tar", "w") as archive:
            pictures(tmp_path / "pictures")
            for path in sorted((tmp_path / "pictures").iterdir()):
                archive.add(path, path.name)
    if kind == "own":
        (tmp_path / "my.py").write_text(OWN)
        name, root = pinned("structure.dataset", f"{tmp_path}/my.py:train_set", None), str(tmp_path)
        code = code_of([name])
    conditions = Conditions(dataset=name, data_root=root, code=code)
    mine = load_data(conditions)
    assert is_here(conditions)
    line = line_from(tmp_path, conditions, str(tmp_path / "there"), asked, monkeypatch)  # another cache from here on
    assert is_here(conditions) == (kind != "own")
    images = fetched_images(line)
    brought = image_dataset(name, images)
    assert (brought.digest, brought.classes) == (mine.digest, mine.classes)
    assert np.array_equal(brought.train.numpy(), mine.train.numpy())
    for path in (*tmp_path.glob("*.npy"), *tmp_path.glob("*.tar")):
        path.unlink()
    assert not is_here(conditions)
    assert np.array_equal(fetched_images(line).train, images.train)


@pytest.mark.filterwarnings("ignore:fetching")
def test_a_file_of_images_in_an_object_store_is_fetched(tmp_path, monkeypatch, address):
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path / "here"))
    file = io.BytesIO()
    np.save(file, np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8))
    put(address, {"a.npy": file.getvalue()})
    conditions = Conditions(dataset=f"images:{address}/a.npy")
    assert is_here(conditions)
    held = held_here(conditions)
    assert Path(str(place_of_data(held))).is_file()
    assert load_data(held).digest == load_data(conditions).digest


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path, monkeypatch, asked):
    write_mnist(tmp_path)
    conditions = Conditions(dataset="mnist", data_root=str(tmp_path / "data"))
    line = line_from(tmp_path, conditions, str(tmp_path / "there"), asked, monkeypatch)
    first = fetched_images(line)
    (kept,) = (tmp_path / "here").glob("data-*.safetensors")
    kept.write_bytes(kept.read_bytes()[:-1])
    asked.clear()
    assert np.array_equal(fetched_images(line).train, first.train)
    assert "piece" in asked
    assert not list((tmp_path / "here").glob("*.partial"))


def test_a_link_that_is_cut_on_the_way_leaves_no_half_file(tmp_path, monkeypatch, asked):
    write_mnist(tmp_path)
    conditions = Conditions(dataset="mnist", data_root=str(tmp_path / "data"))
    line = line_from(tmp_path, conditions, str(tmp_path / "there"), asked, monkeypatch)
    monkeypatch.setattr("sweep.cohorts.file_server.PIECE_BYTES", 1000)
    monkeypatch.setattr("sweep.cohorts.transfer.PIECE_BYTES", 1000)

    class Cut(Exception):
        """As `OutOfReach`."""

    def cut(method: str, *given: Any):
        if method == "piece" and given[1] == 3000:
            raise Cut
        return line(method, *given)

    with pytest.raises(Cut):
        fetched_images(cut)
    assert [path.suffix for path in (tmp_path / "here").iterdir()] in ([], [".lock"])
    assert fetched_images(line).train.size > 0


def test_what_the_driver_cannot_read_either_is_said_as_there(tmp_path, monkeypatch, asked):
    conditions = Conditions(dataset="mnist", data_root=str(tmp_path / "absent"))
    assert not is_here(conditions)
    (tmp_path / "absent").mkdir()  # as where storage is not mounted
    assert not is_here(conditions)
    with pytest.raises(InputError, match="absent/MNIST/raw/train-images-idx3-ubyte nor"):
        fetched_images(line_from(tmp_path, conditions, str(tmp_path / "there"), asked, monkeypatch))


@pytest.mark.filterwarnings("ignore:fetching")
@pytest.mark.parametrize("kind", ["mnist", "images"])
def test_a_machine_without_a_key_gets_what_the_driver_fetched_from_a_store(tmp_path, monkeypatch, asked, address, kind):
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path / "there"))
    if kind == "mnist":
        write_mnist(tmp_path)
        put(address, {str(p.relative_to(tmp_path / "data")): p.read_bytes() for p in _files(tmp_path / "data")})
        name, root = "mnist", address
    else:
        pictures(tmp_path / "pictures")
        put(address, {str(p.relative_to(tmp_path / "pictures")): p.read_bytes() for p in _files(tmp_path / "pictures")})
        name, root = f"images:{address}", None
    conditions = Conditions(dataset=name, data_root=root, image_size_pixels=8)
    mine = load_data(conditions)
    assert is_here(conditions)
    held = held_here(conditions)
    assert place_of_data(held) == str(next((tmp_path / "there" / "data").iterdir()))

    def refuse(*_: object) -> None:
        raise StoreError("cannot list it: the key is refused", lasting=True)

    monkeypatch.setattr(ObjectStore, "list", refuse)
    assert not is_here(conditions)
    brought = image_dataset(
        name, fetched_images(line_from(tmp_path, held, str(tmp_path / "there"), asked, monkeypatch)), 8
    )
    assert brought.digest == mine.digest


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_folder_of_this_machine_stays_what_it_is():
    conditions = Conditions(dataset="mnist", data_root="/data")
    assert held_here(conditions) is conditions


@pytest.mark.parametrize("name", ["gaussian", "digits", "polygons"])
def test_a_data_set_without_files_is_everywhere(name):
    assert is_here(Conditions(dataset=name))


def test_a_file_of_something_else_holds_no_images(tmp_path):
    path = tmp_path / "file"
    assert read_images(path) is None
    images = ImageSplits(np.zeros((2, 1, 4, 4), np.uint8), None, np.ones((1, 1, 4, 4), np.uint8), None)
    write_images(path, images)
    found = read_images(path)
    assert found is not None
    assert (found.train_labels, found.held_out.tolist()) == (None, images.held_out.tolist())
    path.write_bytes(b"something else")
    assert read_images(path) is None
