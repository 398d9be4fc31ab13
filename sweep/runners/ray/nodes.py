"""A look at each node of a cluster before it gets work: what is wrong there is said with the node's name, before a
cohort fails of it.
"""

import importlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gan_core.config.conditions import Conditions
from gan_core.config.input_error import InputError
from gan_core.config.version import code_version
from sweep.runners import look
from sweep.runners.ray.files import Home
from sweep.runners.ray.node_table import host_names, living_nodes

LOOK_SECONDS = 30.0  # for a process to start on a node and to look; those that look for GPUs load torch
GPU_SECONDS = look.TORCH_SECONDS
SKEW_SECONDS = 2.0  # by which a clock may differ before it is worth a word


@dataclass(frozen=True, kw_only=True)
class NodeReport:
    """What was found on a node. node: its name for people. cpus, gpus: what it offers to Ray. found: the answer
    of `look.look`, empty where none came. trouble: why none came. skew_seconds: by how much at least its clock differs
    from the one here, negative where it is behind.
    """

    node: str
    cpus: float
    gpus: float
    found: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""
    skew_seconds: float = 0.0

    @property
    def line(self) -> str:
        """What was found, in one line."""
        offers = f"node {self.node}: {_count(self.cpus, 'CPU')}, {_count(self.gpus, 'GPU')}"
        apart = "" if self.found.get("folder", True) else "; it does not see the run's folder: files are sent"
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


def look_at_nodes(home: Home | None, paths: Sequence[str], *, gpus: bool) -> list[NodeReport]:
    """Looks at every node of the cluster that this program is connected to, at all of them at once, for at most
    LOOK_SECONDS (GPU_SECONDS more where torch is asked). home: a mark in the run's folder, or None. paths: of data that
    training reads. gpus: whether trainers would use the GPUs that a node offers.
    """
    ray: Any = importlib.import_module("ray")
    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    nodes, names = living_nodes(), host_names()
    asks_torch = [gpus and node["Resources"].get("GPU", 0) > 0 for node in nodes]
    began, mark = time.time(), None if home is None else (str(home.path), home.mark)
    with _travelling(look):
        task = ray.remote(num_cpus=0, max_retries=0)(look.look)
        refs = [
            task.options(scheduling_strategy=affinity(node["NodeID"], soft=False)).remote(mark, list(paths), asks)
            for node, asks in zip(nodes, asks_torch, strict=True)
        ]
        limit = LOOK_SECONDS + GPU_SECONDS * any(asks_torch)
        ended, _ = ray.wait(refs, num_returns=len(refs), timeout=limit)
    return [
        _report(node, names[node["NodeID"]], ref if ref in ended else None, began, limit)
        for node, ref in zip(nodes, refs, strict=True)
    ]


def paths_read(conditions: Conditions) -> list[str]:
    """The files that each node must have where a cohort trains. A data set is brought to where it is missing."""
    return [conditions.scoring.inception_weights] if conditions.scoring.inception_weights else []


def refuse_faulty(reports: Sequence[NodeReport]) -> None:
    """Raises InputError, in one line, where a node cannot train what it would be given."""
    code = code_version()
    faulty = [f"node {one.node}: {'; '.join(faults)}" for one in reports if (faults := one.faults(code))]
    if faulty:
        raise InputError(f"nothing was started, because of {' | '.join(faulty)}")


class NodeWatch:
    """Tells which nodes a cluster loses and gains."""

    def __init__(self) -> None:
        self._known = self._living()

    def changes(self) -> list[str]:
        """In words what has changed since the last call."""
        now = self._living()
        before, self._known = self._known, now
        lost = [f"node {before[one]} is lost" for one in before.keys() - now.keys()]
        return lost + [f"node {now[one]} has joined" for one in now.keys() - before.keys()]

    def _living(self) -> dict[str, str]:
        """The id of each node that is alive -> its name."""
        names = host_names()
        return {node["NodeID"]: names[node["NodeID"]] for node in living_nodes()}


def _report(node: Mapping[str, Any], name: str, ref: Any, began: float, limit: float) -> NodeReport:
    ray: Any = importlib.import_module("ray")
    offers = {"cpus": node["Resources"].get("CPU", 0.0), "gpus": node["Resources"].get("GPU", 0.0)}
    if ref is None:
        return NodeReport(node=name, **offers, trouble=f"no answer within {limit:g} s")
    try:
        found = ray.get(ref)
    except ray.exceptions.RayError as error:  # no process starts there, or the node has gone
        cause = getattr(error, "cause", error)
        first = (str(cause) or type(cause).__name__).strip().splitlines()[0]
        return NodeReport(node=name, **offers, trouble=f"it cannot be looked at ({first})")
    # The process may have started late, so its clock is known to be off only where it tells a time outside the look.
    skew = max(found["seconds"] - time.time(), 0.0) + min(found["seconds"] - began, 0.0)
    return NodeReport(node=name, **offers, found=found, skew_seconds=skew)


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
