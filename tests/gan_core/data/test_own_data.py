"""A person's own data set: every form gives the same images, and what is wrong is said with the item."""

import functools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset, random_split

from gan_core.config.dataset_name import parse_dataset_name, same_name
from gan_core.config.input_error import InputError
from gan_core.data.collected_images import Collector
from gan_core.data.dataset import load_dataset
from gan_core.data.facts import image_facts
from gan_core.data.image_files import Request, own_is_kept, read_image_files
from gan_core.data.own_data import collect_own
from gan_core.data.published_images import ImageSplits
from gan_core.files.own_code import OwnCodeError, own_module, pinned

BYTES = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
LABELS = np.arange(12) % 3
TENSOR = torch.from_numpy(BYTES)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Items(Dataset):
    """A map data set of given items; an error among them is raised."""

    def __init__(self, items: Any) -> None:
        self.items = list(items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> Any:
        if isinstance(self.items[place], Exception):
            raise self.items[place]
        return self.items[place]


class Stream(IterableDataset):
    """The same as an iterable, which has no length."""

    def __init__(self, items: Any) -> None:
        self.items = list(items)

    def __iter__(self) -> Iterator[Any]:
        for item in self.items:
            if isinstance(item, Exception):
                raise item
            yield item


class Sized(Stream):
    """An iterable that says how many items it has, as those of many libraries do, or fails to."""

    def __init__(self, items: Any, length: Any = 5) -> None:
        super().__init__(items)
        self.length = length

    def __len__(self) -> int:
        return len(self.items) if self.length is None else self.length


class Without(Dataset):
    """A map data set without a length."""

    def __getitem__(self, place: int) -> Any:
        return TENSOR[place]


class Long(Items):
    """A map data set with a length of its own."""

    def __init__(self, length: Any) -> None:
        super().__init__(TENSOR)
        self.length = length

    def __len__(self) -> int:
        return self.length()


class Rooted(Items):
    """A map data set that wants its root by name."""

    def __init__(self, *, root: Path) -> None:
        super().__init__(TENSOR)
        self.root = root


class Made:
    """An object that is called."""

    def __call__(self, root: Path | None = None) -> Any:
        return BYTES


def collected(found: Any, size_pixels: int = 0, root: Path | None = None, most: int = 100) -> Collector:
    collector = Collector("my.py:data", Path(), size_pixels, most=most)
    collect_own(found, root, collector)
    return collector


def pictures() -> list[Image.Image]:
    return [Image.fromarray(image[0]) for image in BYTES]


UNLABELLED = {
    "array": BYTES,
    "grey array": BYTES[:, 0],
    "tensor": TENSOR,
    "channels last": BYTES.transpose(0, 2, 3, 1),
    "0 to 1": TENSOR / 255,
    "-1 to 1": TENSOR / 127.5 - 1,
    "half precision": (TENSOR / 255).half(),
    "with a gradient": (TENSOR / 255).requires_grad_(),
    "list of tensors": list(TENSOR),
    "map of tensors": Items(TENSOR),
    "map of pictures": Items(pictures()),
    "pictures that say RGB": Items([picture.convert("RGB") for picture in pictures()]),
    "stream": Stream(TENSOR),
    "generator": (image for image in BYTES),
    "stream with a length": Sized(TENSOR),
    "stream whose length is none": Sized(TENSOR, "many"),
    "map without a length": Without(),
    "parts of others": ConcatDataset([Subset(Items(TENSOR), range(5)), Subset(Items(TENSOR), range(5, 12))]),
    "iterator": iter(list(TENSOR)),
    "partial function": functools.partial(lambda root, images: images, None, BYTES),
    "class": Without,
    "object that is called": Made(),
    "negative view": [torch.imag(torch.conj(torch.complex(one / 255, one / -255))) for one in TENSOR],
    "tensor data set": TensorDataset(TENSOR),
    "dictionaries": Items([{"pixel_values": image} for image in TENSOR]),
    "images by name": {"images": BYTES},
    "pictures of WebDataset": Items([{"__key__": "a", "png": picture} for picture in pictures()]),
    "labels of one class": Items([(image, 0) for image in TENSOR]),
    "function": lambda: BYTES,
}
LABELLED = {
    "arrays": (BYTES, LABELS),
    "tensors": (TENSOR, torch.from_numpy(LABELS)),
    "list of labels": [TENSOR, LABELS.tolist()],
    "tensor data set": TensorDataset(TENSOR, torch.from_numpy(LABELS)),
    "map of pairs": Items(zip(TENSOR, LABELS.tolist(), strict=True)),
    "stream of pictures": Stream(zip(pictures(), LABELS, strict=True)),
    "dictionaries": Items([{"image": x, "label": y} for x, y in zip(pictures(), LABELS.tolist(), strict=True)]),
    "other dictionaries": Items(
        [{"pixel_values": x, "labels": torch.tensor([y])} for x, y in zip(TENSOR, LABELS, strict=True)]
    ),
    "by name": {"x_train": BYTES, "y_train": LABELS},
    "lists": (list(TENSOR), LABELS.tolist()),
    "pictures and a tuple": (pictures(), tuple(LABELS)),
    "lists by name": {"images": pictures(), "labels": LABELS.tolist()},
    "fine labels": Items([{"img": x, "fine_label": y} for x, y in zip(pictures(), LABELS.tolist(), strict=True)]),
}


@pytest.mark.parametrize("form", UNLABELLED)
def test_every_form_gives_the_same_images(form):
    collector = collected(UNLABELLED[form])
    np.testing.assert_array_equal(collector.pixels(), BYTES)
    assert collector.labels() is None
    assert not collector.own_split


@pytest.mark.parametrize("form", LABELLED)
def test_labels_are_found(form):
    collector = collected(LABELLED[form])
    np.testing.assert_array_equal(collector.pixels(), BYTES)
    np.testing.assert_array_equal(collector.labels(), LABELS)


@pytest.mark.parametrize("held_out", ["held_out", "validation", "val", "test"])
def test_a_held_out_split_of_the_set_is_taken(held_out):
    split = {"train": Items(zip(TENSOR[:7], LABELS, strict=False)), held_out: (BYTES[7:], LABELS[7:])}
    collector = collected(split)
    assert collector.own_split
    train, held = collector.split()
    np.testing.assert_array_equal(collector.pixels()[train], BYTES[:7])
    np.testing.assert_array_equal(collector.pixels()[held], BYTES[7:])
    both = collected({"x_train": BYTES[:7], "x_test": BYTES[7:]})
    assert both.split()[1].tolist() == [7, 8, 9, 10, 11]


PAIRS = Items(zip(TENSOR, LABELS, strict=True))


@pytest.mark.parametrize(
    "pair",
    [
        (Subset(PAIRS, range(8)), Subset(PAIRS, range(8, 12))),
        ((BYTES[:8], LABELS[:8]), (BYTES[8:], LABELS[8:])),
        [(list(TENSOR[:8]), list(LABELS[:8])), Subset(PAIRS, range(8, 12))],
    ],
)
def test_a_pair_of_splits_is_training_and_held_out(pair):
    collector = collected(lambda: pair)
    assert [part.tolist() for part in collector.split()] == [[*range(8)], [8, 9, 10, 11]]
    np.testing.assert_array_equal(collector.pixels(), BYTES)
    np.testing.assert_array_equal(collector.labels(), LABELS)
    assert collected((BYTES[:8], BYTES[8:])).split()[1].tolist() == [8, 9, 10, 11]
    assert len(collected(random_split(Items(TENSOR), [8, 4])).split()[1]) == 4


def test_reading_tells_how_many_images_there_are_in_all(monkeypatch):
    monkeypatch.setattr("gan_core.data.collected_images.TOLD_SECONDS", -1.0)
    told: list[str] = []
    collect_own((BYTES[:8], BYTES[8:]), None, Collector("my.py:data", Path(), 0, told.append))
    assert told == [f"reading my.py:data: {n} of {8 if n <= 8 else 12} images" for n in range(1, 13)]


def test_a_part_of_a_data_set_has_its_names_of_classes():
    named = Items(zip(TENSOR, LABELS, strict=True))
    named.classes = ["a", "b", "c"]  # pyright: ignore[reportAttributeAccessIssue]
    collector = Collector("my.py:data", Path(), 0)
    assert collect_own(Subset(Subset(named, range(9)), range(6)), None, collector) == ("a", "b", "c")


def test_a_test_split_beside_a_validation_split_is_left_alone():
    collector = collected({"train": BYTES[:6], "validation": BYTES[6:8], "test": BYTES[8:]})
    np.testing.assert_array_equal(collector.pixels(), BYTES[:8])


def test_colours_that_come_late_are_kept_and_pictures_of_any_size_are_resized():
    coloured = [*pictures()[:3], Image.new("RGB", (8, 8), (10, 20, 30))]
    found = collected(coloured).pixels()
    np.testing.assert_array_equal(found[:3], BYTES[:3].repeat(3, 1))
    assert found[3, :, 0, 0].tolist() == [10, 20, 30]
    sizes = [Image.new("L", (20, 30), 7), Image.new("L", (8, 8), 9)]
    resized = collected(sizes, 8)
    assert resized.pixels()[:, 0, 0, 0].tolist() == [7, 9]
    assert resized.sizes_pixels.tolist() == [[20, 30], [8, 8]]


def test_transparent_parts_are_white_as_in_a_folder():
    assert np.unique(collected([Image.new("RGBA", (8, 8), (9, 9, 9, 0)), pictures()[0]]).pixels()[0]).tolist() == [255]


def test_a_function_gets_the_data_root_where_it_asks_for_one(here):
    np.save(here / "a.npy", BYTES)

    def asks(root: Path) -> Any:
        return np.load(root / "a.npy")

    def may(root: Any = None) -> Any:
        return BYTES[:4] if root is None else BYTES

    assert len(collected(asks, root=here)) == 12
    assert len(collected(may)) == 4
    assert len(collected(may, root=here)) == 12
    assert len(collected(functools.partial(asks), root=here)) == 12
    assert len(collected(lambda count=3: BYTES[:count], root=here)) == 3  # no path
    made: list[Rooted] = []
    assert len(collected(lambda *, root: made.append(Rooted(root=root)) or made[0], root=here)) == 12
    assert made[0].root == here
    assert len(collected(Rooted, root=here)) == 12
    with pytest.raises(InputError, match="my.py:data asks for a data root: give --data-root DIR"):
        collected(asks)
    with pytest.raises(InputError, match="must take the data root alone, or nothing, and also asks for split"):
        collected(lambda root, split: BYTES, root=here)


def test_random_numbers_are_the_same_each_time_and_those_of_the_process_stay_as_they_were():
    def drawn() -> Any:
        return torch.rand(4, 1, 8, 8) * random.random() * np.random.rand()  # noqa: NPY002

    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    first = collected(drawn).pixels()
    assert torch.equal(torch.rand(3), expected)
    np.testing.assert_array_equal(collected(drawn).pixels(), first)
    assert len(np.unique(first)) > 10


def broken(place: int, item: Any) -> list[Any]:
    items: list[Any] = list(TENSOR)
    items[place] = item
    return items


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (lambda: None, "my.py:data returned None; return a torch Dataset"),
        (3, "my.py:data is int 3; give a torch Dataset"),
        ({"a": BYTES}, r"neither 'train' nor 'images' among \['a'\]; return"),
        (DataLoader(TensorDataset(TENSOR)), "my.py:data is a DataLoader, which gives batches; give its dataset"),
        ((BYTES, LABELS[:5]), "has 12 images and 5 labels; give each image one"),
        (
            Items(broken(4, TENSOR[0][:, :7])),
            r"item 4 has shape \[1, 7, 8\], and those before \[1, 8, 8\]; give all one",
        ),
        (Items(broken(4, None)), "item 4 must be a picture, a tensor or an array, got NoneType None"),
        (Items(broken(4, "a.png")), "item 4 must be a picture, a tensor or an array, got str 'a.png'"),
        (Items(broken(4, (TENSOR[0], 1, 2))), "item 4 has 3 parts; give an image, or an image and its label"),
        (Items(broken(4, (TENSOR[0], 1))), "item 4 has a label, and those before have none"),
        (Items(broken(4, {"caption": "a"})), r"item 4 has none of image, .*, but \['caption'\]; name its image so"),
        (Items(broken(4, TENSOR[0] / 255)), "item 4 has numbers of 0 to 1, and those before of bytes"),
        (Items([TENSOR[0] / 255, TENSOR[0] / 255 * np.nan]), "item 1 has numbers that are not finite"),
        (Items([(image, "cat") for image in TENSOR]), "item 0: a label must be a whole number from 0, got 'cat'"),
        (Items([(image, True) for image in TENSOR]), "item 0: a label must be a whole number from 0, got True"),
        (Items([(image, torch.zeros(3)) for image in TENSOR]), "item 0: a label must be a whole number from 0"),
        (np.array([{}] * 3).reshape(3, 1, 1), "item 0 must hold numbers, got an array of type object"),
        (Items([Image.new("F", (8, 8))] * 2), "item 0 is a picture of numbers without a largest one"),
        ((TENSOR[0] for _ in iter(int, 1)), "my.py:data has more than 100 images, or never ends; give it an end"),
        ((Items(TENSOR), Items(TENSOR), Items(TENSOR)), r"has 3 data sets; return two, \(train, held_out\), or"),
        ((Items(TENSOR), DataLoader(Items(TENSOR))), "my.py:data is a DataLoader, which gives batches"),
        ({"train": TENSOR, "test": TENSOR[:0]}, "the held-out split of my.py:data is empty; leave it out"),
        (lambda: Items, "my.py:data is type <class '.*Items'>; give a torch Dataset"),
        ("pictures", "my.py:data is str 'pictures'; give a torch Dataset"),
        (Items([Items([])]), "item 0 must be a picture, a tensor or an array, got Items"),
        (Items([TENSOR[0].to("meta")]), "item 0 is a tensor that has no plain numbers .*; convert it"),
        (Items([TENSOR[0].to_sparse()]), "item 0 is a tensor that has no plain numbers .*; convert it"),
        ([(BYTES[0], np.eye(3)), (BYTES[0], 1)], r"item 0: a label must be a whole number from 0, got array\(\[\[1"),
        (Long(lambda: 1 // 0), "my.py:data: its length cannot be found: ZeroDivisionError"),
        (Long(lambda: -1), "my.py:data: its length cannot be found: ValueError: __len__.. should return >= 0"),
        (Long(lambda: None), "my.py:data: its length cannot be found: TypeError: 'NoneType'"),
        (Long(lambda: 20), "my.py:data: item 12 cannot be read: IndexError"),
    ],
)
def test_what_is_no_data_set_is_one_line_with_the_item(found, says):
    with pytest.raises(InputError, match=says) as refused:
        collected(found)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("items", [[], [TENSOR[0]]])
def test_an_empty_set_and_one_image_are_refused(items):
    with pytest.raises(InputError, match=f"must hold at least 2 images, one to be held out, got {len(items)}"):
        collected(Items(items)).split()


@pytest.mark.parametrize("kind", [Items, Stream])
def test_an_error_at_an_item_names_it(kind):
    with pytest.raises(OwnCodeError, match="my.py:data: item 7 cannot be read: ZeroDivisionError: oh"):
        collected(kind(broken(7, ZeroDivisionError("oh"))))


def test_an_error_before_the_first_item_is_theirs():
    class Silent:
        def __iter__(self) -> Iterator[Any]:
            raise RuntimeError("no files")

    with pytest.raises(OwnCodeError, match="my.py:data cannot be read: RuntimeError: no files"):
        collected(Silent())
    with pytest.raises(OwnCodeError, match="my.py:data failed: ZeroDivisionError"):
        collected(lambda: 1 / 0)


CODE = """
import numpy as np
from pathlib import Path

def listed(root):
    Path(root, "calls").open("a").write("x")
    return [np.load(path) for path in sorted(Path(root, "data").glob("*.npy"))]

def opened_in_c(root):  # as OpenCV does
    return [np.full((8, 8), path.stat().st_size, np.uint8) for path in sorted(Path(root, "data").iterdir())]

def train_set(root):
    with Path(root, "calls").open("a") as file:
        file.write("x")
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8), dtype=np.uint8)
    return images if not Path(root, "other").exists() else 255 - images

def broken(root):
    return [np.zeros((8, 8))] + [None.shape]
"""


def own(name: str, root: Path, **options: Any) -> ImageSplits:
    return read_image_files(Request(parse_dataset_name(name), root, **options))


def test_own_code_is_asked_once_and_again_where_it_is_refreshed_or_changed(here):
    (here / "my.py").write_text(CODE)
    name = pinned("structure.dataset", "my.py:train_set", None)
    assert not own_is_kept(Request(parse_dataset_name(name), here))
    first = own(name, here)
    assert own_is_kept(Request(parse_dataset_name(name), here))
    (here / "other").touch()  # which their code reads, and we do not know of
    assert own(name, here).digest == first.digest == load_dataset(name, here).digest
    assert (here / "calls").read_text() == "x"
    facts = image_facts(name, first)
    assert (facts.train, facts.held_out, facts.own_split, facts.shape) == (20, 4, False, (1, 8, 8))
    again = own(name, here, refresh=True)
    assert again.digest != first.digest
    np.testing.assert_array_equal(again.train, 255 - first.train)
    assert (here / "calls").read_text() == "xx"
    (here / "my.py").write_text(CODE + "\n")
    changed = pinned("structure.dataset", "my.py:train_set", None)
    assert changed != name
    assert not same_name(changed, name)
    own(changed, here)
    assert (here / "calls").read_text() == "xxx"


@pytest.mark.parametrize("change", ["another", "fewer", "more"])
def test_files_that_changed_since_are_read_again(here, change):
    (here / "my.py").write_text(CODE)
    (here / "data").mkdir()
    for place, image in enumerate(BYTES[:, 0]):
        np.save(here / "data" / f"{place:02}.npy", image)
    name, told = pinned("structure.dataset", "my.py:listed", None), []
    first = own(name, here)
    assert own(name, here, tell=told.append).digest == first.digest
    assert (here / "calls").read_text() == "x"
    if change == "another":
        np.save(here / "data" / "03.npy", 255 - BYTES[3, 0])
    elif change == "fewer":
        (here / "data" / "03.npy").unlink()
    else:
        np.save(here / "data" / "99.npy", BYTES[0, 0])
    again = own(name, here, tell=told.append)
    assert again.digest != first.digest
    assert len(again.train) + len(again.held_out) == {"another": 12, "fewer": 11, "more": 13}[change]
    where = here / "data" / "03.npy" if change == "another" else here / "data"
    assert told[1] == f"{where} has changed: my.py:listed is read again"
    assert told[0].startswith("images of my.py:listed, read on 2")
    own(name, here)
    assert (here / "calls").read_text() == "xx"
    for path in (here / "data").iterdir():
        path.unlink()
    (here / "data").rmdir()
    assert own(name, here).digest == again.digest  # what was read stays where nothing is left, as on another machine


def test_pictures_that_are_opened_in_c_are_told_by_the_listing_of_their_folder(here):
    (here / "my.py").write_text(CODE)
    (here / "data").mkdir()
    for place in range(12):
        (here / "data" / f"{place:02}.png").write_bytes(bytes(place + 1))
    name = pinned("structure.dataset", "my.py:opened_in_c", None)
    first = own(name, here)
    (here / "data" / "03.png").write_bytes(bytes(100))
    assert own(name, here).digest != first.digest


def test_what_their_file_reads_when_it_is_imported_counts(here):
    (here / "my.py").write_text("import numpy as np\ntrain_set = np.load('a.npy')\n")
    np.save("a.npy", BYTES)
    name = pinned("structure.dataset", "my.py:train_set", None)
    own_module(name)  # as its networks do, before the data are read
    first = own(name, here)
    np.save("a.npy", 255 - BYTES)
    told = list[str]()
    assert own(name, here, tell=told.append).digest == first.digest  # of what is imported in this process
    assert told[0] == f"{here / 'a.npy'} has changed: my.py:train_set is read again"


def test_an_error_in_their_file_has_their_traceback(here):
    (here / "my.py").write_text(CODE)
    with pytest.raises(OwnCodeError, match="my.py:broken failed: AttributeError: .* has no attribute 'shape'") as found:
        own(pinned("structure.dataset", "my.py:broken", None), here)
    assert "return [np.zeros((8, 8))] + [None.shape]" in found.value.theirs
    assert "gan_core" not in found.value.theirs.replace(str(here), "")


def test_a_reference_must_name_something():
    with pytest.raises(InputError, match="'my.py' names no function or data set in it; write FILE.py:NAME"):
        parse_dataset_name("my.py")
