"""What is found on a machine, and what is said of a node. Nothing here starts Ray."""

import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from stores_in_memory import address, put

from gan_core.config.conditions import Conditions, ScoringConfig
from gan_core.config.input_error import InputError
from gan_core.config.version import code_version
from gan_core.files.object_store import ObjectStore, StoreError, open_store
from sweep.runners import look
from sweep.runners.ray.nodes import NodeReport, NodeWatch, _report, faulty, paths_read
from sweep.runners.ray.runner import _slots
from sweep.spec.resources import Resources, WaitFor

__all__ = ["address"]  # a fixture
GIB = 2**30
FOUND = {
    "host": "node1",
    "seconds": 0.0,
    "versions": {"python": "3.11.7", "torch": "2.14.1", "ray": "2.60.0"},
    "code": code_version(),
    "compiler": "gcc 12.2.0",
    "isa": "avx2",
    "folder": True,
    "missing": [],
    "faults": [],
}
NODE = {
    "NodeID": "a",
    "Alive": True,
    "NodeManagerHostname": "node1",
    "NodeName": "10.0.0.2",
    "Resources": {"CPU": 4.0},
    "Labels": {"ray.io/node-id": "0a1b"},
}


def report(cpus: float = 4.0, gpus: float = 0.0, **found: Any) -> NodeReport:
    return NodeReport(node="node1", cpus=cpus, gpus=gpus, found={**FOUND, **found})


def test_this_machine_is_seen_as_it_is(tmp_path):
    mark = tmp_path / "mark"
    mark.write_text("this run's")
    before = time.time()
    found = look.look((str(mark), "this run's"), [str(tmp_path), str(tmp_path / "absent")], False)
    assert before <= found["seconds"] <= time.time()
    assert (found["code"], found["folder"], found["missing"]) == (code_version(), True, [str(tmp_path / "absent")])
    assert found["versions"]["python"] == sys.version.split()[0]
    assert found["faults"] == []
    assert "gpus" not in found
    for unseen in ((str(mark), "another's"), (str(tmp_path / "absent"), ""), (str(tmp_path), "")):
        assert look.look(unseen, [], False)["folder"] is False


def test_where_the_package_is_missing_or_its_instruction_set_is_wrong_a_fault_says_so(monkeypatch):
    monkeypatch.setenv("GAN_SWEEP_ISA", "no_such")
    assert look.look(None, [], False)["faults"] == [
        "InputError: unknown GAN_SWEEP_ISA 'no_such'; known: avx512_bf16, avx512, avx2, x86_64_v2, neon"
    ]
    monkeypatch.setitem(sys.modules, "gan_core.config.version", None)
    found = look.look(None, [], False)
    assert found["code"] == ""
    assert found["faults"][0].startswith("gan-sweep is not installed there (ModuleNotFoundError: ")


@pytest.mark.parametrize(
    ("program", "gpus", "fault"),
    [
        ("print('[[\"H200\", 5]]')", [["H200", 5]], None),
        ("raise ImportError('libcuda is broken')", [], "torch does not load there (ImportError: libcuda is broken)"),
        ("raise SystemExit(3)", [], "torch does not load there (exit code 3)"),
        ("import time; time.sleep(60)", [], "torch does not load there (it took longer than 1 seconds)"),
    ],
)
def test_torch_is_asked_for_gpus_in_a_process_of_its_own(monkeypatch, program, gpus, fault):
    monkeypatch.setattr(look, "TORCH", program)
    monkeypatch.setattr(look, "TORCH_SECONDS", 1.0 if "sleep" in program else 60.0)
    found = look.look(None, [], True)
    assert (found["gpus"], found["faults"]) == (gpus, [fault] if fault else [])


def test_torch_sees_the_gpus_that_ray_hides_from_a_process_without_any(monkeypatch):
    """Unless they were hidden when the process started, as a batch queue does."""
    monkeypatch.setattr(
        look, "TORCH", "import json, os; print(json.dumps([[os.environ.get('CUDA_VISIBLE_DEVICES'), 1]]))"
    )
    started = look._started_with("CUDA_VISIBLE_DEVICES") or None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "as Ray sets it")
    assert look.look(None, [], True)["gpus"] == [[started, 1]]
    assert look._started_with("PATH") in (os.environ["PATH"], *_path_at_start())


