"""How many processes are to train, and what follows when one ends. Nothing here starts Ray."""

import pickle
from types import SimpleNamespace

import pytest
from events import Clock

from results.store import ResultsError
from sweep.ledger.owners import Held, Taker
from sweep.runners.ray.node_table import Loss
from sweep.runners.ray.processes import RESTARTS, Processes
from sweep.runners.ray.searcher import finished_stopper, study_searcher
from sweep.runners.ray.shares import AVOIDED
from sweep.runners.ray.slots import Slots
from sweep.runners.ray.step_results import ENDING, GIVEN_BACK, HOST, NODE, PLACE, WHY


def ignored() -> None:
    """For what a test does not look at."""


class ToldStudy:
    """A study of so many cohorts, as `Processes` asks it; ends is what it was told of the ends of owners. Each Tune
    trial owns what its name says.
    """

    def __init__(self, cohorts: int) -> None:
        self.cohorts, self.waiting, self.ends = cohorts, True, list[tuple[str, int]]()

    def __getattr__(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(remote=getattr(self, f"_{name}"))

    def _has_cohort(self) -> bool:
        return self.cohorts > 0

    def _is_waiting(self) -> bool:
        return self.waiting

    def _held_by(self, name: str) -> Held | None:
        return Held(int(name), 0, Taker(name, "", f"node-{name}", f"w{name}")) if name.isdigit() else None

    def _note_death(self, owner: int, most: int) -> None:
        assert most == RESTARTS + 1
        self.ends.append(("died", owner))

    def _note_loss(self, owner: int, why: str) -> None:
        self.ends.append((f"unexpectedly, {why}", owner))

    def _give_back(self, owner: int, why: str) -> None:
        self.ends.append((why, owner))


class Room(Slots):
    """A cluster with room for so many cohorts. nodes: those besides the one that is avoided."""

    def __init__(self, count: int, nodes: int = 1) -> None:
        self.count, self.nodes, self.avoided, self._drained = count, nodes, dict[str, str](), set[str]()

    def __call__(self) -> int:
        return self.count

    def avoid(self, node: str, why: str) -> bool:
        if self.nodes:
            self.avoided[node] = why
            self.nodes -= 1
        return node in self.avoided


def nowhere(node: str) -> None:
    """No node is lost."""


def test_what_dies_for_the_want_of_the_head_is_no_death_of_a_cohort(monkeypatch):
    class HeadIsLost(Exception):
        """Here the process would end."""

    def lost() -> None:
        raise HeadIsLost

    study = ToldStudy(1)
    monkeypatch.setattr("ray.get", lambda answer: answer)
    with pytest.raises(HeadIsLost):
        Processes(study, 0, Room(1), nowhere, lost, ignored).note_end("7", {}, error=True)
    assert study.ends == []


def test_only_a_process_that_dies_on_a_living_node_is_a_death_of_its_cohort(monkeypatch):
    study = ToldStudy(1)
    monkeypatch.setattr("ray.get", lambda answer: answer)
    processes = Processes(study, 0, Room(1), LOSSES.get, ignored, ignored)
    processes.note_end("1", {}, error=True)
    processes.note_end("2", {}, error=True)
    processes.note_end("3", {"done": True, GIVEN_BACK: True}, error=False)
    processes.note_end("4", {"done": True}, error=False)
    processes.note_end("none", {}, error=True)  # before it had taken any
    processes.note_end("5", {}, error=True)
    told = ["died", "unexpectedly, node w2 was lost", "node w3 was cut off from the driver", "node w5 was lost"]
    assert study.ends == list(zip(told, (1, 2, 3, 5), strict=True))


LOSSES = {"node-2": Loss.UNEXPECTED, "node-5": Loss.ANNOUNCED}


def test_as_many_processes_are_started_as_there_are_slots_which_change_while_a_sweep_goes_on(monkeypatch):
    """The first two are started before the study can be asked. Nothing is started for what is not there."""
    study, room = ToldStudy(0), Room(2)
    monkeypatch.setattr("ray.get", lambda answer: answer)
    processes = Processes(study, 2, room, nowhere, ignored, ignored)
    assert [processes.begin(name) for name in "abc"] == [{}, {}, None]
    room.count, study.cohorts = 4, 9
    assert [processes.begin(name) for name in "defg"] == [{}, {}, None, None]
    room.count = 1  # nodes were lost, and their processes with them
    for name in "abc":
        processes.note_end(name, {}, error=True)
    assert processes.begin("h") is None
    for name in "de":
        processes.note_end(name, {}, error=False)
    assert processes.begin("i") == {}


UNLOADED = {"done": True, ENDING: "no file x; give --data-root", PLACE: False, HOST: "w1", WHY: "InputError: no file x"}


def test_a_node_where_nothing_loads_is_not_used_any_more_and_of_all_nodes_that_ends_the_sweep(monkeypatch):
    study, room = ToldStudy(9), Room(2, nodes=1)
    monkeypatch.setattr("ray.get", lambda answer: answer)
    processes = Processes(study, 0, room, nowhere, ignored, ignored)
    assert processes.begin("1") == {}
    processes.note_end("1", {**UNLOADED, NODE: "id-1"}, error=False)
    why = "node w1 is not used any more, because what all trials need does not load (InputError: no file x)"
    assert study.ends == [(why, 1)]
    assert processes.begin("2") == {AVOIDED: ["id-1"]}
    processes.note_end("2", {**UNLOADED, NODE: "id-2", HOST: "w2"}, error=False)
    with pytest.raises(ResultsError, match="^no file x; give --data-root$"):
        processes.begin("3")


def test_processes_that_die_before_they_ask_for_a_cohort_end_the_sweep_where_no_other_trains_meanwhile(monkeypatch):
    study = ToldStudy(9)
    monkeypatch.setattr("ray.get", lambda answer: answer)
    processes = Processes(study, 0, Room(2), nowhere, ignored, ignored)
    stopper = finished_stopper(processes)
    for end, barren in [*[("error", False)] * 6, ("result", False), *[("error", False)] * 6, ("error", True)]:
        assert processes.begin("none") == {}
        processes.note_end("none", {"done": True}, error=end == "error")
        assert (processes.is_barren, stopper.stop_all()) == (barren, barren)
    assert study_searcher(processes).suggest("none") == "FINISHED"


def test_what_tune_still_waits_for_does_not_keep_a_finished_sweep_from_its_end(monkeypatch):
    """A process that was cut off after its last words, or one that found no place to start."""
    study, clock = ToldStudy(0), Clock()
    monkeypatch.setattr("ray.get", lambda answer: answer)
    monkeypatch.setattr("sweep.runners.ray.processes.time", clock)
    processes = Processes(study, 1, Room(1), nowhere, ignored, ignored)
    stopper = finished_stopper(processes)
    assert processes.begin("a") == {}
    for waiting, ends in ((True, False), (False, True)):
        study.waiting = waiting
        clock.tick()
        assert study_searcher(processes).suggest("b") == ("FINISHED" if ends else None)
        assert (stopper.stop_all(), stopper("a", {})) == (ends, False)


def test_of_what_tune_writes_to_its_files_nothing_is_pickled(tmp_path):
    """Among it would be the stream to which lines for a person go, which cannot be."""
    with (tmp_path / "out").open("w") as stream:
        room = Room(1)
        room._tell = stream.write
        processes = Processes(None, 0, room, nowhere, ignored, ignored)
        with pytest.raises(TypeError):
            pickle.dumps(room)
        assert type(pickle.loads(pickle.dumps(processes))) is object
