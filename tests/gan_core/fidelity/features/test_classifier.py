"""The classifier behind the features: it is accurate, bitwise reproducible, and trained and cached once."""

import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from events import LONGEST_SECONDS, lock_wanted
from filelock import FileLock
from safetensors.torch import load_file, save_file

from gan_core.config.input_error import InputError
from gan_core.data.dataset import Dataset
from gan_core.fidelity.features.classifier import (
    FEATURES,
    Classifier,
    ClassifierExtractor,
    initial_classifier,
    load_classifier,
    train_classifier,
)
from gan_core.files.cache import cache_folder


def small_dataset() -> Dataset:
    """Images of 4x4 pixels in three classes that differ in brightness, on which training takes a second."""
    source = np.random.default_rng(0)
    labels = torch.from_numpy(source.integers(0, 3, 90))
    noise = torch.from_numpy(source.standard_normal((90, 1, 4, 4)).astype(np.float32))
    images = (noise / 5 + (labels - 1).view(-1, 1, 1, 1) / 2).clamp(-1, 1)
    return Dataset("small", images[:60], labels[:60], images[60:], labels[60:], 3, "small")


def bits(tensors: dict[str, torch.Tensor]) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The single file that loading the small extractor writes to an empty cache."""
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_SWEEP_CACHE", str(folder))
        extractor = load_classifier(small_dataset())
    assert files(folder) == [f"{extractor.name}.safetensors"]
    return folder / f"{extractor.name}.safetensors"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    """A cache folder for this test alone, which does not exist yet."""
    folder = tmp_path / "cache" / "below"
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(folder))
    return folder


@pytest.fixture
def filled(cache: Path, stored: Path) -> Path:
    """The file of the small classifier in a cache."""
    cache.mkdir(parents=True)
    return Path(shutil.copy(stored, cache / stored.name))


@pytest.fixture
def three_threads():
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(1)


def test_the_digits_classifier_is_right_on_19_of_20_held_out_digits(digits):
    assert digits.held_out_labels is not None
    chosen = load_classifier(digits)(digits.held_out)[1].argmax(1)
    assert (chosen == digits.held_out_labels).double().mean().item() >= 0.95


def test_features_are_standardised_over_the_training_split_and_probabilities_sum_to_one(digits):
    features, probabilities = load_classifier(digits)(digits.train)
    assert features.shape == (1000, FEATURES)
    assert probabilities.shape == (1000, 10)
    np.testing.assert_allclose(features.double().mean(0).numpy(), 0, atol=1e-5)
    np.testing.assert_allclose(features.double().std(0).numpy(), 1, atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(1).numpy(), 1, atol=1e-5)
    assert float(probabilities.min()) >= 0


@pytest.mark.usefixtures("three_threads")
def test_training_again_gives_the_same_bits_with_any_number_of_the_callers_threads(digits):
    extractor = load_classifier(digits)
    assert bits(train_classifier(digits).state_dict()) == bits(extractor.classifier.state_dict())
    assert torch.get_num_threads() == 3


def test_training_leaves_every_global_generator_alone(cache):
    def states() -> list[object]:
        numpy_state = np.random.get_state(legacy=False)
        return [torch.get_rng_state().tolist(), repr(numpy_state), random.getstate()]

    before = states()
    for _ in ("trained", "read from the cache"):
        load_classifier(small_dataset())
        assert states() == before
    torch.rand(1)
    np.random.rand(1)  # noqa: NPY002
    random.random()
    assert all(one != other for one, other in zip(before, states(), strict=True))


def test_a_cached_classifier_is_the_one_that_was_trained_and_its_file_is_left_alone(filled, stored):
    before, again = filled.stat(), load_classifier(small_dataset())
    assert bits(again.classifier.state_dict()) == bits(load_file(stored))
    after = filled.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert files(filled.parent) == [filled.name]


def test_training_moves_every_parameter_away_from_its_initial_value(stored):
    start, end = initial_classifier(small_dataset()).state_dict(), load_file(stored)
    assert all(not torch.equal(start[name], end[name]) for name in start)


def _of_another_shape(path: Path) -> None:
    save_file({name: tensor[:1].clone() for name, tensor in load_file(path).items()}, path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        _of_another_shape,
    ],
    ids=["empty", "truncated", "other shapes"],
)
def test_a_damaged_cache_file_is_made_anew(filled: Path, stored: Path, damage: Callable[[Path], object]):
    damage(filled)
    assert filled.read_bytes() != stored.read_bytes()
    extractor = load_classifier(small_dataset())
    assert bits(extractor.classifier.state_dict()) == bits(load_file(stored)) == bits(load_file(filled))
    assert files(filled.parent) == [filled.name]


def test_two_processes_that_want_it_at_once_both_get_it_and_leave_one_file(cache, stored):
    program = """
