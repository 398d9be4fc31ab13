"""What each cohort is given of a node of a Ray cluster, how many cohorts fit, and what is said where none does."""

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gan_core.config.input_error import InputError
from sweep.runners.ray.node_table import host_name
from sweep.spec.labels import NODE_LABEL, has_label, has_labels
from sweep.spec.resources import KEYS_OF_RAY, Resources

AVOIDED = "avoided"  # key of a Tune trial's configuration: ids of the nodes that are not to train it
GB = 10**9
ROUNDING = 1e-9  # by which a quotient of resources may lie below the whole number that it stands for


@dataclass(frozen=True)
class Share:
    """What each cohort is given. gpus: below 1 for a part of one. memory_bytes: of the host. custom: Ray's name of a
    resource -> how much of it. labels: name -> what the label of its node must be (`check_wanted_labels`).

    Nodes are those of `ray.nodes()`.
    """

    cpus: float
    gpus: float
    memory_bytes: int = 0
    custom: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, resources: Resources, nodes: Sequence[Mapping[str, Any]]) -> "Share":
        """The share that a spec asks for. nodes: those that there are, by which `auto` is decided."""
        each = cls(
            cpus=float(resources.cpus_per_cohort),
            gpus=0.0,
            memory_bytes=round(resources.memory_gb * GB),
            custom=dict(resources.custom),
            labels=dict(resources.labels),
        )
        gpus = resources.gpus_per_cohort
        if gpus == "auto":
            there = any(node["Resources"].get("GPU", 0.0) >= 1 for node in nodes if each.suits(node))
            gpus = 1.0 if there or resources.wait_for.gpus >= 1 else 0.0
        return cls(**{**vars(each), "gpus": float(gpus)})

    @property
    def bundle(self) -> dict[str, float]:
        """The share in Ray's words, without labels."""
        all_of_it = {"GPU": self.gpus, "CPU": self.cpus, "memory": float(self.memory_bytes), **self.custom}
        return {name: amount for name, amount in all_of_it.items() if amount}

    @property
    def words(self) -> str:
        """The share for people."""
        labels = [f"{name}: {wanted}" for name, wanted in self.labels.items()]
        return ", ".join([_words(name, amount) for name, amount in self.bundle.items()] + labels)

    def suits(self, node: Mapping[str, Any]) -> bool:
        """Whether a node has the labels that are asked for."""
        return has_labels(node.get("Labels", {}), self.labels)

    def fits(self, node: Mapping[str, Any]) -> int:
        """How many cohorts fit a node at once."""
        return self.fits_in(node["Resources"]) if self.suits(node) else 0

    def fits_in(self, totals: Mapping[str, float]) -> int:
        """How many cohorts fit so much of each resource on one node."""
        return min(self._parts(name, amount, totals.get(name, 0.0)) for name, amount in self.bundle.items())

    def _parts(self, name: str, amount: float, total: float) -> int:
        if name == "GPU" and amount < 1:  # fractions do not tile over two GPUs
            return math.floor(1 / amount + ROUNDING) * math.floor(total)
        return math.floor(total / amount + ROUNDING)


def cohorts_at_once(each: Share, nodes: Sequence[Mapping[str, Any]]) -> int:
    """How many cohorts fit these nodes. A cohort is trained on one node."""
    return sum(map(each.fits, nodes))


def beginning(each: Share, free: Mapping[str, float]) -> str:
    """What is done first. each: what a cohort is given; free: how much of each resource is free on the whole cluster,
    before this sweep takes any.
    """
    if each.fits_in(free):
        return "starting the processes that train"
    return f"waiting until other work on this cluster frees {each.words} for a cohort"


def refuse_unfit(each: Share, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Raises InputError where no node has room for a cohort."""
    if not cohorts_at_once(each, nodes):
        raise InputError(
            f"{why_unfit(each, nodes)}; ask for less, give another cluster with --address, or say with "
            "resources.wait_for what the cluster will have"
        )


def why_unfit(each: Share, nodes: Sequence[Mapping[str, Any]]) -> str:
    """In words why none of these nodes has room for a cohort, with the name of the largest that has the labels."""
    suited = [node for node in nodes if each.suits(node)]
    if not nodes:
        return f"a cohort asks for {each.words}, and the cluster has no node"
    if not suited:
        return _unlabelled(each.labels, [node.get("Labels", {}) for node in nodes])
    for name, amount in each.bundle.items():
        largest = max(suited, key=lambda node: node["Resources"].get(name, 0.0))
        if (has := largest["Resources"].get(name, 0.0)) < amount:
            key = f"resources.{KEYS_OF_RAY.get(name) or f'custom.{name}'}"
            asks = f"{key}: a cohort asks for {_words(name, amount)}"
            return f"{asks}, and the largest node, {_has(largest, {name: has})}"
    largest = max(suited, key=lambda node: [node["Resources"].get(name, 0.0) for name in each.bundle])
    all_of_it = {name: largest["Resources"].get(name, 0.0) for name in each.bundle}
    return f"a cohort asks for {each.words}, and no node has all of it; the largest, {_has(largest, all_of_it)}"


def _unlabelled(wanted: Mapping[str, str], nodes: Sequence[Mapping[str, str]]) -> str:
    """In words that no node has the labels that are wanted. nodes: the labels of each."""
    nobodys = [name for name, value in wanted.items() if not any(has_label(has, name, value) for has in nodes)]
    name = (nobodys or list(wanted))[0]
    beside = "" if nobodys else " together with the other labels"
    there = ", ".join(sorted({has.get(name, "none") for has in nodes}))
    return f"resources.labels asks for a node with {name}: {wanted[name]}{beside}, and the cluster has none ({there})"


def placed(each: Share) -> Callable[[Mapping[str, Any]], Any]:
    """What each Tune trial is given, by its configuration, as `tune.with_resources` takes it: a node with the labels of
    the share that `AVOIDED` does not name.
    """
    factory = importlib.import_module("ray.tune").PlacementGroupFactory

    def placement(config: Mapping[str, Any]) -> Any:
        avoided = config.get(AVOIDED)
        labels = {**each.labels, **({NODE_LABEL: f"!in({','.join(avoided)})"} if avoided else {})}
        return factory([each.bundle], **({"bundle_label_selector": [labels]} if labels else {}))

    return placement


def _has(node: Mapping[str, Any], amounts: Mapping[str, float]) -> str:
    return f"{host_name(node['NodeID'])}, has {', '.join(_words(name, amount) for name, amount in amounts.items())}"


def _words(name: str, amount: float) -> str:
    if name == "memory":
        return f"{amount / GB:.3g} GB of memory"
    if name in ("CPU", "GPU"):
        return f"{amount:g} {name}{'' if amount == 1 else 's'}"
    return f"{amount:g} of {name}"
