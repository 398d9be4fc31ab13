"""Runs cohorts as Ray Tune trials, on one machine or a cluster. The only file that imports Ray.

Ray Tune places cohorts on devices; what is tried, pruned, started again and remembered is the study's, which lives in
an actor of its own beside the driver. In this file a *Tune trial* is a cohort.
Ray is imported when a sweep starts: some of its environment is read at import. torch is imported by the processes that
train, and not by the driver, which would take seconds for it.
"""

import importlib
import logging
import math
import shutil
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from gan_core.config import InputError
from gan_core.native.compiler import make_common_libraries
from gan_core.reports import LaneReport
from results.store import ResultsError, RunFolder
from sweep.cohort import Cohort, CohortRun
from sweep.contracts import Build
from sweep.endings import disk_ending, plain_endings
from sweep.ladder import Verdict
from sweep.progress import LIVE_SECONDS, Watch
from sweep.ray_start import NAMESPACE, ray_cluster
from sweep.spec import SweepSpec
from sweep.study import LaneStudy

STUDY_ACTOR = "study"
RESTARTS = (
    2  # how often a cohort whose process died is started again, by the study: Tune would give one up at its first
)
# death where that comes before its first step
NOTE_EVERY_IMAGES = 2_000  # between two notes of a lane's progress to the study
ENDING = "ending"  # of a Tune trial's result: the line that a person is told when it ends the sweep


def run_ray(
    spec: SweepSpec,
    folder: RunFolder,
    watch: Watch,
    address: str | None = None,
    build: Build | None = None,
) -> None:
    """Runs or resumes a sweep to its end on a Ray cluster: the one at `address`, or a local one of every core and GPU
    that starts and ends here. build makes the arrays in the workers; without it they are real ones.

    Raises InputError when the cluster can never hold one cohort, or cannot be reached, and what a cohort or the study
    raises of InputError and ResultsError; ResultsError when the study's process died or files cannot be written.
    KeyboardInterrupt leaves all that was reported on disk. So does the death of Ray's head, which ends this process.
    """
    if address is None:
        _start_compiling(spec)
    with ray_cluster(address, partial(_say_lost_head, folder, watch)) as wait_for_head:
        _tune(spec, folder, watch, build, wait_for_head)


def _say_lost_head(folder: RunFolder, watch: Watch) -> None:
    watch.__exit__(None, None, None)
    line = f"Ray's head process died; what was reported is in {folder.path}, and the same command goes on"
    print(f"gan-sweep: {line}", file=sys.stderr, flush=True)


def _start_compiling(spec: SweepSpec) -> None:
    """Makes what programs share while Ray starts, which mostly waits."""
    convolutions = spec.space.base.structure.architecture in ("dcgan", "infogan")
    if spec.conditions().execution == "compiled":
        kinds = {"convolutions": convolutions, "rounded": spec.conditions().precision == "bfloat16"}
        threading.Thread(target=make_common_libraries, kwargs=kinds).start()


def slots(spec: SweepSpec, cluster: dict[str, float]) -> tuple[int, dict[str, float]]:
    """How many cohorts fit a cluster at once, and what each is given, from Ray's resource totals.

    Raises InputError when not even one fits.
    """
    cpus, gpus = cluster.get("CPU", 0.0), cluster.get("GPU", 0.0)
    wanted = spec.resources.gpus_per_cohort
    gpu = (1.0 if gpus >= 1 else 0.0) if wanted == "auto" else float(wanted)
    cpu = float(spec.resources.cpus_per_cohort)
    for name, need, have in (("gpus", gpu, gpus), ("cpus", cpu, cpus)):
        if need > have:
            raise InputError(
                f"resources.{name}_per_cohort asks for {need:g}, and the cluster has {have:g} in all; "
                f"lower it, or give a larger cluster with --address"
            )
    by_gpu = math.floor(1 / gpu + 1e-9) * math.floor(gpus) if 0 < gpu < 1 else math.floor(gpus / gpu) if gpu else None
    by_cpu = math.floor(cpus / cpu + 1e-9)
    return min(x for x in (by_gpu, by_cpu) if x is not None), {"cpu": cpu, "gpu": gpu}


