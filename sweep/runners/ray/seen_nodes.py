"""What those who watch a sweep see of the nodes of a cluster."""

from collections.abc import Mapping
from typing import Any

from sweep.ledger.snapshot import SeenNode
from sweep.runners.ray.node_table import host_names, living_nodes
from sweep.runners.ray.shares import Share


def seen_nodes(each: Share, avoided: Mapping[str, str]) -> tuple[SeenNode, ...]:
    """The nodes that are alive, in the order of their names. each: what a cohort is given. avoided: id -> why a node is
    not used.
    """
    names = host_names()
    return tuple(
        sorted(
            SeenNode(names[node["NodeID"]], each.fits(node), _why_unused(node, each, avoided))
            for node in living_nodes()
        )
    )


def _why_unused(node: Mapping[str, Any], each: Share, avoided: Mapping[str, str]) -> str:
    """Why a node is given no cohort, in words; "" where it is."""
    if node["NodeID"] in avoided:
        return avoided[node["NodeID"]]
    if not each.suits(node):
        wanted = ", ".join(f"{name}: {value}" for name, value in each.labels.items())
        return f"its labels are not those of resources.labels ({wanted})"
    return "" if each.fits(node) else f"it is too small for a cohort ({each.words})"
