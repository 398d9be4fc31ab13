"""The study as a Ray actor beside the driver, the only owner of the run; what the processes that train see of it; and
what a person is told when it ends a sweep.
"""

import importlib
import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gan_core.config.conditions import Conditions
from gan_core.config.input_error import InputError
from gan_core.config.reports import LaneReport
from gan_core.fidelity.examination import Examination
from gan_core.native.toolchain import told
from results.store import ResultsError, RunFolder
from results.trial_run import TrialRun
from sweep.cohorts.examined import keep_examination, unseen
from sweep.cohorts.real_samples import keep_real_samples
from sweep.ladder.ladder import Verdict
from sweep.ledger.cohort_record import Cohort
from sweep.ledger.endings import OF_THE_PLACE, PlaceError, disk_ending, plain_endings
from sweep.ledger.owners import Taker
from sweep.runners.progress import LIVE_SECONDS
from sweep.runners.ray.asking import answer_of
from sweep.runners.ray.files import start_file_server
from sweep.spec.sweep_spec import SweepSpec

ANSWER_SECONDS = 10.0  # for the first answer; each time that the study is asked again it has twice as long
PATIENCE_SECONDS = 120.0  # after which a cohort is left to another process
NOTE_IMAGES = 2_000  # images between two notes of a lane's progress, to a study that may end it for what it has cost


def start_study(spec: SweepSpec, folder: RunFolder, umask: int, data: Conditions | None = None) -> Any:
    """Returns the actor's handle at once. What goes wrong with its start is raised by the first call of a method.
    umask: that of the driver, whose files it writes. data: the conditions of the spec as `held_here` gives them, where
    the data set may be asked for by machines that have not got it.
    """
    ray = importlib.import_module("ray")
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    return ray.remote(_study_class()).options(num_cpus=0, scheduling_strategy=here).remote(spec, folder, umask, data)


def _study_class() -> Any:
    # Imported here, because it loads Optuna, which the processes that train do not need.
    from sweep.ledger.study import LaneStudy

    ray = importlib.import_module("ray")

    class LaneStudyActor(LaneStudy):
        """The study in a separate process."""

        def __init__(self, spec: SweepSpec, folder: RunFolder, umask: int, data: Conditions | None) -> None:
            os.umask(umask)
            self._file_server: Any = None
            self._data = data or spec.conditions()
            with plain_endings(folder):
                super().__init__(spec, folder)

        def file_server(self) -> Any:
            """The actor that serves processes that do not see the folder of the run. It starts when it is first asked
            for.
            """
            if self._file_server is None:
                here = ray.get_runtime_context().current_actor
                self._file_server = start_file_server(self.folder, self._data, here)
            return self._file_server

        def __repr__(self) -> str:
            """How Ray's dashboard and lists name the actor."""
            return f"gan-sweep:{self.spec.name} study"

        def note_examination(self, owner: int, examination: Examination) -> None:
            """Keeps how the scores that a process uses were examined, and warns of what they cannot see."""
            self.check_owner(owner)
            keep_examination(self.folder, examination)
            if line := unseen(self.spec.conditions().dataset, examination):
                self.note_warning(line)

        def note_real_samples(self, owner: int, samples: np.ndarray) -> None:
            """Keeps a picture of real samples, which a process that trains has."""
            self.check_owner(owner)
            keep_real_samples(self.folder, samples)

    return LaneStudyActor


