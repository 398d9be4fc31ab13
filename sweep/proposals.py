"""Proposals: the Optuna study behind a sweep. What is asked of it, and what it is told."""

import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from gan_core.config import GanConfig, InputError
from results.rows import DEAD, Outcome
from results.store import ResultsError, RunFolder
from sweep.journal import EXTENDS, Journal, cut_unrecorded
from sweep.samplers import build_sampler
from sweep.seeds import derived_seed
from sweep.spec import SweepSpec
from sweep.tpe import History

STUDY_NAME = "gan-sweep"
ATTEMPTS = 100  # proposals that break a constraint of the space, one after another, before the sweep gives up


@dataclass(frozen=True)
class Proposal:
    """What Optuna proposed for a trial. config: with the trial's own seed; derived: the proposed values that are no
    hyperparameters themselves; identity: the trial's id in Optuna's storage; refused: those of the proposals before it
    that broke a constraint, each with by how much it broke which.
    """

    config: GanConfig
    derived: Mapping[str, Any]
    identity: int
    refused: Sequence[tuple[int, Mapping[str, float]]]


class Proposals:
    """The Optuna study of a run, of which this is the only writer. recorded: the ids of the proposals that stand in a
    cohort, refused ones too; what was asked for beside them is dropped. Raises ResultsError when the journal is not
    this run's.
    """

    def __init__(self, spec: SweepSpec, folder: RunFolder, recorded: Collection[int]) -> None:
        self.spec = spec
        cut_unrecorded(folder.journal, recorded)
        self._journal = Journal(folder.journal)
        self._history = History()
        self._refused: set[int] = set()  # ids of proposals that broke a constraint
        directions = [StudyDirection.MINIMIZE] * len(spec.objectives)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        storage = JournalStorage(self._journal)
        self._study = optuna.create_study(
            storage=storage, study_name=STUDY_NAME, directions=directions, load_if_exists=True
        )
        if self._study.directions != directions:
            raise ResultsError(
                f"{folder.journal} holds a study of other objectives or directions; it is not this run's"
            )
        if len(spec.objectives) > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._study.set_metric_names(list(spec.objectives))

    def ask(self, number: int) -> Proposal:
        """The proposal for a trial, by its number: the first ones are known points, then the sampler's. One that breaks
        a constraint of the space is refused, and another asked for: the sampler is told once the cohort is recorded.

        Raises InputError when ATTEMPTS proposals in a row break one.
        """
        refused: list[tuple[int, Mapping[str, float]]] = []
        seed, space = derived_seed(self.spec.seed, "trial", number), self.spec.space
        for attempt in range(ATTEMPTS):
            trial = self._ask(number, attempt)
            parameters = space.suggest(trial)
            try:
                config = space.configuration(parameters, seed)
            except InputError as error:  # pairs of ranges were checked when the space was made; three may not fit
                broken = {str(error): 1.0}
            else:
                broken = space.violations(config)
                if not broken:
                    return Proposal(config, space.derived(parameters), trial._trial_id, refused)
            refused.append((trial._trial_id, broken))
            self._refused.add(trial._trial_id)
        raise InputError(
            f"{ATTEMPTS} proposals in a row broke a constraint of space {space.name!r}, the last one "
            f"{next(iter(refused[-1][1]))!r}; widen it, or narrow the ranges to what it allows"
        )

    def _ask(self, number: int, attempt: int) -> optuna.Trial:
        """A fresh sampler keyed by (seed, trial): what is proposed depends on what was told, not on how often the
        owner was restarted.
        """
        points = self.spec.known_points
        point = points[number] if number < len(points) else None
        seed = derived_seed(self.spec.seed, "sampler", number + attempt * 2**31)
        seeds = derived_seed(self.spec.seed, "sampler", 0), seed
        turn = max(0, number - len(points) + len(self._refused))
        self._study.sampler = build_sampler(self.spec.sampler, self.spec.space, seeds, turn, self._history)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if point is not None:
                self._study.enqueue_trial(point)
            return self._study.ask()

    def sync(self) -> None:
        """Returns when all that was proposed and told is on the disk."""
        self._journal.sync()

    def refuse(self, identity: int, broken: Mapping[str, float]) -> None:
        """Tells that a proposal broke constraints; a second time it changes nothing."""
        self._refused.add(identity)
        known = self._study._storage.get_trial(identity)
        if not known.state.is_finished():
            trial = self._handle(identity)
            for constraint, amount in broken.items():
                if constraint not in known.constraints:
                    trial.set_constraint(constraint, amount)
            self._tell(known.number, state=TrialState.PRUNED)

    def tell(self, identity: int, outcome: Outcome, best: Sequence[float], images: int) -> None:
        """Tells how a trial stands: its best so far, one number for each objective, at so many images. A second time it
        changes nothing.

        A pruned trial keeps its best score so far at the images it reached, which TPE ranks below every completed one
        and among the pruned by progress and score. A dead one is also marked infeasible, so that its region is
        learnt as bad: told FAIL it would be forgotten. A failed one says nothing about its configuration: FAIL.
        """
        known = self._study._storage.get_trial(identity)
        if known.state.is_finished():
            return
        if outcome is Outcome.FAILED:
            self._tell(known.number, state=TrialState.FAIL)
            return
        finite = all(map(math.isfinite, best))
        trial = self._handle(identity)
        if len(best) == 1 and finite and images not in known.intermediate_values:
            trial.report(best[0], step=images)
        if outcome in DEAD and str(outcome) not in known.constraints:
            trial.set_constraint(str(outcome), 1.0)
        if outcome is Outcome.COMPLETED:
            self._tell(known.number, list(best))
        elif outcome is not Outcome.RUNNING:
            self._tell(known.number, state=TrialState.PRUNED)

    def tell_more(self, identity: int, best: Sequence[float]) -> None:
        """Tells of a completed trial that it went on, and came to a better score: as another trial of the same values,
        for Optuna does not change a finished one. Of one that was told pruned, as a baseline is, nothing more is told.
        """
        known = self._study._storage.get_trial(identity)
        if known.state is TrialState.COMPLETE and list(best) < list(known.values):
            again = optuna.trial.create_trial(
                params=known.params,
                distributions=known.distributions,
                values=list(best),
                user_attrs={EXTENDS: known.number},
            )
            told = [
                t.user_attrs.get(EXTENDS) for t in self._study.get_trials(deepcopy=False) if t.values == again.values
            ]
            if known.number not in told:
                self._study.add_trial(again)
                self._history.told += 1

    def _tell(self, number: int, values: list[float] | None = None, state: TrialState | None = None) -> None:
        self._study.tell(number, values, state=state)
        self._history.told += 1

    def _handle(self, identity: int) -> optuna.Trial:
        """A handle on an open trial. The random sampler proposes nothing when a handle is made; TPE would."""
        self._study.sampler = optuna.samplers.RandomSampler(seed=0)
        return optuna.Trial(self._study, identity)
