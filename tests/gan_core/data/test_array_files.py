"""Images in files of NumPy: every layout and range gives the same bytes, large ones are mapped, the rest is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_core.config.conditions import ScoringConfig
from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.input_error import InputError
from gan_core.config.structure import StructureConfig
from gan_core.data.collected_images import Collector
from gan_core.data.dataset import Dataset, image_dataset, load_dataset
from gan_core.data.facts import image_facts
from gan_core.data.image_files import Request, read_image_files
from gan_core.data.pictures import split_pictures
from gan_core.data.published_images import ImageSplits
from gan_core.fidelity.features.classifier import train_classifier
from gan_core.fidelity.scorers import build_scorer
from gan_core.workshop.memory import data_form

BYTES = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)
LABELS = np.arange(40) % 4


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def splits(path: str = "a.npz", size_pixels: int = 0) -> ImageSplits:
    return read_image_files(Request(parse_dataset_name(f"images:{path}"), image_size_pixels=size_pixels))


def joined(images: ImageSplits, labels: np.ndarray | None = None) -> np.ndarray:
    """The images in the order of the file, of a set whose split was drawn here."""
    count = len(images.train) + len(images.held_out)
    out = np.empty((count, *images.train.shape[1:]), np.uint8)
    out[split_pictures(labels, count)[0]], out[split_pictures(labels, count)[1]] = images.train, images.held_out
    return out


@pytest.mark.parametrize("name", ["images", "x_train", "train_images", "x", "arr_0"])
@pytest.mark.parametrize(
    "form",
    [
        lambda bytes_: bytes_,
        lambda bytes_: bytes_.transpose(0, 2, 3, 1),
        lambda bytes_: bytes_.astype(np.int64),
        lambda bytes_: (bytes_ / 255).astype(np.float32),
        lambda bytes_: (bytes_ / 127.5 - 1).astype(np.float32),
        lambda bytes_: bytes_ / 127.5 - 1,
    ],
    ids=["CHW", "HWC", "int64", "0 to 1", "-1 to 1", "float64"],
)
def test_every_layout_and_range_gives_the_same_bytes(name, form):
    np.savez("a.npz", **{name: form(BYTES)})
    np.testing.assert_array_equal(joined(splits()), BYTES)


def test_numbers_of_minus_1_to_1_are_so_even_where_the_first_negative_one_comes_late():
    bright = np.maximum(BYTES, 128)  # no number is negative
    bright[-1, 0, 0, 0] = 0
    np.save("a.npy", (bright / 127.5 - 1).astype(np.float32))
    images = splits("a.npy")
    np.testing.assert_array_equal(joined(images), bright)
    assert image_facts("images:a.npy", images).values == "-1 to 1"


def test_grey_images_and_truth_values_are_read():
    np.savez_compressed("a.npz", images=BYTES[:, 0] > 100)
    np.testing.assert_array_equal(joined(splits())[:, 0], (BYTES[:, 0] > 100) * np.uint8(255))


def test_labels_and_the_held_out_arrays_of_the_file_are_taken():
    np.savez("a.npz", x_train=BYTES[:30], y_train=LABELS[:30, None], x_test=BYTES[30:], y_test=LABELS[30:].astype("u1"))
    images = splits()
    assert images.train_labels is not None
    assert images.held_out_labels is not None
    np.testing.assert_array_equal(images.train, BYTES[:30])
    np.testing.assert_array_equal(images.held_out, BYTES[30:])
    np.testing.assert_array_equal(images.train_labels, LABELS[:30])
    np.testing.assert_array_equal(images.held_out_labels, LABELS[30:])
    assert image_facts("images:a.npz", images).own_split


def test_without_a_split_a_sixth_of_each_class_is_held_out_as_of_a_folder():
    np.savez("a.npz", images=BYTES, labels=LABELS)
    images, (train, held_out) = splits(), split_pictures(LABELS, 40)
    np.testing.assert_array_equal(images.train, BYTES[train])
    np.testing.assert_array_equal(images.held_out, BYTES[held_out])
    assert np.bincount(LABELS[held_out]).tolist() == [1] * 4


def test_the_middle_square_is_resized_as_that_of_a_picture():
    wide = np.random.default_rng(1).integers(0, 256, (6, 20, 30, 3), dtype=np.uint8)
    np.save("a.npy", wide)
    found = joined(splits("a.npy", 8))
    for image, pixels in zip(found, wide, strict=True):
        expected = Image.fromarray(pixels[:, 5:25]).resize((8, 8), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(image, np.asarray(expected).transpose(2, 0, 1))


def sets_equal(one: Dataset, other: Dataset) -> bool:
    return one.digest == other.digest and all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ("train_samples", "train", "held_out", "train_labels", "held_out_labels")
    )


def test_images_that_are_mapped_are_those_in_memory(monkeypatch):
    np.savez("a.npz", images=BYTES, labels=LABELS)
    loaded = load_dataset("images:a.npz")
    plain = image_dataset("images:a.npz", ImageSplits(*parts(splits())))
    assert sets_equal(loaded, plain)
    monkeypatch.setattr("gan_core.data.kept_images.MAPPED_BYTES", 1)
    mapped = splits()
    assert not mapped.train.flags.writeable
    assert not mapped.train.flags.owndata
    assert sets_equal(load_dataset("images:a.npz"), plain)
    places = torch.tensor([3, 1, 3])
    assert torch.equal(load_dataset("images:a.npz").train_numbers(places), plain.train[places])


def parts(images: ImageSplits) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray | None]:
    return images.train.copy(), images.train_labels, images.held_out.copy(), images.held_out_labels


def test_a_second_call_reads_the_cache_and_a_changed_or_damaged_one_is_read_again(here, monkeypatch):
    np.savez("a.npz", images=BYTES)
    first = splits()
    (kept,) = (here / "cache").glob("images-*.safetensors")
    with monkeypatch.context() as without:
        without.setattr("gan_core.data.image_files.collect_array_file", None)
        np.testing.assert_array_equal(splits().train, first.train)
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    for damaged in (content, content[:-1], b"something else"):
        kept.write_bytes(damaged)
        np.testing.assert_array_equal(splits().held_out, first.held_out)
    np.savez("a.npz", images=255 - BYTES)
    other = splits()
    assert other.digest != first.digest
    np.testing.assert_array_equal(other.train, 255 - first.train)


def test_the_form_of_what_was_read_is_known_without_a_size(here):
    np.savez("a.npz", images=BYTES, labels=LABELS)
    structure = StructureConfig(dataset="images:a.npz")
    with pytest.raises(InputError, match="'images:a.npz' has no size of its own"):
        data_form(structure)
    splits()
    form = data_form(structure)
    assert (form.sample_shape, form.classes, form.bytes) == ((3, 8, 8), 4, 4 * BYTES.size)


def with_pixel(value: float) -> np.ndarray:
    images = BYTES / 255
    images[17, 0, 0, 0] = value
    return images


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"images": BYTES[:0]}, "must hold at least 2 images, one to be held out, got 0"),
        ({"images": BYTES[:1]}, "must hold at least 2 images, one to be held out, got 1"),
        ({"images": BYTES.reshape(40, -1)}, r"images have shape \[40, 192\]; give \[n, H, W\]"),
        ({"images": BYTES[:, :2]}, r"image 0 has shape \[2, 8, 8\]; images are \[H, W\]"),
        ({"images": BYTES[:, :, :, :6]}, "image 0 is 8 pixels high and 6 wide, and images must be square; set"),
        ({"images": with_pixel(np.nan)}, "image 17 has numbers that are not finite"),
        (
            {"images": with_pixel(40.0)},
            r"image 17 must hold bytes, or numbers in \[0, 1\] or \[-1, 1\], got 0 to 40; make",
        ),
        ({"images": with_pixel(-40.0)}, r"image 17 must hold .*, got -40 to 1; scale them"),
        ({"images": BYTES.astype(int) - 1}, "image 0 must hold whole numbers from 0 to 255, got -1"),
        ({"images": BYTES * 1j}, "image 0 must hold numbers, got an array of type complex128"),
        ({"images": np.float32(3)}, "images must be an array of images or labels, got the single 3.0"),
        ({"other": BYTES}, "has no array images, x_train, .*; it has 'other'"),
        ({}, "has no array images, .*; it has none"),
        ({"images": BYTES, "labels": LABELS[:7]}, r"40 images must have as many labels, got \[7\]"),
        ({"images": BYTES, "labels": LABELS / 2}, "image 0: a label must be a whole number from 0, got"),
        ({"images": BYTES, "labels": LABELS - 1}, "image 0: a label must be a whole number from 0, got"),
        (
            {"images": BYTES, "labels": LABELS * 2},
            "labels must be 0 to K-1, each with an image, got 4 .* and none of 1",
        ),
        ({"images": BYTES, "labels": np.r_[4, LABELS[1:]]}, "no training image has label 4"),
        ({"images": BYTES, "x_test": BYTES / 255}, "held-out image 0 has numbers of 0 to 1, and those before of bytes"),
        ({"images": BYTES, "x_test": BYTES[:, :1]}, r"held-out image 0 has shape \[1, 8, 8\], and those before"),
        (
            {"images": BYTES, "labels": LABELS, "x_test": BYTES},
            "held-out image 0 has no label, and those before have one",
        ),
        (
            {"images": BYTES, "x_test": BYTES, "y_test": LABELS},
            "held-out image 0 has a label, and those before have none",
        ),
        ({"images": BYTES, "x_test": BYTES[:0]}, "the held-out split is empty; leave it out, and a sixth is held out"),
        ({"images": BYTES[:0], "x_test": BYTES}, "has held-out images and none to train on"),
        ({"images": np.array([{}, []], object)}, "holds Python objects, which could run code"),
    ],
)
def test_what_cannot_be_a_data_set_is_one_line(given, says):
    np.savez("a.npz", **given)
    with pytest.raises(InputError, match=says) as refused:
        splits()
    assert "\n" not in str(refused.value)


def test_a_file_that_is_none_is_one_line(here):
    with pytest.raises(InputError, match=r"no file a\.npz; give"):
        splits()
    for content in (b"", b"junk", b"PK\x03\x04junk", b"\x93NUMPY\x01\x00\xff\xff{"):
        (here / "a.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.npz is damaged, or no file of NumPy"):
            splits()
    np.savez("a.npz", images=BYTES)
    content = bytearray((here / "a.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (here / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz is damaged, or no file of NumPy"):
        splits()


def test_a_disk_that_is_full_is_one_line(monkeypatch):
    np.savez("a.npz", images=BYTES)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gan_core.data.kept_images._write", full)
    with pytest.raises(InputError, match="cannot keep the images of images:a.npz in .*No space left on device"):
        splits()


def test_an_endless_source_is_stopped(here):
    collector = Collector("some.py:data", here, 0, most=7)
    with pytest.raises(InputError, match="some.py:data has more than 7 images, or never ends"):
        for _ in range(8):
            collector.add(BYTES[0])


def test_scoring_converts_no_more_of_a_large_set_than_it_looks_at(monkeypatch):
    """The float32 copy of the training split, four times its bytes, is never made."""
    np.savez("a.npz", images=BYTES.repeat(9, 0) ^ np.arange(9, dtype=np.uint8).repeat(40)[:, None, None, None])
    plain = image_dataset("images:a.npz", ImageSplits(*parts(splits())))
    monkeypatch.setattr("gan_core.data.kept_images.MAPPED_BYTES", 1)
    dataset = load_dataset("images:a.npz")
    scorer = build_scorer(dataset, ScoringConfig(features="pca"), None)
    assert "train" not in vars(dataset)
    assert scorer.protocol == build_scorer(plain, ScoringConfig(features="pca"), None).protocol


def test_the_classifier_sees_the_same_bits_of_a_mapped_set(monkeypatch):
    np.savez("a.npz", images=BYTES, labels=LABELS)
    monkeypatch.setattr("gan_core.fidelity.features.classifier.STEPS", 2)
    plain = train_classifier(image_dataset("images:a.npz", ImageSplits(*parts(splits()))))
    monkeypatch.setattr("gan_core.data.kept_images.MAPPED_BYTES", 1)
    dataset = load_dataset("images:a.npz")
    mapped = train_classifier(dataset)
    assert "train" not in vars(dataset)
    assert all(map(torch.equal, mapped.state_dict().values(), plain.state_dict().values()))
