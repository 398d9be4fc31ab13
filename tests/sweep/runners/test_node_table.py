"""What Ray tells of the nodes of a cluster. Nothing here starts Ray."""

import socket

from sweep.runners.ray.node_table import Loss, host_name, host_names, loss_of


def test_a_node_is_lost_where_ray_says_so_or_where_it_takes_no_connection_any_more(monkeypatch):
    """What was drained, or ended by itself, was announced."""
    with socket.create_server(("127.0.0.1", 0)) as raylet:
        at = {"NodeManagerAddress": "127.0.0.1", "NodeManagerPort": raylet.getsockname()[1], "DeathReason": 0}
        nodes = [{"NodeID": str(reason), "Alive": False, **at, "DeathReason": reason} for reason in range(5)]
        nodes.append({"NodeID": "there", "Alive": True, **at})
        monkeypatch.setattr("ray.nodes", lambda: nodes)
        draining = set[str]()
        monkeypatch.setattr("sweep.runners.ray.node_table.draining_nodes", lambda: draining)
        assert [one for one in "01234" if loss_of(one) is Loss.ANNOUNCED] == ["1", "3", "4"]
        assert [loss_of(one) for one in ("0", "2", "never")] == [Loss.UNEXPECTED] * 3
        assert loss_of("there") is None
    assert loss_of("there") is Loss.UNEXPECTED
    draining.add("there")  # Ray has not noticed yet that it is gone
    assert loss_of("there") is Loss.ANNOUNCED


def test_a_node_has_its_hosts_name_unless_another_host_has_it_too(monkeypatch):
    hosts = {"a1": ("h", "n1", True), "b2": ("w", "n2", True), "c3": ("w", "n3", True), "d4": ("h", "n4", False)}
    nodes = [
        {"NodeID": node, "NodeManagerHostname": host, "NodeName": name, "Alive": alive}
        for node, (host, name, alive) in hosts.items()
    ]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    assert host_names() == {"a1": "h", "b2": "n2", "c3": "n3", "d4": "n4"}
    assert [host_name(node) for node in ("a1", "b2", "c3", "0123456789")] == ["h", "n2", "n3", "01234567"]
