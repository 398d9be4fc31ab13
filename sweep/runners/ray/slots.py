"""Slots: how many cohorts fit the nodes of a Ray cluster at once, which may change while a sweep goes on."""

import importlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gan_core.config.input_error import InputError
from sweep.ledger.endings import PlaceError
from sweep.runners.ray.node_table import living_nodes
from sweep.spec.resources import Resources, WaitFor

LOOK_SECONDS = 5.0  # between two looks at the nodes
AVOIDED = "avoided"  # key of a Tune trial's configuration: ids of the nodes that are not to train it
NODE_LABEL = "ray.io/node-id"  # which Ray gives each node
MOST_SLOTS = 10_000  # that Tune is told; the searcher decides


def share(resources: Resources, nodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What each cohort is given, in Tune's words. nodes: Ray's totals of each node."""
    wanted = resources.gpus_per_cohort
    some_gpu = resources.wait_for.gpus >= 1 or any(node.get("GPU", 0.0) >= 1 for node in nodes)
    return {
        "cpu": float(resources.cpus_per_cohort),
        "gpu": (1.0 if some_gpu else 0.0) if wanted == "auto" else float(wanted),
    }


def cohorts_at_once(each: Mapping[str, float], nodes: Sequence[Mapping[str, float]]) -> int:
    """How many cohorts fit these nodes. A cohort is trained on one node."""
    return sum(_on_node(each, node) for node in nodes)


def _on_node(each: Mapping[str, float], node: Mapping[str, float]) -> int:
    cpu, gpu, gpus = each["cpu"], each["gpu"], node.get("GPU", 0.0)
    by_gpu = math.floor(1 / gpu + 1e-9) * math.floor(gpus) if 0 < gpu < 1 else math.floor(gpus / gpu) if gpu else None
    by_cpu = math.floor(node.get("CPU", 0.0) / cpu + 1e-9)
    return by_cpu if by_gpu is None else min(by_cpu, by_gpu)


def refuse_unfit(each: Mapping[str, float], nodes: Sequence[Mapping[str, float]]) -> None:
    """Raises InputError where not one node has room for a cohort."""
    if cohorts_at_once(each, nodes):
        return
    for name, unit in (("gpus", "GPU"), ("cpus", "CPU")):
        need, largest = each[unit.lower()], max((node.get(unit, 0.0) for node in nodes), default=0.0)
        if need > largest:
            total = sum(node.get(unit, 0.0) for node in nodes)
            have = f"the cluster has {total:g} in all" + (f", {largest:g} on its largest node" if total >= need else "")
            raise InputError(
                f"resources.{name}_per_cohort asks for {need:g}, and {have}; lower it, give a larger cluster with "
                f"--address, or say with resources.wait_for what the cluster will have"
            )
    raise InputError(
        f"a cohort asks for {each['cpu']:g} CPUs and {each['gpu']:g} GPUs, and no node of the cluster has both; lower "
        f"resources.cpus_per_cohort or gpus_per_cohort, or give a larger cluster with --address"
    )


def placed(each: Mapping[str, float]) -> Callable[[Mapping[str, Any]], Any]:
    """What each Tune trial is given, by its configuration, as `tune.with_resources` takes it: a node that `AVOIDED`
    does not name.
    """
    factory = importlib.import_module("ray.tune").PlacementGroupFactory
    bundle = {"CPU": each["cpu"], **({"GPU": each["gpu"]} if each["gpu"] else {})}

    def placement(config: Mapping[str, Any]) -> Any:
        if not (avoided := config.get(AVOIDED)):
            return factory([bundle])
        return factory([bundle], bundle_label_selector=[{NODE_LABEL: f"!in({','.join(avoided)})"}])

    return placement


class Slots:
    """How many cohorts are to train at once: as many as fit the nodes that there are now, or as fit what is waited for.
    Of the latter Tune asks for what is not there yet, which an autoscaler sees.

    each: what a cohort is given. wait_for: what the cluster will have. tell: is called with a line when it is waited
    for a node with room for a cohort.
    """

    def __init__(self, each: Mapping[str, float], wait_for: WaitFor, tell: Callable[[str], object]) -> None:
        self._each, self._wait_for, self._tell = each, wait_for, tell
        self._awaited = cohorts_at_once(each, [{"CPU": wait_for.cpus, "GPU": wait_for.gpus}])
        self._looked_seconds, self._count = -math.inf, 0
        self._without_seconds: float | None = None  # since when no node has had room
        self.avoided: set[str] = set()  # ids of nodes that are not used

    def __call__(self) -> int:
        """The number, which is at most LOOK_SECONDS old. Raises PlaceError when no node has had room for too long."""
        now = time.monotonic()
        if now - self._looked_seconds >= LOOK_SECONDS:
            there = cohorts_at_once(self._each, self._usable())
            self._count, self._looked_seconds = max(there, self._awaited), now
            self._note_room(there > 0, now)
        return self._count

    def _usable(self) -> list[dict[str, float]]:
        living = living_nodes()
        self.avoided.difference_update(self.avoided - {node["NodeID"] for node in living})  # ids never come again
        return [node["Resources"] for node in living if node["NodeID"] not in self.avoided]

    def avoid(self, node: str) -> bool:
        """Uses a node no more. Returns whether another one has room for a cohort."""
        self.avoided.add(node)
        self._looked_seconds = -math.inf
        return cohorts_at_once(self._each, self._usable()) > 0

    def _note_room(self, there: bool, now: float) -> None:
        room = f"a node with room for a cohort ({self._each['cpu']:g} CPUs, {self._each['gpu']:g} GPUs)"
        minutes = self._wait_for.minutes
        if there:
            self._without_seconds = None
        elif self._without_seconds is None:
            self._without_seconds = now
            self._tell(f"waiting for {room}, up to {minutes:g} minutes")
        elif now - self._without_seconds > 60 * minutes:
            raise PlaceError.because(f"{room} was waited for in vain for {minutes:g} minutes")
