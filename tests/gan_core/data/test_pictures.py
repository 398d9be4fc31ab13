"""Folders of images: what is read, refused and cached, and how it is split."""

import io
import os
import struct
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from gan_core.config.input_error import InputError
from gan_core.data.dataset import Dataset, load_dataset
from gan_core.data.picture_files import Fate, SharedLimit, read_picture
from gan_core.data.picture_folder import counted
from gan_core.data.pictures import load_pictures, split_pictures

SIZE = 8


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "pictures"
    made.mkdir()
    return made


def grey(level: int, size: tuple[int, int] = (SIZE, SIZE)) -> Image.Image:
    return Image.new("L", size, level)


def write(path: Path, picture: Image.Image, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)  # pyright: ignore[reportArgumentType]
    return path


def levels(folder: Path, **options: bool) -> list[int]:
    """The grey level of each uniform image, in the order of their names."""
    images = load_pictures(str(folder), SIZE, **options).images
    assert images.min((1, 2, 3)).tolist() == images.max((1, 2, 3)).tolist()
    return images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".png", {}),
        (".bmp", {}),
        (".gif", {}),
        (".webp", {"lossless": True}),
        (".jpg", {}),
        (".JPEG", {}),
        (".PNG", {}),
        (".tif", {"compression": "tiff_lzw"}),
        (".TIFF", {}),
    ],
)
def test_every_form_is_read(folder, suffix, options):
    for name, level in (("a", 40), ("b", 200)):
        write(folder / f"{name}{suffix}", grey(level), **options)
    pictures = load_pictures(str(folder), SIZE)
    assert (pictures.images.dtype, pictures.images.shape, pictures.labels) == (np.uint8, (2, 1, SIZE, SIZE), None)
    assert levels(folder) == [40, 200]


def test_pixels_of_the_right_size_are_kept_as_they_are(folder):
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    for number, each in enumerate(pixels):
        write(folder / f"{number}.png", Image.fromarray(each))
    np.testing.assert_array_equal(load_pictures(str(folder), SIZE).images, pixels.transpose(0, 3, 1, 2))


def test_the_middle_square_is_resized_once(folder):
    """A wide and a tall image, whose outer parts have another colour and must not affect the result."""
    wide = np.full((32, 96, 3), (255, 0, 0), np.uint8)
    wide[:, 32:64] = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    write(folder / "a.png", Image.fromarray(wide))
    write(folder / "b.png", Image.fromarray(wide.transpose(1, 0, 2)))
    found = load_pictures(str(folder), SIZE).images
    for image, middle in zip(found, (wide[:, 32:64], wide[:, 32:64].transpose(1, 0, 2)), strict=True):
        expected = Image.fromarray(middle).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(image, np.asarray(expected).transpose(2, 0, 1))


def test_one_channel_where_all_are_grey_and_three_where_one_is_not(folder):
    write(folder / "a.png", grey(40))
    write(folder / "b.png", Image.new("RGB", (SIZE, SIZE), (90, 90, 90)))
    assert load_pictures(str(folder), SIZE).images.shape == (2, 1, SIZE, SIZE)
    write(folder / "c.png", Image.new("RGB", (SIZE, SIZE), (90, 91, 90)))
    images = load_pictures(str(folder), SIZE).images
    assert images[:, :, 0, 0].tolist() == [[40, 40, 40], [90, 90, 90], [90, 91, 90]]


def test_transparent_parts_are_white_and_16_bit_greys_keep_their_scale(folder):
    write(folder / "a.png", Image.new("RGBA", (SIZE, SIZE), (10, 20, 30, 0)))
    write(folder / "b.png", Image.fromarray(np.full((SIZE, SIZE), 100 * 257, np.uint16)))
    write(folder / "c.png", Image.new("LA", (SIZE, SIZE), (0, 255)))
    assert levels(folder) == [255, 100, 0]


def test_a_photo_is_turned_upright_and_only_the_first_frame_of_a_gif_is_read(folder):
    pixels = np.zeros((SIZE, SIZE), np.uint8)
    pixels[0] = 255
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held so that its right side is up
    write(folder / "a.png", Image.fromarray(pixels), exif=turned)
    write(folder / "b.gif", grey(50), save_all=True, append_images=[grey(150)])
    found = load_pictures(str(folder), SIZE).images[:, 0]
    np.testing.assert_array_equal(found[0], np.rot90(pixels, -1))
    assert np.unique(found[1]).tolist() == [50]


