"""One file of a picture -> its middle square, upright, as bytes.

S the side in pixels.
"""

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

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")  # whatever a file is called: some of Pillow's formats start programs
TIFF_SUFFIXES = (".tif", ".tiff")
PIXELS_AT_ONCE = 32_000_000  # that all readers decode together; a larger picture is decoded alone
LARGEST_PNG_BYTES = 2**30  # that are read again without their texts
ORIENTATION = 0x0112  # of EXIF
UPRIGHT = {  # what turns a picture of an orientation upright; EXIF 2.32, section 4.6.4
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # chunks that say nothing of pixels as they are used here
TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
UNREADABLE = (  # of half a million damaged files, and as many of TIFF, all raised one of these
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    TypeError,  # and this and the next one of TIFF alone
    OverflowError,
)


class Fate(IntEnum):
    """What became of a file."""

    DAMAGED = 0
    READ = 1
    TOO_LARGE = 2
    NO_RANGE = 3

    @property
    def says(self) -> str:
        """Why it was not read."""
        return {
            Fate.DAMAGED: "damaged, or no picture",
            Fate.READ: "read",
            Fate.TOO_LARGE: "of more than 89 million pixels",
            Fate.NO_RANGE: "of numbers without a largest one (32 bits or floating)",
        }[self]


@dataclass(frozen=True)
class Picture:
    """pixels: uint8 [S, S, 3], the middle square; width and height in pixels, as it is shown, of the whole. brightest:
    the largest number of a grey picture of 16 bits, 0 of all others.
    """

    pixels: np.ndarray
    width: int
    height: int
    brightest: int


class Room:
    """Numbers that threads hold at once: who finds too few left waits, and who wants more than all gets all, alone."""

    def __init__(self, size: int) -> None:
        self._size, self._left, self._changed = size, size, threading.Condition()

    @contextmanager
    def taken(self, wanted: int) -> Iterator[None]:
        """Holds so many while the block runs."""
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
def libtiff_unheard(paths: Iterable[Path]) -> Iterator[None]:
    """While the block runs, where there is a TIFF file among the paths, standard error goes nowhere: libtiff writes to
    it what it finds wrong with a file, and Pillow has no way to tell it not to.
    """
    try:
        heard = os.dup(2) if any(path.suffix.lower() in TIFF_SUFFIXES for path in paths) else None
    except OSError:  # it is closed
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


def read_picture(path: Path, size_pixels: int, room: Room, grey_bits: int = 16) -> Picture | Fate:
    """The picture of a file, resized once to S = size_pixels (Lanczos), or why there is none.

    Upright by EXIF, and transparent parts are white. Of several frames or pages the first is read. grey_bits: how many
    of a grey picture of 16 bits are used. Metadata that are long or odd harm no picture. room: of the pixels that are
    decoded at once.
    """
    formats = ("TIFF",) if path.suffix.lower() in TIFF_SUFFIXES else FORMATS
    try:
        try:
            return _read(path, formats, size_pixels, room, grey_bits)
        except ValueError:  # among others, of texts in a PNG that are longer than Pillow allows
            content = _without_texts(path)
            if content is None:
                raise
            return _read(io.BytesIO(content), formats, size_pixels, room, grey_bits)
    except TOO_LARGE:
        return Fate.TOO_LARGE
    except UNREADABLE:
        return Fate.DAMAGED


def _read(
    file: Path | io.BytesIO, formats: tuple[str, ...], size_pixels: int, room: Room, grey_bits: int
) -> Picture | Fate:
    picture = Image.open(file, formats=formats)
    with room.taken(picture.width * picture.height):
        with picture:
            picture.load()
        if picture.mode in ("I", "F"):
            return Fate.NO_RANGE
        # Each form takes the place of the one before: of 89 million pixels one is 360 MB.
        turn = UPRIGHT.get(_orientation(picture))
        picture = picture if turn is None else picture.transpose(turn)
        width, height = picture.size
        picture, brightest = _bytes(_middle(picture), grey_bits)
        picture = picture if picture.mode == "RGB" else picture.convert("RGB")
        picture = picture.resize((size_pixels, size_pixels), Image.Resampling.LANCZOS)
        return Picture(np.asarray(picture), width, height, brightest)


def _middle(picture: Image.Image) -> Image.Image:
    """Its middle square, cut out before it is resized: to resize a part of it would see beyond that."""
    width, height = picture.size
    if width == height:
        return picture
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return picture.crop((left, top, left + side, top + side))


def _bytes(picture: Image.Image, grey_bits: int) -> tuple[Image.Image, int]:
    """With bytes for greys of 16 bits, which Pillow would clip to 255, and their largest number, else 0; on white where
    it is transparent.
    """
    if picture.mode.startswith("I;16"):
        numbers = np.asarray(picture)
        return Image.fromarray((numbers >> (grey_bits - 8)).astype(np.uint8)), int(numbers.max())
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture if picture.mode == "RGBA" else picture.convert("RGBA")), 0
    return picture, 0


def _orientation(picture: Image.Image) -> int:
    """By EXIF; 1, upright, where that is missing or cannot be read."""
    try:
        found = picture.getexif().get(ORIENTATION, 1)
    except UNREADABLE:
        return 1
    return found if isinstance(found, int) else 1


def _without_texts(path: Path) -> bytes | None:
    """The content of a PNG file less its texts and its colour profile, which its pixels are used without; None where it
    is none.
    """
    if path.stat().st_size > LARGEST_PNG_BYTES:
        return None
    content = path.read_bytes()
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
