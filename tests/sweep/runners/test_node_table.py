"""What Ray tells of the nodes of a cluster. Nothing here starts Ray."""

import socket

from sweep.runners.ray.node_table import host_name, host_names, is_lost


def test_a_node_is_lost_where_ray_says_so_or_where_it_takes_no_connection_any_more(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as raylet:
        at = {"NodeManagerAddress": "127.0.0.1", "NodeManagerPort": raylet.getsockname()[1]}
        nodes = [{"NodeID": "a", "Alive": False, **at}, {"NodeID": "b", "Alive": True, **at}]
        monkeypatch.setattr("ray.nodes", lambda: nodes)
        assert [is_lost(node) for node in ("a", "b", "never there")] == [True, False, True]
    assert is_lost("b")


def test_a_node_has_its_hosts_name_unless_another_host_has_it_too(monkeypatch):
    hosts = {"a1": ("h", "n1", True), "b2": ("w", "n2", True), "c3": ("w", "n3", True), "d4": ("h", "n4", False)}
    nodes = [
        {"NodeID": node, "NodeManagerHostname": host, "NodeName": name, "Alive": alive}
        for node, (host, name, alive) in hosts.items()
    ]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    assert host_names() == {"a1": "h", "b2": "n2", "c3": "n3", "d4": "n4"}
    assert [host_name(node) for node in ("a1", "b2", "c3", "0123456789")] == ["h", "n2", "n3", "01234567"]
