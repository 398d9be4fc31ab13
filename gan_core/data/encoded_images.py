"""Encoded pictures out of archives: decoded by several threads, in order, a few at a time."""

import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from PIL import Image

from gan_core.data.collected_images import Collector
from gan_core.data.picture_files import PIXELS_AT_ONCE, Fate, Picture, SharedLimit, read_picture
from gan_core.data.pictures import READERS

DECODED_AT_ONCE = 256
BYTES_AT_ONCE = 2**28  # of encoded pictures that wait; one of more waits alone
LARGEST_BYTES = 2**30  # of an encoded picture; of a larger one nothing is read


@dataclass(frozen=True)
class Encoded:
    """An encoded picture. content: of the file, or why it could not be read. name: how messages name it; its ending
    says whether it is TIFF. label, held_out: as `Collector.add` has them.
    """

    content: bytes | Fate
    name: str
    label: Any = None
    held_out: bool = False


def collect_encoded(pictures: Iterable[Encoded], collector: Collector, total: int = 0) -> None:
    """Puts pictures into the collector; those that cannot be decoded, or are too large for Pillow to be safe, are noted
    by their names. total: how many there will be, where that is known. Raises InputError as the `Collector` does.
    """
    room = SharedLimit(PIXELS_AT_ONCE)

    def decoded(one: Encoded) -> Picture | Fate:
        if isinstance(one.content, Fate):
            return one.content
        suffix = f".{one.name.rpartition('.')[2]}"
        return read_picture(one.content, collector.size_pixels, room, suffix=suffix)

    with warnings.catch_warnings(), ThreadPoolExecutor(READERS) as readers:
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for some in _batches(pictures):
            for one, found in zip(some, readers.map(decoded, some), strict=True):
                if isinstance(found, Fate):
                    collector.leave_out(found, one.name)
                else:
                    collector.add_picture(found, one.label, one.name, held_out=one.held_out, total=total)


def _batches(pictures: Iterable[Encoded]) -> Iterator[list[Encoded]]:
    """Pictures by up to DECODED_AT_ONCE, or by fewer as soon as they hold BYTES_AT_ONCE."""
    batch, size = list[Encoded](), 0
    for one in pictures:
        batch.append(one)
        size += 0 if isinstance(one.content, Fate) else len(one.content)
        if len(batch) == DECODED_AT_ONCE or size >= BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    yield batch
