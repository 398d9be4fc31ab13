"""What Ray tells of the nodes of a cluster: which there are, what they offer, how they are called, which are lost."""

import importlib
import socket
from collections import Counter
from typing import Any

CALL_SECONDS = 3.0  # for a node to take a connection


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


def is_lost(node: str) -> bool:
    """Whether the node of this id is gone. Ray notices that only after some seconds, so it is called too."""
    found = next((one for one in living_nodes() if one["NodeID"] == node), None)
    if found is None:
        return True
    try:
        socket.create_connection((found["NodeManagerAddress"], found["NodeManagerPort"]), CALL_SECONDS).close()
    except OSError:
        return True
    return False
