"""Images in archives: a `.zip` of pictures, also StyleGAN's, and `.tar` shards of WebDataset. Nothing is extracted."""

import glob
import json
import lzma
import math
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, product
from pathlib import Path
from typing import Any

from gan_core.config.dataset_name import PICTURE_SUFFIXES
from gan_core.config.input_error import InputError, home_path, shortened, shown
from gan_core.data.collected_images import Collector
from gan_core.data.encoded_images import LARGEST_BYTES, Encoded, collect_encoded
from gan_core.data.picture_files import Fate
from gan_core.data.picture_folder import list_names
from gan_core.files.addresses import is_address
from gan_core.files.fetched import local_file

LABELS = "dataset.json"  # of StyleGAN's archives
DAMAGED = (OSError, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
MOST_SHARDS = 100_000
_RANGE = re.compile(r"\{(\d{1,18})\.\.(\d{1,18})\}")


def shards(place: str) -> list[Path]:
    """The files of a place: `{000..012}` counts, `*` and `?` stand for what is there, sorted. Raises InputError where
    there is none.
    """
    if is_address(place):
        return [local_file(one) for one in _counted(place)]
    found = []
    for one in _counted(str(home_path(place))):
        is_pattern = not os.path.exists(one) and glob.has_magic(one)
        found += sorted(glob.glob(one)) if is_pattern else [one]
    if absent := next((one for one in found if not os.path.isfile(one)), None):
        raise InputError(f"no file {shortened(absent)}; give images: archives that are there")
    if not found:
        raise InputError(f"no file is called {place}; give images: archives that are there")
    return [Path(one) for one in found]


def _counted(place: str) -> list[str]:
    """The place for each number of its ranges `{first..last}`, with as many digits as first has; the last range counts
    fastest.
    """
    parts = _RANGE.split(place)  # text, first, last, text, first, last, ..., text
    ranges = list(zip(parts[1::3], parts[2::3], strict=True))
    counts = [int(last) - int(first) + 1 for first, last in ranges]
    if min(counts, default=1) < 1 or math.prod(counts) > MOST_SHARDS:
        rule = f"its ranges must count up, to at most {MOST_SHARDS:,} archives"
        raise InputError(f"{shown(place)}: {rule}; change them")
    numbers = [[f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)] for first, last in ranges]
    return ["".join(chain(*zip(parts[::3], (*chosen, ""), strict=True))) for chosen in product(*numbers)]


def collect_zip(path: Path, collector: Collector) -> Sequence[str]:
    """Puts the pictures of an archive into the collector. With `dataset.json`, as StyleGAN's tool writes it, the labels
    are those in it; otherwise the names in the archive mean what they would mean in a folder: classes and splits.

    Raises InputError for a damaged archive and wrong labels, and as `list_names` and the `Collector` do.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(f"{path} is no archive, or damaged ({shortened(str(error))}); write it again") from error
    with archive:
        members = {one.filename: one for one in archive.infolist() if not (one.is_dir() or _is_hidden(one.filename))}
        names = sorted(name for name in members if name.lower().endswith(PICTURE_SUFFIXES))
        given = next((one for name, one in members.items() if Path(name).name == LABELS), None)
        if given is None:
            pictures, classes = _as_in_a_folder(path, archive, members, names)
        else:
            labels, classes = _labels(path, _content(archive, given), Path(given.filename).parent), ()
            if labels and not labels.keys() & members.keys():
                raise InputError(
                    f"{path}: {LABELS} has no label of a picture that is there, only of {shown([*labels])}"
                )
            pictures = (Encoded(_content(archive, members[name]), name, labels.get(name)) for name in names)
        collect_encoded(pictures, collector, len(names))
        return classes


def _as_in_a_folder(
    path: Path, archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], names: list[str]
) -> tuple[Iterator[Encoded], Sequence[str]]:
    top = names[0].partition("/")[0] + "/" if names else ""
    top = top if all(name.startswith(top) for name in names) else ""  # an archive of a folder
    listing = list_names(path, [name.removeprefix(top) for name in names], {})
    classes = sorted(set(listing.classes))
    number = {name: place for place, name in enumerate(classes)} if len(classes) > 1 else {}
    held_out = listing.held_out or (False,) * len(listing.names)
    return (
        Encoded(_content(archive, members[top + name]), name, number.get(label), held)
        for name, label, held in zip(listing.names, listing.classes, held_out, strict=True)
    ), classes if number else ()


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes | Fate:
    """The content of a member, or why it cannot be read: what it says of its size is not believed."""
    try:
        with archive.open(member) as file:
            content = file.read(LARGEST_BYTES + 1)
    except (*DAMAGED, NotImplementedError):  # RuntimeError: it is encrypted
        return Fate.DAMAGED
    return content if len(content) <= LARGEST_BYTES else Fate.TOO_LARGE


def _labels(path: Path, content: bytes | Fate, folder: Path) -> dict[str, Any]:
    """The labels in StyleGAN's `dataset.json`: the name of a picture beside it -> its label."""
    try:
        found: Any = json.loads(content) if isinstance(content, bytes) else None
        labels: Any = found["labels"] if isinstance(found, dict) else 0
        pairs = dict(labels) if labels is not None else {}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{path}: {LABELS} must hold 'labels', pairs of a name and a number, or null") from error
    return {(folder / str(name)).as_posix(): label for name, label in pairs.items()}


def collect_shards(paths: Sequence[Path], collector: Collector) -> Sequence[str]:
    """Puts the pictures of WebDataset's shards into the collector. The files of one sample have one name up to the
    first dot of its last part and stand side by side: a picture, and its label in `.cls`, or under `label` in `.json`.

    Raises InputError for a damaged archive, and as the `Collector` does.
    """
    collect_encoded((one for path in paths for one in _samples(path)), collector)
    return ()


def _samples(path: Path) -> Iterator[Encoded]:
    try:
        with tarfile.open(path) as archive:
            key, parts = "", dict[str, bytes | Fate]()
            for member in archive:
                folder, slash, name = member.name.rpartition("/")
                stem, dot, ending = name.partition(".")
                if not member.isfile() or not dot or not stem:
                    continue
                if folder + slash + stem != key:
                    yield from _sample(path, key, parts)
                    key, parts = folder + slash + stem, {}
                if f".{ending.lower()}" in (*PICTURE_SUFFIXES, ".cls", ".json"):
                    file = archive.extractfile(member) if member.size <= LARGEST_BYTES else None
                    parts[ending.lower()] = Fate.TOO_LARGE if file is None else file.read()
            yield from _sample(path, key, parts)
    except (tarfile.TarError, *DAMAGED) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no archive, or damaged ({shortened(str(error))}); write it again") from error


def _sample(path: Path, key: str, parts: Mapping[str, bytes | Fate]) -> Iterator[Encoded]:
    """The picture of a sample, if it has one."""
    ending = next((ending for ending in parts if f".{ending}" in PICTURE_SUFFIXES), None)
    if ending is None:
        return
    label, written = None, parts.get("cls", parts.get("json"))
    if written is not None:
        try:
            label = json.loads(written) if isinstance(written, bytes) else written
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: the label of {key} cannot be read: {shown(written)}; mend it") from error
        label = label.get("label") if isinstance(label, dict) else label
    yield Encoded(parts[ending], f"{key}.{ending}", label)


def _is_hidden(name: str) -> bool:
    """Whether a part of the name begins with a dot, or it is what macOS adds to archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
