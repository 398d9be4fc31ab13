"""Runs cohorts as Ray Tune trials, on one machine or a cluster: the driver's side.

Ray Tune places cohorts on devices. What is tried, pruned, started again and remembered is decided by the study, an
actor beside the driver (`study_actor.py`); `trainer.py` trains. In this package a *Tune trial* is a cohort.

Ray is imported when a sweep starts, because it reads some of its environment at import. Only the processes that train
import torch, which takes seconds. Starting processes is much of a short sweep: those that train start beside the
study's, before it can say what, and the driver loads its packages while Ray starts.
"""

import gc
import importlib
import logging
import math
import os
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from gan_core.config.input_error import InputError
from gan_core.native.arithmetic import code_here
from gan_core.native.compiler import make_common_libraries
from results.store import ResultsError, RunFolder
from sweep.cohorts.brought_data import held_here
from sweep.cohorts.contracts import Build
from sweep.ledger.endings import PlaceError, one_line
from sweep.runners.loading import uncollected
from sweep.runners.progress import LIVE_SECONDS, ProgressDisplay
from sweep.runners.ray.address import has_session, running_cluster
from sweep.runners.ray.cluster import connected_to_ray
from sweep.runners.ray.files import marked
from sweep.runners.ray.head import Head
from sweep.runners.ray.node_table import living_nodes, loss_of
from sweep.runners.ray.nodes import Look, NodeWatch, faulty, paths_read, unused
from sweep.runners.ray.processes import Processes
from sweep.runners.ray.searcher import finished_stopper, study_searcher
from sweep.runners.ray.shares import Share, beginning, cohorts_at_once, placed, refuse_unfit
from sweep.runners.ray.slots import MOST_SLOTS, Slots
from sweep.runners.ray.study_actor import plain_ending, start_study
from sweep.runners.ray.trainable import trainable_class
from sweep.runners.ray.trainer import Orders
from sweep.runners.signals import remembered_handlers
from sweep.spec.sweep_spec import SweepSpec

LOGGERS = ("ray", "ray.tune", "ray.train", "ray.air")


def run_ray(
    spec: SweepSpec,
    folder: RunFolder,
    display: ProgressDisplay,
    address: str | None = None,
    build: Build | None = None,
    on_step: Callable[[], None] | None = None,
    on_lost: Callable[[], object] | None = None,
) -> None:
    """Runs or resumes a sweep to its end on a Ray cluster: the one that this program is connected to already, which is
    left running; otherwise the one at `address`; otherwise a local one of every core and GPU that starts and ends here.

    build makes the arrays in the workers; without it they are real ones. on_step is called here several times a second
    while the cohorts train; what it raises ends the sweep. on_lost is called in another thread, before this process
    ends, where Ray is lost and this one can do nothing any more.

    Raises InputError when the cluster can never hold one cohort, cannot be reached, or is not the one that this program
    is connected to; ResultsError when the study's process died or files cannot be written; PlaceError for what would
    have hit any configuration; and the InputError and ResultsError that a cohort or the study raises.
    KeyboardInterrupt leaves on disk all that was reported. So does the death of Ray's head, which ends this process.
    """
    address = running_cluster(address)
    if has_session():
        display.now("using the Ray session of this program")
    elif address is None:
        display.now("starting Ray")
        _start_compiling(spec)
    else:
        display.now(f"connecting to Ray at {address}")
    threading.Thread(target=_load_packages, daemon=True).start()
    with connected_to_ray(address, partial(_say_lost, folder, display, on_lost)) as head, _plain_errors(folder):
        _tune(spec, folder, display, build, head, on_step)


def _say_lost(folder: RunFolder, display: ProgressDisplay, on_lost: Callable[[], object] | None, lost: str) -> None:
    display.__exit__(None, None, None)
    line = f"{lost}; what was reported is in {folder.path}; run the same command again to continue"
    print(f"gan-sweep: {line}", file=sys.stderr, flush=True)
    if on_lost is not None:
        on_lost()


def _start_compiling(spec: SweepSpec) -> None:
    """Compiles what programs share while Ray starts, which is mostly waiting."""
    convolutions = spec.space.base.structure.architecture in ("dcgan", "infogan")
    if spec.conditions().execution in ("auto", "compiled"):
        kinds = {"convolutions": convolutions, "rounded": spec.conditions().precision == "bfloat16"}
        threading.Thread(target=make_common_libraries, kwargs=kinds).start()


def _load_packages() -> None:
    """Loads what the driver will need while Ray starts, which is mostly waiting. Nothing of Ray itself, which loads
    parts of itself as it starts.

    It runs in a daemon thread, and without a word where it fails: a signal that interrupts an import in the main thread
    may leave a module half loaded, or its lock held, for which this thread would wait for ever as the process ends.
    What cannot be loaded says so where it is needed.
    """
    with uncollected(), suppress(Exception):
        importlib.import_module("pandas")
        importlib.import_module("sweep.ledger.study")


