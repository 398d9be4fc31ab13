"""Data sets in memory, their sizes and digests, and the order of samples as a function of (data seed, images seen)."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image

from gan_core.config.dataset_name import IMAGE_KINDS, ON_DISK_KINDS, VALUE_KINDS
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.structure import StructureConfig
from gan_core.data.dataset import DATASETS, DataOrder, Dataset, host_or_device, load_dataset, resized, scale_bytes
from gan_core.lanes.axis import lane_arithmetic
from gan_core.training.draws import ShownSamples
from gan_core.training.lane_array import LaneArray

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
    """Up to one image of a class, a share of about 1/170."""
    train, held_out = np.bincount(digits.train_labels), np.bincount(digits.held_out_labels)
    assert digits.classes == len(train) == len(held_out) == 10
    assert np.abs(train - (train + held_out) * 1000 / 1797).max() < 1
    assert np.abs(train / 1000 - held_out / 797).max() < 1 / 400


def test_images_are_float32_in_minus_1_to_1(digits):
    for part in (digits.train, digits.held_out):
        assert part.dtype == torch.float32
        assert (float(part.min()), float(part.max())) == (-1, 1)
    assert digits.sample_shape == (1, 8, 8)


def byte_images(count: int = 40) -> Dataset:
    """Images [n, 1, 8, 8] that contain every byte, under the name of the digits."""
    pixels = torch.arange(count * 64).remainder(256).view(count, 1, 8, 8).byte()
    labels = torch.arange(count) % 10
    return Dataset("digits", pixels, labels, scale_bytes(pixels.float()), labels, 10, "bytes")


def test_images_whose_numbers_are_bytes_are_shown_from_their_bytes_bit_for_bit(digits):
    dataset = byte_images()
    assert dataset.train.dtype == torch.float32
    assert torch.equal(dataset.train, dataset.held_out)
    assert torch.equal(((dataset.train + 1) * 127.5).round(), dataset.train_samples.float())
    index = torch.tensor([3, 3, 39, 0])
    for dtype in (torch.float32, torch.float64):
        shown = torch.zeros(4, 1, 8, 8, dtype=dtype)
        ShownSamples(dataset, shown, on_host=False).show(index, shown)
        assert torch.equal(shown, dataset.train[index].to(dtype))
    assert digits.train is digits.train_samples  # sixteenths


def test_training_on_bytes_has_the_bits_of_training_on_their_numbers():
    """Both in compiled blocks, which read the bytes directly, and step by step."""
    structure = StructureConfig(generator_width=8, discriminator_width=9, latent_size=5, batch_size=13)
    configs = [GanConfig(structure=structure, seed=seed) for seed in range(2)]
    results = []
    with lane_arithmetic():
        for execution in ("compiled", "eager"):
            for dataset in (byte_images(), replace(byte_images(), train_samples=byte_images().train)):
                array = LaneArray(configs, dataset, execution=execution)
                array.train_to(13 * 5)
                results.append(array.state.discriminator.flat.clone())
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[2], results[3])
    torch.testing.assert_close(results[0], results[2], rtol=0, atol=1e-4)


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


def test_the_gaussians_held_out_split_is_its_quantiles(gaussian):
    levels = (np.arange(10_000) + 0.5) / 10_000
    expected = scipy.stats.norm.ppf(levels, loc=4, scale=1.25)
    np.testing.assert_allclose(gaussian.held_out.numpy()[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(("name", "digest"), [("gaussian", "cd4075e91a759b1a"), ("digits", "aeafb0a9751c3ea5")])
def test_digests_are_those_of_the_first_release(name, digest):
    """Recorded scores name these digests, so they must not change; test_published_images checks the others."""
    assert load_dataset(name).digest == digest


def test_a_digest_is_of_samples_not_of_how_the_name_was_written(gaussian):
    same, other = load_dataset("gaussian:4,1.25"), load_dataset("gaussian:4,1.26")
    assert (same.name, same.digest) == ("gaussian:4,1.25", gaussian.digest)
    assert other.digest != gaussian.digest


@pytest.mark.parametrize("name", ["gaussian", "gaussian:-1,0.5", "mixture:-3,0.5;4,1.5"])
def test_a_1d_set_is_drawn_from_its_truth_and_held_out_as_its_quantiles(name):
    dataset = load_dataset(name)
    assert dataset.truth is not None
    assert (dataset.name, dataset.sample_shape, dataset.classes, dataset.train_labels) == (name, (1,), 0, None)
    assert torch.equal(dataset.held_out, dataset.truth.quantiles(10_000).float().unsqueeze(1))
    error = float(dataset.truth.deviation) / math.sqrt(len(dataset.train))
    assert abs(float(dataset.train.double().mean() - dataset.truth.mean)) < 5 * error


@pytest.mark.parametrize("name", ["ring", "grid:3,1,0.1"])
def test_a_2d_set_holds_out_10000_draws_of_its_truth_that_nobody_trains_on(name):
    dataset = load_dataset(name)
    assert dataset.truth is not None
    assert (dataset.sample_shape, len(dataset.train), len(dataset.held_out)) == ((2,), 131_072, 10_000)
    train, held_out = ({tuple(sample) for sample in part.tolist()} for part in (dataset.train, dataset.held_out))
    assert not train & held_out
    for part in (dataset.train, dataset.held_out):
        error = dataset.truth.deviation / math.sqrt(len(part))
        assert bool(((part.double().mean(0) - dataset.truth.mean).abs() < 5 * error).all())
        assert bool(((part.double().std(0) - dataset.truth.deviation).abs() < 5 * error).all())


def test_only_sets_of_numbers_have_a_truth(digits, gaussian):
    assert gaussian.truth is not None
    assert digits.truth is None


def test_polygons_train_on_the_first_60000_hold_out_the_next_10000_and_keep_the_rest_apart(monkeypatch):
    """Other tests check the images; here each of the 80,000 is identified by its first three pixels."""
    images = np.zeros((80_000, 28, 28), np.uint8)
    images[:, 0, :3] = np.stack(np.unravel_index(np.arange(80_000), (2, 256, 256)), 1)
    monkeypatch.setattr("gan_core.data.polygons.polygon_images", lambda: images)
    dataset = load_dataset("polygons")
    assert (dataset.sample_shape, dataset.classes, dataset.train_labels, dataset.truth) == ((1, 28, 28), 0, None, None)
    shown = [((part[:, 0, 0, :3] + 1) * 127.5).round().long().numpy() for part in (dataset.train, dataset.held_out)]
    found = [np.ravel_multi_index(tuple(part.T), (2, 256, 256)) for part in shown]
    np.testing.assert_array_equal(found[0], np.arange(60_000))
    np.testing.assert_array_equal(found[1], np.arange(60_000, 70_000))


@pytest.mark.parametrize("size_pixels", [4, 6, 8, 16, 28, 32])
def test_resized_images_are_pillows_antialiased_bilinear_ones(digits, size_pixels):
    """Compares with an independent implementation, to 1e-5 in a range of 2."""
    found = resized(digits.held_out[:20], size_pixels)
    expected = [
        np.asarray(Image.fromarray(image[0].numpy()).resize((size_pixels, size_pixels), Image.Resampling.BILINEAR))
        for image in digits.held_out[:20]
    ]
    assert found.shape == (20, 1, size_pixels, size_pixels)
    np.testing.assert_allclose(found[:, 0].numpy(), np.stack(expected), atol=1e-5)
    assert float(found.abs().max()) <= 1


def test_an_image_is_resized_alone_and_one_of_the_right_size_is_left_as_it_is(digits):
    many = digits.train.repeat(3, 1, 1, 1)  # more than are resized at once
    assert torch.equal(resized(many, 12)[2500:2510], resized(many[2500:2510], 12))
    assert resized(digits.train, 8) is digits.train


def test_a_data_set_is_resized_whole_and_its_size_is_in_its_digest(digits):
    small = load_dataset("digits", image_size_pixels=12)
    assert small.sample_shape == (1, 12, 12)
    assert torch.equal(small.train, resized(digits.train, 12))
    assert torch.equal(small.held_out, resized(digits.held_out, 12))
    assert small.train_labels is not None
    assert small.train_labels.tolist() == digits.train_labels.tolist()
    assert small.digest == load_dataset("digits", image_size_pixels=12).digest != digits.digest
    assert load_dataset("digits", image_size_pixels=8).digest == digits.digest


@pytest.mark.parametrize(
    ("name", "size_pixels", "says"),
    [
        ("gaussian", 8, "image_size_pixels must be 0 for numbers, got 8 with data set 'gaussian'"),
        ("digits", -1, "image_size_pixels must be at least 0; 0 keeps a set's own size, got -1"),
        ("images:.", 0, "'images:.' has no size of its own; set image_size_pixels"),
    ],
)
def test_a_size_that_makes_no_sense_is_refused(name, size_pixels, says):
    with pytest.raises(InputError, match=says):
        load_dataset(name, image_size_pixels=size_pixels)


def test_an_unknown_data_set_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="unknown data set 'digit'; did you mean 'digits'"):
        load_dataset("digit")


def test_every_kind_has_a_loader_and_those_on_disk_need_a_root():
    assert set(DATASETS) == set(VALUE_KINDS) | set(IMAGE_KINDS) | {"own"}
    assert set(ON_DISK_KINDS) == {"mnist", "fashion_mnist", "cifar10"}
    for name in ON_DISK_KINDS:
        with pytest.raises(InputError, match=f"'{name}' needs a data root"):
            load_dataset(name)


@pytest.mark.parametrize(
    ("dataset_bytes", "device_bytes", "place"),
    [
        (10, None, "device"),
        (10**15, None, "device"),
        (0, 0, "device"),
        (50, 100, "device"),
        (51, 100, "host"),
        (50, 99, "host"),
        (1, 0, "host"),
    ],
)
def test_data_larger_than_half_a_devices_memory_stays_on_the_host(dataset_bytes, device_bytes, place):
    assert host_or_device(dataset_bytes, device_bytes) == place
