"""`gan-sweep data`: what it prints about data sets, what it draws, and what a sweep would refuse."""

from pathlib import Path

import numpy as np
import pytest
import torch
from made_files import pictures, write_mnist
from PIL import Image

from gan_core.config.dataset_name import parse_dataset_name
from gan_core.data.dataset import image_dataset, load_dataset
from gan_core.data.image_files import Request, read_image_files
from gan_core.data.published_images import ImageSplits

pytestmark = pytest.mark.usefixtures("quick")


def class_folders(folder: Path, count: int = 36) -> None:
    """Images of two classes, of 8x6 pixels and one of 12x9, all different."""
    for number, label in enumerate(("cat", "dog")):
        (folder / label).mkdir(parents=True)
        for place in range(count):
            size = (9, 12, 3) if (label, place) == ("dog", 0) else (6, 8, 3)
            pixels = np.random.default_rng([number, place]).integers(0, 256, size, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{place:02d}.png")


def test_a_folder_is_told_with_classes_split_sizes_copies_and_what_is_not_used(gan_sweep):
    class_folders(Path("pets"))
    (Path("pets") / "dog" / "copy.png").write_bytes((Path("pets") / "cat" / "00.png").read_bytes())
    (Path("pets") / "labels.csv").write_text("")
    (Path("pets") / "cat" / "broken.png").write_bytes(b"\x89PNG")
    answer = gan_sweep("data", "images:pets", "--image-size-pixels", "8", "--skip-corrupt-images")
    with pytest.warns(UserWarning, match="left out"):
        digest = load_dataset("images:pets", image_size_pixels=8, skip_corrupt=True).digest
    assert (answer.code, answer.err.count("\n")) == (0, 2)
    assert answer.err.endswith(" the scores of images:pets ...\n")
    assert "images:pets has 12 held-out pictures, fewer than ten times the 5 neighbours" in answer.err
    facts, _, examined = answer.out.partition("\n\n")
    assert examined.startswith("scores of training images, fresh and damaged:\n")
    assert facts.splitlines() == [
        f"images    73 of 8x8, colour; digest {digest}",
        "sizes     8x6 to 12x9, most often 8x6 (72 of 73)",
        "split     61 training, 12 held out: a sixth of each class is held out, always the same ones",
        "classes   2, training + held out",
        "          0 'cat': 30 + 6",
        "          1 'dog': 31 + 6",
        "copies    1 of 73 pictures are exact copies of others, at the size that is trained, such as 'dog/copy.png' of "
        "'cat/00.png'",
        "left out  1 damaged, or no picture: 'cat/broken.png'",
        "not used  1 .csv",
        "          .csv: such as 'labels.csv'",
    ]


def test_what_a_sweep_would_refuse_is_told_whole_and_exit_2(gan_sweep):
    class_folders(Path("pets"))
    (Path("pets") / "cat" / "broken.png").write_bytes(b"\x89PNG")
    answer = gan_sweep("data", "images:pets")
    assert answer.code == 2
    assert "left out  1 damaged, or no picture: 'cat/broken.png'" in answer.out
    assert answer.err.splitlines()[-1].startswith("gan-sweep: pictures that cannot be read are refused; mend or remove")
    pictures(Path("few"))
    for number in range(10):
        (Path("few") / f"{number}.png").unlink()
    answer = gan_sweep("data", "images:few")
    assert answer.code == 2
    assert "split     25 training, 5 held out" in answer.out
    assert "scores need at least 6 held-out images" in answer.err


def test_published_sets_are_told_at_their_own_size_and_resized(gan_sweep, monkeypatch):
    monkeypatch.setattr("sweep.commands.data._examine", lambda *given: None)  # 10 s of a classifier
    write_mnist(Path.cwd())
    answer = gan_sweep("data", "mnist", "--data-root", "data")
    assert answer.code == 0
    assert (
        answer.out.splitlines()[0]
        == f"images    40 of 28x28, grey; digest {load_dataset('mnist', Path('data')).digest}"
    )
    assert "split     20 training, 20 held out: as the set has it" in answer.out
    assert "          9 '9': 2 + 2" in answer.out
    small = load_dataset("mnist", Path("data"), image_size_pixels=8).digest
    answer = gan_sweep("data", "mnist", "--data-root", "data", "--image-size-pixels", "8")
    assert answer.out.splitlines()[0] == f"images    40 of 8x8, grey; digest {small}"


def test_held_out_images_that_stand_in_the_training_split_are_counted(gan_sweep, monkeypatch):
    monkeypatch.setattr("sweep.commands.data._examine", lambda *given: None)  # 10 s of a classifier
    raw = write_mnist(Path.cwd())
    for kind in ("images-idx3", "labels-idx1"):
        (raw / f"t10k-{kind}-ubyte").unlink(missing_ok=True)
        (raw / f"t10k-{kind}-ubyte.gz").unlink(missing_ok=True)
        for train in raw.glob(f"train-{kind}*"):
            (raw / train.name.replace("train", "t10k")).write_bytes(train.read_bytes())
    answer = gan_sweep("data", "mnist", "--data-root", "data")
    assert "copies    20 of 40 pictures are exact copies of others" in answer.out
    assert "20 held-out images stand in the training split too" in answer.out


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("digits", "images    1,797 of 8x8, grey"),
        ("ring:3", "ring:3: 131,072 training and 10,000 held-out samples of two"),
    ],
)
def test_sets_that_come_with_the_package_are_told_and_drawn(gan_sweep, name, says):
    answer = gan_sweep("data", name, "--preview", "some.png")
    assert answer.code == 0
    assert answer.err in (
        "",
        f"examining the scores of {name} ...\n",
        f"training a classifier for the scores of {name} ...\n",
    )
    assert answer.out.startswith(says)
    assert "drawn in some.png" in answer.out.splitlines()
    assert min(Image.open("some.png").size) > 100