class RemoteStudy:
    """The study as the process that trains a cohort sees it. study: its actor's handle. may_cut: whether the study may
    end a training for what it has cost.

    What must be answered raises OutOfReach in the end (`answer_of`). Where the study has given the cohort to another
    process, NoLongerOwner is raised.
    """

    def __init__(self, study: Any, may_cut: bool) -> None:
        self._study, self._may_cut = study, may_cut
        self._ray = importlib.import_module("ray")
        self._noted_images, self._noted_seconds, self._answer = -math.inf, -math.inf, None
        self._told = 0  # how many of this process's warnings the study knows
        self.trains = False  # whether the cohort has come to a step
        self.title = ""  # what the cohort does now, by which Ray's list of tasks names its judgements

    def open_cohort(self, size: int, taker: Taker) -> Cohort | None:
        return self._ask(self._study.open_cohort, size, taker)

    def check_owner(self, owner: int) -> None:
        self._ask(self._study.check_owner, owner)

    def judge(self, owner: int, rung: int, runs: Sequence[TrialRun], reports: Sequence[LaneReport]) -> list[Verdict]:
        self._tell()
        self.trains = True
        return self._ask(self._study.judge.options(name=self.title), owner, rung, runs, reports)

    def note_examination(self, owner: int, examination: Examination) -> None:
        self._ask(self._study.note_examination, owner, examination)

    def note_real_samples(self, owner: int, samples: np.ndarray) -> None:
        self._ask(self._study.note_real_samples, owner, samples)

    def file_server(self) -> Any:
        return self._ask(self._study.file_server)

    def note_failure(self, owner: int, reason: str) -> None:
        self._ask(self._study.note_failure, owner, reason)

    def cut(self, owner: int, runs: Sequence[TrialRun], reports: Sequence[LaneReport]) -> None:
        self._ask(self._study.cut, owner, runs, reports)

    def give_back(self, owner: int, why: str, *, saved: bool = False) -> None:
        self._ask(self._study.give_back, owner, why, saved=saved)

    def _ask(self, method: Any, *given: Any, **named: Any) -> Any:
        def call() -> Any:
            return method.remote(*given, **named)

        return answer_of(call, call(), ANSWER_SECONDS, PATIENCE_SECONDS)

    def note_images(self, owner: int, runs: Sequence[TrialRun], images: int) -> bool:
        """Whether to go on, as the study answered the note before this one, where that answer has arrived: training
        waits for none. A study that cuts nothing is told as often as the progress display looks; either is told of the
        first step at once.
        """
        self.trains = True
        now, since_images = time.monotonic(), images - self._noted_images
        due = not 0 <= since_images < NOTE_IMAGES if self._may_cut else now - self._noted_seconds >= LIVE_SECONDS
        if not due:
            return True
        goes_on, waits = self._answered(), self._answer is not None
        if waits and now - self._noted_seconds < ANSWER_SECONDS:
            return goes_on
        self._noted_images, self._noted_seconds = images, now
        self._tell()
        self._answer = self._study.note_images.remote(owner, runs, images)
        return goes_on

    def _answered(self) -> bool:
        """What the study has answered to the last note; True while there is no answer, or where it was lost."""
        if self._answer is None or not self._ray.wait([self._answer], timeout=0)[0]:
            return True
        answer, self._answer = self._answer, None
        try:
            return bool(self._ray.get(answer))
        except self._ray.exceptions.ActorUnavailableError:
            return True

    def note_checkpoint(self, owner: int, images: Mapping[TrialRun, int]) -> None:
        """Tells the study without waiting for an answer."""
        self._study.note_checkpoint.remote(owner, images)

    def note_phase(self, owner: int, phase: str) -> None:
        """Tells the study without waiting for an answer."""
        self._study.note_phase.remote(owner, phase)

    def note_warning(self, line: str) -> None:
        """Tells the study without waiting for an answer."""
        self._study.note_warning.remote(line)

    def _tell(self) -> None:
        """Passes on what this process has warned of, because nobody sees what it prints."""
        lines = told()
        for line in lines[self._told :]:
            self.note_warning(line)
        self._told = len(lines)


def plain_ending(error: BaseException, folder: RunFolder) -> InputError | ResultsError | PlaceError | None:
    """What a person is told of the error that ended a sweep, or None where a configuration failed or the program is
    wrong. The answer comes from the first error that is known among this one, its causes, and their causes in other
    processes.
    """
    exceptions = importlib.import_module("ray.exceptions")
    waiting: list[Any] = [error]
    for found in waiting:
        if found is None:
            continue
        if isinstance(found, exceptions.RayTaskError):  # also an instance of its cause's class, with another text
            waiting.append(found.cause)
        elif isinstance(found, InputError | ResultsError | PlaceError):
            return found
        elif isinstance(found, exceptions.RayActorError):
            return ResultsError(_last_words(found, folder))
        elif (told := disk_ending(found, folder)) is not None:
            return told
        waiting += [found.__cause__, found.__context__]
    raised = cause_of(error)
    return PlaceError.of(raised) if isinstance(raised, OF_THE_PLACE) else None


def cause_of(error: Any) -> BaseException:
    """The error that another process raised, where this one passes it on; otherwise this one."""
    remote = importlib.import_module("ray.exceptions").RayTaskError
    return error.cause if isinstance(error, remote) else error


def _last_words(error: BaseException, folder: RunFolder) -> str:
    """What the study's process raised when it started, or that it was killed."""
    raised = str(error).strip().splitlines()[-1].partition("Error: ")[2]
    return raised or f"the study's process died; {folder.path} is intact: run the same command again to continue"
