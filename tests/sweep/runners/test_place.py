"""A fault of the place, which would hit any configuration: it ends a sweep with its cause, and no trial has a row."""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from curve_array import run_folder, runs
from ray.exceptions import ActorUnavailableError, GetTimeoutError
from test_ray_runner import quiet, ray_by_value, tiny_spec
from tiny_runs import TINY, settings

from benchmarks.kills import differences
from gan_core.config.input_error import InputError
from gan_core.config.reports import OutOfMemory
from gan_core.config.version import code_version
from results.store import JsonLines, RunFolder
from sweep.ledger.endings import PlaceError
from sweep.ledger.owners import NoLongerOwner
from sweep.runners.ray import processes
from sweep.runners.ray.asking import OutOfReach
from sweep.runners.ray.files import Home
from sweep.runners.ray.processes import Processes
from sweep.runners.ray.runner import run_ray
from sweep.runners.ray.shares import Share
from sweep.runners.ray.slots import Slots
from sweep.runners.ray.step_results import ENDING, GIVEN_BACK, HOST, NODE, PLACE, WHY
from sweep.runners.ray.trainer import Orders, Trainer
from sweep.spec.resources import WaitFor

__all__ = ["ray_by_value"]  # a fixture
pytestmark = pytest.mark.filterwarnings("ignore")
FAULTS = {
    "library": ImportError("libgomp.so.1: cannot open shared object file"),
    "memory": MemoryError(),
    "device": RuntimeError("CUDA driver initialization failed"),
    "files": OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
    "another's file": PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/somewhere/else"),
}


def raises(error: BaseException) -> Callable[..., Any]:
    def fails(*_: Any) -> Any:
        raise error

    return fails


@pytest.mark.parametrize("fault", FAULTS)
def test_here_it_is_one_line_and_exit_1_and_the_same_command_goes_on_once_it_is_mended(
    gan_sweep, digits_run, tmp_path, monkeypatch, fault
):
    command = ("run", "--local", "--out", tmp_path / "run", *settings(*TINY))
    with monkeypatch.context() as patch:
        patch.setattr("sweep.runners.scored_alike.Workshop", raises(FAULTS[fault]))
        answer = gan_sweep(*command)
    assert (answer.code, answer.err.count("\n")) == (1, 1), answer.err
    assert answer.err.startswith(f"gan-sweep: {type(FAULTS[fault]).__name__}")
    assert str(FAULTS[fault]) in answer.err
    assert "so no trial is recorded for it: fix the cause, then run the same command again to continue" in answer.err
    assert not (tmp_path / "run" / "rows.jsonl").exists()
    if fault == "library":
        assert gan_sweep(*command).code == 0
        assert differences(tmp_path / "run", digits_run) == []


def test_a_package_that_does_not_load_is_one_line_for_every_command(gan_sweep, digits_run, monkeypatch):
    monkeypatch.setattr("results.table.ResultsTable.load", raises(FAULTS["library"]))
    answer = gan_sweep("results", digits_run)
    assert (answer.code, answer.err) == (1, f"gan-sweep: ImportError: {FAULTS['library']}\n")


# ---- what a process of Ray's that trains makes of an error


class FailingRun:
    """A cohort in training that raises, before its first step or after it."""

    def __init__(self, study: Any, error: BaseException, trained: bool) -> None:
        self._study, self._error, self._trained = study, error, trained
        self.done, self.rung, self.runs, self.cohort = False, 0, runs(0), SimpleNamespace(number=3)

    def advance(self) -> Any:
        if self._trained:
            self._study.note_images(0, runs(0), 64)
        raise self._error


def still_owner(owner: int) -> None:
    """The study has handed the cohort to nobody else."""


