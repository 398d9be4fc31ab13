"""A node that is to be taken away: what a process on it does that trains. Nothing here starts Ray."""

import sys
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
from curve_array import run_folder, runs
from events import LONGEST_SECONDS
from test_ray_runner import tiny_spec

from gan_core.native.arithmetic import code_here
from sweep.cohorts.cohort import Leaving
from sweep.runners.ray import node_table
from sweep.runners.ray.files import Home
from sweep.runners.ray.notice import Notice
from sweep.runners.ray.trainer import Orders, Trainer


def test_a_notice_is_given_once_ray_tells_that_the_node_is_drained(monkeypatch):
    asked, told = threading.Event(), threading.Event()

    def draining() -> set[str]:
        asked.set()
        return {"another", "here"} if told.is_set() else {"another"}

    monkeypatch.setattr("sweep.runners.ray.notice.draining_nodes", draining)
    notice = Notice("here", ask_seconds=0.001)
    assert asked.wait(LONGEST_SECONDS)
    assert not notice.is_given
    told.set()
    assert notice._given.wait(LONGEST_SECONDS)
    assert notice.is_given


@pytest.mark.parametrize(
    ("state", "nodes"),
    [
        (SimpleNamespace(state=SimpleNamespace(get_draining_nodes=lambda: {"a": 0, "b": 17})), {"a", "b"}),
        (SimpleNamespace(state=SimpleNamespace()), set()),  # another version of Ray
        (SimpleNamespace(), set()),
        (None, set()),
    ],
)
def test_where_ray_has_no_such_call_no_node_is_known_to_be_drained(monkeypatch, state, nodes):
    ray = pytest.importorskip("ray")
    monkeypatch.setitem(sys.modules, "ray._private.state", state)
    assert node_table.draining_nodes() == nodes

    def away() -> Any:
        raise ray.exceptions.RpcError("no answer")

    silent = SimpleNamespace(state=SimpleNamespace(get_draining_nodes=away))
    monkeypatch.setitem(sys.modules, "ray._private.state", silent)
    assert node_table.draining_nodes() == set()


def test_ray_has_the_call_that_tells_which_nodes_are_drained():
    """The one private name of Ray that is used, so that another version of Ray is noticed."""
    state = pytest.importorskip("ray._private.state")
    assert callable(state.state.get_draining_nodes)


class LeavingRun:
    """A cohort that is told to leave on its way to a rung, or that comes to it."""

    done, rung, runs, cohort = False, 0, runs(0), SimpleNamespace(number=3)

    def __init__(self, leaves: bool) -> None:
        self._leaves = leaves

    def advance(self) -> list[Any]:
        if self._leaves:
            raise Leaving
        return []


@pytest.mark.parametrize(("given", "leaves"), [("before", False), ("meanwhile", True), ("meanwhile", False)])
def test_a_process_on_a_drained_node_gives_its_cohort_back_and_takes_no_other_and_ends(
    tmp_path, monkeypatch, given, leaves
):
    ends = threading.Semaphore(0)
    monkeypatch.setattr("sweep.runners.ray.trainer.os._exit", lambda code: ends.release())
    monkeypatch.setattr("sweep.runners.ray.trainer.EXIT_SECONDS", 0.0)
    told, opened = list[tuple[Any, ...]](), list[int]()
    notice = SimpleNamespace(is_given=given == "before")

    class Study:
        trains = False

        def __init__(self, *_: Any) -> None:
            """As `RemoteStudy`."""

        def open_cohort(self, size: int, taker: Any) -> Any:
            opened.append(size)
            return SimpleNamespace(number=3, owner=5)

        def give_back(self, *words: Any, **named: Any) -> None:
            told.append((*words, named))

    def begin(cohort: Any, study: Any, must_leave: Any) -> Any:
        assert not must_leave()
        notice.is_given = True
        return LeavingRun(leaves)

    monkeypatch.setattr("sweep.runners.ray.trainer.RemoteStudy", Study)
    monkeypatch.setattr("sweep.runners.ray.trainer.Notice", lambda node: notice)
    monkeypatch.setattr("sweep.runners.ray.trainer.show_title", lambda title: None)
    for name in ("nodes", "get_gpu_ids"):
        monkeypatch.setattr(f"ray.{name}", list)
    monkeypatch.setattr("ray.get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "node"))
    folder = run_folder(tiny_spec(), tmp_path / "run")
    home = Home("node", folder.mark, "mark")
    trainer = Trainer(Orders(tiny_spec(), folder, home, cast(Any, object()), 2, None, 0o022, code_here()))
    monkeypatch.setattr(trainer._cohorts, "begin", begin)
    assert trainer.step("a Tune trial") == {"done": True}
    trainer.reset()
    assert trainer.step("another") == {"done": True}
    gave_back = [(5, "node node is being drained", {"saved": True})]
    assert (opened, told) == (([], []) if given == "before" else ([2], gave_back))
    assert trainer._run is None
    assert all(ends.acquire(timeout=LONGEST_SECONDS) for _ in range(2))  # once after each of its answers