def test_the_preview_shows_classes_in_turn(gan_sweep):
    for label, level in (("a", 0), ("b", 255)):
        (Path("two") / label).mkdir(parents=True)
        for place in range(40):
            pixels = np.full((8, 8), level, np.uint8)
            pixels[0, 0] = place + 1
            Image.fromarray(pixels).save(Path("two") / label / f"{place}.png")
    assert gan_sweep("data", "images:two", "--image-size-pixels", "8", "--preview", "p.png").code == 0
    shown = np.asarray(Image.open("p.png"))
    factor = shown.shape[0] // 73  # a grid of 8x8 images of 8 pixels and lines between them
    row = shown[5 * factor, [(1 + 9 * column + 4) * factor for column in range(8)]]
    assert row.tolist() == [0, 255] * 4


OWN = """
import numpy as np
def train_set(root):
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8)) / 255
    return images if not (root / "other").exists() else 1 - images
def broken():
    return [np.zeros((8, 8)), None.shape]
"""


def test_a_set_of_ones_own_is_told_and_read_again_where_that_is_asked_for(gan_sweep, monkeypatch):
    monkeypatch.setattr("sweep.commands.data._examine", lambda *given: None)
    Path("my.py").write_text(OWN)
    asked = ("data", "my.py:train_set", "--data-root", ".")
    first = gan_sweep(*asked)
    assert first.code == 0
    assert first.out.startswith("images    60 of 8x8, grey; digest ")
    assert "numbers   from 0 to 1, each rounded to the nearest of 256 levels" in first.out
    assert "split     50 training, 10 held out: a sixth" in first.out
    assert "; --refresh reads them again" in first.out
    Path("other").touch()
    assert gan_sweep(*asked).out.splitlines()[0] == first.out.splitlines()[0]
    assert gan_sweep(*asked, "--refresh").out.splitlines()[0] != first.out.splitlines()[0]


def test_a_data_root_that_is_asked_for_and_an_error_of_theirs_are_said(gan_sweep):
    Path("my.py").write_text(OWN)
    answer = gan_sweep("data", "my.py:train_set")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "my.py:train_set asks for a data root: give --data-root DIR" in answer.err
    answer = gan_sweep("data", "my.py:broken")
    assert answer.code == 2
    assert (
        "my.py:broken failed: AttributeError: 'NoneType' object has no attribute 'shape' (my.py, line 7)" in answer.err
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["images:nowhere.zip"], "no file nowhere.zip; give images: a file that is there"),
        (["my.py:train_set"], "cannot read 'my.py'"),
        (["images:nowhere"], "no folder nowhere"),
        (["cifar"], "unknown data set 'cifar'; did you mean 'cifar10'?"),
        (["mnist"], "data set 'mnist' needs a data root"),
        (["digits", "--preview", "p.jpg"], "the preview must end in .png, got p.jpg"),
        (["digits", "--preview", "."], "the preview must end in .png"),
        (["gaussian", "--image-size-pixels", "8"], "image_size_pixels must be 0 for numbers"),
        (["digits", "--image-size-pixels", "1000"], "must be a whole number of at most 512, got '1000'"),
    ],
)
def test_what_cannot_be_looked_at_is_one_line_and_exit_2(gan_sweep, arguments, says):
    answer = gan_sweep("data", *arguments)
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert says in answer.err


def test_a_preview_that_cannot_be_written_is_one_line(gan_sweep):
    (Path("taken.png")).mkdir()
    answer = gan_sweep("data", "digits", "--preview", "taken.png")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "cannot write taken.png" in answer.err


def test_a_folder_is_read_once_for_what_is_said_and_for_its_scores(gan_sweep, monkeypatch):
    class_folders(Path("pets"))
    read: list[int] = []

    def counted(request: Request) -> ImageSplits:
        read.append(request.image_size_pixels)
        return read_image_files(request)

    monkeypatch.setattr("gan_core.data.image_files.read_image_files", counted)
    monkeypatch.setattr("gan_core.data.dataset.read_image_files", counted)
    answer = gan_sweep("data", "images:pets", "--image-size-pixels", "8")
    assert (answer.code, read) == (0, [8])
    again = load_dataset("images:pets", image_size_pixels=8)
    made = image_dataset("images:pets", counted(Request(parse_dataset_name("images:pets"), image_size_pixels=8)))
    assert f"digest {again.digest}" in answer.out
    assert (made.digest, made.classes) == (again.digest, again.classes)
    assert torch.equal(made.train_samples, again.train_samples)
    assert torch.equal(made.held_out, again.held_out)
