"""Archives of pictures and folders of Hugging Face: the same pixels as in a folder, safely, and what is refused."""

import io
import json
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.input_error import InputError
from gan_core.config.structure import StructureConfig
from gan_core.data.archives import shards
from gan_core.data.collected_images import Collector
from gan_core.data.encoded_images import Encoded, collect_encoded
from gan_core.data.facts import image_facts
from gan_core.data.image_files import Request, read_image_files
from gan_core.data.pictures import split_pictures
from gan_core.data.published_images import ImageSplits
from gan_core.workshop.memory import data_form

PIXELS = np.random.default_rng(0).integers(0, 256, (18, 8, 8, 3), dtype=np.uint8)
LABELS = [place % 3 for place in range(18)]
IMAGES = PIXELS.transpose(0, 3, 1, 2)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


PNGS = [png(pixels) for pixels in PIXELS]


def read(place: str, size_pixels: int = 0, **options: Any) -> ImageSplits:
    return read_image_files(Request(parse_dataset_name(f"images:{place}"), image_size_pixels=size_pixels, **options))


def write_zip(path: str, members: Mapping[str, bytes | str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_tar(path: str, members: Mapping[str, bytes], mode: Any = "w") -> None:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def check(images: ImageSplits, labels: list[int] | None = None) -> None:
    """The images are those above, in this order, of which a sixth of each class is held out."""
    numbers = None if labels is None else np.array(labels)
    train, held_out = split_pictures(numbers, 18)
    np.testing.assert_array_equal(images.train, IMAGES[train])
    np.testing.assert_array_equal(images.held_out, IMAGES[held_out])
    assert (images.train_labels is None) == (labels is None)
    if numbers is not None:
        np.testing.assert_array_equal(images.train_labels, numbers[train])


def stylegan(labels: Any) -> dict[str, bytes | str]:
    members: dict[str, bytes | str] = {f"00000/img{place:08}.png": content for place, content in enumerate(PNGS)}
    return {**members, "dataset.json": json.dumps({"labels": labels})}


def test_an_archive_of_stylegan_has_its_labels():
    names = list(stylegan(None))[:-1]
    write_zip("a.zip", stylegan([[name, label] for name, label in zip(names, LABELS, strict=True)]))
    check(read("a.zip"), LABELS)
    write_zip("b.zip", stylegan(None))
    check(read("b.zip"))
    inside = {f"ffhq/{name}": content for name, content in stylegan([*zip(names, LABELS, strict=True)]).items()}
    write_zip("c.zip", inside)
    check(read("c.zip"), LABELS)
    assert (read("b.zip").classes, read("c.zip").classes) == (0, 3)


@pytest.mark.parametrize("top", ["", "pets/"])
def test_a_folder_in_an_archive_is_read_as_the_folder(here, top):
    members = {f"{split}/{'cat' if n % 2 else 'dog'}/{n}.png": PNGS[n] for n in range(18) for split in ["train", "val"]}
    for name, content in members.items():
        (here / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "folder" / name).write_bytes(content)
    more = {f"{top}train/notes.txt": "", f"{top}.DS_Store": "", f"__MACOSX/{top}train/cat/._1.png": "junk"}
    write_zip("a.zip", {**{top + name: content for name, content in members.items()}, **more})
    plain, zipped = read("folder", 8), read("a.zip")
    for part in ("train", "train_labels", "held_out", "held_out_labels"):
        np.testing.assert_array_equal(getattr(plain, part), getattr(zipped, part))
    facts = image_facts("images:a.zip", zipped)
    assert [name for name, _, _ in facts.classes] == ["cat", "dog"]
    assert facts.own_split
    assert facts.digest == image_facts("images:folder", plain).digest


def shard(places: range, labels: str) -> dict[str, bytes]:
    members = {}
    for place in places:
        members[f"some/{place:05}.png"] = PNGS[place]
        written = {"cls": str(LABELS[place]), "json": json.dumps({"label": LABELS[place]})}
        members |= {f"some/{place:05}.{labels}": written[labels].encode()} if labels else {}
    return members


@pytest.mark.parametrize("labels", ["cls", "json", ""])
@pytest.mark.parametrize("place", ["s-{0..1}.tar", "s-*.tar", "s-[01].tar"])
def test_shards_are_read_one_after_another(labels, place):
    write_tar("s-0.tar", shard(range(9), labels))
    write_tar("s-1.tar", {"readme": b"", ".hidden": b"", **shard(range(9, 18), labels)})
    check(read(place), LABELS if labels else None)
    form = data_form(StructureConfig(dataset=f"images:{place}"))
    assert (form.sample_shape, form.classes) == ((3, 8, 8), 3 if labels else 0)


def test_a_compressed_shard_and_pictures_of_several_sizes_are_read():
    write_tar("a.tar.gz", shard(range(18), "cls"), "w:gz")
    check(read("a.tar.gz"), LABELS)
    write_tar("b.tar", {"0.png": PNGS[0], "1.png": png(np.zeros((9, 12, 3), np.uint8))})
    with pytest.raises(InputError, match=r"1.png has shape \[3, 9, 12\], and those .*; .* or set struct"):
        read("b.tar")
    assert len(read("b.tar", 8).train) == 1


def test_ranges_count_with_leading_zeros_and_several_multiply(here):
    for name in ("a-00-1.tar", "a-01-1.tar", "a-00-2.tar", "a-01-2.tar"):
        (here / name).touch()
    names = ["a-00-1.tar", "a-00-2.tar", "a-01-1.tar", "a-01-2.tar"]
    assert [path.name for path in shards("a-{00..01}-{1..2}.tar")] == names
    assert [path.name for path in shards("a-??-1.tar")] == ["a-00-1.tar", "a-01-1.tar"]
    for place, says in (
        ("a-{00..02}-1.tar", "no file .*a-02-1.tar; give"),
        ("b-*.tar", r"no file is called b-\*.tar; give"),
        ("a-{3..1}.tar", "'a-{3..1}.tar': its ranges must count up"),
        ("a-{0..999999}.tar", "its ranges must count up, to at most 100,000 archives; change them"),
        ("a-{0..9}{0..9}{0..9}-{0..999}.tar", "its ranges must count up, to at most 100,000 archives"),
    ):
        with pytest.raises(InputError, match=says):
            shards(place)


@pytest.mark.filterwarnings("ignore:.*cannot be read:UserWarning")
@pytest.mark.parametrize("ending", ["zip", "tar"])
def test_unreadable_pictures_are_named_and_left_out(monkeypatch, ending):
    members = {f"{place:02}.png": content for place, content in enumerate(PNGS)}
    members |= {"20.png": b"\x89PNG", "21.png": png(np.zeros((100, 100), np.uint8))}
    (write_zip if ending == "zip" else write_tar)(f"a.{ending}", members)
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 4000)
    with pytest.raises(InputError, match="images:a.*: 2 of 20 pictures cannot be read .*: '20.png', '21.png'; mend"):
        read(f"a.{ending}")
    images = read(f"a.{ending}", skip_corrupt=True)
    check(images)
    facts = image_facts(f"images:a.{ending}", images)
    assert facts.unread == {"damaged, or no picture": ("20.png",), "of more than 89 million pixels": ("21.png",)}


def test_a_member_larger_than_it_says_or_than_is_safe_is_not_read_whole(monkeypatch):
    monkeypatch.setattr("gan_core.data.archives.LARGEST_BYTES", 1000)
    bomb = PNGS[0] + bytes(10**6)
    with zipfile.ZipFile("a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for place in range(3):
            archive.writestr(f"{place}.png", PNGS[place])
        archive.writestr("bomb.png", bomb)
    write_tar("a.tar", {"0.png": PNGS[0], "1.png": PNGS[1], "bomb.png": bomb})
    for place in ("a.zip", "a.tar"):
        with pytest.raises(InputError, match="1 of . pictures cannot be read or are too large: 'bomb.png'"):
            read(place)


def test_names_that_lead_out_of_the_archive_write_nothing(here):
    (here / "inner").mkdir()
    write_zip("inner/a.zip", {f"../../{place}.png": content for place, content in enumerate(PNGS)})
    write_tar("inner/a.tar", {f"../{place}.png": content for place, content in enumerate(PNGS)})
    before = {path for path in here.rglob("*") if "cache" not in str(path)}
    assert len(read("inner/a.tar").train) == 15
    with pytest.raises(InputError):
        read("inner/a.zip")  # names that begin with a dot are hidden
    assert {path for path in here.rglob("*") if "cache" not in str(path)} == before


def encrypted() -> bytes:
    content = bytearray((Path("a.zip")).read_bytes())
    place = content.find(b"PK\x01\x02")
    while place >= 0:  # the flag of every member
        content[place + 8] |= 1
        place = content.find(b"PK\x01\x02", place + 4)
    return bytes(content)


@pytest.mark.parametrize("ending", ["", ".npz", ".zip", ".tar"])
def test_a_name_that_is_too_long_for_the_system_is_one_line(ending):
    with pytest.raises(InputError, match="no (file|folder) .*aaa.*; give images:") as refused:
        read(5000 * "a" + ending, 8)
    assert len(str(refused.value)) < 400


def test_a_damaged_or_encrypted_archive_is_one_line(here):
    for place in ("a.zip", "a.tar"):
        with pytest.raises(InputError, match=rf"no file .*{place}; give images:"):
            read(place)
        for content in (b"", b"junk" * 300):
            (here / place).write_bytes(content)
            with pytest.raises(InputError, match=rf"{place} is no archive, or damaged"):
                read(place)
    write_tar("b.tar", shard(range(18), "cls"))
    (here / "b.tar").write_bytes((here / "b.tar").read_bytes()[:9000])
    with pytest.raises(InputError, match=r"b.tar is no archive, or damaged \(unexpected end of data\)"):
        read("b.tar")
    write_zip("a.zip", {"0.png": PNGS[0], "1.png": PNGS[1]})
    (here / "a.zip").write_bytes(encrypted())
    with pytest.raises(InputError, match="2 of 2 pictures cannot be read"):
        read("a.zip")


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"readme.txt": b""}, "a.zip holds no pictures"),
        (stylegan("cat"), "dataset.json must hold 'labels', pairs of a name and a number, or null"),
        ({**stylegan(None), "dataset.json": "[]"}, "dataset.json must hold 'labels'"),
        ({**stylegan(None), "dataset.json": "{"}, "dataset.json must hold 'labels'"),
        ({**stylegan(None), "dataset.json": 10**5 * "["}, "dataset.json must hold 'labels'"),
        (stylegan([["00000/img00000000.png", 0]]), "img00000001.png has no label, and those before have one"),
        (stylegan([["img00000000.png", 0]]), r"has no label of a picture that is there, only of \['img00000000.png'\]"),
        (stylegan([["00000/img00000000.png", [0.5]]]), r"a label must be a whole number from 0, got \[0.5\]"),
    ],
)
def test_what_is_wrong_in_a_zip_is_one_line(members, says):
    write_zip("a.zip", members)
    with pytest.raises(InputError, match=says):
        read("a.zip")


