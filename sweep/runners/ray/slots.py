"""Slots: how many cohorts fit the nodes of a Ray cluster at once, which may change while a sweep goes on."""

import importlib
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gan_core.config.input_error import InputError
from sweep.spec.resources import Resources

LOOK_SECONDS = 5.0  # between two looks at the nodes
MOST_SLOTS = 10_000  # that Tune is told; the searcher decides


def share(resources: Resources, nodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What each cohort is given, in Tune's words. nodes: Ray's totals of each node."""
    wanted = resources.gpus_per_cohort
    some_gpu = any(node.get("GPU", 0.0) >= 1 for node in nodes)
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
                f"resources.{name}_per_cohort asks for {need:g}, and {have}; lower it, or give a larger cluster with "
                f"--address"
            )
    raise InputError(
        f"a cohort asks for {each['cpu']:g} CPUs and {each['gpu']:g} GPUs, and no node of the cluster has both; lower "
        f"resources.cpus_per_cohort or gpus_per_cohort, or give a larger cluster with --address"
    )


class Slots:
    """How many cohorts fit the cluster now. each: what a cohort is given."""

    def __init__(self, each: Mapping[str, float]) -> None:
        self._each, self._looked_seconds, self._count = each, -math.inf, 0

    def __call__(self) -> int:
        """The number, which is at most LOOK_SECONDS old."""
        now = time.monotonic()
        if now - self._looked_seconds >= LOOK_SECONDS:
            self._count, self._looked_seconds = cohorts_at_once(self._each, living_nodes()), now
        return self._count


def living_nodes() -> list[dict[str, float]]:
    """Ray's totals of each node that is alive."""
    return [node["Resources"] for node in _nodes() if node["Alive"]]


def is_lost(node: str) -> bool:
    """Whether the node of this id is not alive."""
    return all(found["NodeID"] != node or not found["Alive"] for found in _nodes())


def host_name(node: str) -> str:
    """The name of a node for people: its host name, or the name by which it was started where hosts share one."""
    nodes = {found["NodeID"]: found for found in _nodes()}
    if node not in nodes:
        return node[:8]
    hosts = [found["NodeManagerHostname"] for found in nodes.values() if found["Alive"] or found["NodeID"] == node]
    host = nodes[node]["NodeManagerHostname"]
    return host if hosts.count(host) == 1 else nodes[node]["NodeName"]


def _nodes() -> list[dict[str, Any]]:
    return importlib.import_module("ray").nodes()
