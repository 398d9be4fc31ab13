"""Data sets from memory and from files, and an order that is a function of (data_seed, images seen)."""

import gzip
import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

from gan_core.config import DatasetName, InputError
from gan_core.data import DATASETS, ON_DISK, DataOrder, gaussian_quantiles, load_dataset, read_idx

FOLDERS: dict[DatasetName, str] = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
SIZES = pytest.mark.parametrize(
    ("size", "batch"), [(10, 5), (10, 3), (7, 7), (5, 12), (1, 3), (1000, 64)], ids=lambda x: str(x)
)


@SIZES
def test_every_epoch_shows_each_sample_exactly_once_whatever_the_batch(size, batch):
    epochs, order = 4, DataOrder(3, size)
    shown = np.concatenate([order.indices(seen, batch) for seen in range(0, epochs * size, batch)])
    assert all(len(order.indices(seen, batch)) == batch for seen in (0, size - 1, size, 10 * size + 1))
    for epoch in range(epochs):
        assert sorted(shown[epoch * size : (epoch + 1) * size].tolist()) == list(range(size))


@SIZES
def test_the_order_is_a_function_of_seed_and_images_seen_whatever_was_asked_before(size, batch):
    starts = list(range(0, 6 * size, batch))
    sequential = DataOrder(3, size)
    expected = {seen: sequential.indices(seen, batch).tolist() for seen in starts}
    wandering = DataOrder(3, size)
    for seen in np.random.default_rng(0).permutation(starts).tolist():
        assert wandering.indices(seen, batch).tolist() == expected[seen]
        assert DataOrder(3, size).indices(seen, batch).tolist() == expected[seen]
    whole = DataOrder(3, size).indices(0, 6 * size).tolist()
    assert all(whole[seen : seen + batch] == expected[seen][: 6 * size - seen] for seen in starts)


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [DataOrder(seed, 50).indices(50 * epoch, 50).tolist() for seed in (0, 1) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 6
    assert all(order != list(range(50)) for order in orders)


def test_digits_are_split_in_two_disjoint_parts_of_all_images(digits):
    from sklearn.datasets import load_digits

    images = np.asarray(load_digits(return_X_y=True)[0]).reshape(-1, 1, 8, 8) / 8 - 1
    parts = [{image.numpy().tobytes() for image in part} for part in (digits.train, digits.held_out)]
    assert (len(digits.train), len(digits.held_out)) == (1000, 797)
    assert (len(parts[0]), len(parts[1])) == (1000, 797)
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == {image.tobytes() for image in images.astype(np.float32)}


def test_digits_carry_the_labels_of_their_images(digits):
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    label_of = {
        (image / 8 - 1).astype(np.float32).tobytes(): label for image, label in zip(images, labels, strict=True)
    }
    for part, targets in ((digits.train, digits.train_labels), (digits.held_out, digits.held_out_labels)):
        assert [label_of[image.numpy().tobytes()] for image in part] == targets.tolist()


def test_every_class_has_the_same_share_of_both_parts_of_digits(digits):
    """Within one image of a class: a share of 1/170 or so."""
    train, held_out = np.bincount(digits.train_labels), np.bincount(digits.held_out_labels)
    assert digits.classes == len(train) == len(held_out) == 10
    assert np.abs(train - (train + held_out) * 1000 / 1797).max() < 1
    assert np.abs(train / 1000 - held_out / 797).max() < 1 / 400


def test_images_are_float32_in_minus_1_to_1(digits):
    for part in (digits.train, digits.held_out):
        assert part.dtype == torch.float32
        assert (float(part.min()), float(part.max())) == (-1, 1)
    assert digits.sample_shape == (1, 8, 8)


def test_loading_twice_gives_the_same_bits_and_digest(digits):
    again = load_dataset("digits")
    assert again.digest == digits.digest
    assert torch.equal(again.train, digits.train)


def test_the_gaussian_set_is_a_sample_of_its_normal_distribution(gaussian):
    values = gaussian.train.double().numpy()[:, 0]
    count = len(values)
    assert abs(values.mean() - 4) < 5 * 1.25 / math.sqrt(count)
    assert abs(values.std() - 1.25) < 5 * 1.25 / math.sqrt(2 * count)
    assert scipy.stats.kstest(values, "norm", args=(4, 1.25))[1] > 1e-4
    assert (gaussian.sample_shape, gaussian.classes, gaussian.train_labels) == ((1,), 0, None)


@pytest.mark.parametrize("count", [1, 2, 101, 10_000])
def test_gaussian_quantiles_are_those_of_the_normal_distribution(count):
    levels = (np.arange(count) + 0.5) / count
    expected = scipy.stats.norm.ppf(levels, loc=4, scale=1.25)
    np.testing.assert_allclose(gaussian_quantiles(count).numpy(), expected, rtol=1e-12)


def test_the_gaussians_held_out_split_is_its_quantiles(gaussian):
    levels = (np.arange(10_000) + 0.5) / 10_000
    expected = scipy.stats.norm.ppf(levels, loc=4, scale=1.25)
    np.testing.assert_allclose(gaussian.held_out.numpy()[:, 0], expected, rtol=1e-6)


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
    """Twelve and eleven fake images of MNIST, plain, as torchvision lays them out."""
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
        ("long", "declares [2, 28, 28] = 1568 bytes and holds 1569"),
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


@pytest.mark.parametrize("name", ON_DISK)
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


@pytest.mark.parametrize("name", ON_DISK)
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


def test_an_unknown_data_set_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="unknown data set 'digit'; did you mean 'digits'"):
        load_dataset("digit")


def test_data_sets_on_disk_are_those_that_need_a_root():
    needing_none = [name for name in DATASETS if name not in ON_DISK]
    assert set(ON_DISK) == set(FOLDERS) <= set(DATASETS)
    assert [load_dataset(name).name for name in needing_none] == needing_none
