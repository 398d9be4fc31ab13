"""A look at each node of a cluster before it gets work: what is wrong there is said with the node's name, before a
cohort fails of it.
"""

import importlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gan_core.config.conditions import Conditions
from gan_core.config.version import code_version
from gan_core.files.addresses import is_address
from sweep.cohorts.brought_data import place_of_data
from sweep.runners import look
from sweep.runners.ray.files import Home
from sweep.runners.ray.node_table import draining_nodes, host_names, living_nodes
from sweep.runners.ray.slots import Slots
from sweep.spec.labels import NODE_LABEL

LOOK_SECONDS = 30.0  # for a process to start on a node and to look; those that look for GPUs load torch
GPU_SECONDS = look.TORCH_SECONDS
SKEW_SECONDS = 2.0  # by which a clock may differ before it is worth a word


@dataclass(frozen=True, kw_only=True)
class NodeReport:
    """What was found on a node. node: its name for people; id: Ray's. cpus, gpus, labels: what it offers to Ray. found:
    the answer of `look.look`, empty where none came. trouble: why none came. skew_seconds: by how much at least its
    clock differs from the one here, negative where it is behind.
    """

    node: str
    id: str = ""
    cpus: float
    gpus: float
    labels: Mapping[str, str] = field(default_factory=dict)
    found: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""
    skew_seconds: float = 0.0

    @property
    def line(self) -> str:
        """What was found, in one line."""
        named = [f", {name}: {value}" for name, value in self.labels.items() if name != NODE_LABEL]
        offers = f"node {self.node}: {_count(self.cpus, 'CPU')}, {_count(self.gpus, 'GPU')}{''.join(named)}"
        apart = "" if self.found.get("folder", True) else "; it does not see the run's folder: files are sent"
        apart += "".join(f"; it {why}: data are sent" for why in self.found.get("unread", []))
        return f"{offers}; {self.trouble or described(self.found)}{apart}{self._clock()}"

    def faults(self, code: str) -> list[str]:
        """Why nothing can be trained here by the code of this version, each in words; empty where it can, and where
        nothing would be trained because the node offers no CPU.
        """
        if not self.found or not self.cpus:
            return []
        faults = list(self.found["faults"])
        if self.found["code"] and self.found["code"] != code:
            faults.append(f"it has gan-sweep {self.found['code']}, and the sweep {code}: install the same on both")
        if len(seen := self.found.get("gpus", [])) < self.gpus:
            offered = _count(self.gpus, "GPU")
            faults.append(f"it offers {offered} to Ray, and torch sees {len(seen) or 'none'} there")
        if self.found["missing"]:
            faults.append(f"there is no {', '.join(self.found['missing'])}")
        return faults

    def _clock(self) -> str:
        if abs(self.skew_seconds) < SKEW_SECONDS:
            return ""
        return f"; its clock is {abs(self.skew_seconds):.0f} s {'ahead' if self.skew_seconds > 0 else 'behind'}"


