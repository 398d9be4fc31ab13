"""The study as a Ray actor: the only owner of the run, beside the driver; what others see of it, and its last words."""

import importlib
import math
import time
from collections.abc import Sequence
from typing import Any

from gan_core.config.gan import InputError
from gan_core.config.reports import LaneReport
from gan_core.fidelity.examination import Examination
from gan_core.native.toolchain import told
from results.store import ResultsError, RunFolder
from results.trial_run import TrialRun
from sweep.cohorts.cohort import Cohort
from sweep.cohorts.examined import keep_examination, unseen
from sweep.ladder.ladder import Verdict
from sweep.ledger.endings import OF_THE_PLACE, PlaceError, disk_ending, plain_endings
from sweep.runners.progress import LIVE_SECONDS
from sweep.spec.sweep_spec import SweepSpec

NAMESPACE = "gan-sweep"
STUDY_ACTOR = "study"
NOTE_IMAGES = 2_000  # between two notes of a lane's progress to a study that may end it for what it has cost


def start_study(spec: SweepSpec, folder: RunFolder) -> Any:
    """The actor's handle, at once: what goes wrong with its start is raised to who first asks it something."""
    ray = importlib.import_module("ray")
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    owner = ray.remote(_study_class()).options(name=STUDY_ACTOR, num_cpus=0, scheduling_strategy=here)
    return owner.remote(spec, folder)


def _study_class() -> Any:
    from sweep.ledger.study import LaneStudy  # here, with Optuna: the processes that train need neither

    class LaneStudyActor(LaneStudy):
        """The study in a process of its own."""

        def __init__(self, spec: SweepSpec, folder: RunFolder) -> None:
            self._takers: dict[str, int] = {}  # Tune trial -> the cohort that its process took
            with plain_endings(folder):
                super().__init__(spec, folder)

        def take_cohort(self, size: int, taker: str) -> Cohort | None:
            """The next cohort, as `open_cohort` has it, for a process that was started before there was one for it."""
            cohort = self.open_cohort(size)
            if cohort is not None:
                self._takers[taker] = cohort.number
            return cohort

        def taken_by(self, taker: str) -> int | None:
            """The number of the cohort that it took."""
            return self._takers.get(taker)

        def cohort(self, number: int) -> Cohort:
            """One that was handed out."""
            return self.cohorts[number]

        def note_examination(self, examination: Examination) -> None:
            """Told how the scores were examined that a process uses."""
            keep_examination(self.folder, examination)
            if line := unseen(self.spec.conditions().dataset, examination):
                self.note_warning(line)

    return LaneStudyActor


class RemoteStudy:
    """The study as a cohort in another process sees it. may_cut: whether it may end a training for what it has cost.

    Raises ResultsError when there is no study, any more.
    """

    def __init__(self, folder: RunFolder, may_cut: bool) -> None:
        ray = importlib.import_module("ray")
        try:
            self._study = ray.get_actor(STUDY_ACTOR, namespace=NAMESPACE)
        except ValueError as error:  # there is none of this name
            raise ResultsError(_last_words(error, folder)) from error
        self._get, self._may_cut = ray.get, may_cut
        self._noted_images, self._noted_seconds, self._answer = -math.inf, -math.inf, None
        self._told = 0  # of this process's warnings
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
        """Whether to go on, as the study answered the note before this one: training waits for no answer. A study that
        ends nothing is told as often as people look; each is told of the first step at once.
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
        """Told without waiting for an answer."""
        self._study.note_phase.remote(cohort, phase)

    def note_warning(self, line: str) -> None:
        """Told without waiting for an answer."""
        self._study.note_warning.remote(line)

    def _tell(self) -> None:
        """Lets the study know what this process warned of: nobody sees what it prints."""
        lines = told()
        for line in lines[self._told :]:
            self.note_warning(line)
        self._told = len(lines)


def plain_ending(error: BaseException, folder: RunFolder) -> InputError | ResultsError | PlaceError | None:
    """What a person is told of what ended a sweep, or None for a configuration's failures and our own mistakes: the
    first that is known among an error, what it was raised for, and what was raised for it in another process.
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
    """What another process raised, where that is what an error is about."""
    remote = importlib.import_module("ray.exceptions").RayTaskError
    return error.cause if isinstance(error, remote) else error


def _last_words(error: BaseException, folder: RunFolder) -> str:
    """What the study's process raised when it began, or that it was killed."""
    raised = str(error).strip().splitlines()[-1].partition("Error: ")[2]
    return raised or f"the study's process died; {folder.path} is whole, and the same command goes on"
