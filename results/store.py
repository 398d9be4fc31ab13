"""The folder of a run: where its files are, how lines of JSON are appended durably, and how a folder is locked."""

import fcntl
import json
import math
import os
import re
import stat
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gan_core.config.input_error import InputError, shown
from gan_core.files.addresses import path_of
from gan_core.files.whole_files import appearing_whole, clear_abandoned, naming
from results.trial_run import TrialRun

CURVES = "curves.jsonl"  # in the folder of a run and in the folder of a model
OLD_OWNER_SECONDS = 15.0  # for so long the study of a driver that was killed may still hold `study_lock`
RAY_PACKAGE = "_ray_pkg_"  # so begin the names of the folders into which Ray unpacks what travels with a job
RESTORE = "the file was changed by hand: restore it"


class ResultsError(ValueError):
    """A folder or a file of results is not as it should be. The message is one line: the rule, the value, the fix."""


def checked_place(out: str | Path) -> Path:
    """The folder that a person gave for a run, as a path or as `file:///PATH`. Warns of one that Ray will delete.
    Raises InputError for a Path that was made of an address.
    """
    if not isinstance(out, str) and re.match(r"[A-Za-z][\w+.-]+:/", str(out)):
        raise InputError(f"{shown(str(out))} is a Path, in which an address loses a slash; give the address as a str")
    folder = path_of(out).expanduser()
    if any(part.startswith(RAY_PACKAGE) for part in folder.absolute().parts):
        warnings.warn(
            f"{folder.absolute()} lies in Ray's copy of a job's working folder, which Ray deletes: give --out a folder "
            "that stays",
            stacklevel=2,
        )
    return folder