def _tune(
    spec: SweepSpec,
    folder: RunFolder,
    watch: Watch,
    build: Build | None,
    wait_for_head: Callable[[], None],
) -> None:
    ray = importlib.import_module("ray")
    count, each = slots(spec, ray.cluster_resources())
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    owner = ray.remote(_LaneStudyActor).options(name=STUDY_ACTOR, num_cpus=0, scheduling_strategy=here)
    study = owner.remote(spec, folder)
    tune = importlib.import_module("ray.tune")  # takes as long as the study's process to start
    for name in ("ray", "ray.tune", "ray.train", "ray.air"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    stop = threading.Event()
    watcher = threading.Thread(target=_follow, args=(study, watch, stop), daemon=True)
    watcher.start()
    trainable = tune.with_resources(
        tune.with_parameters(_trainable_class(), spec=spec, folder=folder, build=build), each
    )
    searcher = _searcher(study, spec.cohort_size(count, on_gpu=each["gpu"] > 0), wait_for_head)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,
            max_concurrent_trials=count,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder.scheduler.resolve()),
            verbose=0,
            log_to_file=False,
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    try:
        watch.show(ray.get(study.snapshot.remote()))
        tuner.fit()
        searcher.check()
        ray.get(study.close.remote())
        watch.show(ray.get(study.snapshot.remote()))
    except (ray.exceptions.RayError, tune.TuneError, OSError, InputError, ResultsError) as error:
        told = _ending(error, folder)
        if told is None:
            raise
        raise told from error
    finally:
        stop.set()
        watcher.join(timeout=5)
        shutil.rmtree(folder.scheduler, ignore_errors=True)


def _follow(study: Any, watch: Watch, stop: threading.Event) -> None:
    """Keeps the view fresh while `fit` holds the main thread."""
    ray = importlib.import_module("ray")
    while not stop.wait(LIVE_SECONDS):
        with suppress(ray.exceptions.RayError):  # the study is gone when Ray is shut down under us
            watch.show(ray.get(study.snapshot.remote()))


def _ending(error: BaseException, folder: RunFolder) -> InputError | ResultsError | None:
    """What a person is told of what ended a sweep, or None for our own mistakes: the first that is known among an
    error, what it was raised for, and what was raised for it in another process.
    """
    exceptions = importlib.import_module("ray.exceptions")
    waiting: list[Any] = [error]
    for found in waiting:
        if found is None:
            continue
        if isinstance(found, exceptions.RayTaskError):  # also an instance of its cause's class, with another text
            waiting.append(found.cause)
        elif isinstance(found, InputError | ResultsError):
            return found
        elif isinstance(found, exceptions.RayActorError):
            return ResultsError(_last_words(found, folder))
        elif (told := disk_ending(found, folder)) is not None:
            return told
        waiting += [found.__cause__, found.__context__]
    return None


def _last_words(error: BaseException, folder: RunFolder) -> str:
    """What the study's process raised when it began, or that it was killed."""
    raised = str(error).strip().splitlines()[-1].partition("Error: ")[2]
    return raised or f"the study's process died; {folder.path} is whole, and the same command goes on"


def _find_study(folder: RunFolder) -> Any:
    try:
        return importlib.import_module("ray").get_actor(STUDY_ACTOR, namespace=NAMESPACE)
    except ValueError as error:  # there is none of this name, any more
        raise ResultsError(_last_words(error, folder)) from error


class _LaneStudyActor(LaneStudy):
    """The study in a process of its own."""

    def __init__(self, spec: SweepSpec, folder: RunFolder) -> None:
        with plain_endings(folder):
            super().__init__(spec, folder)

    def cohort(self, number: int) -> Cohort:
        """One that was handed out."""
        return self._cohorts[number]