def described(found: Mapping[str, Any]) -> str:
    """What `look.look` found, in one line."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    code = f"gan-sweep {found['code']}" if found["code"] else "no gan-sweep"
    parts = [f"{code}, {versions}"]
    if found["code"]:
        parts.append(f"{found.get('compiler') or 'no C compiler'}, {found.get('isa') or 'no kernels for its CPU'}")
    parts += [f"{name} {size / 2**30:.0f} GiB" for name, size in found.get("gpus", [])]
    return "; ".join(parts)


class Look:
    """A look at nodes of the cluster that this program is connected to, at all of them at once, which begins when this
    is made. nodes: in Ray's words. home: a mark in the run's folder, or None. paths: of data that training reads. gpus:
    whether trainers would use the GPUs that a node offers.
    """

    def __init__(
        self, nodes: Sequence[Mapping[str, Any]], home: Home | None, paths: Sequence[str], *, gpus: bool
    ) -> None:
        ray: Any = importlib.import_module("ray")
        affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        asks_torch = [gpus and node["Resources"].get("GPU", 0) > 0 for node in nodes]
        mark = None if home is None else (str(home.path), home.mark)
        self._ray, self._nodes, self._began_seconds = ray, nodes, time.time()
        self._limit_seconds = LOOK_SECONDS + GPU_SECONDS * any(asks_torch)
        with _travelling(look):
            task = ray.remote(num_cpus=0, max_retries=0)(look.look)
            self._refs = [
                task.options(scheduling_strategy=affinity(node["NodeID"], soft=False)).remote(mark, list(paths), asks)
                for node, asks in zip(nodes, asks_torch, strict=True)
            ]

    def has_ended(self) -> bool:
        """Whether all nodes have answered, or the time for that is over."""
        late = time.time() - self._began_seconds > self._limit_seconds
        return late or len(self._answered(0)) == len(self._refs)

    def reports(self) -> list[NodeReport]:
        """What was found, once all have answered, or after LOOK_SECONDS (GPU_SECONDS more where torch is asked)."""
        seconds = max(0.0, self._limit_seconds - (time.time() - self._began_seconds))
        answered, names = self._answered(seconds), host_names()
        return [
            _report(node, names[node["NodeID"]], ref if ref in answered else None, self._began_seconds)
            for node, ref in zip(self._nodes, self._refs, strict=True)
        ]

    def _answered(self, seconds: float) -> list[Any]:
        return self._ray.wait(self._refs, num_returns=len(self._refs), timeout=seconds)[0]


def paths_read(conditions: Conditions) -> list[str]:
    """The files that each node must have where a cohort trains. A data set is brought to where it is missing; where it
    lies in an object store, that is named too, because a node may have no key.
    """
    place, weights = place_of_data(conditions), conditions.scoring.inception_weights
    return [*([weights] if weights else []), *([place] if place and is_address(place) else [])]


def faulty(reports: Sequence[NodeReport]) -> dict[str, str]:
    """The id of each node that cannot train what it would be given -> its name and why, in one line."""
    code = code_version()
    return {one.id: f"node {one.node}: {'; '.join(faults)}" for one in reports if (faults := one.faults(code))}


class NodeWatch:
    """Follows the nodes of a cluster while a sweep goes on. look: begins a look at nodes. slots: told of those that are
    not to be used.
    """

    def __init__(self, look: Callable[[Sequence[Mapping[str, Any]]], Look], slots: Slots) -> None:
        self._look, self._slots = look, slots
        self._known = self._living()
        self._looks = list[Look]()  # at nodes that have joined
        self._draining = set[str]()

    def changes(self) -> list[str]:
        """In words what has changed since the last call. A node that has joined is looked at, as those that were there
        at the start, and what was found follows in a later call. A node that is being drained is not used any more.
        """
        before, self._known = self._known, self._living()
        lines = [f"node {before[one]} is lost" for one in before.keys() - self._known.keys()]
        draining = draining_nodes() & self._known.keys() - self._draining
        for one in draining:
            self._draining.add(one)
            self._slots.drain(one)
            lines.append(f"node {self._known[one]} is being drained: its cohorts go elsewhere")
        joined = self._known.keys() - before.keys()
        lines += [f"node {self._known[one]} has joined" for one in joined]
        if joined:
            self._looks.append(self._look([node for node in living_nodes() if node["NodeID"] in joined]))
        for one in [one for one in self._looks if one.has_ended()]:
            self._looks.remove(one)
            lines += self._found(one.reports())
        return lines

    def _found(self, reports: Sequence[NodeReport]) -> list[str]:
        faults = faulty(reports)
        for node, fault in faults.items():
            self._slots.avoid(node, fault.partition(": ")[2])
        return [one.line for one in reports] + [unused(line) for line in faults.values()]

    def _living(self) -> dict[str, str]:
        """The id of each node that is alive -> its name."""
        names = host_names()
        return {node["NodeID"]: names[node["NodeID"]] for node in living_nodes()}


def unused(fault: str) -> str:
    """The line about a node with a fault."""
    return f"gan-sweep: warning: {fault}; this node is not used"


def _report(node: Mapping[str, Any], name: str, ref: Any, began_seconds: float) -> NodeReport:
    ray: Any = importlib.import_module("ray")
    of = {"id": node["NodeID"], "node": name}
    has: Mapping[str, float] = node["Resources"]
    offers = {"cpus": has.get("CPU", 0.0), "gpus": has.get("GPU", 0.0), "labels": node["Labels"]}
    if ref is None:
        return NodeReport(**of, **offers, trouble="no answer in time")
    try:
        found = ray.get(ref)
    except ray.exceptions.RayError as error:  # no process starts there, or the node has gone
        cause = getattr(error, "cause", error)
        first = (str(cause) or type(cause).__name__).strip().splitlines()[0]
        return NodeReport(**of, **offers, trouble=f"it cannot be looked at ({first})")
    # The process may have started late, so its clock is known to be off only where it tells a time outside the look.
    skew = max(found["seconds"] - time.time(), 0.0) + min(found["seconds"] - began_seconds, 0.0)
    return NodeReport(**of, **offers, found=found, skew_seconds=skew)


@contextmanager
def _travelling(module: Any) -> Iterator[None]:
    """Within this context the functions of a module are sent as they are, and not by their names, under which a node
    may have others or none.
    """
    pickle = importlib.import_module("ray.cloudpickle")
    pickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        pickle.unregister_pickle_by_value(module)


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}{'s' if number != 1 else ''}" if number else f"no {noun}"
