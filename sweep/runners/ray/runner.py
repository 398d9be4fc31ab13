"""Runs cohorts as Ray Tune trials, on one machine or a cluster: the driver's side.

Ray Tune places cohorts on devices; what is tried, pruned, started again and remembered is the study's, which lives in
an actor of its own beside the driver (`ray_study.py`). What trains is in `ray_trainable.py`. In these files a *Tune
trial* is a cohort.
Ray is imported when a sweep starts: some of its environment is read at import. torch is imported by the processes that
train, and not by the driver, which would take seconds for it. Of a short sweep much is the start of processes: those
that train start beside the study's, before it could say what, and the driver loads its packages while Ray starts.
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

from gan_core.config.gan import InputError
from gan_core.native.compiler import make_common_libraries
from results.store import ResultsError, RunFolder
from sweep.cohorts.contracts import Build
from sweep.ledger.endings import PlaceError
from sweep.runners.loading import uncollected
from sweep.runners.progress import LIVE_SECONDS, Watch
from sweep.runners.ray.start import leave_signals_alone, ray_cluster, running_cluster
from sweep.runners.ray.study_actor import plain_ending, start_study
from sweep.runners.ray.trainable import COHORT, ENDING, PLACE, trainable_class
from sweep.spec.sweep_spec import SweepSpec

# How often a cohort whose process died is started again, by the study: Tune would give one up at its first death where
# that comes before its first step.
RESTARTS = 2


def run_ray(
    spec: SweepSpec,
    folder: RunFolder,
    watch: Watch,
    address: str | None = None,
    build: Build | None = None,
    on_step: Callable[[], None] | None = None,
) -> None:
    """Runs or resumes a sweep to its end on a Ray cluster: the one at `address`, or a local one of every core and GPU
    that starts and ends here. build makes the arrays in the workers; without it they are real ones. on_step is
    called here several times a second while they train; what it raises ends the run.

    Raises InputError when the cluster can never hold one cohort, or cannot be reached, and what a cohort or the study
    raises of InputError and ResultsError; ResultsError when the study's process died or files cannot be written.
    KeyboardInterrupt leaves all that was reported on disk. So does the death of Ray's head, which ends this process.
    """
    address = running_cluster(address)
    watch.now("starting Ray" if address is None else f"connecting to Ray at {address}")
    if address is None:
        _start_compiling(spec)
    threading.Thread(target=_load_packages).start()
    with ray_cluster(address, partial(_say_lost_head, folder, watch)) as wait_for_head:
        _tune(spec, folder, watch, build, wait_for_head, on_step)


def _say_lost_head(folder: RunFolder, watch: Watch) -> None:
    watch.__exit__(None, None, None)
    line = f"Ray's head process died; what was reported is in {folder.path}, and the same command goes on"
    print(f"gan-sweep: {line}", file=sys.stderr, flush=True)


def _start_compiling(spec: SweepSpec) -> None:
    """Makes what programs share while Ray starts, which mostly waits."""
    convolutions = spec.space.base.structure.architecture in ("dcgan", "infogan")
    if spec.conditions().execution in ("auto", "compiled"):
        kinds = {"convolutions": convolutions, "rounded": spec.conditions().precision == "bfloat16"}
        threading.Thread(target=make_common_libraries, kwargs=kinds).start()


def _load_packages() -> None:
    """Loads what the driver will need while Ray starts, which mostly waits. Nothing of Ray's own: it loads parts of
    itself as it starts.
    """
    with uncollected():
        importlib.import_module("pandas")
        importlib.import_module("sweep.ledger.study")


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
    on_step: Callable[[], None] | None,
) -> None:
    ray = importlib.import_module("ray")
    count, each = slots(spec, ray.cluster_resources())
    watch.now("starting the processes that train")
    study = start_study(spec, folder)
    with uncollected():
        tune = importlib.import_module("ray.tune")
    leave_signals_alone(importlib.import_module("ray.tune.tune"))
    for name in ("ray", "ray.tune", "ray.train", "ray.air"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    stop = threading.Event()
    watcher = threading.Thread(target=_follow, args=(study, watch, stop), daemon=True)
    watcher.start()
    size = spec.cohort_size(count, on_gpu=each["gpu"] > 0)
    given = {"spec": spec, "folder": folder, "build": build, "size": size}
    trainable = tune.with_resources(tune.with_parameters(trainable_class(), **given), each)
    searcher = _searcher(study, size, min(count, math.ceil(spec.trials / size)), wait_for_head)
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
            callbacks=None if on_step is None else [_caller(on_step)],
            log_to_file=False,
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    try:
        tuner.fit()
        searcher.check()
        ray.get(study.close.remote())
        watch.show(ray.get(study.snapshot.remote()))
    except (ray.exceptions.RayError, tune.TuneError, OSError, InputError, ResultsError, PlaceError) as error:
        told = plain_ending(error, folder)
        if told is None:
            raise
        raise told from error
    finally:
        stop.set()
        watcher.join(timeout=5)
        shutil.rmtree(folder.scheduler, ignore_errors=True)


def _caller(on_step: Callable[[], None]) -> Any:
    """A Tune callback that calls this after each of Tune's own steps, which are a tenth of a second apart or less."""

    class StepCallback(importlib.import_module("ray.tune").Callback):
        def on_step_end(self, **info: Any) -> None:
            on_step()

    return StepCallback()