def _searcher(study: Any, size: int, wait_for_head: Callable[[], None]) -> Any:
    """A Tune Searcher over the study's cohorts. It has nothing to propose (None) while the last of them are in
    training: their processes may die, and their finalists may be confirmed. wait_for_head: `ray_cluster`'s.
    """
    ray = importlib.import_module("ray")
    base = importlib.import_module("ray.tune.search").Searcher

    class CohortSearcher(base):
        def __init__(self) -> None:
            super().__init__()
            self._cohorts: dict[str, int] = {}
            self.ending: str | None = None  # what a cohort's process said ends the sweep

        def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
            self.check()
            cohort = ray.get(study.open_cohort.remote(size))
            if cohort is None:
                return None if ray.get(study.is_waiting.remote()) else base.FINISHED
            self._cohorts[trial_id] = cohort.number
            return {"cohort": cohort.number}  # Tune keeps what it is given for as long as the sweep goes on

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            number = self._cohorts.pop(trial_id)
            self.ending = self.ending or (result or {}).get(ENDING)
            if error:
                wait_for_head()  # what dies for the want of it has not died by itself
                ray.get(study.note_death.remote(number, RESTARTS + 1))

        def check(self) -> None:
            """Raises ResultsError when a cohort has ended the sweep. In `on_trial_complete` Tune would take it for a
            failure of that cohort, and start it again.
            """
            if self.ending is not None:
                raise ResultsError(self.ending)

        def save(self, checkpoint_path: str) -> None:
            """Nothing: the study is on disk already."""

        def restore(self, checkpoint_path: str) -> None:
            """Nothing: a resumed run asks the study."""

    return CohortSearcher()


class _RemoteStudy:
    """The study as a cohort in another process sees it."""

    def __init__(self, study: Any) -> None:
        self._study = study
        self._get = importlib.import_module("ray").get
        self._noted, self._answer = 0, None

    def cohort(self, number: int) -> Cohort:
        return self._get(self._study.cohort.remote(number))

    def judge(self, cohort: int, rung: int, trials: list[int], reports: list[LaneReport]) -> list[Verdict]:
        return self._get(self._study.judge.remote(cohort, rung, trials, reports))

    def note_failure(self, cohort: int, reason: str) -> None:
        self._get(self._study.note_failure.remote(cohort, reason))

    def cut(self, cohort: int, trials: list[int], reports: list[LaneReport]) -> None:
        self._get(self._study.cut.remote(cohort, trials, reports))

    def note_images(self, trials: list[int], images: int) -> bool:
        """Whether to go on, as the study answered the note before this one: training waits for no answer."""
        if self._noted <= images < self._noted + NOTE_EVERY_IMAGES:
            return True
        self._noted = images
        before, self._answer = self._answer, self._study.note_images.remote(trials, images)
        return before is None or bool(self._get(before))


def _trainable_class() -> Any:
    ray = importlib.import_module("ray")
    base = importlib.import_module("ray.tune").Trainable

    class CohortTrainable(base):
        """One cohort; a step is a rung. An actor is reused for cohort after cohort and loads the data set once.

        Everything is loaded at the first step: Tune may set up an actor for a cohort that trains elsewhere by then.
        """

        def setup(
            self,
            config: dict[str, Any],
            spec: SweepSpec,
            folder: RunFolder,
            build: Build | None,
        ) -> None:
            self._spec, self._folder, self._build = spec, folder, build
            self._run: CohortRun | None = None
            self._wanted, self._limits = config, {}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._run, self._wanted = None, new_config
            return True

        def step(self) -> dict[str, Any]:
            from gan_core.lanes import lane_arithmetic

            try:
                with lane_arithmetic():
                    return self._climb()
            except Exception as error:  # whatever it is, the table shall say it if it happens again and again
                if (told := _ending(error, self._folder)) is not None:
                    return {"done": True, ENDING: str(told)}
                self._study.note_failure(self._wanted["cohort"], f"{type(error).__name__}: {error}")
                raise

        def _climb(self) -> dict[str, Any]:
            if self._run is None:
                self._study = _RemoteStudy(_find_study(self._folder))
                self._run = self._begin()
            run = self._run
            rung, trials = run.rung, run.trials
            reports = [] if run.done else run.advance()
            return {
                "done": run.done,
                "cohort": run.cohort.number,
                "rung": rung,
                "lanes": [  # of what has a name of its own Tune would keep a history
                    {"trial": trial, "d_loss": r.d_loss, "g_loss": r.g_loss, **r.fidelity.values}
                    for trial, r in zip(trials, reports, strict=False)
                ],
            }

        def _begin(self) -> CohortRun:
            if self._build is None:
                from gan_core.scoring import Workshop

                wants_gpu = bool(ray.get_gpu_ids())
                self._build = Workshop(self._spec.conditions(), "cuda" if wants_gpu else "cpu").build
            cohort = self._study.cohort(self._wanted["cohort"])
            objective = self._spec.objective
            return CohortRun(cohort, self._spec.ladder, objective, self._build, self._study, self._folder, self._limits)

    return CohortTrainable