def _tune(
    spec: SweepSpec,
    folder: RunFolder,
    display: ProgressDisplay,
    build: Build | None,
    head: Head,
    on_step: Callable[[], None] | None,
) -> None:
    ray = importlib.import_module("ray")
    with ExitStack() as ending:
        home = ending.enter_context(marked(folder.mark))
        look = (
            None
            if head.local_folder
            else partial(Look, home=home, paths=paths_read(spec.conditions()), gpus=spec.resources.gpus_per_cohort != 0)
        )
        faults = {} if look is None else _faults(look, display)
        each, slots = _slots(spec, faults, display)
        count = max(1, slots())
        display.now(beginning(each, ray.available_resources()))
        umask = os.umask(0o077)  # the only way to ask for it
        os.umask(umask)
        study = start_study(spec, folder, umask, None if look is None else held_here(spec.conditions()))
        ending.callback(shutil.rmtree, folder.scheduler, ignore_errors=True)
        ending.callback(ray.kill, study)
        with uncollected():
            tune = importlib.import_module("ray.tune")
        size = spec.cohort_size(count, on_gpu=each.gpus > 0)
        early = min(count, math.ceil(spec.trials / size))
        processes = Processes(study, early, slots, loss_of, head.wait, remembered_handlers())
        orders = Orders(spec, folder, home, build, size, study, umask, code_here())
        trainable = tune.with_resources(tune.with_parameters(trainable_class(), orders=orders), placed(each))
        watch = None if look is None else NodeWatch(look, slots)
        with _silent_loggers(), _followed(study, display, watch, slots):
            found = _tuner(trainable, processes, folder, on_step).fit()
            processes.check()
            if processes.is_barren:
                raise PlaceError.because(f"no process that trains could start: {_last_line(found.errors[-1])}")
            ray.get(study.close.remote())
            display.show(ray.get(study.snapshot.remote()))


def _faults(look: Callable[[list[dict[str, Any]]], Look], display: ProgressDisplay) -> dict[str, str]:
    """Looks at each node, says what is there, and returns what `faulty` does."""
    display.now("looking at the nodes")
    reports = look(living_nodes()).reports()
    for report in reports:
        display.tell(report.line)
    return faulty(reports)


def _slots(spec: SweepSpec, faults: Mapping[str, str], display: ProgressDisplay) -> tuple[Share, Slots]:
    """What each cohort is given, and how many fit the cluster at once. faults: as `faulty` returns them; these nodes
    are not used, which is said. Raises InputError where no node has room for a cohort, and none is waited for.
    """
    nodes, wait_for = living_nodes(), spec.resources.wait_for
    each = Share.of(spec.resources, nodes)
    if not (wait_for.cpus or wait_for.gpus):
        refuse_unfit(each, nodes)
        if not cohorts_at_once(each, [node for node in nodes if node["NodeID"] not in faults]):
            raise InputError(f"nothing was started, because of {' | '.join(faults.values())}")
    slots = Slots(each, wait_for, display.tell)
    for node, fault in faults.items():
        display.say(unused(fault))
        slots.avoid(node, fault.partition(": ")[2])
    return each, slots


def _last_line(error: BaseException) -> str:
    """The last line of the text of an error of Ray, which ends with what another process raised."""
    return one_line(str(error).strip().splitlines()[-1])


@contextmanager
def _plain_errors(folder: RunFolder) -> Iterator[None]:
    """Raises what a person is told (`plain_ending`) for the errors of Ray and of other processes. Of an interrupted
    sweep nothing stays: a notebook keeps the traceback, and so the frames of Tune, whose actors would keep their share
    of its session.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        traceback.clear_frames(interrupt.__traceback__)
        gc.collect()
        raise
    except _explained() as error:
        told = plain_ending(error, folder)
        if told is None:
            raise
        raise told from error


def _explained() -> tuple[type[Exception], ...]:
    ray, tune = importlib.import_module("ray"), importlib.import_module("ray.tune")
    return ray.exceptions.RayError, tune.TuneError, OSError, InputError, ResultsError, PlaceError


def _tuner(trainable: Any, processes: Processes, folder: RunFolder, on_step: Callable[[], None] | None) -> Any:
    """A Tune `Tuner` of as many cohorts at once as are to train, which records nothing: the study does."""
    tune = importlib.import_module("ray.tune")
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=study_searcher(processes),
            num_samples=-1,
            max_concurrent_trials=MOST_SLOTS,  # Tune never changes it; `Processes` follows the cluster
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            stop=finished_stopper(processes),
            storage_path=str(folder.scheduler.resolve()),
            verbose=0,
            # Where it is given any callback, Tune loads MLflow and Weights & Biases, for a second.
            callbacks=None if on_step is None else [_callback(on_step)],
            log_to_file=False,
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )


def _callback(on_step: Callable[[], None]) -> Any:
    """A Tune callback that calls on_step after each of Tune's own steps, at most a tenth of a second apart."""

    class StepCallback(importlib.import_module("ray.tune").Callback):
        def on_step_end(self, **info: Any) -> None:
            on_step()

    return StepCallback()


@contextmanager
def _silent_loggers() -> Iterator[None]:
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    try:
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _followed(study: Any, display: ProgressDisplay, nodes: NodeWatch | None, slots: Slots) -> Iterator[None]:
    """Shows how far the sweep is, and what becomes of the nodes, from another thread, while `fit` holds this one."""
    stop = threading.Event()
    follower = threading.Thread(target=_follow, args=(study, display, nodes, slots, stop), daemon=True)
    follower.start()
    try:
        yield
    finally:
        stop.set()
        follower.join(timeout=5)


def _follow(study: Any, display: ProgressDisplay, nodes: NodeWatch | None, slots: Slots, stop: threading.Event) -> None:
    ray = importlib.import_module("ray")
    while not stop.wait(LIVE_SECONDS):
        for line in [] if nodes is None else nodes.changes():
            display.say(line)
        with suppress(ray.exceptions.RayError):  # the study is gone when Ray is shut down meanwhile
            snapshot = ray.get(study.snapshot.remote())
            display.show(snapshot if nodes is None else replace(snapshot, nodes=slots.seen()))
