"""What Ray tells of the nodes of a cluster: which there are, what they offer, how they are called, which are lost."""

import importlib
import socket
from collections import Counter
from collections.abc import Mapping
from enum import Enum
from typing import Any

# Numbers of Ray's NodeDeathInfo.Reason: it ended by itself, was preempted, or was idle. The others are 0, unknown, and
# 2, unexpected.
ANNOUNCED = (1, 3, 4)
CALL_SECONDS = 3.0  # for a node to take a connection


class Loss(Enum):
    """How a node was lost."""

    ANNOUNCED = "it was drained, or ended by itself"
    UNEXPECTED = "it died, or was cut off"


def node_table() -> list[dict[str, Any]]:
    """Ray's table of all nodes that there are and were, in Ray's words."""
    return importlib.import_module("ray").nodes()


def living_nodes() -> list[dict[str, Any]]:
    """Those that Ray takes for alive."""
    return [node for node in node_table() if node["Alive"]]


def host_names() -> dict[str, str]:
    """The id of each node -> its name for people: its host name, or the name by which it was started where another
    node, which is alive, is on a host of that name.
    """
    nodes = node_table()
    living = Counter(node["NodeManagerHostname"] for node in nodes if node["Alive"])
    names = {}
    for node in nodes:
        host = node["NodeManagerHostname"]
        names[node["NodeID"]] = host if living[host] <= node["Alive"] else node["NodeName"]
    return names


def host_name(node: str) -> str:
    """The name for people of the node of this id."""
    return host_names().get(node, node[:8])


def loss_of(node: str) -> Loss | None:
    """How the node of this id was lost; None where it is there. Ray notices a loss only after some seconds, so the node
    is called too.
    """
    found = next((one for one in node_table() if one["NodeID"] == node), None)
    if found is not None and found["Alive"] and _takes_connections(found):
        return None
    announced = (found is not None and found.get("DeathReason") in ANNOUNCED) or node in draining_nodes()
    return Loss.ANNOUNCED if announced else Loss.UNEXPECTED


def draining_nodes() -> set[str]:
    """The ids of the nodes that are to be taken away soon, as a cloud announces it to Ray or a person does by `ray
    drain-node`. No public call of Ray tells that; Ray Train asks as here. Where a version of Ray has no such call, or
    its head does not answer, none is known, and what was trained since the last checkpoint is trained again.
    """
    ray = importlib.import_module("ray")
    try:
        return set(importlib.import_module("ray._private.state").state.get_draining_nodes())
    except (ImportError, AttributeError, ray.exceptions.RayError):
        return set()


def _takes_connections(node: Mapping[str, Any]) -> bool:
    try:
        socket.create_connection((node["NodeManagerAddress"], node["NodeManagerPort"]), CALL_SECONDS).close()
    except OSError:
        return False
    return True
