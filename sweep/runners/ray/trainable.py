"""What a Ray Tune trial does: it trains one cohort, possibly in the process of an earlier one."""

import importlib
import os
import secrets
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from gan_core.config.conditions import Conditions
from gan_core.native.arithmetic import code_here
from results.store import RunFolder
from sweep.cohorts.best_rungs import BestRungs
from sweep.cohorts.brought_data import fetched_images, is_here
from sweep.cohorts.cohort import CohortRun
from sweep.cohorts.contracts import Build
from sweep.cohorts.shared_features import FeaturesInFolder, SharedFeatures
from sweep.cohorts.transfer import CohortTransfer, FetchedFeatures, own_folder
from sweep.ledger.cohort_record import Cohort
from sweep.ledger.endings import PlaceError, described
from sweep.ledger.owners import NoLongerOwner, Taker
from sweep.runners.loading import uncollected
from sweep.runners.ray.files import Home, is_in_sight, line_to, node_here
from sweep.runners.ray.silence import Silence
from sweep.runners.ray.slots import host_name
from sweep.runners.ray.study_actor import RemoteStudy, StudyOutOfReach, cause_of, plain_ending
from sweep.spec.sweep_spec import SweepSpec

if TYPE_CHECKING:
    from gan_core.data.dataset import Dataset

GIVEN_BACK = "given_back"  # key of a Tune trial's result: its cohort was not trained to its end, and is to be elsewhere
ENDING = "ending"  # key of a Tune trial's result: the line that a person is told when it ends the sweep
NODE, HOST, WHY = "node", "host", "why"  # keys of the same result, where this node has never come to train
PLACE = "place"  # key of the same result: whether the cause would have hit any configuration