def _path_at_start() -> list[str]:
    path = Path("/proc/self/environ")
    lines = path.read_bytes().split(b"\0") if path.exists() else []
    return [line.decode().partition("=")[2] for line in lines if line.startswith(b"PATH=")]


def test_a_line_says_what_a_node_has():
    labels = {"ray.io/node-id": "0a1b", "ray.io/accelerator-type": "H200"}
    found = {**FOUND, "gpus": [["NVIDIA H200", 139 * GIB]]}
    node = NodeReport(node="node1", cpus=1.0, gpus=1.0, labels=labels, found=found)
    assert node.line == (
        "node node1: 1 CPU, 1 GPU, ray.io/accelerator-type: H200; "
        f"gan-sweep {code_version()}, python 3.11.7, torch 2.14.1, ray 2.60.0; "
        "gcc 12.2.0, avx2; NVIDIA H200 139 GiB"
    )
    assert report(folder=False).line.endswith("; it does not see the run's folder: files are sent")
    assert "no C compiler, no kernels for its CPU" in report(compiler="", isa="").line
    assert "no gan-sweep, python 3.11.7" in report(code="").line
    assert NodeReport(node="x", cpus=0, gpus=0, trouble="no answer within 30 s").line == (
        "node x: no CPU, no GPU; no answer within 30 s"
    )


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (report(), None),
        (report(cpus=0.0, code="0.1.0+other"), None),  # nothing is trained there
        (NodeReport(node="silent", cpus=1.0, gpus=0.0, trouble="no answer within 30 s"), None),
        (report(code="0.1.0+other"), f"it has gan-sweep 0.1.0+other, and the sweep {code_version()}: install the same"),
        (report(gpus=2.0), "it offers 2 GPUs to Ray, and torch sees none there"),
        (report(folder=False), None),  # files travel
        (report(missing=["/data/mnist"]), "there is no /data/mnist"),
        (report(code="", faults=["gan-sweep is not installed there (why)"]), "gan-sweep is not installed there (why)"),
    ],
)
def test_what_keeps_a_node_from_training_is_said_in_one_line_with_its_name(one, says):
    found = faulty([one, report()])
    if says is None:
        assert found == {}
        return
    (line,) = found.values()
    assert line.startswith("node node1: ")
    assert says in line
    assert "\n" not in line


GIVEN = Resources(gpus_per_cohort=0)
BAD = {"b": "node b: gan-sweep is not installed there"}


@pytest.mark.parametrize(
    ("faults", "resources", "room"),
    [
        ({}, GIVEN, 7),
        (BAD, GIVEN, 4),
        ({**BAD, "a": "node a: why"}, GIVEN, "nothing was started, because of node b: .* there | node a: why"),
        (BAD, Resources(gpus_per_cohort=0, cpus_per_cohort=4), 1),
        ({"a": "node a: why"}, Resources(gpus_per_cohort=0, cpus_per_cohort=4), "nothing was started, because of nod"),
        (BAD, Resources(gpus_per_cohort=0, cpus_per_cohort=5), "cpus_per_cohort: a cohort asks for 5 CPUs"),
        ({**BAD, "a": "node a: why"}, Resources(gpus_per_cohort=0, wait_for=WaitFor(cpus=9)), 9),
    ],
)
def test_a_node_with_a_fault_is_not_used_and_only_where_no_other_has_room_is_the_sweep_refused(
    monkeypatch, faults, resources, room
):
    nodes = [
        {"NodeID": node, "NodeManagerHostname": node, "Alive": True, "Resources": {"CPU": cpus}, "Labels": {}}
        for node, cpus in (("a", 4.0), ("b", 3.0))
    ]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    said = list[str]()
    display, spec = SimpleNamespace(tell=lambda line: None, say=said.append), SimpleNamespace(resources=resources)
    if isinstance(room, str):
        with pytest.raises(InputError, match=room):
            _slots(cast(Any, spec), faults, cast(Any, display))
        return
    _, slots = _slots(cast(Any, spec), faults, cast(Any, display))
    assert slots() == room
    assert said == [f"gan-sweep: warning: {fault}; this node is not used" for fault in faults.values()]
    assert slots.avoided == {node: fault.partition(": ")[2] for node, fault in faults.items()}


