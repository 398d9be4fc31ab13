"""Copier: copies a run to its store in a thread, so that training never waits for the store."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from gan_core.files.object_store import StoreError
from sweep.ledger.endings import PlaceError, described
from sweep.storage.lease import Lease, LeaseLost
from sweep.storage.mirror import Mirror


@dataclass(frozen=True)
class CopierTimes:
    """pause_seconds: between two copies, and so how much a lost machine loses. notice_seconds: after which a person is
    told that the store does not answer. outage_seconds: after which the sweep ends: the machine is costly, may be lent,
    and what it trains from then on might be lost with it. first_wait_seconds, longest_wait_seconds: between two tries.
    """

    pause_seconds: float = 10.0
    notice_seconds: float = 30.0
    outage_seconds: float = 3600.0
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 30.0


class Copier:
    """Copies what changes until it is told to finish. Failures are tried again, with waits that grow."""

    def __init__(
        self,
        mirror: Mirror,
        lease: Lease,
        name: str,
        say: Callable[[str], None],
        on_first: Callable[[], None],
        times: CopierTimes | None = None,
    ) -> None:
        """say: told what a person should know. on_first: called after the first copy."""
        self._mirror, self._lease, self._name, self._say = mirror, lease, name, say
        self._on_first: Callable[[], None] | None = on_first
        self._times = times or CopierTimes()
        self._failing_since: float | None = None
        self._told, self._why, self._ended = False, "", False
        self._fault: Exception | None = None
        self._closing, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="copier", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises LeaseLost if another driver took the run, PlaceError after an outage that is too long."""
        if self._fault is not None:
            raise self._fault
        since = self._failing_since
        if since is not None and time.monotonic() - since > self._times.outage_seconds:
            minutes = self._times.outage_seconds / 60
            raise PlaceError.because(f"for {minutes:.0f} minutes nothing could be copied: {self._why}")

    def finish(self, seconds: float) -> str:
        """Copies what is left, for at most this long. Returns "", or in words what is not in the store and why."""
        self._closing.set()
        self._wake.set()
        self._thread.join(seconds)
        if self._ended:
            return ""
        count, size = self._mirror.missing()
        reason = str(self._fault or self._why) or "the time was too short"
        return f"{count} file{'' if count == 1 else 's'} ({size / 1e6:.1f} MB) not in {self._name} yet: {reason}"

    def _work(self) -> None:
        """The thread."""
        try:
            while not self._ended:
                self._wake.wait(self._try())
                self._wake.clear()
        except Exception as error:  # nobody sees what a thread raises: `check` raises it in that of the sweep
            self._fault = error

    def _try(self) -> float:
        """Copies once. Returns the seconds until the next try."""
        closing = self._closing.is_set()
        try:
            self._lease.hold()
            self._mirror.copy()
        except LeaseLost:
            raise
        except (StoreError, OSError) as error:
            return self._note_failure(error)
        if self._on_first is not None:
            self._on_first()
            self._on_first = None
        if self._told:
            self._say(f"{self._name} answers again, and has all that was reported")
        self._failing_since, self._told, self._why = None, False, ""
        self._ended = closing
        return 0.0 if closing or self._closing.is_set() else self._times.pause_seconds

    def _note_failure(self, error: Exception) -> float:
        now = time.monotonic()
        self._why = str(error) if isinstance(error, StoreError) else described(error)
        if self._failing_since is None:
            self._failing_since = now
        failing = now - self._failing_since
        lasting = isinstance(error, StoreError) and error.lasting
        if not self._told and (lasting or failing >= self._times.notice_seconds):
            self._told = True
            minutes = self._times.outage_seconds / 60
            self._say(f"{self._why}; the sweep goes on, and for {minutes:.0f} minutes it is tried again")
        return min(max(self._times.first_wait_seconds, failing / 4), self._times.longest_wait_seconds)
