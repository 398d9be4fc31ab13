"""The study as a Ray actor beside the driver, the only owner of the run; what the processes that train see of it; and
what a person is told when it ends a sweep.
"""

import importlib
import math
import time
from collections.abc import Sequence
from typing import Any

from gan_core.config.input_error import InputError
from gan_core.config.reports import LaneReport
from gan_core.fidelity.examination import Examination
from gan_core.native.toolchain import told
from results.store import ResultsError, RunFolder
from results.trial_run import TrialRun
from sweep.cohorts.examined import keep_examination, unseen
from sweep.ladder.ladder import Verdict
from sweep.ledger.cohort_record import Cohort
from sweep.ledger.endings import OF_THE_PLACE, PlaceError, disk_ending, plain_endings
from sweep.runners.progress import LIVE_SECONDS
from sweep.spec.sweep_spec import SweepSpec

NOTE_IMAGES = 2_000  # images between two notes of a lane's progress, to a study that may end it for what it has cost


def start_study(spec: SweepSpec, folder: RunFolder) -> Any:
    """Returns the actor's handle at once. What goes wrong with its start is raised by the first call of a method."""
    ray = importlib.import_module("ray")
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    return ray.remote(_study_class()).options(num_cpus=0, scheduling_strategy=here).remote(spec, folder)


def _study_class() -> Any:
    # Imported here, because it loads Optuna, which the processes that train do not need.
    from sweep.ledger.study import LaneStudy

    class LaneStudyActor(LaneStudy):
        """The study in a separate process."""

        def __init__(self, spec: SweepSpec, folder: RunFolder) -> None:
            self._takers: dict[str, int] = {}  # Tune trial -> the cohort that its process took
            with plain_endings(folder):
                super().__init__(spec, folder)

        def take_cohort(self, size: int, taker: str) -> Cohort | None:
            """Returns what `open_cohort` does, to a process that was started before there was a cohort for it."""
            cohort = self.open_cohort(size)
            if cohort is not None:
                self._takers[taker] = cohort.number
            return cohort

        def taken_by(self, taker: str) -> int | None:
            """The number of the cohort that this Tune trial took, or None."""
            return self._takers.get(taker)

        def cohort(self, number: int) -> Cohort:
            """The cohort of this number, which was handed out before."""
            return self.cohorts[number]

        def note_examination(self, examination: Examination) -> None:
            """Keeps how the scores that a process uses were examined, and warns of what they cannot see."""
            keep_examination(self.folder, examination)
            if line := unseen(self.spec.conditions().dataset, examination):
                self.note_warning(line)

    return LaneStudyActor


class RemoteStudy:
    """The study as the process that trains a cohort sees it. study: its actor's handle. may_cut: whether the study may
    end a training for what it has cost.
    """

    def __init__(self, study: Any, may_cut: bool) -> None:
        self._study, self._may_cut = study, may_cut
        self._get = importlib.import_module("ray").get
        self._noted_images, self._noted_seconds, self._answer = -math.inf, -math.inf, None
        self._told = 0  # how many of this process's warnings the study knows
        self.trains = False  # whether the cohort has come to a step

    def take_cohort(self, size: int, taker: str) -> Cohort | None:
        return self._get(self._study.take_cohort.remote(size, taker))

    def cohort(self, number: int) -> Cohort:
        return self._get(self._study.cohort.remote(number))

    def judge(self, cohort: int, rung: int, runs: Sequence[TrialRun], reports: Sequence[LaneReport]) -> list[Verdict]:
        self._tell()
        self.trains = True
        return self._get(self._study.judge.remote(cohort, rung, runs, reports))

    def note_examination(self, examination: Examination) -> None:
        self._get(self._study.note_examination.remote(examination))

    def note_failure(self, cohort: int, reason: str) -> None:
        self._get(self._study.note_failure.remote(cohort, reason))

    def cut(self, cohort: int, runs: Sequence[TrialRun], reports: Sequence[LaneReport]) -> None:
        self._get(self._study.cut.remote(cohort, runs, reports))

    def note_images(self, runs: Sequence[TrialRun], images: int) -> bool:
        """Whether to go on, as the study answered the note before this one, so that training waits for no answer. A
        study that cuts nothing is told as often as the progress display looks; either is told of the first step at
        once.
        """
        self.trains = True
        now, since_images = time.monotonic(), images - self._noted_images
        due = not 0 <= since_images < NOTE_IMAGES if self._may_cut else now - self._noted_seconds >= LIVE_SECONDS
        if not due:
            return True
        self._noted_images, self._noted_seconds = images, now
        self._tell()
        before, self._answer = self._answer, self._study.note_images.remote(runs, images)
        return before is None or bool(self._get(before))

    def note_phase(self, cohort: int, phase: str) -> None:
        """Tells the study without waiting for an answer."""
        self._study.note_phase.remote(cohort, phase)

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
