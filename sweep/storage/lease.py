"""Lease: keeps a second driver from an address, by an object that the first renews.

Stores cannot lock. A driver writes who it is, waits, and reads again; whoever wrote last has the lease. It looks again
before it writes anything, at least every RENEW_SECONDS. Times are compared by the clock of the store alone, or by one
machine's own.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gan_core.config.input_error import shortened
from gan_core.files.object_store import ObjectStore, StoreError
from results.manifest import LEASE

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
        self._renewals, self._looked_seconds, self._released, self._turn = 0, 0.0, False, threading.Lock()

    def take(self, earlier: tuple[str, ...], tell: Callable[[str], None]) -> None:
        """Takes the lease, or raises StoreError: another driver is at work there, or the store cannot be written.

        earlier: the owners on this machine that are known to have ended. A lease of another machine that ended without
        a word is watched until it is renewed, which refuses this driver, or has been silent for long enough.
        """
        store_seconds = self._probe()
        found = self._read()
        if found is not None and found.get("owner") not in earlier:
            self._watch(found, store_seconds, tell)
        self._write()
        time.sleep(self._times.settle_seconds)
        self._check()

    def hold(self) -> None:
        """Looks whether the lease is still this driver's, and renews it, if that was not done for a while. Called
        before each write. Raises LeaseLost, also once it was released: a copy that took too long may be under way yet.
        """
        with self._turn:  # several files are written at the same time
            if self._released:
                raise LeaseLost(f"the lease in {self._store.name} was released", lasting=True)
            # this clock goes on while the machine sleeps, which a monotonic one does not
            if time.clock_gettime(time.CLOCK_BOOTTIME) - self._looked_seconds >= self._times.renew_seconds:
                self._check()
                self._write()

    def release(self) -> None:
        """Lets another driver begin at once. Raises LeaseLost where one has."""
        with self._turn:
            self._released = True
            self._check()
            self._store.delete(LEASE)

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
        found = self._read()
        if found is None or found.get("owner") != self.owner:
            what = f"the lease in {self._store.name} was removed"
            if found:
                what = f"{_who(found)} took over {self._store.name}"
            raise LeaseLost(f"{what}; this sweep stops", lasting=True)
        self._looked_seconds = time.clock_gettime(time.CLOCK_BOOTTIME)

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
        who = {"owner": self.owner, "host": socket.gethostname(), "process": os.getpid(), "renewals": self._renewals}
        self._store.write(LEASE, json.dumps(who).encode())


def _who(found: dict[str, Any]) -> str:
    return f"process {found.get('process')} of host {shortened(str(found.get('host')), LONGEST_HOST)}"
