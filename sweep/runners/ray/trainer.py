"""Trainer: what a process of Ray does that trains. It takes a cohort of the study, and climbs a rung at each step."""

import importlib
import os
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import uuid4

from gan_core.native.arithmetic import code_here
from results.store import RunFolder
from sweep.cohorts.cohort import CohortRun, Leaving
from sweep.cohorts.contracts import Build
from sweep.ledger.endings import PlaceError, described
from sweep.ledger.owners import NoLongerOwner, Taker
from sweep.runners.loading import uncollected
from sweep.runners.ray.asking import OutOfReach
from sweep.runners.ray.cohort_runs import CohortRuns
from sweep.runners.ray.files import Home
from sweep.runners.ray.node_table import host_name
from sweep.runners.ray.notice import Notice
from sweep.runners.ray.silence import Silence
from sweep.runners.ray.step_results import ENDING, GIVEN_BACK, HOST, NODE, PLACE, WHY
from sweep.runners.ray.study_actor import RemoteStudy, cause_of, plain_ending
from sweep.runners.ray.titles import show_title, title_of
from sweep.spec.sweep_spec import SweepSpec

EXIT_SECONDS = 2.0  # for the answer of a process that ends by itself to arrive


class Orders(NamedTuple):
    """What the driver tells each process that trains. home: where the driver is. build: makes the arrays; None for real
    ones. size: how many trials a cohort has at most that the process takes itself. study: the study's actor. umask: of
    the driver, so that who started the sweep can read its files, whoever started Ray there. code: the `code_version` of
    the driver.
    """

    spec: SweepSpec
    folder: RunFolder
    home: Home
    build: Build | None
    size: int
    study: Any
    umask: int
    code: str