@pytest.mark.parametrize(
    ("seconds", "says"), [(0.0, ""), (100.0, "; its clock is 100 s ahead"), (-100.0, "; its clock is 100 s behind")]
)
def test_a_clock_is_off_only_where_its_time_lies_outside_the_look(monkeypatch, seconds, says):
    monkeypatch.setattr("ray.get", lambda ref: {**FOUND, "seconds": time.time() + seconds})
    line = _report(NODE, "node1", "ref", time.time() - 50.0).line
    expected = says.replace("100 s behind", "50 s behind")  # as the process may have looked at the beginning
    assert line.endswith(f"avx2{expected}")


def test_a_node_that_cannot_be_looked_at_is_named(monkeypatch):
    ray = pytest.importorskip("ray")

    def lost(_: Any) -> Any:
        raise ray.exceptions.NodeDiedError("the node died\nand more")

    monkeypatch.setattr("ray.get", lost)
    assert _report(NODE, "node1", "ref", 0.0).line.endswith("4 CPUs, no GPU; it cannot be looked at (the node died)")
    assert _report(NODE, "node1", None, 0.0).line.endswith("no answer in time")


def test_nodes_that_are_lost_and_that_join_are_told_once_and_those_that_join_are_looked_at(monkeypatch):
    nodes = [NODE, {**NODE, "NodeID": "b", "NodeManagerHostname": "node2"}]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    looked, avoided = list[list[str]](), dict[str, str]()

    class Slow:
        """A look that ends when it is asked for the second time, and finds other code on one node of two."""

        def __init__(self, nodes: Any) -> None:
            looked.append([node["NodeID"] for node in nodes])
            self.nodes, self.asked = nodes, 0

        def has_ended(self) -> bool:
            self.asked += 1
            return self.asked == 2

        def reports(self) -> list[NodeReport]:
            return [replace(report(code=code), id=one["NodeID"]) for one, code in zip(self.nodes, CODES, strict=True)]

    draining = set[str]()
    monkeypatch.setattr("sweep.runners.ray.nodes.draining_nodes", lambda: draining)
    slots = SimpleNamespace(avoid=avoided.__setitem__, drain=lambda node: avoided.update({node: "drained"}))
    watch = NodeWatch(cast(Any, Slow), cast(Any, slots))
    assert watch.changes() == []
    nodes[0] = {**NODE, "Alive": False}
    assert watch.changes() == ["node node1 is lost"]
    nodes += [{**NODE, "NodeID": "c", "NodeManagerHostname": "node3"}, {**NODE, "NodeID": "d", "NodeName": "n"}]
    assert sorted(watch.changes()) == ["node node1 has joined", "node node3 has joined"]
    assert (looked, avoided) == ([["c", "d"]], {})
    *found, fault = watch.changes()
    assert [line.startswith("node node1: 4 CPUs, no GPU; gan-sweep ") for line in found] == [True, True]
    assert fault.startswith("gan-sweep: warning: node node1: it has gan-sweep 0.1.0+other, and the sweep ")
    assert fault.endswith("; this node is not used")
    assert (list(avoided), watch.changes()) == (["d"], [])
    assert avoided["d"].startswith("it has gan-sweep 0.1.0+other, and the sweep ")
    draining |= {"a", "c"}  # the first is gone already
    assert watch.changes() == ["node node3 is being drained: its cohorts go elsewhere"]
    assert (list(avoided), avoided["c"], watch.changes()) == (["d", "c"], "drained", [])


