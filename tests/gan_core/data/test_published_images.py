"""MNIST, Fashion-MNIST and CIFAR-10, read from tiny files in the layout of the real ones."""

import gzip
import hashlib
import io
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from gan_core.config.input_error import InputError
from gan_core.data.dataset import load_dataset
from gan_core.data.published_images import read_cifar_binary, read_cifar_python, read_idx

FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_plain(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def write_packed(path: Path, content: bytes) -> Path:
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(content))
    return packed


BOTH_FORMS = pytest.mark.parametrize("write", [write_plain, write_packed])


def images_and_labels(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(seed)
    return source.integers(0, 256, (count, 28, 28)), np.arange(count) % 10


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Twelve training and eleven test images in the layout of MNIST, not compressed."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part, count in (("train", 12), ("t10k", 11)):
        images, labels = images_and_labels(count, count)
        write_plain(folder / f"{part}-images-idx3-ubyte", idx_bytes(images))
        write_plain(folder / f"{part}-labels-idx1-ubyte", idx_bytes(labels))
    return folder


@BOTH_FORMS
@pytest.mark.parametrize("shape", [(5,), (2, 3), (4, 28, 28), (2, 1, 3, 2), (0, 28, 28)], ids=str)
def test_an_idx_file_reads_as_it_was_written(tmp_path, write, shape):
    array = np.random.default_rng(0).integers(0, 256, shape)
    write(tmp_path / "file", idx_bytes(array))
    found = read_idx(tmp_path / "file")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, array)


@BOTH_FORMS
def test_an_idx_file_that_would_fill_the_memory_is_refused_before_it_is_unpacked(tmp_path, write, monkeypatch):
    monkeypatch.setattr("gan_core.data.published_images.LARGEST_BYTES", 1567)
    write(tmp_path / "images", idx_bytes(images_and_labels(0, 2)[0]))
    with pytest.raises(InputError, match=r"images.* declares \[2, 28, 28\] = 1,568 bytes, and at most 1,567 are read"):
        read_idx(tmp_path / "images")


def test_no_more_of_an_idx_file_is_unpacked_than_it_declares(tmp_path):
    """A gzip file of 300 kB that holds ten labels and then 300 MB of zeros."""
    with gzip.GzipFile(tmp_path / "labels.gz", "wb", compresslevel=1) as file:
        file.write(idx_bytes(np.arange(10)))
        for _ in range(300):
            file.write(bytes(10**6))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"declares \[10\] = 10 bytes and holds more"):
        read_idx(tmp_path / "labels")
    largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert largest < 10**7


def test_a_file_of_cifar_that_is_far_too_large_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "data_batch_1.bin").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(InputError, match="must hold at most 1,073,741,824 bytes, got 2,147,483,648; fetch it again"):
        read_cifar_binary(tmp_path / "data_batch_1.bin")


def damaged(content: bytes, kind: str) -> bytes:
    whole = {
        "magic": b"\x01" + content[1:],
        "type": content[:2] + b"\x0d" + content[3:],
        "no dimension": content[:3] + b"\0" + content[4:],
        "five dimensions": content[:3] + b"\5" + content[4:],
        "short": content[:-1],
        "long": content + b"\0",
        "header": content[:9],
        "empty": b"",
        "page": b"<html>not found</html>",
    }
    return whole[kind]


@BOTH_FORMS
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("magic", "not an IDX file of bytes: it starts with 01000803"),
        ("type", "not an IDX file of bytes: it starts with 00000d03"),
        ("no dimension", "not an IDX file of bytes"),
        ("five dimensions", "not an IDX file of bytes"),
        ("short", "declares [2, 28, 28] = 1568 bytes and holds 1567"),
        ("long", "declares [2, 28, 28] = 1568 bytes and holds more"),
        ("header", "ends inside its header"),
        ("empty", "not an IDX file of bytes"),
        ("page", "not an IDX file of bytes: it starts with 3c68746d"),
    ],
)
def test_a_damaged_idx_file_is_refused_by_name(tmp_path, write, kind, says):
    path = write(tmp_path / "images", damaged(idx_bytes(images_and_labels(0, 2)[0]), kind))
    with pytest.raises(InputError) as refused:
        read_idx(tmp_path / "images")
    assert str(path) in str(refused.value)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "damage",
    [lambda x: x[:-9], lambda x: x[:20], lambda x: x[:10] + b"\xff" + x[11:], lambda x: b"no gzip", lambda x: b""],
)
def test_a_damaged_gzip_file_is_refused_by_name(tmp_path, damage: Callable[[bytes], bytes]):
    path = write_packed(tmp_path / "images", idx_bytes(images_and_labels(0, 2)[0]))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError) as refused:
        read_idx(tmp_path / "images")
    assert str(path) in str(refused.value)


