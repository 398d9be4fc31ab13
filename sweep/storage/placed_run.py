"""The folder of a run that lives in an object store, while a sweep is at work in it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from gan_core.files.addresses import is_address
from gan_core.files.object_store import ObjectStore, StoreError, open_store
from results.manifest import Manifest
from results.store import ResultsError, RunFolder, checked_place, exclusive
from results.stored_run import DriverNote, DriverPlace, pull
from sweep.ledger.endings import PlaceError
from sweep.storage.copier import Copier, CopierTimes
from sweep.storage.lease import Lease, LeaseLost, LeaseTimes
from sweep.storage.local_files import GROWING, whole_files
from sweep.storage.mirror import Mirror, is_ours

FINISH_SECONDS = 600.0  # for which the end of a sweep waits for the store
BREAK_SECONDS = 20.0  # for which a broken off one does: schedulers kill 30 seconds after their signal


@dataclass(frozen=True)
class PlacedRun:
    """The folder of a run on this machine. check: called while the sweep goes on; raises what must end it. leave:
    called, in any thread, where the process is to end without leaving `stored`: copies what is left, for BREAK_SECONDS.
    """

    folder: RunFolder
    check: Callable[[], None] | None = None
    leave: Callable[[], None] | None = None


@contextmanager
def stored(
    place: str | Path,
    tell: Callable[[str], None],
    say: Callable[[str], None],
    lease_times: LeaseTimes | None = None,
    copier_times: CopierTimes | None = None,
) -> Iterator[PlacedRun]:
    """The run at a path or at an address. Of an address, the run's files are brought into a folder of the cache, and
    whatever changes there is copied back until the end, and then once more. No other driver may use the address.

    tell: told what is good to know; say: told what is not as it should be. Raises StoreError where the store cannot be
    read and written, before anything starts, or where another driver is at work there; PlaceError where the sweep has
    ended and not all of it could be copied.
    """
    if not is_address(place):
        yield PlacedRun(RunFolder(checked_place(place)))
        return
    driver, store = DriverPlace(str(place)), open_store(str(place))
    with _alone(driver.lock, store.name):
        lease = Lease(store, lease_times)
        lease.take((driver.note.driver, *driver.note.owners), say)
        try:
            mirror = _brought(store, driver, lease, tell, say)
            folder = RunFolder(driver.folder, store.name)
            tell(f"{store.name} is kept up to date from {driver.folder}")
            copier = Copier(mirror, lease, store.name, say, lambda: _note_copied(driver), copier_times)
            yield from _copied(driver, folder, copier, lease, say)
        finally:
            _release(lease)


def _copied(
    driver: DriverPlace, folder: RunFolder, copier: Copier, lease: Lease, say: Callable[[str], None]
) -> Iterator[PlacedRun]:
    """Yields the folder, and copies what is left when the sweep ends or is broken off, also while it copies."""
    again = "the same command on this machine copies it"

    def break_off() -> bool:
        """Whether nothing is missing in the store."""
        if missing := copier.finish(BREAK_SECONDS):
            say(f"{missing}; it is in {folder.path}, and {again}")
        else:
            driver.write(replace(driver.note, clean=True))
        return not missing

    def leave() -> None:
        if break_off():  # a store that is away may let whoever asks it wait
            _release(lease)

    try:
        yield PlacedRun(folder, copier.check, leave)
        missing = copier.finish(FINISH_SECONDS)
    except LeaseLost as error:
        raise LeaseLost(f"{error}; what it had is in {folder.path}", lasting=True) from error
    except BaseException:  # also Ctrl-C: whatever ends a sweep early, what it had is copied
        break_off()
        raise
    if missing:
        raise PlaceError(f"the sweep has ended, with {missing}; it is in {folder.path}, and {again}")
    driver.write(replace(driver.note, clean=True))


def _release(lease: Lease) -> None:
    with suppress(StoreError):  # the store is away, or another driver has the lease: it ends by its age
        lease.release()


def _note_copied(driver: DriverPlace) -> None:
    note = driver.note
    driver.write(replace(note, owners=tuple(dict.fromkeys((*note.owners, note.driver)))))


@contextmanager
def _alone(lock: Path, name: str) -> Iterator[None]:
    """Keeps other drivers of this machine away. One that was killed is then known to be gone."""
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(lock))
        except ResultsError as error:
            raise StoreError(
                f"another process of this machine is at work in {name}; wait for it, stop it, or choose another --out"
            ) from error
        yield


def _brought(
    store: ObjectStore, driver: DriverPlace, lease: Lease, tell: Callable[[str], None], say: Callable[[str], None]
) -> Mirror:
    """Makes the folder contain what the store has, and returns what copies it back.

    A folder that contains the state in the store may be ahead of it, and stays as it is. Otherwise another machine has
    gone on, and the store decides; what is only here is moved aside.
    """
    manifest, note = Manifest.read(store), driver.note
    _refuse_others(store, manifest)
    has_run = RunFolder(driver.folder).holds_run()
    if manifest is None and note.owners and has_run:
        _move_aside(driver, f"{store.name} does not hold the run any more that was copied there", say)
    elif manifest is not None and not (has_run and note.contains(manifest)):
        if has_run and not note.clean:
            _move_aside(driver, f"another machine went on with {store.name}", say)
        size = sum(piece.size_bytes for pieces in manifest.files.values() for piece in pieces) / 1e6
        tell(f"fetching {store.name} ({len(manifest.files)} files, {size:.1f} MB) into {driver.folder}")
        driver.write(DriverNote(lease.owner))  # clean: if this is broken off, nothing is here that the store lacks
        local = (*whole_files(RunFolder(driver.folder)), *GROWING)
        for name in (name for name in local if name not in manifest.files):
            (driver.folder / name).unlink(missing_ok=True)
        pull(store, manifest, driver.folder)
    driver.write(DriverNote(lease.owner, () if manifest is None else (manifest.owner,), clean=False))
    return Mirror(store, RunFolder(driver.folder), lease, manifest)


def _refuse_others(store: ObjectStore, manifest: Manifest | None) -> None:
    """Raises StoreError where the address holds other things than a run."""
    if manifest is None:
        for key in sorted(store.list()):
            if not is_ours(key):
                raise StoreError(f"{store.name} holds {key} and is no run; choose another --out")


def _move_aside(driver: DriverPlace, why: str, say: Callable[[str], None]) -> None:
    aside = driver.folder.with_name(f"{driver.folder.name}-aside-{time.strftime('%Y%m%d-%H%M%S')}")
    driver.folder.rename(aside)
    driver.folder.mkdir(mode=0o700)
    say(f"{why}; what this machine had of it is kept in {aside}")