def test_a_label_that_is_none_is_named():
    write_tar("a.tar", {"0.png": PNGS[0], "0.cls": b"cat"})
    with pytest.raises(InputError, match="a.tar: the label of 0 cannot be read: b'cat'; mend it"):
        read("a.tar")
    write_tar("a.tar", {"0.png": PNGS[0], "0.json": 10**5 * b"["})
    with pytest.raises(InputError, match=r"a.tar: the label of 0 cannot be read: b'\[\[\["):
        read("a.tar")


def test_few_pictures_wait_where_they_are_large(monkeypatch):
    waiting = []
    monkeypatch.setattr("gan_core.data.encoded_images.BYTES_AT_ONCE", 2 * len(PNGS[0]) - 9)

    def pictures() -> Iterator[Encoded]:
        for place, content in enumerate(PNGS[:6]):
            waiting.append(place - len(collector))
            yield Encoded(content, f"{place}.png")

    collector = Collector("some.zip", Path(), 0)
    collect_encoded(pictures(), collector)
    assert len(collector) == 6
    assert max(waiting) <= 1


def write_hugging_face(folder: Path, pngs: list[Any], labels: list[int] | None, kind: str = "Image") -> None:
    """As `datasets.Dataset.save_to_disk` writes it, of two Arrow files."""
    folder.mkdir(parents=True, exist_ok=True)
    features: dict[str, Any] = {"caption": {"dtype": "string", "_type": "Value"}, "picture": {"_type": kind}}
    columns: dict[str, Any] = {"caption": ["a"] * len(pngs), "picture": [{"bytes": p, "path": None} for p in pngs]}
    if labels is not None:
        features["label"], columns["label"] = {"names": ["cat", "dog", "fox"], "_type": "ClassLabel"}, labels
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([(n, {"caption": pa.string(), "picture": picture, "label": pa.int64()}[n]) for n in columns])
    table, files = pa.table(columns, schema=schema), []
    for number in range(2):
        part = table.slice(number * len(pngs) // 2, len(pngs) // 2)
        files.append({"filename": f"data-{number:05}-of-00002.arrow"})
        with pa.OSFile(str(folder / files[-1]["filename"]), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
            stream.write_table(part, max_chunksize=4)
    (folder / "state.json").write_text(json.dumps({"_data_files": files}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))


@pytest.mark.parametrize("labels", [None, LABELS])
def test_a_folder_of_hugging_face_is_read(labels):
    write_hugging_face(Path("one"), PNGS, labels)
    images = read("one", 8)
    check(images, labels)
    names = [name for name, _, _ in image_facts("images:one", images).classes]
    assert names == (["cat", "dog", "fox"] if labels else [])


@pytest.mark.parametrize("held_out", ["test", "validation"])
def test_splits_of_hugging_face_are_taken(here, held_out):
    write_hugging_face(here / "two" / "train", PNGS[:12], LABELS[:12])
    write_hugging_face(here / "two" / held_out, PNGS[12:], LABELS[12:])
    write_hugging_face(here / "two" / "zebra", PNGS[:2], None)
    (here / "two" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", held_out, "zebra"]}))
    images = read("two", 8)
    np.testing.assert_array_equal(images.train, IMAGES[:12])
    np.testing.assert_array_equal(images.held_out, IMAGES[12:])
    np.testing.assert_array_equal(images.held_out_labels, LABELS[12:])


def test_what_is_wrong_with_a_folder_of_hugging_face_is_one_line(here):
    write_hugging_face(here / "a", PNGS, None, kind="Audio")
    with pytest.raises(InputError, match="a has no column of pictures .*'picture': 'Audio'"):
        read("a", 8)
    write_hugging_face(here / "b", [*PNGS[:5], None], None)
    with pytest.raises(InputError, match="b: image 5 is not in its files, but {'bytes': None"):
        read("b", 8)
    arrow = here / "b" / "data-00000-of-00002.arrow"
    arrow.write_bytes(b"junk")
    with pytest.raises(InputError, match="data-00000-of-00002.arrow is damaged"):
        read("b", 8)
    arrow.unlink()
    with pytest.raises(InputError, match="no file .*data-00000-of-00002.arrow, which .*state.json lists"):
        read("b", 8)
    (here / "b" / "state.json").write_text("{")
    with pytest.raises(InputError, match="cannot read .*state.json"):
        read("b", 8)
    (here / "c").mkdir()
    (here / "c" / "dataset_dict.json").write_text('{"splits": ["test"]}')
    with pytest.raises(InputError, match=r"c has no split 'train', only \['test'\]"):
        read("c", 8)
