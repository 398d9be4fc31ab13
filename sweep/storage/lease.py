"""Lease: keeps a second driver from an address, by an object that the first renews.

Stores cannot lock. A driver writes who it is, waits, and reads again; whoever wrote last has the lease. It looks again
before it writes anything, at least every RENEW_SECONDS, and each time before it writes the manifest. Times are compared
by the clock of the store alone, or by one machine's own.

What is guaranteed, whenever a driver stands still and for however long: two drivers hold the lease for at most
RENEW_SECONDS at the same time, and only one of them writes manifests. A driver that was silent finds the lease of the
one that took the run over as soon as it looks. If it stood still between looking and renewing, its renewal overwrites
that lease. It knows that this is possible, because nobody takes a lease over that was renewed less than SILENT_SECONDS
ago. After a later renewal it therefore writes nothing for half as long, in which the other one, which looks more often,
writes its lease again; then it looks whether the lease and the manifest are still its own. A single request that was
under way when the driver stood still may arrive afterwards: the next copy of the other one mends the manifest.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gan_core.config.input_error import shortened
from gan_core.files.object_store import ObjectStore, StoreError
from results.manifest import LEASE, Manifest

RENEW_SECONDS = 20.0
SILENT_SECONDS = 180.0  # a driver that has not renewed its lease for so long is taken for dead
SETTLE_SECONDS = 1.0  # longer than two drivers that begin at the same moment are apart
LONGEST_HOST = 60  # characters of a name that a message shows
LOOK_SECONDS = 2.0  # between two looks at a lease that may be dead


@dataclass(frozen=True)
class LeaseTimes:
    """The times above, which tests make shorter."""

    renew_seconds: float = RENEW_SECONDS
    silent_seconds: float = SILENT_SECONDS
    settle_seconds: float = SETTLE_SECONDS
    look_seconds: float = LOOK_SECONDS


class LeaseLost(StoreError):
    """Another driver has taken the address."""


class Lease:
    """The lease of one driver. owner: its random name, by which the manifest tells who wrote it."""

    def __init__(self, store: ObjectStore, times: LeaseTimes | None = None) -> None:
        self.owner = secrets.token_hex(8)
        self._store, self._times = store, times or LeaseTimes()
        self._renewals, self._released, self._turn = 0, False, threading.Lock()
        self._looked_seconds, self._renewed_seconds = 0.0, 0.0  # when the last look, and the last renewal, began
        self._silent, self._manifest_owner = "", ""  # from whom this driver took the run over; who wrote its manifest

    def take(self, earlier: tuple[str, ...], tell: Callable[[str], None]) -> None:
        """Takes the lease, or raises StoreError: another driver is at work there, or the store cannot be written.

        earlier: the owners on this machine that are known to have ended. A lease of another machine that ended without
        a word is watched until it is renewed, which refuses this driver, or has been silent for long enough.
        """
        store_seconds = self._probe()
        found = self._read()
        if found is not None and found.get("owner") not in earlier:
            self._watch(found, store_seconds, tell)
            self._silent = str(found.get("owner"))
        self._write()
        time.sleep(self._times.settle_seconds)
        self._check()
        self._manifest_owner = self._owner_of_manifest()

    def hold(self) -> None:
        """Looks whether the lease is still this driver's, and renews it, if that was not done for a while. Called
        before each write. After a renewal that came late it waits, see above. Raises LeaseLost, also once it was
        released: a copy that took too long may be under way yet.
        """
        with self._turn:  # several files are written at the same time
            self._refuse_released()
            if now_seconds() - self._looked_seconds >= self._times.renew_seconds:
                self._check()
                before = self._renewed_seconds
                self._write()
                if now_seconds() - before >= self._times.silent_seconds:
                    self._look_again()

    def look(self) -> None:
        """Looks now whether the lease is still this driver's. Raises LeaseLost."""
        with self._turn:
            self._refuse_released()
            self._check()

    def release(self) -> None:
        """Lets another driver begin at once. Raises LeaseLost where one has."""
        self._released = True  # before its turn, which a renewal that came late would keep for long
        with self._turn:
            self._check()
            self._store.delete(LEASE)

    def _refuse_released(self) -> None:
        if self._released:
            raise LeaseLost(f"the lease in {self._store.name} was released", lasting=True)

    def _probe(self) -> float | None:
        """Writes and removes an object, so that a store that cannot be written is known. Returns its time."""
        key = f"{LEASE}.{self.owner}"
        self._store.write(key, b"{}")
        found = self._store.look(key)
        self._store.delete(key)
        return None if found is None else found.changed_seconds

    def _watch(self, found: dict[str, Any], store_seconds: float | None, tell: Callable[[str], None]) -> None:
        """Returns once the lease that was found has been silent for long enough, or is gone."""
        name, written = self._store.name, self._store.look(LEASE)
        changed = written.changed_seconds if written else None
        age = 0.0 if store_seconds is None or changed is None else max(0.0, store_seconds - changed)
        left = self._times.silent_seconds - age
        who = _who(found)
        if left > 0:
            tell(f"{who} was at work in {name} {age:.0f} s ago; waiting up to {left:.0f} s to see whether it still is")
        deadline = time.monotonic() + left
        while time.monotonic() < deadline:
            time.sleep(min(self._times.look_seconds, max(0.0, deadline - time.monotonic())))
            now = self._read()
            if now is None:
                return
            if now != found:
                raise StoreError(f"{who} is at work in {name}; wait for it, stop it, or choose another --out")
        minutes = max(age, self._times.silent_seconds) / 60
        tell(f"{who} has been silent for {minutes:.0f} minutes; its run in {name} is taken over")

    def _check(self) -> None:
        """Raises LeaseLost unless the lease is this driver's, or can be made so again."""
        began, found = now_seconds(), self._read()
        if found is None or found.get("owner") not in (self.owner, self._silent) or not self._is_mine(found):
            what = f"the lease in {self._store.name} was removed"
            if found:
                what = f"{_who(found)} took over {self._store.name}"
            raise LeaseLost(f"{what}; this sweep stops", lasting=True)
        self._looked_seconds = began

    def _is_mine(self, found: Mapping[str, Any]) -> bool:
        """Whether a lease is this driver's. Where it is that of the driver that had been silent, this one's is written
        again, which must be done before the other one looks a second time.
        """
        if found.get("owner") == self.owner:
            return True
        last = self._renewed_seconds + self._times.silent_seconds / 2
        if now_seconds() < last:
            self._write()
        return now_seconds() < last

    def _look_again(self) -> None:
        """Waits for a driver that may have taken the run over, and looks whether there was one."""
        until = now_seconds() + self._times.silent_seconds / 2
        while now_seconds() < until:
            time.sleep(self._times.look_seconds)
            self._refuse_released()
            self._check()
        if self._owner_of_manifest() not in (self.owner, self._manifest_owner):
            raise LeaseLost(f"another driver went on with {self._store.name}; this sweep stops", lasting=True)

    def _owner_of_manifest(self) -> str:
        manifest = Manifest.read(self._store)
        return "" if manifest is None else manifest.owner

    def _read(self) -> dict[str, Any] | None:
        content = self._store.read(LEASE)
        if content is None:
            return None
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        return found if isinstance(found, dict) else {}

    def _write(self) -> None:
        self._renewals += 1
        began = now_seconds()
        who = {"owner": self.owner, "host": socket.gethostname(), "process": os.getpid(), "renewals": self._renewals}
        self._store.write(LEASE, json.dumps(who).encode())
        self._renewed_seconds = began


def now_seconds() -> float:
    """The time by a clock that goes on while the machine sleeps, which a monotonic one does not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _who(found: dict[str, Any]) -> str:
    return f"process {found.get('process')} of host {shortened(str(found.get('host')), LONGEST_HOST)}"
