"""A run's folder: where its files are, and JSON lines that are appended durably and read back."""

import fcntl
import json
import math
import os
import stat
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gan_core.files.whole_files import appearing_whole, clear_abandoned, naming

SEEDS_APART = 1_000_000  # the number of a trial's confirmation r is r times this, and the trial's own
CURVES = "curves.jsonl"  # in the folder of a run, and of a model
OLD_OWNER_SECONDS = 15.0  # how long the study of a killed driver may still hold `study_lock`
RESTORE = "the file was changed by hand: restore it"


class ResultsError(ValueError):
    """A folder or file of results is not what it should be. The message is one line: the rule, the value, the fix."""


def run_name(run: int) -> str:
    """How files name a trial, or one of its confirmations."""
    trial, replicate = run % SEEDS_APART, run // SEEDS_APART
    return f"trial-{trial:04d}" + (f"-seed-{replicate}" if replicate else "")


class RunFolder:
    """The names of everything a run writes."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.spec = self.path / "spec.yaml"
        self.journal = self.path / "optuna.jsonl"
        self.cohorts = self.path / "cohorts.jsonl"
        self.rows = self.path / "rows.jsonl"
        self.examination = self.path / "examination.json"  # of the features that scores compare images in
        self.curves = self.path / CURVES
        self.driver_lock = self.path / ".driver.lock"
        self.study_lock = self.path / ".study.lock"
        self.checkpoints = self.path / "checkpoints"
        self.samples = self.path / "samples"
        self.best_samples = self.path / "best.png"
        self.scheduler = self.path / "ray"
        self.tracking = self.path / "tracking.json"
        self.tensorboard = self.path / "tensorboard"
        self.mlflow = self.path / "mlflow"
        self.wandb = self.path / "wandb"

    def checkpoint(self, cohort: int) -> Path:
        return self.checkpoints / f"cohort-{cohort:04d}"

    def trial_samples(self, run: int) -> Path:
        return self.samples / f"{run_name(run)}.png"

    def trial_checkpoint(self, run: int) -> Path:
        """The folder of what is kept of a trial, or of one of its confirmations."""
        return self.checkpoints / run_name(run)

    def best_generator(self, run: int) -> Path:
        """G as it was scored at the best rung."""
        return self.trial_checkpoint(run) / "generator.safetensors"

    def last_state(self, run: int) -> Path:
        """All that training needs to go on from the last rung."""
        return self.trial_checkpoint(run) / "last.safetensors"

    def holds_run(self) -> bool:
        """Whether a run was begun here. Raises ResultsError when the folder cannot be looked into."""
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
        """Cuts off what a killed writer left half written, with a warning. For the owner of `study_lock` alone."""
        for path in (self.journal, self.cohorts, self.rows, self.curves):
            JsonLines(path).repair()
        for folder in (self.path, self.samples, *self.checkpoints.glob("*")):
            clear_abandoned(folder)

    def require(self) -> "RunFolder":
        """Raises ResultsError when there is no run here."""
        if not self.holds_run():
            raise ResultsError(f"{self.path} is no run folder: it has no spec.yaml; give the folder of a run")
        return self


class JsonLines:
    """An append-only file of JSON objects, one a line. A number that is not finite is written as null.

    An append is one write, synced to disk before it returns. A torn last line (the writer was killed in the middle of
    it) is cut off by `repair`, with a warning, and passed over by `read`: a reader may come while a line is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Adds the records: all, none after an error (OSError, with the file's name), and where the process is killed a
        first part of them.
        """
        append_whole(
            self.path, "".join(json.dumps(_finite(record), separators=(",", ":")) + "\n" for record in records)
        )

    def read(self, fault: Callable[[dict[str, Any]], str | None] | None = None) -> list[dict[str, Any]]:
        """All whole records, of which the first is line 1. fault: what is wrong with one, in words, or None.

        Raises ResultsError, with the file and the line, when a line before the last one is no JSON object or has a
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
        """Cuts off a torn last line, with a warning, so that the next append starts on a line of its own."""
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
    """What a file of a run holds; None where there is none. Raises ResultsError when it cannot be read: without
    permission, or where something else is in its place. A pipe there is not waited for.
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
    """Adds a text to the end of a file, synced to disk unless told otherwise. After an error (OSError, with the file's
    name) the file is as it was: who writes next, once there is space again, writes after a whole line.
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
    """Holds a file's lock, which the system frees when the process ends however it ends. Raises ResultsError when
    another process holds it for longer than wait_seconds, and where the file system has no locks.
    """
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "wb") as file:  # waits for no pipe's reader
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
    """Whether a process holds a file's lock by `exclusive`; False where nobody may look."""
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
    """Writes beside the target and renames, so that nobody reads half a file. OSError names the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing_whole(path) as partial:
        partial.write_text(content)