def trainable_class() -> Any:
    """The Tune `Trainable`, whose base class exists only once Ray is loaded. Each call makes a class of another name,
    because Tune keeps classes by name: two sweeps of one program would train each other's cohorts.
    """
    ray = importlib.import_module("ray")
    base = importlib.import_module("ray.tune").Trainable
    out_of_reach = (ray.exceptions.GetTimeoutError, ray.exceptions.ActorUnavailableError)

    class CohortTrainable(base):
        """Trains one cohort; a step is a rung. An actor is reused for cohort after cohort and loads the data set once.
        study: the study's actor. home: where the driver is. size: how many trials a cohort has at most that the actor
        takes itself. umask: of the driver, so that who started the sweep can read its files, whoever started Ray here.
        code: the `code_version` of the driver.

        Everything is loaded at the first step, because Tune may set up an actor for a cohort that trains elsewhere by
        then.
        """

        def __init__(self, *given: Any, **named: Any) -> None:
            # Tune would change the working folder, and relative paths of data would point elsewhere. The variable is
            # set here because no process of a cluster elsewhere has the environment of the driver.
            os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
            super().__init__(*given, **named)

        def setup(
            self,
            config: dict[str, Any],
            spec: SweepSpec,
            folder: RunFolder,
            home: Home,
            build: Build | None,
            size: int,
            study: Any,
            umask: int,
            code: str,
        ) -> None:
            os.umask(umask)
            self._code = code
            self._spec, self._folder, self._home, self._build, self._size = spec, folder, home, build, size
            self._of_cohort = ExitStack()  # what is closed when the process is done with a cohort
            self._study_actor, self._process = study, uuid4().hex
            self._host = ""
            self._run: CohortRun | None = None
            self._equipped = False  # whether everything is loaded that any configuration needs
            self._has_trained = False  # whether a cohort has come to a rung
            self._owner, self._limits = None, {}
            self._silence = Silence(self._leave)

        def __repr__(self) -> str:
            """How Ray's dashboard and lists name the actor."""
            return f"gan-sweep:{self._spec.name} trainer"

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._run, self._owner = None, None
            return True

        def cleanup(self) -> None:
            self._silence.end()
            self._of_cohort.close()

        def step(self) -> dict[str, Any]:
            self._silence.end()
            said: dict[str, Any] = {"done": True}
            try:
                said = self._step()
            finally:
                if said["done"]:
                    self._of_cohort.close()
            if not said["done"]:
                self._silence.begin()
            return said

        def _leave(self) -> None:
            """Gives the cohort back, and ends this process, of which Tune hears nothing any more."""
            with suppress(StudyOutOfReach, ray.exceptions.RayError):
                if self._owner is not None:
                    self._study.give_back(self._owner, f"an answer of node {self._host} was lost")
            os._exit(1)

        def _step(self) -> dict[str, Any]:
            try:
                with uncollected():
                    from gan_core.lanes.axis import lane_arithmetic

                with lane_arithmetic():
                    return self._climb()
            except Exception as error:  # any error at all is a row's reason if it happens again and again
                try:
                    return self._ending(error)
                except NoLongerOwner:  # the cohort trains elsewhere: whatever happened here is nobody's concern
                    return {"done": True}
                except StudyOutOfReach:
                    return {"done": True, GIVEN_BACK: True}

        def _ending(self, error: Exception) -> dict[str, Any]:
            """What Tune is told where a step raised an error, which is raised again where it is a configuration's.
            Raises NoLongerOwner and StudyOutOfReach, by which the error may have come about.
            """
            if isinstance(error, NoLongerOwner | StudyOutOfReach):
                raise error
            if self._owner is not None:
                self._study.check_owner(self._owner)
            if isinstance(error, out_of_reach):
                raise StudyOutOfReach(str(error)) from error
            told = plain_ending(error, self._folder)
            if told is None and self._is_of_the_place(error):
                told = PlaceError.of(cause_of(error))
            if told is not None:
                here = isinstance(error, ray.exceptions.RayError) or self._home.is_here()
                line = str(told) if here else f"node {node_here()}: {told}"
                ending = {"done": True, ENDING: line, PLACE: isinstance(told, PlaceError)}
                trained = self._has_trained or (self._owner is not None and self._study.trains)
                if trained or isinstance(error, ray.exceptions.RayError):
                    return ending
                taker = self._taker()
                return {**ending, NODE: taker.node, HOST: taker.host, WHY: described(error)}
            if self._owner is not None:
                self._study.note_failure(self._owner, f"{type(error).__name__}: {error}")
            raise error

        def _is_of_the_place(self, error: Exception) -> bool:
            """Whether any configuration would have met this error: it comes from what all of them need, from the study,
            or from too little memory before the first step.
            """
            remote = isinstance(error, ray.exceptions.RayError)
            return not self._equipped or remote or (isinstance(error, MemoryError) and not self._study.trains)

        def _climb(self) -> dict[str, Any]:
            if self._run is None:
                self._study = RemoteStudy(self._study_actor, self._spec.budget.when_spent == "cut")
                cohort = self._study.open_cohort(self._size, self._taker())
                if cohort is None:
                    return {"done": True}
                self._owner = cohort.owner
                self._run = self._begin(cohort)
            run = self._run
            if run.done:
                return {"done": True}
            rung, runs = run.rung, run.runs
            reports = run.advance()
            self._has_trained = True
            return {
                "done": False,  # that the cohort is done is said when Tune has heard of its last rung: see Silence
                "cohort": run.cohort.number,
                "rung": rung,
                "lanes": [  # as a list, because Tune keeps a history of every key
                    {**one._asdict(), "d_loss": r.d_loss, "g_loss": r.g_loss, **r.fidelity.values}
                    for one, r in zip(runs, reports, strict=False)
                ],
            }

        def _taker(self) -> Taker:
            node = ray.get_runtime_context().get_node_id()
            self._host = self._host or host_name(node)
            return Taker(self.trial_id, self._process, node, self._host)

        def _begin(self, cohort: Cohort) -> CohortRun:
            if code_here() != self._code:  # a node that joined after all others were looked at
                raise ImportError(f"{self._host} has gan-sweep {code_here()}, and the sweep {self._code}")
            folder, transfer, features = self._places(cohort)
            if self._build is None:
                from sweep.runners.scored_alike import workshop_of_run

                wants_gpu = bool(ray.get_gpu_ids())
                device = "cuda" if wants_gpu else "cpu"
                conditions = self._spec.conditions()
                workshop = workshop_of_run(conditions, features, device, self._note_phase, self._brought(conditions))
                if workshop.scorer.examination is not None:
                    self._study.note_examination(cohort.owner, workshop.scorer.examination)
                self._build = workshop.build
            self._equipped = True
            ladder, best = self._spec.ladder, BestRungs(self._spec.objective)
            return CohortRun(
                cohort,
                ladder,
                best,
                self._build,
                self._study,
                folder,
                self._limits,
                transfer,
                checkpoint_seconds=60 * self._spec.checkpoint_minutes,
            )

        def _brought(self, conditions: Conditions) -> "Dataset | None":
            """The data set, where this node has not got it and it is brought here; otherwise None."""
            if is_here(conditions):
                return None
            from gan_core.data.dataset import image_dataset

            self._note_phase(f"fetching {conditions.dataset}")
            images = fetched_images(line_to(self._study.file_server()))
            return image_dataset(conditions.dataset, images, conditions.image_size_pixels)

        def _places(self, cohort: Cohort) -> tuple[RunFolder, CohortTransfer | None, SharedFeatures]:
            """The folder in which this process trains a cohort; what takes its files to that of the run, None where it
            is that; and where the features of the scores are.
            """
            if is_in_sight(self._folder, self._home):
                return self._folder, None, FeaturesInFolder(self._folder)
            line = line_to(self._study.file_server())
            folder = self._of_cohort.enter_context(own_folder())
            transfer = CohortTransfer(line, cohort.number, cohort.owner)
            transfer.fetch(cohort.runs if cohort.from_rung else (), folder)
            return folder, transfer, FetchedFeatures(line, folder.path)

        def _note_phase(self, phase: str) -> None:
            if self._owner is not None:
                self._study.note_phase(self._owner, phase)

    CohortTrainable.__name__ = f"CohortTrainable-{secrets.token_hex(8)}"
    return CohortTrainable
