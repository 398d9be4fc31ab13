"""Lists a folder of images by the names of its files alone: images, classes, splits and other files."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gan_core.config.dataset_name import PICTURE_SUFFIXES
from gan_core.config.input_error import InputError, home_path, shortened

TRAINING_NAMES = ("train", "training")
VALIDATION_NAMES = ("val", "valid", "validation")
TEST_NAMES = ("test", "testing")
LONGEST_SUFFIX = 12  # characters; what follows the last dot of a name is not a suffix if it is longer
KINDS_NAMED = 6
HIDDEN = "hidden"  # a kind that no suffix can equal, for suffixes begin with a dot


@dataclass(frozen=True)
class FolderListing:
    """The files of a folder of images.

    names: the sorted paths of the images used, relative to root, separated by `/`. classes: the class folder of each,
    or "". held_out: whether each belongs to the held-out split; None if the folder defines no splits. unused: kind ->
    the paths of all other files.
    """

    root: Path
    names: tuple[str, ...]
    classes: tuple[str, ...]
    held_out: tuple[bool, ...] | None
    unused: Mapping[str, tuple[str, ...]]


def list_folder(folder: str) -> FolderListing:
    """Lists every image of a folder, at any depth, by its suffix.

    The first level of subfolders are the classes. A folder with `train` and with `val` or `test`, and no other images,
    defines its own splits, with the classes below them: `train` is trained on, and `val`, or else `test`, is held out.
    If there are both, `test` is not used, so that it stays unseen in model selection. Hidden files, links to folders
    and other suffixes are ignored.

    Raises InputError if the folder is missing or has no images, if it mixes images and class folders or splits and
    other images, and if one split has a class that the other lacks.
    """
    root = home_path(folder)
    if not os.path.isdir(root):
        raise InputError(f"no folder {shortened(str(root))}; give images:FOLDER a folder of pictures")
    return list_names(root, *_walk(root))


def list_names(root: Path, names: Sequence[str], unused: Mapping[str, tuple[str, ...]]) -> FolderListing:
    """The same for a folder or an archive that holds pictures of these sorted names, and other files."""
    if not names:
        beside = f", but {counted(unused)}" if unused else ""
        raise InputError(f"{root} holds no pictures ({' '.join(PICTURE_SUFFIXES)}){beside}; give a folder that does")
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
    """The number of files of each kind, the most common first: `200 .ppm, 2 .txt`. hidden: count hidden files too."""
    kinds = sorted((kind for kind in unused if hidden or kind != HIDDEN), key=lambda kind: -len(unused[kind]))
    told = [f"{len(unused[kind])} {kind}" for kind in kinds[:KINDS_NAMED]]
    if rest := sum(len(unused[kind]) for kind in kinds[KINDS_NAMED:]):
        told.append(f"{rest} of {len(kinds) - KINDS_NAMED} other kinds")
    return ", ".join(told)


def _walk(root: Path) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """The sorted paths of the images, relative to root and separated by `/`, and those of other files by kind."""
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
    """The kind of a file that is not an image by its name; None for an image."""
    if path.name.startswith("."):
        return HIDDEN
    if not path.is_file():
        return "links to nothing, pipes and the like"
    suffix = path.suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        return None
    return suffix if 1 < len(suffix) <= LONGEST_SUFFIX and suffix[1:].isalnum() else "without a suffix"


def _splits(root: Path, names: Iterable[str]) -> tuple[str, str, str | None] | None:
    """The subfolders that are trained on, held out and unused (or None); None if the folder defines no splits."""
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
    """The first folder in each path; "" if no path has one."""
    loose = [name for name in names if "/" not in name]
    if loose and len(loose) < len(names):
        inside = next(name for name in names if "/" in name)
        raise InputError(
            f"{root} must hold pictures either directly or in class subfolders, got both, such as {loose[0]!r} "
            f"and {inside!r}; move one kind away"
        )
    return ["" if loose else name.split("/")[0] for name in names]
