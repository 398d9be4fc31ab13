"""How many cohorts fit the nodes of a cluster at once."""

from typing import Any

import pytest

from gan_core.config.input_error import InputError
from sweep.runners.ray.slots import LOOK_SECONDS, Slots, cohorts_at_once, host_name, is_lost, refuse_unfit, share
from sweep.spec.resources import Resources


@pytest.mark.parametrize(
    ("gpus", "node", "expected"),
    [
        ("auto", {"CPU": 2.0}, (2, {"cpu": 1.0, "gpu": 0.0})),
        ("auto", {"CPU": 16.0, "GPU": 3.0}, (3, {"cpu": 1.0, "gpu": 1.0})),
        (0.25, {"CPU": 16.0, "GPU": 2.0}, (8, {"cpu": 1.0, "gpu": 0.25})),
        (0.3, {"CPU": 16.0, "GPU": 2.0}, (6, {"cpu": 1.0, "gpu": 0.3})),  # fractions do not tile over two GPUs
        (2, {"CPU": 16.0, "GPU": 5.0}, (2, {"cpu": 1.0, "gpu": 2.0})),
        (0, {"CPU": 4.0, "GPU": 1.0}, (4, {"cpu": 1.0, "gpu": 0.0})),
        (1, {"CPU": 2.0, "GPU": 5.0}, (2, {"cpu": 1.0, "gpu": 1.0})),
    ],
)
def test_cohorts_fill_a_node(gpus, node, expected):
    each = share(Resources(gpus), [node])
    assert (cohorts_at_once(each, [node]), each) == expected
    assert cohorts_at_once(each, [node, {"CPU": 0.0}, node]) == 2 * expected[0]


@pytest.mark.parametrize(
    ("resources", "nodes", "says"),
    [
        (Resources(2), [{"CPU": 8.0, "GPU": 1.0}], "gpus_per_cohort asks for 2, and the cluster has 1 in all; lower"),
        (
            Resources(0, 3),
            [{"CPU": 1.0}, {"CPU": 2.0}],
            "cpus_per_cohort asks for 3, and the cluster has 3 in all, 2 on its largest node; lower it",
        ),
        (Resources("auto", 4), [{"CPU": 8.0}, {"CPU": 1.0, "GPU": 1.0}], "4 CPUs and 1 GPUs, and no node .* has both"),
        (Resources(), [], "cpus_per_cohort asks for 1, and the cluster has 0 in all"),
    ],
)
def test_what_fits_no_single_node_is_refused_in_one_line(resources, nodes, says):
    with pytest.raises(InputError, match=says):
        refuse_unfit(share(resources, nodes), nodes)


def test_what_fits_one_node_is_not_refused():
    assert refuse_unfit({"cpu": 2.0, "gpu": 0.0}, [{"CPU": 1.0}, {"CPU": 2.0}]) is None


def test_slots_follow_the_nodes_that_are_alive(monkeypatch):
    nodes: list[dict[str, Any]] = [{"NodeID": "a", "Alive": True, "Resources": {"CPU": 2.0}}]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    now = [100.0]
    monkeypatch.setattr("sweep.runners.ray.slots.time.monotonic", lambda: now[0])
    slots = Slots({"cpu": 1.0, "gpu": 0.0})
    assert slots() == 2
    nodes.append({"NodeID": "b", "Alive": True, "Resources": {"CPU": 3.0}})
    assert slots() == 2  # it was looked a moment ago
    now[0] += LOOK_SECONDS
    assert slots() == 5
    nodes[0]["Alive"] = False
    now[0] += LOOK_SECONDS
    assert slots() == 3
    assert [is_lost(node) for node in ("a", "b", "never there")] == [True, False, True]


def test_a_node_has_its_hosts_name_unless_another_host_has_it_too(monkeypatch):
    hosts = {"a1": ("h", "n1", True), "b2": ("w", "n2", True), "c3": ("w", "n3", True), "d4": ("h", "n4", False)}
    nodes = [
        {"NodeID": node, "NodeManagerHostname": host, "NodeName": name, "Alive": alive}
        for node, (host, name, alive) in hosts.items()
    ]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    assert [host_name(node) for node in ("a1", "b2", "c3", "0123456789")] == ["h", "n2", "n3", "01234567"]