class Trainer:
    """Trains cohort after cohort, and loads the data set once.

    Everything is loaded at the first step, because Tune may set up an actor for a cohort that trains elsewhere by then.
    """

    def __init__(self, orders: Orders) -> None:
        os.umask(orders.umask)
        self.orders = orders
        self._ray = importlib.import_module("ray")
        self._process, self._host = uuid4().hex, ""
        self._cohorts = CohortRuns(orders.spec, orders.folder, orders.home, orders.build)
        self._study: Any = None  # as the cohort in training sees it
        self._run: CohortRun | None = None
        self._owner: int | None = None
        self._has_trained = False  # whether a cohort has come to a rung
        self._silence = Silence(self._leave)
        self._notice: Notice | None = None

    def reset(self) -> None:
        """Is called before the first step of another Tune trial."""
        self._run, self._owner = None, None

    def close(self) -> None:
        """Is called when no step follows."""
        self._silence.end()
        self._cohorts.close()

    def step(self, name: str) -> dict[str, Any]:
        """Trains a cohort to its next rung, and says how that ended. name: of the Tune trial."""
        self._silence.end()
        said: dict[str, Any] = {"done": True}
        try:
            said = self._step(name)
        finally:
            if said["done"]:
                self._cohorts.close()
        if not said["done"]:
            self._silence.begin()
        elif self._notice is not None and self._notice.is_given:  # Tune would give it one cohort after another
            Silence(lambda: os._exit(0), EXIT_SECONDS).begin()
        return said

    def _leave(self) -> None:
        """Gives the cohort back, and ends this process, of which Tune hears nothing any more."""
        with suppress(OutOfReach, self._ray.exceptions.RayError):
            if self._owner is not None:
                self._study.give_back(self._owner, f"an answer of node {self._host} was lost")
        os._exit(1)

    def _step(self, name: str) -> dict[str, Any]:
        try:
            with uncollected():
                from gan_core.lanes.axis import lane_arithmetic

            with lane_arithmetic():
                return self._climb(name)
        except Exception as error:  # any error at all is a row's reason if it happens again and again
            try:
                return self._ending(error, name)
            except NoLongerOwner:  # the cohort trains elsewhere: whatever happened here is nobody's concern
                return {"done": True}
            except OutOfReach:
                return {"done": True, GIVEN_BACK: True}

    def _climb(self, name: str) -> dict[str, Any]:
        notice = self._notice = self._notice or Notice(self._ray.get_runtime_context().get_node_id())
        if self._run is None and (notice.is_given or not self._begin(name, notice)):
            return {"done": True}
        run = self._run
        assert run is not None, "it has begun"
        if run.done:
            return {"done": True}
        rung, runs = run.rung, run.runs
        self._study.title = title_of(self.orders.spec.name, run.cohort.number, rung, len(runs))
        show_title(self._study.title)
        try:
            reports = run.advance()
        except Leaving:
            return self._leave_node()
        self._has_trained = True
        if notice.is_given and not run.done:
            return self._leave_node()
        return {
            "done": False,  # that the cohort is done is said when Tune has heard of its last rung: see Silence
            "cohort": run.cohort.number,
            "rung": rung,
            "lanes": [  # as a list, because Tune keeps a history of every key
                {**one._asdict(), "d_loss": r.d_loss, "g_loss": r.g_loss, **r.fidelity.values, **r.report}
                for one, r in zip(runs, reports, strict=False)
            ],
        }

    def _begin(self, name: str, notice: Notice) -> bool:
        """Takes a cohort of the study. Returns whether there is one."""
        orders = self.orders
        self._study = RemoteStudy(orders.study, orders.spec.budget.when_spent == "cut")
        taker = self._taker(name)
        cohort = self._study.open_cohort(self._cohorts.fitting(orders.size, self._study, taker.host), taker)
        if cohort is None:
            return False
        self._owner = cohort.owner
        if code_here() != orders.code:  # a node that has joined, and was not looked at yet
            raise ImportError(f"{self._host} has gan-sweep {code_here()}, and the sweep {orders.code}")
        self._run = self._cohorts.begin(cohort, self._study, lambda: notice.is_given)
        return True

    def _leave_node(self) -> dict[str, Any]:
        """Gives the cohort, which is saved where it stands, to another node, because this one is being drained."""
        self._study.give_back(self._owner, f"node {self._host} is being drained", saved=True)
        return {"done": True}

    def _taker(self, name: str) -> Taker:
        node = self._ray.get_runtime_context().get_node_id()
        self._host = self._host or host_name(node)
        return Taker(name, self._process, node, self._host)

    def _ending(self, error: Exception, name: str) -> dict[str, Any]:
        """What Tune is told where a step raised an error, which is raised again where it is a configuration's. Raises
        NoLongerOwner and OutOfReach, by which the error may have come about.
        """
        exceptions = self._ray.exceptions
        if isinstance(error, NoLongerOwner | OutOfReach):
            raise error
        if self._owner is not None:
            self._study.check_owner(self._owner)
        if isinstance(error, exceptions.GetTimeoutError | exceptions.ActorUnavailableError):
            raise OutOfReach(str(error)) from error
        told = plain_ending(error, self.orders.folder)
        if told is None and self._is_of_the_place(error):
            told = PlaceError.of(cause_of(error))
        if told is None:
            if self._owner is not None:
                self._study.note_failure(self._owner, f"{type(error).__name__}: {error}")
            raise error
        remote, taker = isinstance(error, exceptions.RayError), self._taker(name)
        line = str(told) if remote or self.orders.home.is_here() else f"node {taker.host}: {told}"
        ending = {"done": True, ENDING: line, PLACE: isinstance(told, PlaceError)}
        if remote or self._has_trained or (self._owner is not None and self._study.trains):
            return ending
        return {**ending, NODE: taker.node, HOST: taker.host, WHY: described(error)}

    def _is_of_the_place(self, error: Exception) -> bool:
        """Whether any configuration would have met this error: it comes from what all of them need, from the study, or
        from too little memory before the first step.
        """
        remote = isinstance(error, self._ray.exceptions.RayError)
        early = isinstance(error, MemoryError) and not self._study.trains
        return not self._cohorts.equipped or remote or early