def test_a_gzip_file_whose_middle_was_changed_is_refused_by_name(tmp_path):
    path = write_packed(tmp_path / "images", idx_bytes(images_and_labels(0, 2)[0]))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match="images.gz is not a whole gzip file"):
        read_idx(tmp_path / "images")


@pytest.mark.parametrize("name", FOLDERS)
def test_images_on_disk_are_loaded_in_minus_1_to_1_with_their_labels(raw, tmp_path, name):
    raw.parent.rename(tmp_path / FOLDERS[name])
    dataset = load_dataset(name, tmp_path)
    images, labels = images_and_labels(12, 12)
    assert dataset.train_labels is not None
    assert (dataset.name, dataset.classes, dataset.sample_shape) == (name, 10, (1, 28, 28))
    assert (len(dataset.train), len(dataset.held_out)) == (12, 11)
    assert dataset.train_labels.tolist() == labels.tolist()
    np.testing.assert_allclose(dataset.train[:, 0].numpy(), images / 127.5 - 1, atol=1e-6)
    assert (float(dataset.train.min()), float(dataset.train.max())) == (-1, 1)


def test_packed_and_plain_files_are_one_data_set_and_another_image_is_another(raw, tmp_path):
    digest = load_dataset("mnist", tmp_path).digest
    for path in list(raw.iterdir()):
        write_packed(path, path.read_bytes())
        path.unlink()
    assert load_dataset("mnist", tmp_path).digest == digest
    images = images_and_labels(12, 12)[0]
    images[3, 4, 5] ^= 1
    write_plain(raw / "train-images-idx3-ubyte", idx_bytes(images))
    assert load_dataset("mnist", tmp_path).digest != digest


@pytest.mark.parametrize(
    "file", [f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]
)
def test_a_missing_file_is_named(raw, tmp_path, file):
    (raw / file).unlink()
    with pytest.raises(InputError) as refused:
        load_dataset("mnist", tmp_path)
    assert f"no file {raw / file} nor {file}.gz" in str(refused.value)


@pytest.mark.parametrize(
    ("file", "array", "says"),
    [
        ("train-labels-idx1-ubyte", np.zeros(11), "train must hold one label for each image, got images [12, 28, 28]"),
        ("t10k-images-idx3-ubyte", np.zeros((12, 28, 28)), "and labels [11]"),
        ("train-images-idx3-ubyte", np.zeros((12, 784)), "got images [12, 784]"),
        ("t10k-labels-idx1-ubyte", np.zeros((11, 10)), "t10k must hold one label for each image"),
    ],
)
def test_images_and_labels_that_do_not_belong_together_are_refused(raw, tmp_path, file, array, says):
    write_plain(raw / file, idx_bytes(array))
    with pytest.raises(InputError) as refused:
        load_dataset("mnist", tmp_path)
    assert str(raw) in str(refused.value)
    assert says in str(refused.value)


def test_a_data_set_without_images_is_refused(raw, tmp_path):
    write_plain(raw / "t10k-images-idx3-ubyte", idx_bytes(np.zeros((0, 28, 28))))
    write_plain(raw / "t10k-labels-idx1-ubyte", idx_bytes(np.zeros(0)))
    with pytest.raises(InputError, match="t10k must hold"):
        load_dataset("mnist", tmp_path)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_data_set_on_disk_without_a_root_is_refused(name):
    with pytest.raises(InputError, match=f"'{name}' needs a data root.*{FOLDERS[name]}/raw/train-images-idx3-ubyte"):
        load_dataset(name)


