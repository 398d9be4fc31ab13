"""What a cohort is given of a node, how many cohorts fit the nodes of a cluster, and what is said where none does."""

from typing import Any

import pytest

from gan_core.config.input_error import InputError
from sweep.runners.ray.shares import AVOIDED, Share, beginning, cohorts_at_once, placed, refuse_unfit
from sweep.spec.labels import has_label
from sweep.spec.resources import Resources, WaitFor

TYPE = "ray.io/accelerator-type"


def node(name: str = "n", labels: dict[str, str] | None = None, **resources: float) -> dict[str, Any]:
    """A node as `ray.nodes()` has it."""
    return {"NodeID": name, "NodeManagerHostname": name, "Alive": True, "Resources": resources, "Labels": labels or {}}


@pytest.mark.parametrize(
    ("gpus", "resources", "expected"),
    [
        ("auto", {"CPU": 2.0}, (2, 0.0)),
        ("auto", {"CPU": 16.0, "GPU": 3.0}, (3, 1.0)),
        (0.25, {"CPU": 16.0, "GPU": 2.0}, (8, 0.25)),
        (0.3, {"CPU": 16.0, "GPU": 2.0}, (6, 0.3)),  # fractions do not tile over two GPUs
        (2, {"CPU": 16.0, "GPU": 5.0}, (2, 2.0)),
        (0, {"CPU": 4.0, "GPU": 1.0}, (4, 0.0)),
        (1, {"CPU": 2.0, "GPU": 5.0}, (2, 1.0)),
    ],
)
def test_cohorts_fill_a_node(gpus, resources, expected):
    one = node(**resources)
    each = Share.of(Resources(gpus), [one])
    assert (cohorts_at_once(each, [one]), each.gpus) == expected
    assert cohorts_at_once(each, [one, node(CPU=0.0), one]) == 2 * expected[0]


def test_memory_and_resources_of_ones_own_bound_how_many_cohorts_fit():
    each = Share.of(Resources(memory_gb=1.5, custom={"licence": 2, "disk": 0.1}), [])
    assert each.bundle == {"CPU": 1.0, "memory": 1.5e9, "licence": 2, "disk": 0.1}
    room: dict[str, Any] = {"CPU": 9.0, "memory": 9e9, "licence": 9.0, "disk": 9.0}
    assert each.fits(node(**room)) == 4
    assert each.fits(node(**{**room, "memory": 4.6e9})) == 3
    assert each.fits(node(**{**room, "disk": 0.3})) == 3
    assert each.fits(node(CPU=9.0, memory=9e9, disk=9.0)) == 0


def test_a_sweep_whose_slots_others_hold_says_what_it_waits_for():
    each = Share(cpus=2.0, gpus=0.5)
    assert beginning(each, {"CPU": 8.0, "GPU": 1.0}) == "starting the processes that train"
    says = "waiting until other work on this cluster frees 0.5 GPUs, 2 CPUs for a cohort"
    assert beginning(each, {"CPU": 8.0, "GPU": 0.4}) == beginning(each, {"CPU": 8.0}) == says


@pytest.mark.parametrize(
    ("wanted", "has", "expected"),
    [
        ("H100", "H100", True),
        ("H100", "H200", False),
        ("H100", None, False),
        ("!H100", "H200", True),
        ("!H100", "H100", False),
        ("!H100", None, True),
        ("in(H100, H200)", "H200", True),
        ("in(H100,H200)", "T4", False),
        ("!in(H100, H200)", "T4", True),
        ("!in(H100, H200)", "H200", False),
    ],
)
def test_a_label_is_what_it_is_asked_to_be(wanted, has, expected):
    assert has_label({} if has is None else {TYPE: has}, TYPE, wanted) is expected


def test_only_nodes_with_the_labels_count():
    nodes = [node("a", {TYPE: "H100"}, CPU=4, GPU=4), node("b", {TYPE: "T4"}, CPU=8, GPU=8), node("c", CPU=16)]
    assert cohorts_at_once(Share.of(Resources(labels={TYPE: "H100"}), nodes), nodes) == 4
    assert cohorts_at_once(Share.of(Resources(labels={TYPE: "!H100"}), nodes), nodes) == 8
    each = Share.of(Resources(labels={TYPE: "!in(H100,T4)"}), nodes)
    assert (cohorts_at_once(each, nodes), each.gpus) == (16, 0.0)  # `auto` looks at the nodes with the labels