def _follow(study: Any, watch: Watch, stop: threading.Event) -> None:
    """Keeps the view fresh while `fit` holds the main thread."""
    ray = importlib.import_module("ray")
    while not stop.wait(LIVE_SECONDS):
        with suppress(ray.exceptions.RayError):  # the study is gone when Ray is shut down under us
            watch.show(ray.get(study.snapshot.remote()))


def _searcher(study: Any, size: int, early: int, wait_for_head: Callable[[], None]) -> Any:
    """A Tune Searcher over the study's cohorts, of up to `size` trials. The first `early` Tune trials begin without
    one, while the study's process starts: each takes the next there is. It has nothing to propose (None) while the
    last cohorts are in training: their processes may die, and their finalists may be confirmed.
    wait_for_head: `ray_cluster`'s.
    """
    ray = importlib.import_module("ray")
    base = importlib.import_module("ray.tune.search").Searcher

    class CohortSearcher(base):
        def __init__(self) -> None:
            super().__init__()
            self._early = early
            self._cohorts: dict[str, int | None] = {}  # Tune trial -> its cohort, None where it takes one itself
            self.ending: ResultsError | PlaceError | None = None  # what a cohort's process said ends the sweep

        def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
            self.check()
            number = None
            if self._early > 0:
                self._early -= 1
            elif (cohort := ray.get(study.open_cohort.remote(size))) is not None:
                number = cohort.number
            else:
                return None if ray.get(study.is_waiting.remote()) else base.FINISHED
            self._cohorts[trial_id] = number
            return {COHORT: number}  # Tune keeps what it is given for as long as the sweep goes on

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            number = self._cohorts.pop(trial_id)
            said = {} if result is None or ENDING not in result else result
            if error or said:
                wait_for_head()  # what ends for the want of it has not ended by itself
            if said and self.ending is None:
                self.ending = (PlaceError if said[PLACE] else ResultsError)(said[ENDING])
            if error:
                number = ray.get(study.taken_by.remote(trial_id)) if number is None else number
                if number is not None:
                    ray.get(study.note_death.remote(number, RESTARTS + 1))

        def check(self) -> None:
            """Raises ResultsError or PlaceError when a cohort has ended the sweep. In `on_trial_complete` Tune would
            take it for a failure of that cohort, and start it again.
            """
            if self.ending is not None:
                raise self.ending

        def save(self, checkpoint_path: str) -> None:
            """Nothing: the study is on disk already."""

        def restore(self, checkpoint_path: str) -> None:
            """Nothing: a resumed run asks the study."""

    return CohortSearcher()