def test_hidden_files_and_other_suffixes_are_passed_over_and_counted_by_kind(folder, tmp_path):
    write(folder / "a.png", grey(1))
    write(folder / "b.png", grey(2))
    write(folder / ".hidden.png", grey(3))
    write(folder / ".hidden" / "c.png", grey(4))
    write(folder / "scan.PPM", grey(5))
    (folder / "labels.csv").write_text("a,1")
    (folder / "v1.2 of the licence").write_text("")
    write(tmp_path / "elsewhere" / "d.png", grey(6))
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "folder.png").mkdir()
    (folder / "nowhere.png").symlink_to(folder / "gone.png")
    os.mkfifo(folder / "pipe.png")  # opening it would wait for ever
    assert levels(folder) == [1, 2]
    assert load_pictures(str(folder), SIZE).facts.unused == {
        "hidden": (".hidden.png", ".hidden/"),
        ".ppm": ("scan.PPM",),
        ".csv": ("labels.csv",),
        "without a suffix": ("v1.2 of the licence",),
        "linked folders": ("linked/",),
        "links to nothing, pipes and the like": ("nowhere.png", "pipe.png"),
    }


def test_what_is_not_used_is_counted_the_commonest_kind_first():
    unused = {f".{kind}": ("x",) * count for kind, count in zip("abcdefgh", range(1, 9), strict=True)}
    assert counted(unused) == "8 .h, 7 .g, 6 .f, 5 .e, 4 .d, 3 .c, 3 of 2 other kinds"
    assert counted({"hidden": ("x",) * 9, ".a": ("x",)}, hidden=False) == "1 .a"


def class_folders(folder: Path, counts: dict[str, int]) -> None:
    for place, (label, count) in enumerate(counts.items()):
        for number in range(count):
            write(folder / label / f"{number:02d}.png", grey(100 * place + number))


def test_subfolders_are_classes_in_the_order_of_their_names(folder):
    class_folders(folder, {"zebra": 2, "ant": 3, "cat/young": 2})
    pictures = load_pictures(str(folder), SIZE)
    assert pictures.labels is not None
    assert pictures.labels.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert pictures.images[:, 0, 0, 0].tolist() == [100, 101, 102, 200, 201, 0, 1]


def test_one_subfolder_is_no_class(folder):
    class_folders(folder, {"all": 3})
    assert load_pictures(str(folder), SIZE).labels is None


SPLITS = {"train/cat": 3, "train/dog": 4, "val/cat": 1, "val/dog": 2}


@pytest.mark.parametrize(
    ("counts", "unused"),
    [
        (SPLITS, {}),
        ({"Training/cat": 3, "Training/dog": 4, "test/cat": 1, "test/dog": 2}, {}),
        (SPLITS | {"test/cat": 5}, {"pictures in test/, beside val/": 5}),
    ],
)
def test_a_folder_of_splits_gives_its_own(folder, counts, unused):
    class_folders(folder, counts)
    dataset = load_dataset(f"images:{folder}", image_size_pixels=SIZE)
    assert (len(dataset.train), len(dataset.held_out), dataset.classes) == (7, 3, 2)
    shown = ((dataset.train[:, 0, 0, 0] + 1) * 127.5).round().long().tolist()
    assert shown == [0, 1, 2, 100, 101, 102, 103]
    assert dataset.train_labels is not None
    assert dataset.train_labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert dataset.held_out_labels is not None
    assert dataset.held_out_labels.tolist() == [0, 1, 1]
    facts = load_pictures(str(folder), SIZE).facts
    assert facts.classes == ("cat", "dog")
    assert {kind: len(names) for kind, names in facts.unused.items()} == unused