@pytest.mark.parametrize(
    ("resources", "nodes", "says"),
    [
        (
            Resources(2),
            [node("a", CPU=8, GPU=1), node("b", CPU=9)],
            r"gpus_per_cohort: a cohort asks for 2 GPUs, and the largest node, a, has 1 GPU; ask for less",
        ),
        (
            Resources(0, 3),
            [node("a", CPU=1), node("b", CPU=2)],
            r"asks for 3 CPUs, and the largest node, b, has 2 CPUs",
        ),
        (
            Resources(memory_gb=64),
            [node("a", CPU=1, memory=32e9), node("b", CPU=9, memory=8e9)],
            r"memory_gb: a cohort asks for 64 GB of memory, and the largest node, a, has 32 GB of memory",
        ),
        (Resources(custom={"tpu": 1}), [node(CPU=1)], r"custom.tpu: a cohort asks for 1 of tpu, and .* has 0 of tpu"),
        (
            Resources("auto", 4),
            [node("a", CPU=8), node("b", CPU=1, GPU=1)],
            r"asks for 1 GPU, 4 CPUs, and no node has all of it; the largest, b, has 1 GPU, 1 CPU",
        ),
        (
            Resources(labels={TYPE: "H100"}),
            [node("a", {TYPE: "T4"}, CPU=8), node("b", CPU=8)],
            rf"a node with {TYPE}: H100, and the cluster has none \(T4, none\)",
        ),
        (
            Resources(labels={"zone": "a", "disk": "ssd"}),
            [node("a", {"zone": "a"}, CPU=8), node("b", {"disk": "ssd"}, CPU=8)],
            r"a node with zone: a together with the other labels, and the cluster has none \(a, none\)",
        ),
        (
            Resources(0, 3, labels={"zone": "a"}),
            [node("a", {"zone": "a"}, CPU=2), node("b", CPU=4)],
            r"the largest node, a, has 2 CPUs",
        ),
        (Resources(), [], "a cohort asks for 1 CPU, and the cluster has no node"),
    ],
)
def test_what_fits_no_single_node_is_refused_in_one_line_that_names_the_largest(monkeypatch, resources, nodes, says):
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    with pytest.raises(InputError, match=says):
        refuse_unfit(Share.of(resources, nodes), nodes)


def test_what_fits_one_node_is_not_refused():
    assert refuse_unfit(Share(2.0, 0.0), [node(CPU=1.0), node(CPU=2.0)]) is None


def test_a_tune_trial_is_given_the_share_on_a_node_with_the_labels_that_is_not_avoided():
    each = Share(1.0, 0.5, 10**9, {"tpu": 2.0}, {"zone": "a"})
    free, elsewhere = (placed(each)(config) for config in ({}, {AVOIDED: ["a1", "c3"]}))
    for factory in (free, elsewhere):
        assert factory.required_resources == {"CPU": 1.0, "GPU": 0.5, "memory": 1e9, "tpu": 2.0}
    assert free != elsewhere
    assert placed(Share(1.0, 0.0))({}) != placed(Share(1.0, 0.0, labels={"zone": "a"}))({})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"labels": 3}, "resources.labels must map names of labels to values, got 3"),
        ({"labels": {"-a": "x"}}, "resources.labels names '-a', which is no name of a label"),
        ({"labels": {2: "x"}}, "resources.labels names 2"),
        ({"labels": {"zone": 1}}, "the value of zone must be a text, got 1; put it into quotes"),
        ({"labels": {"zone": "a b"}}, r"the value of zone must be such as H100, !H100, in\(H100, H200\).* got 'a b'"),
        ({"labels": {"zone": "in()"}}, "the value of zone must be such as"),
        ({"labels": {"ray.io/node-id": "a"}}, "labels cannot name ray.io/node-id, which is another one each time"),
        ({"custom": [1]}, r"resources.custom must map names of resources to numbers, got \[1\]"),
        ({"custom": {"": 1}}, "resources.custom names '', which is no name"),
        ({"custom": {"GPU": 1}}, "resources.custom cannot name GPU.* use resources.gpus_per_cohort"),
        ({"custom": {"object_store_memory": 1}}, "resources.custom cannot name object_store_memory.*Ray's own$"),
        ({"custom": {"tpu": "many"}}, "resources.custom.tpu must be a number of at least 0.0001, got 'many'"),
        ({"custom": {"tpu": 0}}, "resources.custom.tpu must be a number of at least 0.0001, got 0"),
        ({"memory_gb": -1}, "resources.memory_gb must be a number from 0 to 1e6, got -1"),
        ({"memory_gb": "all"}, "resources.memory_gb must be a number from 0 to 1e6, got 'all'"),
        ({"wait_for": {"cpus": -1}}, "resources.wait_for.cpus must be a number of at least 0, got -1"),
        ({"wait_for": {"gpus": "many"}}, "resources.wait_for.gpus must be a number of at least 0, got 'many'"),
        ({"wait_for": {"minutes": 0}}, "resources.wait_for.minutes must be a number above 0, got 0"),
        ({"wait_for": {"nodes": 3}}, "nodes"),
        ({"wait_for": 3}, "resources.wait_for must map cpus, gpus, minutes to values, got 3"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(values, says):
    with pytest.raises(InputError, match=says):
        Resources.read(values)


def test_what_may_be_asked_for_is_read():
    asked = {"labels": {TYPE: "in(H100, H200)", "zone": "!a"}, "custom": {"tpu": "1e1"}, "memory_gb": "2.5"}
    found = Resources.read(asked)
    assert found == Resources(memory_gb=2.5, labels=asked["labels"], custom={"tpu": 10.0}, wait_for=WaitFor())
