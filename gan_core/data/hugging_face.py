"""Images in a folder that `save_to_disk` of Hugging Face's `datasets` wrote. Its Arrow files are read directly."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_core.config.input_error import InputError, shortened, shown
from gan_core.data.collected_images import Collector
from gan_core.data.encoded_images import Encoded, collect_encoded
from gan_core.data.picture_folder import TEST_NAMES, TRAINING_NAMES, VALIDATION_NAMES

DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"


def is_dataset(folder: Path) -> bool:
    """Whether `save_to_disk` has written this folder."""
    one, state, info = (
        os.path.isfile(folder / name) for name in (DICT, STATE, INFO)
    )  # where the name is too long, too
    return one or (state and info)


def dataset_files(folder: Path) -> list[Path]:
    """The Arrow files of the splits that are used. Raises InputError for a damaged or incomplete folder."""
    return [path for part, _ in _splits(folder) for path in _arrow_files(part)]


def collect_dataset(folder: Path, collector: Collector) -> Sequence[str]:
    """Puts the images of a folder into the collector, and returns the names of the classes. Of a `DatasetDict`, `train`
    is trained on, and `validation`, or else `test`, is held out. The images are the first column of the feature Image,
    the labels the first of the feature ClassLabel.

    Raises InputError for a damaged folder, for one without images, and as the `Collector` does.
    """
    names: Sequence[str] = ()
    for part, held_out in _splits(folder):
        features = _json(part / INFO).get("features") or {}
        image, label = _column(features, "Image"), _column(features, "ClassLabel")
        if image is None:
            kinds = {name: form.get("_type") for name, form in features.items() if isinstance(form, dict)}
            raise InputError(f"{part} has no column of pictures (Image), only {shown(kinds)}; write a function for it")
        names = names or (features[label].get("names") or () if label else ())
        collect_encoded(_pictures(part, image, label, held_out), collector)
    return tuple(map(str, names))


def _splits(folder: Path) -> list[tuple[Path, bool]]:
    """The folder of each split that is used, and whether it is held out."""
    if not (folder / DICT).is_file():
        return [(folder, False)]
    found = [str(name) for name in _json(folder / DICT).get("splits") or ()]
    train = next((name for name in TRAINING_NAMES if name in found), None)
    held_out = next((name for name in (*VALIDATION_NAMES, *TEST_NAMES) if name in found), None)
    if train is None:
        raise InputError(f"{folder} has no split 'train', only {shown(found)}; give the folder of one split")
    return [(folder / train, False), *([(folder / held_out, True)] if held_out else [])]


def _arrow_files(part: Path) -> list[Path]:
    listed = _json(part / STATE).get("_data_files") or ()
    names = [Path(str(one.get("filename", ""))).name for one in listed if isinstance(one, dict)]
    files = [part / name for name in names]
    if absent := next((path for path in files if not path.is_file()), None):
        raise InputError(f"no file {absent}, which {part / STATE} lists; save the data set again")
    return files


def _column(features: Mapping[str, Any], kind: str) -> str | None:
    return next((n for n, form in features.items() if isinstance(form, dict) and form.get("_type") == kind), None)


def _pictures(part: Path, image: str, label: str | None, held_out: bool) -> Iterator[Encoded]:
    import pyarrow as pa  # here, because no other data set needs it

    place = 0
    for path in _arrow_files(part):
        try:
            with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
                for batch in stream:
                    labels = [None] * len(batch) if label is None else batch[label].to_pylist()
                    for given, number in zip(batch[image], labels, strict=True):
                        picture, name = given.as_py() or {}, f"{part.name} {place}"
                        if not isinstance(picture.get("bytes"), bytes):
                            raise InputError(
                                f"{part}: image {place} is not in its files, but {shown(picture)}; embed it"
                            )
                        suffix = Path(str(picture.get("path"))).suffix
                        yield Encoded(picture["bytes"], name + suffix, number, held_out)
                        place += 1
        except (pa.ArrowException, OSError, KeyError, AttributeError) as error:
            raise InputError(f"{path} is damaged ({shortened(str(error))}); save the data set again") from error


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path} ({shortened(str(error))}); save the data set again") from error
    return found if isinstance(found, dict) else {}
