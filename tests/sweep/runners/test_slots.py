"""How many cohorts fit the nodes of a cluster at once."""

from typing import Any

import pytest
from events import Clock

from sweep.ledger.endings import PlaceError
from sweep.ledger.snapshot import SeenNode
from sweep.runners.ray.shares import Share
from sweep.runners.ray.slots import LOOK_SECONDS, Slots
from sweep.spec.resources import Resources, WaitFor


def test_slots_follow_the_nodes_that_are_alive(monkeypatch):
    nodes: list[dict[str, Any]] = [{"NodeID": "a", "Alive": True, "Resources": {"CPU": 2.0}}]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    clock = Clock()
    monkeypatch.setattr("sweep.runners.ray.slots.time", clock)
    slots = Slots(Share(1.0, 0.0), WaitFor(), list().append)
    assert slots() == 2
    nodes.append({"NodeID": "b", "Alive": True, "Resources": {"CPU": 3.0}})
    assert slots() == 2  # it was looked a moment ago
    clock.seconds += LOOK_SECONDS
    assert slots() == 5
    nodes[0]["Alive"] = False
    clock.seconds += LOOK_SECONDS
    assert slots() == 3


def test_what_is_waited_for_is_asked_for_and_its_bound_is_kept(monkeypatch):
    """Also where the last node with room is lost in the middle of a sweep."""
    nodes: list[dict[str, Any]] = []
    clock, said = Clock(), list[str]()
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    monkeypatch.setattr("sweep.runners.ray.slots.time", clock)
    resources = Resources(wait_for=WaitFor(cpus=4, gpus=2, minutes=2))
    each = Share.of(resources, [])
    assert (each.cpus, each.gpus) == (1.0, 1.0)  # `auto` means what is waited for
    slots = Slots(each, resources.wait_for, said.append)
    line = "waiting for a node with room for a cohort (1 GPU, 1 CPU), up to 2 minutes"
    assert (slots(), said) == (2, [line])
    clock.seconds += 119
    nodes.append({"NodeID": "a", "Alive": True, "Resources": {"CPU": 9.0, "GPU": 3.0}})
    assert (slots(), said) == (3, [line])
    nodes[0]["Alive"] = False
    clock.seconds += 119
    assert (slots(), said) == (2, [line, line])
    clock.seconds += 121
    with pytest.raises(PlaceError, match=r"room for a cohort \(1 GPU, 1 CPU\) was waited for in vain for 2 minutes"):
        slots()


def test_a_node_that_is_avoided_has_no_room_and_is_not_asked(monkeypatch):
    nodes = [{"NodeID": node, "Alive": True, "Resources": {"CPU": cpus}} for node, cpus in (("a", 2.0), ("b", 3.0))]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    nodes[0]["Resources"]["GPU"] = nodes[1]["Resources"]["GPU"] = 1.0
    slots = Slots(Share(1.0, 0.5), WaitFor(), list().append)
    assert slots() == 4
    assert slots.avoid("a", "it is broken")
    assert slots() == 2
    assert not slots.avoid("b", "it is, too")
    assert (slots(), slots.avoided) == (0, {"a": "it is broken", "b": "it is, too"})


def test_on_a_node_that_is_drained_nothing_is_counted_and_ray_itself_starts_nothing(monkeypatch):
    living = [{"NodeID": node, "Alive": True, "Resources": {"CPU": 2.0}, "Labels": {}} for node in "abc"]
    nodes = list(living)
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    slots = Slots(Share(1.0, 0.0), WaitFor(), list().append)
    slots.drain("a")
    assert (slots(), slots.forbidden()) == (4, [])
    slots.avoid("b", "it is broken")
    assert (slots(), slots.forbidden(), list(slots.avoided)) == (2, ["b"], ["a", "b"])
    del nodes[:2]
    slots.drain("c")
    assert (slots(), slots.forbidden(), slots.avoided) == (0, [], {"c": "it is being drained"})


def test_what_is_waited_for_is_taken_to_have_what_no_node_has_yet_and_the_largest_node_is_named(monkeypatch):
    nodes = [
        {"NodeID": "a", "NodeManagerHostname": "h", "Alive": True, "Resources": {"CPU": 2.0}, "Labels": {"zone": "a"}}
    ]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    resources = Resources(memory_gb=8, custom={"tpu": 1}, labels={"zone": "a"}, wait_for=WaitFor(cpus=3))
    said = list[str]()
    slots = Slots(Share.of(resources, nodes), resources.wait_for, said.append)
    assert slots() == 3
    assert said == [
        "waiting for a node with room for a cohort (1 CPU, 8 GB of memory, 1 of tpu, zone: a), up to 10 minutes: "
        "resources.memory_gb: a cohort asks for 8 GB of memory, and the largest node, h, has 0 GB of memory"
    ]


def test_each_node_that_is_given_no_cohort_is_seen_with_the_reason(monkeypatch):
    def node(name: str, zone: str = "a", cpus: float = 2.0) -> dict[str, Any]:
        place = {"NodeManagerHostname": name, "NodeName": "10.0.0.1", "Labels": {"zone": zone}}
        return {"NodeID": f"id of {name}", "Alive": True, "Resources": {"CPU": cpus}, **place}

    nodes = [node("g"), node("f"), node("e", zone="b"), node("d", cpus=0.0), node("c")]
    monkeypatch.setattr("ray.nodes", lambda: [*nodes, {**node("lost"), "Alive": False}])
    slots = Slots(Share(1.0, 0.0, labels={"zone": "a"}), WaitFor(), list().append)
    slots.avoid("id of f", "it is broken")
    assert slots.seen() == (
        SeenNode("c", 2),
        SeenNode("d", 0, "it is too small for a cohort (1 CPU, zone: a)"),
        SeenNode("e", 0, "its labels are not those of resources.labels (zone: a)"),
        SeenNode("f", 2, "it is broken"),
        SeenNode("g", 2),
    )
