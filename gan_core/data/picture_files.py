"""Reads an image file as its upright central square, in bytes. S is the side in pixels."""

import io
import os
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from PIL import Image

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")  # no others, because Pillow starts external programs for some formats
TIFF_SUFFIXES = (".tif", ".tiff")
PIXELS_AT_ONCE = 32_000_000  # the limit for all threads together; a larger image is decoded alone
LARGEST_PNG_BYTES = 2**30  # a larger file is not read a second time without its text chunks
ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {  # orientation -> the operation that turns the image upright; EXIF 2.32, section 4.6.4
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # chunks that do not change the pixels as they are used here
TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
UNREADABLE = (  # each of half a million damaged files, and of as many damaged TIFF files, raised one of these
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    TypeError,  # only TIFF files raised this and the next one
    OverflowError,
)


class Fate(IntEnum):
    """The outcome of reading a file."""

    DAMAGED = 0
    READ = 1
    TOO_LARGE = 2
    NO_RANGE = 3

    @property
    def says(self) -> str:
        """The reason why the file was not read, for messages."""
        return {
            Fate.DAMAGED: "damaged, or no picture",
            Fate.READ: "read",
            Fate.TOO_LARGE: "of more than 89 million pixels",
            Fate.NO_RANGE: "of numbers without a largest one (32 bits or floating)",
        }[self]


@dataclass(frozen=True)
class Picture:
    """An image that was read. pixels: uint8 [S, S, 3], its central square; [H, W, 3] where it kept its own size.

    width, height: those of the whole upright image, in pixels. brightest: the largest value of a 16-bit greyscale
    image; 0 for all other images.
    """

    pixels: np.ndarray
    width: int
    height: int
    brightest: int


class SharedLimit:
    """A limit on a resource that threads share: a thread waits until enough of it is free.

    A thread that asks for more than the whole gets the whole, and so runs alone.
    """

    def __init__(self, size: int) -> None:
        self._size, self._left, self._changed = size, size, threading.Condition()

    @contextmanager
    def reserved(self, wanted: int) -> Iterator[None]:
        """Reserves `wanted` units while the block runs."""
        part = min(wanted, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= part)
            self._left -= part
        try:
            yield
        finally:
            with self._changed:
                self._left += part
                self._changed.notify_all()


@contextmanager
def silenced_libtiff(paths: Iterable[Path]) -> Iterator[None]:
    """Discards standard error while the block runs, if there is a TIFF file among the paths.

    libtiff writes there what is wrong with a file, and Pillow offers no way to turn this off.
    """
    try:
        heard = os.dup(2) if any(path.suffix.lower() in TIFF_SUFFIXES for path in paths) else None
    except OSError:  # standard error is closed
        heard = None
    if heard is None:
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(heard, 2)
        os.close(heard)


def read_picture(
    source: Path | bytes, size_pixels: int, room: SharedLimit, grey_bits: int = 16, *, suffix: str = ""
) -> Picture | Fate:
    """Reads an image file and resizes its central square once to S = size_pixels (Lanczos); or says why it cannot.

    The image is turned upright as its EXIF orientation says, and transparent parts become white. Only the first frame
    or page is read. Long or malformed metadata do no harm. source: the file, or its content, whose name ended in
    `suffix`. size_pixels: 0 keeps the whole image at its own size. room: limits the pixels that all threads decode at
    once. grey_bits: the number of bits that a 16-bit greyscale image uses.
    """
    suffix = suffix or (source.suffix if isinstance(source, Path) else "")
    formats = ("TIFF",) if suffix.lower() in TIFF_SUFFIXES else FORMATS
    file = source if isinstance(source, Path) else io.BytesIO(source)
    try:
        try:
            return _read(file, formats, size_pixels, room, grey_bits)
        except ValueError:  # Pillow raises it, among other reasons, for text chunks in a PNG that are too long
            content = _without_texts(source)
            if content is None:
                raise
            return _read(io.BytesIO(content), formats, size_pixels, room, grey_bits)
    except TOO_LARGE:
        return Fate.TOO_LARGE
    except UNREADABLE:
        return Fate.DAMAGED


def _read(
    file: Path | io.BytesIO, formats: tuple[str, ...], size_pixels: int, room: SharedLimit, grey_bits: int
) -> Picture | Fate:
    picture = Image.open(file, formats=formats)
    with room.reserved(picture.width * picture.height):
        with picture:
            picture.load()
        decoded = [picture]
        del picture  # so that `as_picture` alone holds it
        return as_picture(decoded.pop(), size_pixels, grey_bits)


def as_picture(picture: Image.Image, size_pixels: int, grey_bits: int = 16) -> Picture | Fate:
    """A decoded image as `read_picture` returns it."""
    if picture.mode in ("I", "F"):
        return Fate.NO_RANGE
    # `picture` is rebound at each step so that one copy is freed before the next: 89 million pixels take 360 MB.
    turn = UPRIGHT.get(_orientation(picture))
    picture = picture if turn is None else picture.transpose(turn)
    width, height = picture.size
    picture, brightest = _bytes(_middle(picture) if size_pixels else picture, grey_bits)
    picture = picture if picture.mode == "RGB" else picture.convert("RGB")
    if size_pixels:
        picture = picture.resize((size_pixels, size_pixels), Image.Resampling.LANCZOS)
    return Picture(np.asarray(picture), width, height, brightest)


def _middle(picture: Image.Image) -> Image.Image:
    """The central square. It is cropped before resizing, because Pillow's `resize(box=...)` also reads its surround."""
    width, height = picture.size
    if width == height:
        return picture
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return picture.crop((left, top, left + side, top + side))


def _bytes(picture: Image.Image, grey_bits: int) -> tuple[Image.Image, int]:
    """The image in 8 bits and on a white background, and the largest value of a 16-bit greyscale image, or else 0.

    Pillow's conversion would clip 16-bit values at 255, so they are shifted here.
    """
    if picture.mode.startswith("I;16"):
        numbers = np.asarray(picture)
        return Image.fromarray((numbers >> (grey_bits - 8)).astype(np.uint8)), int(numbers.max())
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture if picture.mode == "RGBA" else picture.convert("RGBA")), 0
    return picture, 0


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation; 1, which means upright, if it is missing or cannot be read."""
    try:
        found = picture.getexif().get(ORIENTATION, 1)
    except UNREADABLE:
        return 1
    return found if isinstance(found, int) else 1


def _without_texts(source: Path | bytes) -> bytes | None:
    """The content of a PNG file without its text chunks and its colour profile, which are not used; None for others."""
    if (source.stat().st_size if isinstance(source, Path) else len(source)) > LARGEST_PNG_BYTES:
        return None
    content = source.read_bytes() if isinstance(source, Path) else source
    if not content.startswith(PNG_SIGNATURE):
        return None
    parts, place = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while place + 8 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        end = place + 12 + length  # length, kind, body, check sum
        if content[place + 4 : place + 8] not in PNG_TEXTS:
            parts.append(content[place:end])
        place = end
    return b"".join(parts)