class RunFolder:
    """The paths of all files that a run writes. shown: the name of the run for a person, where it is not the path: the
    address of the store of which this folder is a copy.
    """

    def __init__(self, path: str | Path, shown: str = "") -> None:
        self.path = Path(path).expanduser()
        self.shown = shown or str(self.path)
        self.spec = self.path / "spec.yaml"
        self.journal = self.path / "optuna.jsonl"
        self.cohorts = self.path / "cohorts.jsonl"
        self.rows = self.path / "rows.jsonl"
        self.examination = self.path / "examination.json"  # of the features that scores compare images in
        self.features = self.path / "features.safetensors"  # what scores of images were fitted with
        self.features_lock = self.path / ".features.lock"
        self.curves = self.path / CURVES
        self.mark = self.path / ".mark"  # while a sweep runs: by it other processes recognise the folder
        self.driver_lock = self.path / ".driver.lock"
        self.study_lock = self.path / ".study.lock"
        self.checkpoints = self.path / "checkpoints"
        self.samples = self.path / "samples"
        self.real_samples = self.samples / "real.png"
        self.best_samples = self.path / "best.png"
        self.progress = self.path / "progress.json"  # how far the sweep is that runs now
        self.scheduler = self.path / "ray"
        self.tracking = self.path / "tracking.json"
        self.tensorboard = self.path / "tensorboard"
        self.mlflow = self.path / "mlflow"
        self.wandb = self.path / "wandb"

    def checkpoint(self, cohort: int) -> Path:
        return self.checkpoints / f"cohort-{cohort:04d}"

    def trial_samples(self, run: TrialRun) -> Path:
        return self.samples / f"{run.name}.png"

    def trial_checkpoint(self, run: TrialRun) -> Path:
        """The folder with the weights that are kept of one training of a trial."""
        return self.checkpoints / run.name

    def best_generator(self, run: TrialRun) -> Path:
        """The weights of the generator that were scored at the rung with the best score."""
        return self.trial_checkpoint(run) / "generator.safetensors"

    def last_state(self, run: TrialRun) -> Path:
        """The whole state of training after the last rung, from which training can go on."""
        return self.trial_checkpoint(run) / "last.safetensors"

    def holds_run(self) -> bool:
        """Whether a run was begun here. Raises ResultsError when the folder cannot be read."""
        try:
            return self.spec.is_file()
        except OSError as error:
            raise ResultsError(f"cannot read {self.path}: {error.strerror}; give another folder (--out)") from error

    def create(self) -> "RunFolder":
        """Makes the folder. Raises ResultsError when it cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ResultsError(f"cannot write to {self.path}: {error.strerror}; choose another --out") from error
        return self

    def repair(self) -> None:
        """Cuts off, with a warning, what a killed process left half written. Only for the owner of `study_lock`."""
        for path in (self.journal, self.cohorts, self.rows, self.curves):
            JsonLines(path).repair()
        for folder in (self.path, self.samples, *self.checkpoints.glob("*")):
            clear_abandoned(folder)

    def require(self) -> "RunFolder":
        """Returns this folder. Raises ResultsError when no run was begun here."""
        if not self.holds_run():
            raise ResultsError(f"{self.shown} is no run folder: it has no spec.yaml; give the folder of a run")
        return self


def is_file_of_run(path: Path) -> bool:
    """Whether a path is a file that is there and that a run keeps in its folder, such as its rows or a picture."""
    path = path.expanduser()
    try:
        if not path.is_file():
            return False
    except OSError:  # such as a name that is too long, which is said where the file is opened
        return False
    for parent in list(path.absolute().parents)[:3]:  # checkpoints/trial-0003/last.safetensors
        run = RunFolder(parent)
        kept = [kept for kept in vars(run).values() if isinstance(kept, Path) and kept != parent]
        if run.spec.is_file() and any(path.absolute().is_relative_to(each) for each in kept):
            return True
    return False


class JsonLines:
    """A file of JSON objects, one on each line, that only ever grows. Numbers that are not finite are written as null.

    `append` is one write, and it returns when the disk has it. When a writer is killed during a write, the last line is
    incomplete: `repair` cuts it off with a warning. `read` skips it, because a line may just be being written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Appends all records, or after an OSError (which names the file) none. If the process is killed, the first
        part of them may have been written.
        """
        append_whole(
            self.path, "".join(json.dumps(_finite(record), separators=(",", ":")) + "\n" for record in records)
        )

    def read(self, fault: Callable[[dict[str, Any]], str | None] | None = None) -> list[dict[str, Any]]:
        """All complete records, in the order of their lines. fault: returns in words what is wrong with a record, or
        None.

        Raises ResultsError, which names the file and the line (from 1), when a complete line is no JSON object or has a
        fault, and as `read_whole` does.
        """
        records = []
        for number, line in enumerate((read_whole(self.path) or b"").split(b"\n")[:-1], 1):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, a number of thousands of digits
                raise ResultsError(f"{self.path}, line {number} is not JSON; {RESTORE}") from error
            if not isinstance(record, dict):
                raise ResultsError(f"{self.path}, line {number} is not a record; {RESTORE}")
            if fault is not None and (found := fault(record)) is not None:
                raise ResultsError(f"{self.path}, line {number}: {found}; {RESTORE}")
            records.append(record)
        return records

    def repair(self) -> None:
        """Cuts off an incomplete last line, with a warning, so that the next append starts on a new line."""
        content = read_whole(self.path) or b""
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            warnings.warn(
                f"{self.path}: the last line is torn (a writer was killed); {len(content) - whole} bytes are cut off",
                stacklevel=2,
            )
            with self.path.open("r+b") as file:
                file.truncate(whole)
                os.fsync(file.fileno())


def read_whole(path: Path) -> bytes | None:
    """The content of a file of a run, or None if there is no such file. Raises ResultsError when it cannot be read:
    permission is missing, or it is no regular file. A pipe is refused at once instead of waiting for its writer.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ResultsError(f"{path} is a pipe or a device; {RESTORE}")
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}; restore it, or make it readable") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def append_whole(path: Path, text: str, *, sync: bool = True) -> None:
    """Appends a text to a file, and waits for the disk if `sync`. After an OSError, which names the file, the file is
    as it was before, so that a later append, when there is space again, starts on a new line.
    """
    with naming(path), path.open("ab", buffering=0) as file:
        before, left = file.seek(0, os.SEEK_END), memoryview(text.encode())
        try:
            while left:
                left = left[file.write(left) :]
            if sync:
                os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                file.truncate(before)
            raise


@contextmanager
def exclusive(path: Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Holds the lock of a file. The operating system releases it however the process ends. Raises ResultsError when
    another process still holds it after wait_seconds, and when the file system has no locks.
    """
    # O_RDWR, because opening a pipe for writing alone would wait for a reader
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "wb") as file:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise ResultsError(
                        f"another process is at work in {path.parent}; wait for it, stop it, or choose another --out"
                    ) from error
                time.sleep(0.1)
            except OSError as error:
                raise ResultsError(
                    f"cannot lock {path}: {error.strerror}; two sweeps could write there at once, so choose an --out "
                    "on a file system that has locks"
                ) from error
        yield


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of a file by `exclusive`; False if the file cannot be opened."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _finite(record: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}


def write_atomically(path: Path, content: str) -> None:
    """Replaces a file by renaming a complete one, so that nobody reads half of it. Raises OSError, which names it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing_whole(path) as partial:
        partial.write_text(content)
