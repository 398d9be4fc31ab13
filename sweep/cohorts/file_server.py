"""FileServer: stands beside the folder of a run, receives the files of cohorts there, and gives them out."""

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from gan_core.files.whole_files import naming
from results.store import RunFolder
from results.trial_run import TrialRun
from sweep.cohorts.checkpoints import Checkpoints
from sweep.cohorts.shared_features import FeaturesInFolder
from sweep.ledger.owners import NoLongerOwner

PIECE_BYTES = 4 * 2**20
OF_A_RUNG = re.compile(  # the names of the files that the folder of a rung has
    r"reports\.json|midway\.(json|safetensors)|array-[0-9]+\.safetensors|trial-[0-9]+(-seed-[1-9][0-9]*)?\.(png|generator\.safetensors|safetensors)"
)

SHA256 = re.compile(r"[0-9a-f]{64}")


class Parcel(NamedTuple):
    """A file that travels. name: its path below the folder of the run."""

    name: str
    size_bytes: int
    sha256: str


class FileServer:
    """Receives the files of cohorts, in pieces, into the folder of a run, and gives out those from which cohorts go on.

    owner: `Cohort.owner`, which rises with each hand-out. Once a process has begun a cohort with one number, what comes
    with a lower one is refused with NoLongerOwner, so a process that was out of reach cannot spoil what its successor
    wrote. Repeating a call is harmless: an answer may be lost on its way. An OSError names the file that cannot be read
    or written.
    """

    def __init__(
        self,
        folder: RunFolder,
        check_owner: Callable[[int], object] = lambda owner: None,
        pack_data: Callable[[], Path] | None = None,
    ) -> None:
        """check_owner: asks the study before a rung is made to last, and raises NoLongerOwner. pack_data: makes the
        file of the data set for processes that have not got it; called when one first asks.
        """
        self._folder, self._ask_study, self._pack_data = folder, check_owner, pack_data
        self._data: Parcel | None = None
        self._owners: dict[int, int] = {}  # cohort -> the highest number that has come
        self._given: dict[str, Path] = {}  # what may be asked for: name -> file
        self._ended: dict[int, tuple] = {}  # cohort -> what the last call of `end_rung` was given

    def take_up(self, cohort: int, owner: int, runs: Sequence[TrialRun]) -> list[Parcel]:
        """Begins a cohort. Returns the files from which it goes on: those of its latest rung, or else the last states
        of these runs.
        """
        self._check_owner(cohort, owner)
        checkpoints = Checkpoints(self._folder, cohort)
        latest = checkpoints.latest()
        if latest is not None:
            checkpoints.keep_of_runs(latest)
        files = [self._folder.last_state(run) for run in runs] if latest is None else sorted(latest.iterdir())
        files += [path for folder in checkpoints.midways() for path in sorted(folder.iterdir())]
        return [self.give(path, str(path.relative_to(self._folder.path))) for path in files if path.is_file()]

    def give(self, path: Path, name: str) -> Parcel:
        """Lets a file be asked for by a name."""
        self._given[name] = path
        return Parcel(name, path.stat().st_size, sha256_of(path))

    def piece(self, name: str, offset: int) -> bytes:
        """At most PIECE_BYTES of a file, from this place on. Raises ValueError for a name that was not given out."""
        if name not in self._given:
            raise ValueError(f"no file was given out by the name {name!r}")
        return read_piece(self._given[name], offset)

    def begin_rung(self, cohort: int, owner: int, rung: int, *, midway: bool = False) -> None:
        """Makes room for the files of a rung, or of the way to it."""
        self._check_owner(cohort, owner)
        with naming(self._folder.checkpoints):
            Checkpoints(self._folder, cohort).begin(rung, owner, midway=midway)

    def put(
        self, cohort: int, owner: int, rung: int, name: str, offset: int, piece: bytes, *, midway: bool = False
    ) -> None:
        """Writes a piece of a file of a rung. Raises ValueError for a name that no file of a rung has."""
        self._check_owner(cohort, owner)
        write_piece(self._arriving(cohort, owner, rung, name, midway), offset, piece)

    def end_rung(
        self, cohort: int, owner: int, rung: int, parcels: Sequence[Parcel], *, whole: bool, midway: bool = False
    ) -> None:
        """Makes the files of a rung last, after all their pieces have come. parcels: all files. whole, midway: see
        `Transfer`. Raises OSError unless they are what was sent.
        """
        self._check_owner(cohort, owner)
        if self._ended.get(cohort) == (owner, rung, parcels):
            return  # asked again, because the answer was lost
        checkpoints = Checkpoints(self._folder, cohort)
        for parcel in parcels:
            check_arrived(self._arriving(cohort, owner, rung, parcel.name, midway), parcel)
        self._ask_study(owner)
        if midway:
            checkpoints.complete_midway(rung, checkpoints.partial(rung, owner, midway=True))
        elif whole:
            checkpoints.complete(rung, checkpoints.partial(rung, owner))
            checkpoints.keep_of_runs(checkpoints.rung(rung))
        else:
            checkpoints.break_off(rung, checkpoints.partial(rung, owner))
        self._ended[cohort] = owner, rung, parcels

    def features(self) -> Parcel | None:
        """Gives out what the scores of the run are fitted with, where that is there."""
        path = FeaturesInFolder(self._folder).fetch()
        return None if path is None else self.give(path, path.name)

    def put_features(self, sha256: str, offset: int, piece: bytes) -> None:
        """Writes a piece of a file that is offered (`SharedFeatures`). sha256: of the whole file."""
        write_piece(self._offered(sha256), offset, piece)

    def offer_features(self, parcel: Parcel) -> None:
        """Keeps the file that was offered, once all its pieces have come, unless there is one. Raises as
        `FeaturesInFolder.offer` does.
        """
        path, features = self._offered(parcel.sha256), FeaturesInFolder(self._folder)
        try:
            if features.fetch() is None:
                check_arrived(path, parcel)
                features.offer(path)
        finally:
            path.unlink(missing_ok=True)

    def _offered(self, sha256: str) -> Path:
        if not SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is no SHA-256")
        return self._folder.path / f".features-{sha256}.partial"

    def data(self) -> Parcel:
        """Gives out the data set of the run. Raises what `pack_data` raises."""
        if self._data is None:
            assert self._pack_data is not None, "this run needs no data from here"
            path = self._pack_data()
            self._data = self.give(path, path.name)
        return self._data

    def forget(self, cohort: int, owner: int, runs: Iterable[TrialRun]) -> None:
        """Does what `Checkpoints.forget` does."""
        self._check_owner(cohort, owner)
        Checkpoints(self._folder, cohort).forget(runs)

    def _check_owner(self, cohort: int, owner: int) -> None:
        if owner < self._owners.get(cohort, owner):
            raise NoLongerOwner(f"cohort {cohort} was handed to another process")
        self._owners[cohort] = owner

    def _arriving(self, cohort: int, owner: int, rung: int, name: str, midway: bool) -> Path:
        if not OF_A_RUNG.fullmatch(name):
            raise ValueError(f"no file of a rung has the name {name!r}")
        return Checkpoints(self._folder, cohort).partial(rung, owner, midway=midway) / name


def read_piece(path: Path, offset: int) -> bytes:
    """At most PIECE_BYTES of a file, from this place on."""
    with naming(path), path.open("rb") as file:
        file.seek(offset)
        return file.read(PIECE_BYTES)


def write_piece(path: Path, offset: int, piece: bytes) -> None:
    """Writes a piece of a file, which is made if there is none. Raises OSError, which names the file."""
    with naming(path), open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666), "wb", buffering=0) as file:
        file.seek(offset)
        left = memoryview(piece)
        while left:
            left = left[file.write(left) :]


def check_arrived(path: Path, parcel: Parcel) -> None:
    """Waits until a file that has come is on the disk. Raises OSError unless it is what was sent."""
    if parcel.size_bytes == 0:
        write_piece(path, 0, b"")
    with naming(path), path.open("rb") as file:
        os.fsync(file.fileno())
    if (path.stat().st_size, sha256_of(path)) != parcel[1:]:
        raise OSError(errno.EIO, "what arrived is not what was sent", str(path))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with naming(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