import sys, torch
from test_classifier import bits, load_classifier, small_dataset
from safetensors.torch import save_file
print("ready", flush=True)
sys.stdin.readline()
save_file(load_classifier(small_dataset()).classifier.state_dict(), sys.argv[1])
"""
    results = [cache.parent.parent / f"result{i}" for i in range(2)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path[:0] = {[str(folder) for folder in Path(__file__).parents[:5]]}{program}",
    ]
    processes = [subprocess.Popen([*command, str(result)], **pipes) for result in results]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    assert not cache.exists()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=120)[0] for process in processes] == ["", ""]
    assert [process.returncode for process in processes] == [0, 0]
    assert files(cache) == [stored.name]
    assert [bits(load_file(result)) for result in results] == [bits(load_file(stored))] * 2


def test_who_waits_for_another_reads_what_the_other_trained(cache, stored, monkeypatch):
    other = {name: tensor + 1 for name, tensor in load_file(stored).items()}
    cache.mkdir(parents=True)
    found = []
    wanted, waiting = (
        lock_wanted(monkeypatch),
        threading.Thread(target=lambda: found.append(load_classifier(small_dataset()))),
    )
    with FileLock(f"{cache / stored.name}.lock"):
        waiting.start()
        assert wanted.wait(LONGEST_SECONDS)
        save_file(other, cache / stored.name)
    waiting.join(LONGEST_SECONDS)
    assert bits(found[0].classifier.state_dict()) == bits(other)


def test_where_the_cache_cannot_be_written_a_temporary_one_serves(stored, tmp_path, monkeypatch):
    occupied, temporary = tmp_path / "file", tmp_path / "temporary"
    occupied.write_text("")
    temporary.mkdir()
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(occupied / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with pytest.warns(UserWarning, match=r"there is no cache folder \(.*file.*\); .*temporary.* is used"):
        extractor = load_classifier(small_dataset())
    assert bits(extractor.classifier.state_dict()) == bits(load_file(stored))
    (folder,) = temporary.iterdir()
    assert files(folder) == [stored.name]


def test_the_cache_lies_where_it_was_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path / "asked"))
    assert cache_folder() == tmp_path / "asked"
    monkeypatch.delenv("GAN_SWEEP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "gan-sweep"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "gan-sweep"


def test_extractors_of_different_data_have_different_names(stored, digits):
    assert stored.stem.startswith("classifier64-")
    assert load_classifier(digits).name.startswith("classifier64-")
    assert load_classifier(digits).name != stored.stem


def test_an_extractor_moved_to_a_device_is_the_same_one(filled):
    extractor = load_classifier(small_dataset())
    moved = extractor.to("cpu")
    images = small_dataset().held_out
    assert isinstance(moved, ClassifierExtractor)
    assert moved.name == extractor.name
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(extractor(images), moved(images), strict=True))


def test_a_data_set_without_labels_has_no_classifier(gaussian):
    with pytest.raises(ValueError, match="'gaussian' has no labels"):
        train_classifier(gaussian)
    with pytest.raises(InputError, match="'gaussian' has no labels; choose 'pca'"):
        load_classifier(gaussian)


@pytest.mark.parametrize(
    "shape", [(1, 4, 4), (1, 8, 8), (3, 9, 11), (1, 28, 28), (3, 30, 34), (3, 32, 32), (3, 64, 64)]
)
def test_every_pixel_of_an_image_of_any_size_and_channels_reaches_the_features(shape):
    images = torch.zeros(2, *shape)
    data = Dataset("zeros", images, torch.tensor([0, 1]), images, torch.tensor([0, 1]), 2, "zeros")
    classifier = initial_classifier(data)
    assert classifier(images).shape == (2, 2)
    asked = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(classifier.trunk(asked).sum(), asked)
    assert float(gradient.abs().amin()) > 0


def test_colour_and_a_size_that_is_no_multiple_of_four_are_learnt(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path))
    labels = torch.arange(120) % 3
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((120, 3, 9, 10)).astype(np.float32)) / 3
    images[torch.arange(120), labels] += 0.3
    data = Dataset("colours", images[:90], labels[:90], images[90:], labels[90:], 3, "colours")
    features, probabilities = load_classifier(data)(data.held_out)
    assert features.shape == (30, FEATURES)
    assert (probabilities.argmax(1) == data.held_out_labels).double().mean().item() >= 0.9


def test_images_too_small_for_the_classifier_are_refused_in_one_line():
    images = torch.zeros(6, 1, 3, 8)
    labels = torch.arange(6) % 2
    with pytest.raises(InputError, match=r"at least 4x4 pixels, and those of data set 'flat' are \[1, 3, 8\]"):
        load_classifier(Dataset("flat", images, labels, images, labels, 2, "flat"))


def test_the_classifier_of_a_square_image_has_the_shapes_of_the_published_recipe():
    shapes = [tuple(tensor.shape) for tensor in Classifier(1, 28, 28, 10).parameters()]
    assert shapes == [(16, 1, 4, 4), (16,), (32, 16, 4, 4), (32,), (64, 1568), (64,), (10, 64), (10,)]


def test_mean_and_deviation_are_the_same_bits_with_any_number_of_the_callers_threads(digits):
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(load_classifier(digits))
    torch.set_num_threads(1)
    assert torch.equal(found[0].mean, found[1].mean)
    assert torch.equal(found[0].deviation, found[1].deviation)
