"""What lies in a folder of pictures, by the names of its files alone: pictures, classes, splits, and the rest."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gan_core.config.input_error import InputError, home_path

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".gif", ".tif", ".tiff")
TRAINING_NAMES = ("train", "training")
VALIDATION_NAMES = ("val", "valid", "validation")
TEST_NAMES = ("test", "testing")
LONGEST_SUFFIX = 12  # characters: what is longer is no suffix, but a name with a dot in it
KINDS_NAMED = 6
HIDDEN = "hidden"  # a kind, as no suffix is


@dataclass(frozen=True)
class FolderListing:
    """names: the paths of the pictures that are used, below root, with `/`, sorted. classes: the class folder of each,
    "" where it has none. held_out: whether each is of the held-out split; None where the folder has no splits of its
    own. unused: kind -> the paths of what is passed over.
    """

    root: Path
    names: tuple[str, ...]
    classes: tuple[str, ...]
    held_out: tuple[bool, ...] | None
    unused: Mapping[str, tuple[str, ...]]


def list_folder(folder: str) -> FolderListing:
    """Every picture of a folder by its suffix, at any depth.

    Subfolders count for the class of their first level. A folder of splits, with `train` and with `val` or `test` and
    nothing else, gives its own splits: `train` trains; `val` is held out, and where there is none `test`; a `test`
    beside a `val` is not used, so that it stays unseen by what is chosen here. Classes then are below the splits.
    Hidden files, linked folders and other suffixes are passed over.

    Raises InputError for a folder that is missing, one without pictures, one that mixes pictures and class folders,
    splits beside other pictures, and splits of which one has classes that the other lacks.
    """
    root = home_path(folder)
    if not root.is_dir():
        raise InputError(f"no folder {root}; give images:FOLDER a folder of pictures")
    names, unused = _walk(root)
    if not names:
        beside = f", but {counted(unused)}" if unused else ""
        raise InputError(f"{root} holds no pictures ({' '.join(SUFFIXES)}){beside}; give a folder that does")
    splits = _splits(root, names)
    if splits is None:
        return FolderListing(root, tuple(names), tuple(_classes(root, names)), None, unused)
    training, held_out, other = splits
    if left := [name for name in names if other and name.split("/")[0] == other]:
        unused = {**unused, f"pictures in {other}/, beside {held_out}/": tuple(left)}
    class_of = dict[str, str]()
    for split in (training, held_out):
        mine = [name for name in names if name.startswith(f"{split}/")]
        below = [name.removeprefix(f"{split}/") for name in mine]
        class_of.update(zip(mine, _classes(root / split, below), strict=True))
    _refuse_other_classes(root / training, root / held_out, class_of)
    names = sorted(class_of)
    held = tuple(name.startswith(f"{held_out}/") for name in names)
    return FolderListing(root, tuple(names), tuple(class_of[name] for name in names), held, unused)


def _refuse_other_classes(training: Path, held_out: Path, class_of: Mapping[str, str]) -> None:
    of = [{c for name, c in class_of.items() if name.startswith(f"{part.name}/")} for part in (training, held_out)]
    if of[0] == of[1]:
        return
    label = max(of[0] ^ of[1])
    raise InputError(
        f"{training} and {held_out} must hold the same classes, and class {label!r} is in one alone; add it to the "
        f"other, or give images:{training}"
    )


def counted(unused: Mapping[str, Sequence[str]], *, hidden: bool = True) -> str:
    """How much there is of each kind, the commonest first: `200 .ppm, 2 .txt`. hidden: hidden files too."""
    kinds = sorted((kind for kind in unused if hidden or kind != HIDDEN), key=lambda kind: -len(unused[kind]))
    told = [f"{len(unused[kind])} {kind}" for kind in kinds[:KINDS_NAMED]]
    if rest := sum(len(unused[kind]) for kind in kinds[KINDS_NAMED:]):
        told.append(f"{rest} of {len(kinds) - KINDS_NAMED} other kinds")
    return ", ".join(told)


def _walk(root: Path) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """The pictures' paths below root, with `/`, sorted, and those of all else by kind."""
    names, others = list[str](), dict[str, list[str]]()
    for folder, subfolders, files in os.walk(root):
        inside = Path(folder).relative_to(root)
        for name in subfolders:
            linked = os.path.islink(os.path.join(folder, name))
            if linked or name.startswith("."):
                kind = "linked folders" if linked and not name.startswith(".") else HIDDEN
                others.setdefault(kind, []).append((inside / name).as_posix() + "/")
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in files:
            kind = _kind(Path(folder) / name)
            (names if kind is None else others.setdefault(kind, [])).append((inside / name).as_posix())
    return sorted(names), {kind: tuple(sorted(paths)) for kind, paths in others.items()}


def _kind(path: Path) -> str | None:
    """What a file is that is no picture by its name; None for a picture."""
    if path.name.startswith("."):
        return HIDDEN
    if not path.is_file():
        return "links to nothing, pipes and the like"
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return None
    return suffix if 1 < len(suffix) <= LONGEST_SUFFIX and suffix[1:].isalnum() else "without a suffix"


def _splits(root: Path, names: Iterable[str]) -> tuple[str, str, str | None] | None:
    """The folders of a folder of splits: which trains, which is held out, which is left; None where it has none."""
    first = sorted({name.split("/")[0] for name in names if "/" in name})
    training, validation, test = (
        [name for name in first if name.lower() in known] for known in (TRAINING_NAMES, VALIDATION_NAMES, TEST_NAMES)
    )
    if not training or not (validation or test):
        return None
    loose = [name for name in names if "/" not in name]
    beside = [name for name in (*first, *loose) if name not in (*training, *validation, *test)]
    beside += [*training[1:], *validation[1:], *test[1:]]
    if beside:
        split = (validation or test)[0]
        raise InputError(
            f"{root} holds the splits {training[0]!r} and {split!r} and beside them {beside[0]!r}; move that away, or "
            f"give images:{root / training[0]}"
        )
    return training[0], (validation or test)[0], test[0] if validation and test else None


def _classes(root: Path, names: Sequence[str]) -> list[str]:
    """The first folder of each name; "" where none has one."""
    loose = [name for name in names if "/" not in name]
    if loose and len(loose) < len(names):
        inside = next(name for name in names if "/" in name)
        raise InputError(
            f"{root} must hold pictures either directly or in class subfolders, got both, such as {loose[0]!r} "
            f"and {inside!r}; move one kind away"
        )
    return ["" if loose else name.split("/")[0] for name in names]