def test_splits_without_classes_have_no_labels_and_one_folder_of_a_split_is_no_split(folder):
    class_folders(folder, {"train": 3})
    assert load_pictures(str(folder), SIZE).facts.held_out is None
    class_folders(folder, {"train": 3, "valid": 1})
    pictures = load_pictures(str(folder), SIZE)
    assert pictures.labels is None
    assert pictures.facts.held_out is not None
    assert pictures.facts.held_out.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        (
            SPLITS | {"extra": 2},
            r"the splits 'train' and 'val' and beside them 'extra'; .* give images:.*pictures/train",
        ),
        (SPLITS | {"validation/cat": 2}, "beside them 'validation'"),
        (SPLITS | {"train/eel": 2}, "must hold the same classes, and class 'eel' is in one alone"),
        ({"train/cat": 3, "val": 2}, "and class 'cat' is in one alone"),
    ],
)
def test_splits_that_cannot_serve_are_refused_in_one_line(folder, counts, says):
    class_folders(folder, counts)
    with pytest.raises(InputError, match=says) as refused:
        load_pictures(str(folder), SIZE)
    assert "\n" not in str(refused.value)


def test_a_class_of_a_split_without_a_readable_picture_is_refused(folder):
    class_folders(folder, SPLITS)
    (folder / "val" / "cat" / "00.png").write_bytes(b"no picture")
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(InputError, match="val/cat must hold at least 1 readable picture, got 0"),
    ):
        load_pictures(str(folder), SIZE, skip_corrupt=True)


def exif_jpeg(*fields: tuple[int, int, int, bytes]) -> bytes:
    """An image of 20x30 pixels with these raw EXIF fields: tag, type, count and four bytes."""
    pixels, buffer = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8), io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    entries = b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in fields)
    exif = b"Exif\0\0II" + struct.pack("<HIH", 42, 8, len(fields)) + entries + bytes(4)
    content = buffer.getvalue()
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:]


@pytest.mark.parametrize(
    ("tag", "value"),
    [(0x11A, b"72\0\0"), (0x100, b"abc\0"), (0x10F, b"\xff\0\0\0")],
    ids=["resolution", "width", "maker"],
)
def test_a_turned_photo_is_upright_whatever_else_its_exif_holds(folder, tag, value):
    turned = (0x112, 3, 1, struct.pack("<HH", 6, 0))
    (folder / "a.jpg").write_bytes(exif_jpeg())
    (folder / "b.jpg").write_bytes(exif_jpeg(turned, (tag, 2, 3, value)))
    plain, found = load_pictures(str(folder), 20).images
    assert load_pictures(str(folder), 20).facts.sizes_pixels.tolist() == [[20, 30], [30, 20]]
    np.testing.assert_array_equal(found, np.rot90(plain, -1, (1, 2)))


@pytest.mark.parametrize("orientation", [(0x112, 2, 3, b"up\0\0"), (0x112, 3, 1, struct.pack("<HH", 77, 0))])
def test_an_orientation_that_means_nothing_is_upright(folder, orientation):
    (folder / "a.jpg").write_bytes(exif_jpeg())
    (folder / "b.jpg").write_bytes(exif_jpeg(orientation))
    (folder / "c.jpg").write_bytes(exif_jpeg().replace(b"II*", b"I?*"))
    images = load_pictures(str(folder), 20).images
    assert (images == images[:1]).all()


def test_a_png_is_read_however_long_its_texts_are(folder):
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    texts = PngImagePlugin.PngInfo()
    texts.add_text("note", "x" * 3_000_000, zip=True)
    write(folder / "a.png", Image.fromarray(noise))
    write(folder / "b.png", Image.fromarray(noise), pnginfo=texts)
    images = load_pictures(str(folder), SIZE).images
    np.testing.assert_array_equal(images[:, 0], [noise, noise])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(("largest", "bits"), [(255, 8), (1023, 10), (4095, 12), (16383, 14), (16384, 16), (65535, 16)])
