"""Runs cohorts as Ray Tune trials, on one machine or a cluster. The only file that imports Ray.

Ray Tune places cohorts on devices and restarts the ones whose process died; what is tried, pruned and remembered is
the study's, which lives in an actor of its own beside the driver. In this file a *Tune trial* is a cohort.
Ray is imported when a sweep starts: some of its environment is read at import. torch is imported by the processes that
train, and not by the driver, which would take seconds for it.
"""

import importlib
import logging
import math
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from gan_core.config import GanConfig, InputError
from gan_core.native.compiler import make_common_libraries
from gan_core.reports import LaneReport
from results.store import ResultsError, RunFolder
from sweep.cohort import Cohort, CohortRun, TrainableArray
from sweep.ladder import Verdict
from sweep.progress import LIVE_SECONDS, Watch
from sweep.spec import SweepSpec
from sweep.study import LaneStudy

NAMESPACE, STUDY_ACTOR = "gan-sweep", "study"
RESTARTS = 2  # how often a cohort whose process died is started again, from its last rung
OBJECT_STORE_BYTES = 100 * 1024 * 1024  # nothing large goes through Ray: samples are loaded where they are used
LONGEST_RAY_FOLDER = 43  # bytes: the sockets that Ray makes below it must fit 107 bytes
CONNECT_SECONDS = 5.0
NOTE_EVERY_IMAGES = 2_000  # between two notes of a lane's progress to the study

RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative data paths stay true
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the rows are ours
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C reaches us at once
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # resuming reads our own files, never Tune's pickles
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}
LOOPBACK_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0 makes Ray take 127.0.0.1 for this node; read at its import


def run_ray(
    spec: SweepSpec,
    folder: RunFolder,
    watch: Watch,
    address: str | None = None,
    build: Callable[[Sequence[GanConfig]], TrainableArray] | None = None,
) -> None:
    """Runs or resumes a sweep to its end on a Ray cluster: the one at `address`, or a local one of every core and GPU
    that starts and ends here. build makes the arrays in the workers; without it they are real ones.

    Raises InputError when the cluster can never hold one cohort, or cannot be reached. KeyboardInterrupt leaves all
    that was reported on disk.
    """
    os.environ.update(RAY_ENVIRONMENT)
    if address is not None:
        _refuse_dead_address(address)
    temporary = None
    if address is None:
        temporary = _short_folder()
        _prepare_local_environment()
        _start_compiling(spec)
    ray = importlib.import_module("ray")
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": NAMESPACE}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if address is None:
                cores = os.cpu_count() or 1
                ray.init(
                    address="local",
                    num_cpus=max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores),
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _temp_dir=temporary,
                    _system_config={"enable_worker_prestart": False, "prestart_worker_first_driver": False},
                    **quiet,
                )
            else:
                try:
                    ray.init(address=address, **quiet)
                except (ConnectionError, ValueError) as error:
                    raise InputError(f"no Ray cluster answers at {address!r}: {str(error).splitlines()[0]}") from error
            _tune(spec, folder, watch, build)
    finally:
        ray.shutdown()
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _prepare_local_environment() -> None:
    """Keeps a local cluster to this machine and this user: loopback, a token of its own, nothing in ~/.ray."""
    if "ray" in sys.modules and os.environ.get(LOOPBACK_VARIABLE) != "0":
        warnings.warn(
            "ray was imported before the sweep started, so its local cluster listens beyond loopback (behind a "
            f"token); set {LOOPBACK_VARIABLE}=0, or import ray afterwards",
            stacklevel=3,
        )
    os.environ[LOOPBACK_VARIABLE] = "0"
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ.pop("RAY_ADDRESS", None)
    logging.getLogger("ray").setLevel(logging.ERROR)


def _start_compiling(spec: SweepSpec) -> None:
    """Makes what programs share while Ray starts, which mostly waits."""
    convolutions = spec.space.base.structure.architecture in ("dcgan", "infogan")
    if spec.conditions().execution == "compiled":
        threading.Thread(target=make_common_libraries, kwargs={"convolutions": convolutions}).start()


