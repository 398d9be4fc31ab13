"""One image in any of the forms in which programs hold images, as bytes. C channels, H and W pixels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from gan_core.config.input_error import InputError, shown
from gan_core.data.picture_files import Fate, as_picture

CHANNELS = (1, 3)
BYTES, UNIT, SIGNED = "bytes", "0 to 1", "-1 to 1"  # what the numbers of images are
ROUNDING = 1e-3  # by which numbers may pass the ends of their range, as resized images do
FORMS = "[H, W], [C, H, W] or [H, W, C], with C of 1 or 3"


@dataclass(frozen=True)
class ItemPixels:
    """One image as bytes. pixels: uint8 [C, H, W]. width, height: before it was resized. values: BYTES, UNIT or SIGNED.
    is_picture: it came as a picture, whose three channels may be reduced to one where all pictures are grey.
    """

    pixels: np.ndarray
    width: int
    height: int
    values: str
    is_picture: bool = False

    @property
    def is_grey(self) -> bool:
        """Whether it is a picture without colours."""
        return self.is_picture and bool((self.pixels == self.pixels[:1]).all())


def picture_pixels(picture: Image.Image, size_pixels: int, item: str) -> ItemPixels:
    """A Pillow image, with its central square resized to size_pixels (0: whole, at its own size), as a file of a folder
    of pictures is. item: how messages name it. Raises InputError for numbers without a largest one.
    """
    read = as_picture(picture, size_pixels)
    if isinstance(read, Fate):
        raise InputError(f"{item} is a picture {read.says}; convert it to 8 bits")
    return ItemPixels(read.pixels.transpose(2, 0, 1), read.width, read.height, BYTES, is_picture=True)


def array_pixels(image: np.ndarray, size_pixels: int, item: str, *, signed: bool = False) -> ItemPixels:
    """An array [H, W], [C, H, W] or [H, W, C] of whole numbers in 0..255, or of floating ones in [0, 1] or [-1, 1],
    each rounded to the nearest of 256 levels, as bytes; resized as `picture_pixels` does.

    signed: numbers are in [-1, 1] even where none is negative. Raises InputError for other shapes, types and numbers.
    """
    if image.dtype.kind not in "biuf":
        raise InputError(f"{item} must hold numbers, got an array of type {image.dtype}; convert it")
    planes = _channels_first(image, item)
    if image.dtype == np.uint8:
        pixels, values = planes, BYTES
    elif image.dtype.kind == "b":
        pixels, values = planes.astype(np.uint8) * 255, BYTES
    elif image.dtype.kind in "iu":
        low, high = int(planes.min()), int(planes.max())
        if low < 0 or high > 255:
            raise InputError(f"{item} must hold whole numbers from 0 to 255, got {low} to {high}; scale them")
        pixels, values = planes.astype(np.uint8), BYTES
    else:
        pixels, values = _rounded(planes, item, signed)
    height, width = pixels.shape[1:]
    return ItemPixels(_square(pixels, size_pixels), width, height, values)


def of_item(image: Any, size_pixels: int, item: str, *, signed: bool = False) -> ItemPixels:
    """A Pillow image as `picture_pixels`, or an array as `array_pixels`. Raises InputError as they do, and for anything
    else.
    """
    if isinstance(image, Image.Image):
        return picture_pixels(image, size_pixels, item)
    if isinstance(image, np.ndarray):
        return array_pixels(image, size_pixels, item, signed=signed)
    raise InputError(f"{item} must be a picture, a tensor or an array, got {type(image).__name__} {shown(image)}")


def _channels_first(image: np.ndarray, item: str) -> np.ndarray:
    """[C, H, W] of a copy-free view. Where both ends could be channels, the first one is."""
    if image.ndim == 2 and image.size:
        return image[None]
    if image.ndim == 3 and image.size:
        if image.shape[0] in CHANNELS:
            return image
        if image.shape[2] in CHANNELS:
            return image.transpose(2, 0, 1)
    raise InputError(f"{item} has shape {list(image.shape)}; images are {FORMS}")


def _rounded(planes: np.ndarray, item: str, signed: bool) -> tuple[np.ndarray, str]:
    low, high = float(planes.min()), float(planes.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{item} has numbers that are not finite (NaN or infinity); mend it")
    if low < -1 - ROUNDING or high > 1 + ROUNDING:
        hint = "; make bytes of them (uint8)" if low >= 0 and high <= 255 else "; scale them"
        raise InputError(f"{item} must hold bytes, or numbers in [0, 1] or [-1, 1], got {low:.4g} to {high:.4g}{hint}")
    signed = signed or low < -ROUNDING
    numbers = planes.astype(np.float64)
    numbers = numbers * 127.5 + 127.5 if signed else numbers * 255
    return np.clip(numbers.round(), 0, 255).astype(np.uint8), SIGNED if signed else UNIT


def signed_from_unit(pixels: np.ndarray) -> np.ndarray:
    """The bytes of numbers in [-1, 1], of which none is negative, from those that they have as numbers in [0, 1].

    Exact for what was made of bytes: b becomes x = b / 127.5 - 1, which is 255x = 2b - 255 there, and here b again.
    """
    return ((pixels.astype(np.uint16) + 256) // 2).astype(np.uint8)


def _square(pixels: np.ndarray, size_pixels: int) -> np.ndarray:
    """The central square of [C, H, W], resized to [C, S, S] (Lanczos); as it is where size_pixels is 0."""
    channels, height, width = pixels.shape
    if size_pixels in (0, height) and size_pixels in (0, width):
        return pixels
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = np.ascontiguousarray(pixels[:, top : top + side, left : left + side].transpose(1, 2, 0))
    picture = Image.fromarray(middle[:, :, 0] if channels == 1 else middle)
    resized = np.asarray(picture.resize((size_pixels, size_pixels), Image.Resampling.LANCZOS))
    return resized.reshape(size_pixels, size_pixels, channels).transpose(2, 0, 1)