def test_greys_of_16_bits_are_scaled_by_the_bits_that_the_brightest_of_all_needs(folder, suffix, largest, bits):
    for name, level in (("a", largest // 3), ("b", largest)):
        write(folder / f"{name}{suffix}", Image.fromarray(np.full((SIZE, SIZE), level, np.uint16)))
    write(folder / "c.png", grey(77))
    assert levels(folder) == [largest // 3 >> (bits - 8), largest >> (bits - 8), 77]


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_numbers_without_a_largest_one_are_named_as_unread(folder, kind):
    write(folder / "a.png", grey(1))
    write(folder / "b.png", grey(2))
    write(folder / "c.tif", Image.fromarray(np.full((SIZE, SIZE), 0.5, kind)))
    with pytest.warns(UserWarning, match="1 of 3 pictures cannot be read or are too large: 'c.tif'; left out"):
        facts = load_pictures(str(folder), SIZE, skip_corrupt=True).facts
    assert facts.unread == {Fate.NO_RANGE.says: ("c.tif",)}


def test_a_damaged_tiff_is_named_and_what_libtiff_says_of_it_is_not_heard(folder, capfd):
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    content = write(folder / "a.tif", Image.fromarray(noise), compression="tiff_adobe_deflate").read_bytes()
    write(folder / "b.tif", Image.fromarray(noise), compression="tiff_lzw")
    place = content.index(zlib.compress(noise.tobytes())[:2])
    (folder / "c.tif").write_bytes(content[: place + 10] + b"\xff" * 8 + content[place + 18 :])
    with pytest.raises(InputError, match="1 of 3 pictures .*: 'c.tif'; mend"):
        load_pictures(str(folder), SIZE)
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_pictures_of_equal_pixels_are_found_whatever_their_files(folder):
    write(folder / "a.png", grey(1))
    write(folder / "b.png", grey(2))
    write(folder / "c.bmp", grey(1))
    write(folder / "d.png", grey(1, (3 * SIZE, SIZE)))
    assert load_pictures(str(folder), SIZE).facts.copy_of.tolist() == [0, 1, 0, 0]


def test_readers_hold_no_more_at_once_than_there_is_room_for_and_what_is_larger_is_held_alone():
    room, held, most, lock = SharedLimit(10), [], [], threading.Lock()

    def hold(wanted: int) -> None:
        with room.reserved(wanted):
            with lock:
                held.append(wanted)
                most.append(list(held))
            with lock:
                held.remove(wanted)

    with ThreadPoolExecutor(8) as threads:
        with room.reserved(4):
            held.append(4)
            list(threads.map(hold, [3, 6, 2, 1, 5]))
            held.remove(4)
        assert min(map(len, most)) == 2
        list(threads.map(hold, [4, 3, 25, 6, 2, 10, 1, 5, 40, 3] * 40))
    assert all(sum(each) <= 10 or len(each) == 1 for each in most)


def test_a_picture_in_a_room_that_is_too_small_is_read(folder):
    path = write(folder / "a.png", grey(9))
    found = read_picture(path, SIZE, SharedLimit(1))
    assert not isinstance(found, Fate)
    assert found.pixels.tolist() == np.full((SIZE, SIZE, 3), 9).tolist()


def damage(path: Path) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def test_corrupt_pictures_are_refused_by_name_and_count_or_left_out_with_one_warning(folder):
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    for number in range(12):
        write(folder / f"{number:02d}.png", grey(number))
    for number in range(1, 8):
        damage(write(folder / f"{number:02d}.png", Image.fromarray(noise)))
    (folder / "08.png").write_bytes(b"")
    named = "'01.png', '02.png', '03.png', '04.png', '05.png', "
    says = f"{folder}: 8 of 12 pictures cannot be read or are too large: {named}"
    for _ in ("read", "from the cache"):
        with pytest.raises(InputError) as refused:
            load_pictures(str(folder), SIZE)
        assert str(refused.value) == f"{says}...; mend or remove them, or leave them out (--skip-corrupt-images)"
        with pytest.warns(UserWarning, match="left out$") as warned:
            assert levels(folder, skip_corrupt=True) == [0, 9, 10, 11]
        assert [str(warning.message) for warning in warned] == [f"{says}...; left out"]


def test_without_a_readable_picture_nothing_is_left_even_with_skip_corrupt(folder):
    (folder / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"1 of 1 pictures cannot be read or are too large: 'a.png'; none is left"):
        load_pictures(str(folder), SIZE, skip_corrupt=True)


@pytest.mark.parametrize("form", ["TIFF", "PPM", "TGA"])
def test_another_format_under_a_pictures_name_is_corrupt(folder, form):
    write(folder / "a.png", grey(1))
    write(folder / "b.png", grey(2))
    write(folder / "c.png", grey(3), format=form)
    with Image.open(folder / "c.png") as readable:
        assert readable.format == form
    with pytest.raises(InputError, match=r"1 of 3 .*'c.png'"):
        load_pictures(str(folder), SIZE)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".gif", ".jpg"])
def test_whatever_byte_of_a_picture_is_lost_it_is_either_read_or_named(folder, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    content = write(folder / f"whole{suffix}", Image.fromarray(noise)).read_bytes()
    for place in range(len(content)):
        (folder / f"{place:04d}{suffix}").write_bytes(content[:place] + b"\0" + content[place + 1 :])
    with pytest.warns(UserWarning, match=f"[0-9]+ of {len(content) + 1} pictures cannot be read"):
        pictures = load_pictures(str(folder), SIZE, skip_corrupt=True)
    assert 2 < len(pictures.images) < len(content)


def white_png(side_pixels: int) -> bytes:
    """A valid one-bit PNG, which has few bytes whatever its side."""
    row = b"\0" + b"\xff" * (side_pixels // 8)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", side_pixels, side_pixels, 1, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(row * side_pixels, 1)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


@pytest.mark.parametrize("side_pixels", [10_000, 20_000])
def test_a_picture_of_too_many_pixels_is_corrupt(folder, side_pixels):
    """100 and 400 million pixels in small files: Pillow warns about the first and refuses the second."""
    (folder / "a.png").write_bytes(white_png(16))
    (folder / "b.png").write_bytes(white_png(1000))
    assert levels(folder) == [255, 255]
    (folder / "large.png").write_bytes(white_png(side_pixels))
    with pytest.raises(InputError, match=r"1 of 3 .*'large.png'"):
        load_pictures(str(folder), SIZE)


def rewrite_unseen(path: Path, picture: Image.Image) -> None:
    """A different image with the same size in bytes and the same modification time."""
    before = path.stat()
    write(path, picture)
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_second_call_opens_no_picture(folder):
    for number in range(3):
        write(folder / f"{number}.bmp", grey(number))
    assert levels(folder) == [0, 1, 2]
    for number in range(3):
        rewrite_unseen(folder / f"{number}.bmp", grey(100 + number))
    assert levels(folder) == [0, 1, 2]
    assert load_pictures(str(folder), SIZE + 1).images[:, 0, 0, 0].tolist() == [100, 101, 102]


def touched(path: Path) -> None:
    rewrite_unseen(path, grey(99))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def larger(path: Path) -> None:
    time = path.stat().st_mtime_ns
    write(path, grey(99, (SIZE, 2 * SIZE)))
    os.utime(path, ns=(0, time))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (touched, [0, 99, 2]),
        (larger, [0, 99, 2]),
        (lambda path: path.rename(path.with_name("9.bmp")), [0, 2, 1]),
        (lambda path: path.unlink(), [0, 2]),
        (lambda path: write(path.with_name("11.bmp"), grey(11)), [0, 1, 11, 2]),
    ],
    ids=["time", "size", "name", "removed", "added"],
)
def test_a_change_of_the_folder_is_seen(folder, change: Callable[[Path], object], expected):
    for number in range(3):
        write(folder / f"{number}.bmp", grey(number))
    assert levels(folder) == [0, 1, 2]
    change(folder / "1.bmp")
    assert levels(folder) == expected


def test_another_folder_of_equal_names_sizes_and_times_is_another(folder, tmp_path):
    for number in range(2):
        one, other = folder / f"{number}.bmp", tmp_path / "other" / f"{number}.bmp"
        write(one, grey(number))
        write(other, grey(50 + number))
        os.utime(other, ns=(0, one.stat().st_mtime_ns))
    assert levels(folder) == [0, 1]
    assert levels(tmp_path / "other") == [50, 51]


def test_a_cache_that_is_damaged_or_cannot_be_written_costs_time_only(folder, cache, monkeypatch):
    write(folder / "a.png", grey(1))
    write(folder / "b.png", grey(2))
    assert levels(folder) == [1, 2]
    (stored,) = cache.glob("*.safetensors")
    damage(stored)
    assert levels(folder) == [1, 2]
    assert levels(folder) == [1, 2]
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(folder / "a.png"))
    with pytest.warns(UserWarning, match=r"there is no cache folder \(.*a.png.*\)"):
        assert levels(folder) == [1, 2]
    assert [path.suffix for path in cache.iterdir() if path.suffix != ".lock"] == [".safetensors"]


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda folder: folder.rmdir(), r"no folder .*pictures; give images:FOLDER a folder of pictures"),
        (lambda folder: None, r"pictures holds no pictures \(\.png \.jpg .* \.tiff\); give"),
        (lambda folder: (folder / "a.ppm").write_bytes(b""), r"holds no pictures \(.*\), but 1 \.ppm; give"),
        (lambda folder: write(folder / "a.png", grey(1)), "pictures must hold at least 2 readable .* got 1; add some"),
        (lambda folder: class_folders(folder, {"a": 3, "b": 1}), "pictures/b must hold at least 2 readable .* got 1"),
        (
            lambda folder: (write(folder / "a.png", grey(1)), write(folder / "cat" / "b.png", grey(1))),
            "directly or in class subfolders, got both, such as 'a.png' and 'cat/b.png'; move",
        ),
    ],
    ids=["missing", "empty", "other files", "one picture", "small class", "both layouts"],
)
def test_a_folder_that_cannot_serve_is_refused_in_one_line(folder, prepare: Callable[[Path], object], says):
    prepare(folder)
    with pytest.raises(InputError, match=says) as refused:
        load_pictures(str(folder), SIZE)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("counts", [[2], [2, 3], [6, 11, 12, 60], [7]], ids=str)
