"""How many cohorts fit the nodes of a cluster at once."""

from typing import Any

import pytest
from events import Clock

from gan_core.config.input_error import InputError
from sweep.ledger.endings import PlaceError
from sweep.runners.ray.slots import AVOIDED, LOOK_SECONDS, Slots, cohorts_at_once, placed, refuse_unfit, share
from sweep.spec.resources import Resources, WaitFor


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
    clock = Clock()
    monkeypatch.setattr("sweep.runners.ray.slots.time", clock)
    slots = Slots({"cpu": 1.0, "gpu": 0.0}, WaitFor(), list().append)
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
    each = share(resources, [])
    assert each == {"cpu": 1.0, "gpu": 1.0}  # `auto` means what is waited for
    slots = Slots(each, resources.wait_for, said.append)
    line = "waiting for a node with room for a cohort (1 CPUs, 1 GPUs), up to 2 minutes"
    assert (slots(), said) == (2, [line])
    clock.seconds += 119
    nodes.append({"NodeID": "a", "Alive": True, "Resources": {"CPU": 9.0, "GPU": 3.0}})
    assert (slots(), said) == (3, [line])
    nodes[0]["Alive"] = False
    clock.seconds += 119
    assert (slots(), said) == (2, [line, line])
    clock.seconds += 121
    with pytest.raises(PlaceError, match=r"room for a cohort \(1 CPUs, 1 GPUs\) was waited for in vain for 2 minutes"):
        slots()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"wait_for": {"cpus": -1}}, "resources.wait_for.cpus must be a number of at least 0, got -1"),
        ({"wait_for": {"gpus": "many"}}, "resources.wait_for.gpus must be a number of at least 0, got 'many'"),
        ({"wait_for": {"minutes": 0}}, "resources.wait_for.minutes must be a number above 0, got 0"),
        ({"wait_for": {"nodes": 3}}, "nodes"),
        ({"wait_for": 3}, "resources.wait_for must map cpus, gpus, minutes to values, got 3"),
    ],
)
def test_what_cannot_be_waited_for_is_refused(values, says):
    with pytest.raises(InputError, match=says):
        Resources.read(values)


def test_a_node_that_is_avoided_has_no_room_and_is_not_asked(monkeypatch):
    nodes = [{"NodeID": node, "Alive": True, "Resources": {"CPU": cpus}} for node, cpus in (("a", 2.0), ("b", 3.0))]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    each = {"cpu": 1.0, "gpu": 0.5}
    nodes[0]["Resources"]["GPU"] = nodes[1]["Resources"]["GPU"] = 1.0
    slots = Slots(each, WaitFor(), list().append)
    assert slots() == 4
    assert slots.avoid("a")
    assert slots() == 2
    assert not slots.avoid("b")
    assert (slots(), slots.avoided) == (0, {"a", "b"})
    free, placed_elsewhere = (placed(each)(config) for config in ({}, {AVOIDED: ["a", "c"]}))
    assert free.required_resources == placed_elsewhere.required_resources == {"CPU": 1.0, "GPU": 0.5}
    assert free != placed_elsewhere
