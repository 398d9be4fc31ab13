"""What a process uses that trains without seeing the folder of the run: a folder of its own, and transfers of files."""

import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from results.store import RunFolder, exclusive, is_held
from results.trial_run import TrialRun
from sweep.cohorts.checkpoints import of_runs
from sweep.cohorts.file_server import PIECE_BYTES, Parcel, check_arrived, read_piece, sha256_of, write_piece

IN_FLIGHT = 2  # pieces that are on their way at once, of each process
PREFIX = "gan-sweep-files-"  # of the folders among the temporary files
LOCK = ".lock"
OLD_SECONDS = 60.0  # a younger folder may not have been locked yet

# Calls a method of a `FileServer`, wherever that is, and returns at once: what it returns then waits for the answer.
Line = Callable[..., Callable[[], Any]]


class CohortTransfer:
    """Takes the files of one cohort to the folder of the run and from it.

    line: to the `FileServer` of the run. owner: `Cohort.owner`. Raises NoLongerOwner once the cohort was handed out
    again, and what the line raises.
    """

    def __init__(self, line: Line, cohort: int, owner: int) -> None:
        self._line, self._cohort, self._owner = line, cohort, owner

    def fetch(self, runs: Sequence[TrialRun], folder: RunFolder) -> None:
        """Brings the files from which the cohort goes on into a folder with the layout of a run."""
        for parcel in self._line("take_up", self._cohort, self._owner, runs)():
            fetch_file(self._line, parcel, folder.path / parcel.name)

    def deliver(self, rung: int, folder: Path, *, whole: bool, midway: bool = False) -> None:
        """Takes the files of a rung, or of the way to it (midway), to the folder of the run. whole: all of them, after
        which the rung is complete there; otherwise only what is kept of each run for itself. When this returns, they
        are on the disk there.
        """
        files = sorted(folder.iterdir()) if whole else of_runs(folder)
        if not files:
            return
        to = self._cohort, self._owner, rung
        self._line("begin_rung", *to, midway=midway)()
        parcels = [Parcel(path.name, path.stat().st_size, sha256_of(path)) for path in files]
        _piped(
            self._line("put", *to, parcel.name, offset, read_piece(path, offset), midway=midway)
            for path, parcel in zip(files, parcels, strict=True)
            for offset in range(0, parcel.size_bytes, PIECE_BYTES)
        )
        self._line("end_rung", *to, parcels, whole=whole, midway=midway)()

    def forget(self, runs: Iterable[TrialRun]) -> None:
        """Removes in the folder of the run what `Checkpoints.forget` removes here."""
        self._line("forget", self._cohort, self._owner, tuple(runs))()


class FetchedFeatures:
    """What the scores of a run are fitted with, for a process that does not see the folder of the run. line: to its
    `FileServer`. folder: where the file is put that is fetched.
    """

    def __init__(self, line: Line, folder: Path) -> None:
        self._line, self._folder = line, folder

    def fetch(self) -> Path | None:
        """The file, None where there is none yet."""
        parcel = self._line("features")()
        if parcel is None:
            return None
        path = self._folder / parcel.name
        fetch_file(self._line, parcel, path)
        return path

    def offer(self, path: Path) -> Path:
        """Offers a file, and returns the one that all processes use."""
        parcel = Parcel(path.name, path.stat().st_size, sha256_of(path))
        _piped(
            self._line("put_features", parcel.sha256, offset, read_piece(path, offset))
            for offset in range(0, parcel.size_bytes, PIECE_BYTES)
        )
        self._line("offer_features", parcel)()
        kept = self.fetch()
        assert kept is not None, "what was offered is there"
        return kept


def fetch_file(line: Line, parcel: Parcel, path: Path) -> None:
    """Brings a file that a `FileServer` has given out. Raises OSError, which names the file, where it
    cannot be written or is not what was given out, and what the line raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    offsets = range(0, parcel.size_bytes, PIECE_BYTES)
    pieces = _answers(line("piece", parcel.name, offset) for offset in offsets)
    for offset, piece in zip(offsets, pieces, strict=True):
        write_piece(path, offset, piece)
    check_arrived(path, parcel)


def _piped(calls: Iterable[Callable[[], Any]]) -> None:
    for _ in _answers(calls):
        pass


def _answers(calls: Iterable[Callable[[], Any]]) -> Iterator[Any]:
    """The answers to calls, in their order, while the next calls are on their way: at most IN_FLIGHT at once."""
    waiting = deque[Callable[[], Any]]()
    for call in calls:
        waiting.append(call)
        if len(waiting) == IN_FLIGHT:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


@contextmanager
def own_folder() -> Iterator[RunFolder]:
    """A folder among the temporary files with the layout of a run, for this process alone; removed at the end. Those
    that killed processes left are removed at the beginning.
    """
    place = Path(tempfile.gettempdir())
    for left in place.glob(f"{PREFIX}*"):
        if _is_old(left / LOCK) and not is_held(left / LOCK):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    try:
        with exclusive(folder / LOCK, wait_seconds=OLD_SECONDS):  # others look whether it is held
            yield RunFolder(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_old(lock: Path) -> bool:
    try:
        return time.time() - lock.stat().st_mtime > OLD_SECONDS
    except OSError:  # it is another user's, or gone
        return False