def test_a_sixth_of_each_class_and_at_least_one_is_held_out(counts):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    train, held_out = split_pictures(labels, len(labels))
    assert sorted([*train, *held_out]) == list(range(len(labels)))
    assert (sorted(train), sorted(held_out)) == (train.tolist(), held_out.tolist())
    assert np.bincount(labels[held_out]).tolist() == [max(1, count // 6) for count in counts]


def test_the_split_is_always_the_same_and_no_block_of_the_files_order():
    first, again = split_pictures(None, 60), split_pictures(None, 60)
    assert [part.tolist() for part in first] == [part.tolist() for part in again]
    assert np.diff(first[1]).max() > 1
    assert len(first[1]) == 10


@pytest.fixture
def dataset(folder: Path) -> Dataset:
    class_folders(folder, {"a": 7, "b": 12})
    return load_dataset(f"images:{folder}", image_size_pixels=SIZE)


def check_labels(dataset: Dataset) -> None:
    """The images of class b are those with levels from 100 on."""
    for part, labels in ((dataset.train, dataset.train_labels), (dataset.held_out, dataset.held_out_labels)):
        shown = ((part[:, 0, 0, 0] + 1) * 127.5).round()
        assert labels is not None
        assert (shown >= 100).long().tolist() == labels.tolist()


def test_a_folder_becomes_a_data_set_whose_images_carry_their_labels(dataset, folder):
    assert (dataset.name, dataset.classes, dataset.sample_shape) == (f"images:{folder}", 2, (1, SIZE, SIZE))
    assert (len(dataset.train), len(dataset.held_out)) == (16, 3)
    check_labels(dataset)


def test_a_folder_without_classes_has_no_labels(folder):
    for number in range(4):
        write(folder / f"{number}.png", grey(number))
    dataset = load_dataset(f"images:{folder}", image_size_pixels=SIZE)
    assert (dataset.classes, dataset.train_labels, dataset.held_out_labels) == (0, None, None)
    assert (len(dataset.train), len(dataset.held_out)) == (3, 1)


def test_a_folder_may_be_written_with_a_tilde_or_from_the_current_one(dataset, folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.chdir(folder.parent)
    for name in ("images:~/pictures", "images:pictures", "images:./pictures/"):
        assert load_dataset(name, image_size_pixels=SIZE).digest == dataset.digest


def test_pictures_that_are_left_out_take_their_labels_with_them(dataset, folder):
    damage(folder / "a" / "03.png")
    with pytest.raises(InputError, match="'a/03.png'"):
        load_dataset(dataset.name, image_size_pixels=SIZE)
    with pytest.warns(UserWarning, match="'a/03.png'; left out"):
        skipped = load_dataset(dataset.name, image_size_pixels=SIZE, skip_corrupt=True)
    assert len(skipped.train) + len(skipped.held_out) == 18
    check_labels(skipped)
