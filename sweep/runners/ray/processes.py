"""Processes: how many are to train cohorts, and what follows when one ends."""

import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from results.store import ResultsError
from sweep.ledger.endings import PlaceError
from sweep.ledger.owners import Held
from sweep.runners.ray.node_table import Loss
from sweep.runners.ray.shares import AVOIDED
from sweep.runners.ray.slots import Slots
from sweep.runners.ray.step_results import ENDING, GIVEN_BACK, NODE, PLACE, WHY

# How often the study starts a cohort again whose process died. Tune itself would give a cohort up at its first death
# where that comes before its first step.
RESTARTS = 2
LOOK_SECONDS = 1.0  # between two looks whether the sweep has ended while all slots are taken


class Processes:
    """As many as there are slots are started; each is a Tune trial, and takes a cohort of the study.

    It takes its cohort when it runs, so that no cohort waits for a process that never starts, and takes the same one
    again where Tune restarts it, as it does after a preemption without a word. The first `early` begin while the
    study's process starts.

    A node on which a process cannot load what all trials need, and has never trained, is not used any more. Where no
    other has room, that ends the sweep, and so do processes that die, one after another, before they have asked for a
    cohort.

    slots: how many cohorts fit the cluster now. loss_of: how the node of this id was lost. wait_for_head: returns
    when Ray's head answers. restore_handlers: sets this program's handlers of signals again. It is called whenever Tune
    asks for a process, because Tune sets a handler of its own when it starts, with which SIGUSR1 would end a sweep as
    if it were finished.
    """

    def __init__(
        self,
        study: Any,
        early: int,
        slots: Slots,
        loss_of: Callable[[str], Loss | None],
        wait_for_head: Callable[[], None],
        restore_handlers: Callable[[], None],
    ) -> None:
        self._ray = importlib.import_module("ray")
        self._study, self._early, self._slots = study, early, slots
        self._loss_of, self._wait_for_head, self._restore_handlers = loss_of, wait_for_head, restore_handlers
        self._live: set[str] = set()  # Tune trials that have not ended
        self._looked_seconds = 0.0
        self.finished = False  # whether nothing is left to train, whatever Tune still waits for
        self._ending: ResultsError | PlaceError | None = None  # with which a process ended the sweep
        self._most = 1  # slots that there were at once
        self._stillborn = 0  # processes in a row that died before they had asked for a cohort
        self.is_barren = False  # whether so many did that the sweep is to end

    def __reduce__(self) -> tuple[Any, ...]:
        """Tune writes what it is given to a file that nobody reads, and what is held here may hold a stream."""
        return object, ()

    def begin(self, name: str) -> dict[str, Any] | None:
        """The configuration of a Tune trial of this name, where another process is to train now; otherwise None. Raises
        as `check` does.
        """
        self._restore_handlers()
        self.check()
        room = self._slots()
        self._most = max(self._most, room)
        if len(self._live) >= room:
            if time.monotonic() - self._looked_seconds >= LOOK_SECONDS:
                self._may_start()
            return None
        if self._early > 0:
            self._early -= 1
        elif not self._may_start():
            return None
        self._live.add(name)
        # Tune keeps each configuration as long as the sweep goes on.
        return {AVOIDED: forbidden} if (forbidden := self._slots.forbidden()) else {}

    def _may_start(self) -> bool:
        """Whether there is a cohort to take now. Notes whether there will be none any more."""
        if self.is_barren:
            return False
        self._looked_seconds = time.monotonic()
        there = self._ray.get(self._study.has_cohort.remote())
        self.finished = not there and not self._ray.get(self._study.is_waiting.remote())
        return there

    def note_end(self, name: str, result: Mapping[str, Any], error: bool) -> None:
        """Told that a Tune trial has ended. result: its last answer. error: whether it raised an error, or died."""
        self._live.discard(name)
        if error or ENDING in result:
            self._wait_for_head()  # a process that ended because the head is lost is no death of a cohort
        unloaded = f"what all trials need does not load ({result.get(WHY)})"
        avoids = NODE in result and self._slots.avoid(result[NODE], unloaded)
        if ENDING in result and not avoids and self._ending is None:
            self._ending = (PlaceError if result[PLACE] else ResultsError)(result[ENDING])
        held = self._ray.get(self._study.held_by.remote(name)) if error or avoids or GIVEN_BACK in result else None
        self._stillborn = self._stillborn + 1 if error and held is None else 0
        if self._stillborn > (RESTARTS + 1) * self._most:
            self.is_barren = self.finished = True
        if held is not None:
            self._note_end_of_owner(held, unloaded if avoids else None, error)

    def _note_end_of_owner(self, held: Held, unloaded: str | None, error: bool) -> None:
        """Tells the study that an owner trains no longer. unloaded: why its node is not used any more, or None."""
        study, node, host = self._study, held.taker.node, held.taker.host
        if unloaded is not None:
            why = f"node {host} is not used any more, because {unloaded}"
            self._ray.get(study.give_back.remote(held.owner, why))
        elif not error:
            self._ray.get(study.give_back.remote(held.owner, f"node {host} was cut off from the driver"))
        elif (loss := self._loss_of(node)) is not None:
            told = study.note_loss if loss is Loss.UNEXPECTED else study.give_back
            self._ray.get(told.remote(held.owner, f"node {host} was lost"))
        else:
            self._ray.get(study.note_death.remote(held.owner, RESTARTS + 1))

    def check(self) -> None:
        """Raises ResultsError or PlaceError when a cohort has ended the sweep. Raised where Tune tells of an end, Tune
        would take it for a failure of that cohort, and start it again.
        """
        if self._ending is not None:
            raise self._ending