CODES = (code_version(), "0.1.0+other")


def test_a_node_must_have_the_weights_of_inception_and_data_are_brought_to_it():
    weights = ScoringConfig(features="inception", inception_weights="/weights.pt")
    assert paths_read(Conditions(dataset="mnist", data_root="/data")) == []
    assert paths_read(Conditions(dataset="images:/pictures", scoring=weights)) == ["/weights.pt"]
    pictures = Conditions(dataset="images:s3://bucket/pictures", scoring=weights)
    assert paths_read(pictures) == ["/weights.pt", "s3://bucket/pictures"]  # where a node may have no key


def test_the_doctor_looks_at_this_machine_in_one_screen(gan_sweep, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(look, "TORCH", "print([])")
    answer = gan_sweep("doctor", "--out", tmp_path / "runs")
    first, second, last = answer.out.splitlines()
    assert first.startswith("node ")
    assert f"gan-sweep {code_version()}" in first
    assert second.startswith(f"folder of runs: {tmp_path}: ")
    assert "MB/s" in second
    assert (answer.code, last) == (0, "nothing was found that would keep a sweep from training")
    assert list(tmp_path.iterdir()) == [tmp_path / "here"]
    answer = gan_sweep("doctor", "--data-root", tmp_path / "absent")
    assert answer.code == 1
    assert answer.out.splitlines()[-2].endswith(f": there is no {tmp_path}/absent")
    assert answer.out.splitlines()[-1] == "1 fault"


def test_a_folder_that_cannot_be_written_is_said_by_the_doctor(gan_sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(look, "TORCH", "print([])")
    monkeypatch.setattr("sweep.commands.speeds.os", SimpleNamespace(**{**vars(os), "getpid": lambda: "x/y"}))
    answer = gan_sweep("doctor", "--out", tmp_path)
    assert answer.code == 1
    assert answer.out.splitlines()[-2:] == [
        f"fault: {tmp_path} cannot be written: No such file or directory",
        "1 fault",
    ]


def test_the_doctor_writes_to_a_store_and_reads_data_from_one(gan_sweep, address, monkeypatch):
    monkeypatch.setattr(look, "TORCH", "print([])")
    data = address.replace("run", "data")
    put(data, {"MNIST/raw/a": b"x" * 2_000_000, "MNIST/raw/b": b"x"})
    answer = gan_sweep("doctor", "--out", address, "--data-root", data)
    _, root, store, last = answer.out.splitlines()
    assert re.fullmatch(r"data root: memory://bucket/data: 2 files, 2\.0 MB, [\d,]+ MB/s read", root)
    speeds = r"[\d,]+ MB/s written, [\d,]+ MB/s read, \d+ ms for a small object"
    assert re.fullmatch(rf"store of runs: memory://bucket/run: {speeds}", store)
    assert (answer.code, last) == (0, "nothing was found that would keep a sweep from training")
    assert open_store(address).list() == {}


def test_stores_that_cannot_be_used_are_a_line_each_for_the_doctor(gan_sweep, address, monkeypatch):
    monkeypatch.setattr(look, "TORCH", "print([])")

    def full(*_: object) -> None:
        raise StoreError("cannot write to it: it is full")

    monkeypatch.setattr(ObjectStore, "write", full)
    answer = gan_sweep("doctor", "--out", address, "--data-root", f"{address}/none")
    assert (answer.code, answer.out.splitlines()[-3:]) == (
        1,
        [
            "fault: there are no files in memory://bucket/run/none; give another address",
            "fault: cannot write to it: it is full",
            "2 faults",
        ],
    )


def test_a_node_says_of_which_store_it_has_no_key(address):
    assert look.look(None, [address], False)["unread"] == []
    found = look.look(None, ["memory://bucket"], False)
    assert (found["missing"], len(found["unread"])) == ([], 1)
    line = report(unread=["cannot read s3://bucket/data: the key is refused"]).line
    assert line.endswith("; it cannot read s3://bucket/data: the key is refused: data are sent")
