"""Slots: how many cohorts fit the nodes of a Ray cluster at once, which may change while a sweep goes on."""

import math
import time
from collections.abc import Callable
from typing import Any

from sweep.ledger.endings import PlaceError
from sweep.ledger.snapshot import SeenNode
from sweep.runners.ray.node_table import living_nodes
from sweep.runners.ray.seen_nodes import seen_nodes
from sweep.runners.ray.shares import Share, cohorts_at_once, why_unfit
from sweep.spec.resources import WaitFor

LOOK_SECONDS = 5.0  # between two looks at the nodes
MOST_SLOTS = 10_000  # that Tune is told; the searcher decides


class Slots:
    """How many cohorts are to train at once: as many as fit the nodes that there are now, or as fit what is waited for.
    Of the latter Tune asks for what is not there yet, which an autoscaler sees.

    each: what a cohort is given. wait_for: what the cluster will have. tell: is called with a line when it is waited
    for a node with room for a cohort.
    """

    def __init__(self, each: Share, wait_for: WaitFor, tell: Callable[[str], object]) -> None:
        self._each, self._wait_for, self._tell = each, wait_for, tell
        awaited = Share(each.cpus, each.gpus)  # what will come is taken to have the labels and all the rest
        self._awaited = awaited.fits_in({"CPU": wait_for.cpus, "GPU": wait_for.gpus})
        self._looked_seconds, self._count = -math.inf, 0
        self._without_seconds: float | None = None  # since when no node has had room
        self.avoided: dict[str, str] = {}  # id of a node that is not used -> why
        self._drained: set[str] = set()  # those of them on which Ray itself starts nothing

    def __call__(self) -> int:
        """The number, which is at most LOOK_SECONDS old. Raises PlaceError when no node has had room for too long."""
        now = time.monotonic()
        if now - self._looked_seconds >= LOOK_SECONDS:
            there = cohorts_at_once(self._each, self._usable())
            self._count, self._looked_seconds = max(there, self._awaited), now
            self._note_room(there > 0, now)
        return self._count

    def _usable(self) -> list[dict[str, Any]]:
        living = living_nodes()
        for node in self.avoided.keys() - {node["NodeID"] for node in living}:
            self.avoided.pop(node, None)  # ids never come again
        return [node for node in living if node["NodeID"] not in self.avoided]

    def avoid(self, node: str, why: str) -> bool:
        """Uses a node no more. Returns whether another one has room for a cohort. why: in words."""
        self.avoided[node] = why
        self._looked_seconds = -math.inf
        return cohorts_at_once(self._each, self._usable()) > 0

    def drain(self, node: str) -> None:
        """Uses a node no more, because it is being drained."""
        self._drained.add(node)
        self.avoid(node, "it is being drained")

    def forbidden(self) -> list[str]:
        """The ids of the nodes on which Ray may start no process. Of those that are drained it knows itself; named here
        too, they would make Tune start all processes anew, because it reuses one only for the same demand.
        """
        return sorted(self.avoided.keys() - self._drained)

    def seen(self) -> tuple[SeenNode, ...]:
        """The nodes that there are, in the order of their names, and why those are given no cohort that are not."""
        return seen_nodes(self._each, self.avoided)

    def _note_room(self, there: bool, now: float) -> None:
        room = f"a node with room for a cohort ({self._each.words})"
        minutes = self._wait_for.minutes
        if there:
            self._without_seconds = None
        elif self._without_seconds is None:
            self._without_seconds = now
            why = f": {why_unfit(self._each, nodes)}" if (nodes := self._usable()) else ""
            self._tell(f"waiting for {room}, up to {minutes:g} minutes{why}")
        elif now - self._without_seconds > 60 * minutes:
            raise PlaceError.because(f"{room} was waited for in vain for {minutes:g} minutes")