def stepped(
    monkeypatch: pytest.MonkeyPatch,
    folder: RunFolder,
    error: BaseException,
    when: str,
    check_owner: Callable[[int], None] = still_owner,
    code: str = code_version(),
) -> Any:
    """What a step of a process answers where this error is raised; what it told the study, where it raises itself."""
    told: list[tuple[int, str]] = []
    study = SimpleNamespace(
        open_cohort=SimpleNamespace(remote=lambda size, taker: SimpleNamespace(number=3, owner=3)),
        check_owner=SimpleNamespace(remote=check_owner),
        note_failure=SimpleNamespace(remote=lambda *given: told.append(given)),
        note_images=SimpleNamespace(remote=lambda owner, trials, images: True),
        note_warning=SimpleNamespace(remote=lambda line: None),
    )
    monkeypatch.setattr("ray.get", lambda answer, timeout=None: answer)
    monkeypatch.setattr("ray.wait", lambda answers, timeout: (answers, []))
    monkeypatch.setattr("ray.nodes", list)
    monkeypatch.setattr("ray.get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "node"))
    folder.mark.write_text("mark")
    home, build = Home("node", folder.mark, "mark"), None if when == "loading" else object()
    trainer = Trainer(Orders(tiny_spec(), folder, home, cast(Any, build), 2, study, 0o022, code))
    monkeypatch.setattr("ray.get_gpu_ids", list)
    monkeypatch.setattr("sweep.runners.scored_alike.Workshop", raises(error))
    monkeypatch.setattr(
        "sweep.runners.ray.cohort_runs.CohortRun",
        lambda cohort, ladder, objective, build, judge, *rest, **named: FailingRun(
            judge, error, when == "after a step"
        ),
    )
    try:
        return trainer.step("a Tune trial")
    except type(error):
        return told


@pytest.mark.parametrize("when", ["loading", "before a step", "after a step"])
@pytest.mark.parametrize("fault", FAULTS)
def test_there_it_ends_the_sweep_by_its_kind_and_by_when_it_is_raised(tmp_path, monkeypatch, fault, when):
    error = FAULTS[fault]
    answer = stepped(monkeypatch, run_folder(tiny_spec(), tmp_path / "run"), error, when)
    of_the_place = {"device": when == "loading", "memory": when != "after a step"}.get(fault, True)
    if of_the_place:
        assert (answer["done"], answer[PLACE]) == (True, True)
        assert answer[ENDING].startswith(f"{type(error).__name__}")
    else:  # it may be the configuration's: what the study is told is recorded where it happens again and again
        assert answer == [(3, f"{type(error).__name__}: {error}")]


def test_a_node_that_joins_with_other_code_trains_nothing(tmp_path, monkeypatch):
    answer = stepped(
        monkeypatch, run_folder(tiny_spec(), tmp_path / "run"), MemoryError(), "before a step", code="0.1.0+x"
    )
    assert answer[PLACE]
    assert f" has gan-sweep {code_version()}, and the sweep 0.1.0+x; no configuration is at fault" in answer[ENDING]


def test_a_configuration_that_does_not_fit_the_memory_is_no_fault_of_the_place(tmp_path, monkeypatch):
    error = OutOfMemory("one lane does not fit the memory")
    told = stepped(monkeypatch, run_folder(tiny_spec(), tmp_path / "run"), error, "before a step")
    assert told == [(3, "OutOfMemory: one lane does not fit the memory")]


@pytest.mark.parametrize("when", ["loading", "before a step", "after a step"])
@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (NoLongerOwner("late"), {"done": True}),
        (OutOfReach("cut"), {"done": True, GIVEN_BACK: True}),
        (GetTimeoutError("cut"), {"done": True, GIVEN_BACK: True}),
        (ActorUnavailableError("cut", None), {"done": True, GIVEN_BACK: True}),
    ],
)
def test_a_process_that_was_cut_off_ends_no_sweep_and_tells_of_no_failure(tmp_path, monkeypatch, error, ends, when):
    assert stepped(monkeypatch, run_folder(tiny_spec(), tmp_path / "run"), error, when) == ends


def test_whatever_goes_wrong_in_a_process_whose_cohort_has_another_owner_is_nobodys_concern(tmp_path, monkeypatch):
    """For example that the new owner has removed the files that the late one was writing."""

    def late(owner: int) -> None:
        raise NoLongerOwner("late")

    folder = run_folder(tiny_spec(), tmp_path / "run")
    assert stepped(monkeypatch, folder, FileNotFoundError("x"), "after a step", late) == {"done": True}


def test_what_does_not_load_says_on_which_node(tmp_path, monkeypatch):
    found = stepped(monkeypatch, run_folder(tiny_spec(), tmp_path / "run"), InputError("no file x"), "loading")
    assert found == {
        "done": True,
        ENDING: "no file x",
        PLACE: False,
        NODE: "node",
        HOST: "node",
        WHY: "InputError: no file x",
    }


@pytest.mark.parametrize(("place", "kind"), [(True, PlaceError), (False, ValueError)])
def test_what_ends_the_sweep_is_said_by_the_driver_after_it_has_looked_for_the_head(monkeypatch, place, kind):
    looked = []
    monkeypatch.setattr("ray.get", lambda answer: answer)
    slots = Slots(Share(1.0, 0.0), WaitFor(), looked.append)
    processes = Processes(None, 0, slots, lambda node: None, lambda: looked.append(1), lambda: None)
    processes.note_end("first", {"done": True, ENDING: "why", PLACE: place}, error=False)
    processes.note_end("second", {"done": True, ENDING: "another", PLACE: not place}, error=False)
    with pytest.raises(kind, match="^why$"):
        processes.begin("third")
    assert looked == [1, 1]


def test_through_ray_processes_that_die_before_their_first_step_end_the_sweep(tmp_path, ray_by_value, monkeypatch):
    """SIGBUS, as of a library that was cut short while it was mapped."""
    monkeypatch.setattr(processes, "RESTARTS", 1)
    spec = tiny_spec("trials=2", "lanes_per_cohort=2", "sampler=random")
    folder = run_folder(spec, tmp_path / "run")

    def build(configs: Any, _: Any = ()) -> Any:
        os.kill(os.getpid(), signal.SIGBUS)

    with pytest.raises(PlaceError, match="training died 2 times before its first step: its process was killed"):
        run_ray(spec, folder, quiet(spec), build=build)
    assert not Path(folder.rows).exists()
    assert [record["trials"] for record in JsonLines(folder.cohorts).read()] == [[0, 1]]