def test_a_root_may_be_written_with_a_tilde(raw, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_dataset("mnist", Path("~")).digest == load_dataset("mnist", tmp_path).digest


def test_a_download_of_files_that_are_there_changes_nothing(raw, tmp_path):
    before = {path.name: path.read_bytes() for path in raw.iterdir()}
    digest = load_dataset("mnist", tmp_path, download=True).digest
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == before
    assert digest == load_dataset("mnist", tmp_path).digest


def test_a_download_that_cannot_be_written_is_refused(tmp_path):
    occupied = write_plain(tmp_path / "file", b"")
    with pytest.raises(InputError, match=f"could not download MNIST to {occupied}"):
        load_dataset("mnist", occupied, download=True)


@pytest.mark.parametrize(("name", "digest"), [("mnist", "85411d31198e9166"), ("fashion_mnist", "afe6c67dec104313")])
def test_digests_are_those_of_the_first_release(raw, tmp_path, name, digest):
    """Recorded scores name these digests, so they must not change."""
    raw.parent.rename(tmp_path / FOLDERS[name])
    assert load_dataset(name, tmp_path).digest == digest


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_a_label_above_9_is_refused_by_file(raw, tmp_path, part):
    labels = np.arange({"train": 12, "t10k": 11}[part]) % 10
    labels[5] = 200
    write_plain(raw / f"{part}-labels-idx1-ubyte", idx_bytes(labels))
    with pytest.raises(InputError, match=rf"{part}-labels-idx1-ubyte: labels must lie in 0\.\.9, got 200; fetch"):
        load_dataset("mnist", tmp_path)


TRAIN_FILES = [f"data_batch_{number}" for number in range(1, 6)]


def cifar_part(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(seed)
    return source.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), (np.arange(count) + 3 * seed) % 10


def write_binary_cifar(root: Path) -> Path:
    """The binary version, with four images per file."""
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    for seed, name in enumerate([*TRAIN_FILES, "test_batch"]):
        images, labels = cifar_part(seed, 4)
        records = np.concatenate((labels[:, None].astype(np.uint8), images.reshape(4, -1)), 1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    return folder


def python_2_pickle(images: np.ndarray, labels: list[int]) -> bytes:
    """A batch pickled as by Python 2 and an old NumPy, with byte strings, which is the form of the published files."""
    rows = images.reshape(len(images), -1)
    shape = b"".join(b"J" + struct.pack("<i", size) for size in rows.shape)
    listed = b"".join(b"K" + bytes([label]) for label in labels)
    text = {word: b"U" + bytes([len(word)]) + word for word in (b"data", b"labels", b"b", b"u1", b"|")}
    return (
        b"\x80\x02}(" + text[b"labels"] + b"](" + listed + b"e" + text[b"data"]
        + b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0t" + text[b"b"] + b"tR(K\x01(" + shape + b"t"
        + b"cnumpy\ndtype\n(" + text[b"u1"] + b"K\0K\x01tR(K\x03" + text[b"|"] + b"NNN"
        + b"J\xff\xff\xff\xff" * 2 + b"K\0tb"
        + b"\x89T" + struct.pack("<i", rows.size) + rows.tobytes() + b"tbu."
    )  # fmt: skip


def test_the_binary_cifar10_gives_its_images_and_labels_file_after_file(tmp_path):
    write_binary_cifar(tmp_path)
    dataset = load_dataset("cifar10", tmp_path)
    images, labels = (np.concatenate(both) for both in zip(*[cifar_part(seed, 4) for seed in range(5)], strict=True))
    held_out, held_out_labels = cifar_part(5, 4)
    assert dataset.train_labels is not None
    assert dataset.held_out_labels is not None
    assert (dataset.sample_shape, dataset.classes, len(dataset.train)) == ((3, 32, 32), 10, 20)
    np.testing.assert_allclose(dataset.train.numpy(), images / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(dataset.held_out.numpy(), held_out / 127.5 - 1, atol=1e-6)
    assert dataset.train_labels.tolist() == labels.tolist()
    assert dataset.held_out_labels.tolist() == held_out_labels.tolist()


def test_the_binary_form_goes_before_the_pickled_one(tmp_path):
    digest = load_dataset("cifar10", write_binary_cifar(tmp_path).parent).digest
    python = tmp_path / "cifar-10-batches-py"
    python.mkdir()
    (python / "data_batch_1").write_bytes(b"not read")
    assert load_dataset("cifar10", tmp_path).digest == digest


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "must hold records of 3073 bytes, got 0 bytes; fetch it again"),
        (bytes(3073 * 2 - 1), "got 6145 bytes"),
        (b"\x0a" + bytes(3072), "labels must lie in 0..9, got 10"),
        (None, "no file"),
    ],
    ids=["empty", "short", "label", "missing"],
)
def test_a_damaged_binary_file_is_refused_by_name(tmp_path, content, says):
    path = write_binary_cifar(tmp_path) / "data_batch_3.bin"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as refused:
        load_dataset("cifar10", tmp_path)
    assert str(path) in str(refused.value)
    assert says in str(refused.value)


def test_binary_records_are_a_label_and_then_red_green_and_blue(tmp_path):
    pixels = np.concatenate([np.full(1024, level, np.uint8) for level in (1, 2, 3)])
    (tmp_path / "one.bin").write_bytes(b"\x07" + pixels.tobytes())
    images, labels = read_cifar_binary(tmp_path / "one.bin")
    assert labels.tolist() == [7]
    assert images.reshape(3, -1).min(1).tolist() == images.reshape(3, -1).max(1).tolist() == [1, 2, 3]


@pytest.mark.parametrize("form", ["python 2", "python 3"])
def test_a_pickled_batch_with_the_right_md5_gives_its_images_and_labels(tmp_path, form):
    images, labels = cifar_part(3, 5)
    batch = {"data": images.reshape(5, -1), "labels": labels.tolist()}
    content = python_2_pickle(images, labels.tolist()) if form == "python 2" else pickle.dumps(batch, protocol=4)
    (tmp_path / "batch").write_bytes(content)
    found, found_labels = read_cifar_python(tmp_path / "batch", hashlib.md5(content).hexdigest())
    np.testing.assert_array_equal(found, images)
    assert (found.dtype, found_labels.tolist()) == (np.uint8, labels.tolist())


class Trap:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (io.open, (str(self.path), "w"))


def test_a_pickle_that_is_not_the_published_file_is_refused_before_it_is_read(tmp_path):
    folder, trap = tmp_path / "cifar-10-batches-py", tmp_path / "trap"
    folder.mkdir()
    for name in [*TRAIN_FILES, "test_batch"]:
        (folder / name).write_bytes(pickle.dumps(Trap(trap)))
    with pytest.raises(InputError) as refused:
        load_dataset("cifar10", tmp_path)
    assert not trap.exists()
    published = dict(CIFAR10.train_list)["data_batch_1"]
    assert f"{folder / 'data_batch_1'} is not the published file: its MD5 must be {published}, got " in str(
        refused.value
    )
    pickle.loads((folder / "data_batch_1").read_bytes()).close()
    assert trap.exists()


def test_a_pickle_that_calls_anything_is_not_followed_even_with_the_right_md5(tmp_path):
    content = pickle.dumps({"data": Trap(tmp_path / "trap"), "labels": []})
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(pickle.UnpicklingError, match="a batch of images needs no"):
        read_cifar_python(tmp_path / "batch", hashlib.md5(content).hexdigest())
    assert not (tmp_path / "trap").exists()


def test_cifar10_that_is_not_there_is_refused_by_both_its_names(tmp_path):
    with pytest.raises(InputError, match="holds no cifar-10-batches-bin nor cifar-10-batches-py; put one there"):
        load_dataset("cifar10", tmp_path)
    with pytest.raises(InputError, match=r"'cifar10' needs a data root.*cifar-10-batches-bin/data_batch_1.bin"):
        load_dataset("cifar10")