def _refuse_dead_address(address: str) -> None:
    """Ray itself would try for over a minute. `auto`, and what is no host:port, is left to Ray."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"no Ray cluster answers at {address!r} ({error}); start one, or leave --address out"
        ) from error


def _short_folder() -> str:
    """A temporary folder for Ray's sockets and logs, short enough for the names of sockets."""
    wanted = tempfile.gettempdir()
    place = wanted if len(wanted.encode()) + 16 <= LONGEST_RAY_FOLDER else "/tmp"
    return tempfile.mkdtemp(prefix="gs-", dir=place)


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
    spec: SweepSpec, folder: RunFolder, watch: Watch, build: Callable[[Sequence[GanConfig]], TrainableArray] | None
) -> None:
    ray = importlib.import_module("ray")
    count, each = slots(spec, ray.cluster_resources())
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    owner = ray.remote(LaneStudy).options(name=STUDY_ACTOR, num_cpus=0, scheduling_strategy=here)
    study = owner.remote(spec, folder)
    tune = importlib.import_module("ray.tune")  # takes as long as the study's process to start
    for name in ("ray", "ray.tune", "ray.train", "ray.air"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        watch.show(ray.get(study.snapshot.remote()))
    except ray.exceptions.RayActorError as error:
        raise ResultsError(_last_line(error)) from error
    stop = threading.Event()
    watcher = threading.Thread(target=_follow, args=(study, watch, stop), daemon=True)
    watcher.start()
    trainable = tune.with_resources(
        tune.with_parameters(_trainable_class(), spec=spec, folder=folder, build=build), each
    )
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=_searcher(study, spec.cohort_size(count, on_gpu=each["gpu"] > 0)),
            num_samples=-1,
            max_concurrent_trials=count,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder.scheduler.resolve()),
            verbose=0,
            log_to_file=False,
            failure_config=tune.FailureConfig(max_failures=RESTARTS),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    try:
        tuner.fit()
        ray.get(study.close.remote())
        watch.show(ray.get(study.snapshot.remote()))
    except ray.exceptions.RayActorError as error:
        raise ResultsError(f"the study's process died; {folder.path} is whole, the same command goes on") from error
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


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1].partition("Error: ")[2] or str(error)


def _searcher(study: Any, size: int) -> Any:
    """A Tune Searcher over the study's cohorts. It has nothing to propose (None) only while the last of a search are in
    training whose finalists are to be confirmed.
    """
    ray = importlib.import_module("ray")
    base = importlib.import_module("ray.tune.search").Searcher

    class CohortSearcher(base):
        def __init__(self) -> None:
            super().__init__()
            self._cohorts: dict[str, int] = {}

        def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
            cohort = ray.get(study.open_cohort.remote(size))
            if cohort is None:
                return None if ray.get(study.is_waiting.remote()) else base.FINISHED
            self._cohorts[trial_id] = cohort.number
            return {"cohort": cohort.plain()}

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            number = self._cohorts.pop(trial_id)
            if error:
                ray.get(study.fail_cohort.remote(number, RESTARTS + 1))

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

    def judge(self, cohort: int, rung: int, trials: list[int], reports: list[LaneReport]) -> list[Verdict]:
        return self._get(self._study.judge.remote(cohort, rung, trials, reports))

    def note_failure(self, cohort: int, reason: str) -> None:
        self._get(self._study.note_failure.remote(cohort, reason))

    def cut(self, cohort: int) -> None:
        self._get(self._study.cut.remote(cohort))

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
            build: Callable[[Sequence[GanConfig]], TrainableArray] | None,
        ) -> None:
            self._spec, self._folder, self._build = spec, folder, build
            self._run: CohortRun | None = None
            self._wanted, self._limits = config, {}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._run, self._wanted = None, new_config
            return True

        def step(self) -> dict[str, Any]:
            from gan_core.lanes import lane_arithmetic

            self._study = _RemoteStudy(ray.get_actor(STUDY_ACTOR, namespace=NAMESPACE))
            try:
                with lane_arithmetic():
                    return self._climb()
            except Exception as error:  # whatever it is, the table shall say it if it happens again and again
                self._study.note_failure(self._wanted["cohort"]["cohort"], f"{type(error).__name__}: {error}")
                raise

        def _climb(self) -> dict[str, Any]:
            if self._run is None:
                self._run = self._begin()
            run = self._run
            rung, trials = run.rung, run.trials
            reports = [] if run.done else run.advance()
            return {
                "done": run.done,
                "cohort": run.cohort.number,
                "rung": rung,
                "lanes": {
                    str(trial): {"d_loss": r.d_loss, "g_loss": r.g_loss, **r.fidelity.values}
                    for trial, r in zip(trials, reports, strict=False)
                },
            }

        def _begin(self) -> CohortRun:
            if self._build is None:
                from gan_core.scoring import Workshop

                wants_gpu = bool(ray.get_gpu_ids())
                self._build = Workshop(self._spec.conditions(), "cuda" if wants_gpu else "cpu").build
            cohort = Cohort.from_plain(self._wanted["cohort"])
            objective = self._spec.objective
            return CohortRun(cohort, self._spec.ladder, objective, self._build, self._study, self._folder, self._limits)

    return CohortTrainable
