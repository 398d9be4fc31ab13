"""Proposals: the Optuna study behind a sweep. What is asked of it, and what it is told."""

import copy
import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from results.rows import DEAD, Outcome
from results.store import ResultsError, RunFolder
from sweep.proposals.fairness import IMAGES, LIMITS, as_seen_by, violation_at
from sweep.proposals.generations import Optimisers, generations_from, notes, shown_in_two_generations
from sweep.proposals.journal import EXTENDS, Journal, cut_unrecorded
from sweep.proposals.samplers import build_sampler
from sweep.proposals.seeds import derived_seed
from sweep.proposals.sequences import point_by_turn
from sweep.proposals.shown import DrawingStudy, best_and_latest
from sweep.spec.sweep_spec import SweepSpec

STUDY_NAME, OTHERS_NAME = "gan-sweep", "gan-sweep-others"
TRIAL = "trial"  # the attribute of each of Optuna's trials that is the number of the trial in the table
AMOUNT_OF_DEATH = 10.0  # above all violations of limits of scores: what died or was refused ranks behind what lives
ATTEMPTS = 100  # proposals that break a constraint of the space, one after another, before the sweep gives up


@dataclass(frozen=True)
class Proposal:
    """What Optuna proposed for a trial. config: with the trial's own seed; derived: the proposed values that are no
    hyperparameters themselves; identity: the trial's id in Optuna's storage; refused: the proposals before it that
    broke a constraint, each as its id, and by how much it broke which constraint.
    """

    config: GanConfig
    derived: Mapping[str, Any]
    identity: int
    refused: Sequence[tuple[int, Mapping[str, float]]]


class Proposals:
    """The Optuna studies of a run, of which this is the only writer. In `gan-sweep` each trial has the number that it
    has in the table. `gan-sweep-others` has what is no trial of the table: proposals that were refused, and later
    scores of trials that went on. Samplers learn from both. recorded: the ids of all proposals that stand in a cohort,
    refused ones too; the journal is cut off behind them. Raises ResultsError when the journal is not this run's.
    """

    def __init__(self, spec: SweepSpec, folder: RunFolder, recorded: Collection[int]) -> None:
        self.spec = spec
        cut_unrecorded(folder.journal, recorded)
        self._journal = Journal(folder.journal)
        self._refused: set[int] = set()  # ids of proposals that broke a constraint
        self._drawing: tuple[DrawingStudy, int] | None = None  # None once a trial is told
        self._optimisers = Optimisers(spec.sampler, spec.space)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._storage = JournalStorage(self._journal)
        self._study = self._open(STUDY_NAME)
        if self._study.directions != self._directions:
            raise ResultsError(
                f"{folder.journal} holds a study of other objectives or directions; it is not this run's"
            )
        there = OTHERS_NAME in optuna.get_all_study_names(self._storage)
        self._beside = self._open(OTHERS_NAME) if there else None

    def _others(self) -> optuna.Study:
        """The study of what is no trial of the table, which is created when it is first needed."""
        self._beside = self._beside or self._open(OTHERS_NAME)
        return self._beside

    @property
    def _directions(self) -> list[StudyDirection]:
        return [StudyDirection.MINIMIZE] * len(self.spec.objectives)

    def _open(self, name: str) -> optuna.Study:
        study = optuna.create_study(
            storage=self._storage,
            study_name=name,
            directions=self._directions,
            sampler=optuna.samplers.RandomSampler(seed=0),  # never asked; it does nothing when a trial is told
            load_if_exists=True,
        )
        if len(self.spec.objectives) > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names(list(self.spec.objectives))
        return study

    def _create(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """The id of a new trial in a study, as this one stands."""
        return self._storage.create_new_trial(self._storage.get_study_id_from_name(study.study_name), trial)

    def ask(self, number: int) -> Proposal:
        """The proposal for a trial, by its number: known points first, then what the sampler draws. One that breaks a
        constraint of the space is refused, and another is drawn. The sampler is told of it once the cohort is recorded.

        Raises InputError when ATTEMPTS proposals in a row break one.
        """
        refused: list[tuple[int, Mapping[str, float]]] = []
        seed, space = derived_seed(self.spec.seed, "trial", number), self.spec.space
        for attempt in range(ATTEMPTS):
            parameters, drawn = self._draw(number, attempt)
            try:
                config = space.configuration(parameters, seed)
            except InputError as error:  # pairs of ranges were checked when the space was made; three may not fit
                broken = {str(error): 1.0}
            else:
                broken = space.violations(config)
                if not broken:
                    identity = self._create(self._study, drawn)
                    return Proposal(config, space.derived(parameters), identity, refused)
            identity = self._create(self._others(), drawn)
            refused.append((identity, broken))
            self._refused.add(identity)
        raise InputError(
            f"{ATTEMPTS} proposals in a row broke a constraint of space {space.name!r}, the last one "
            f"{next(iter(refused[-1][1]))!r}; widen it, or narrow the ranges to what it allows"
        )

    def _draw(self, number: int, attempt: int) -> tuple[dict[str, Any], FrozenTrial]:
        """What is proposed, and as one of Optuna's trials that is not in the run's study yet. The sampler is a new one
        with a seed from (seed, trial), so that what it draws depends on what was told, and not on how often the process
        that owns the study was started.
        """
        spec, points = self.spec, self.spec.known_points
        if number < len(points):
            point: Mapping[str, Any] | None = points[number]
        else:
            turn = number - len(points) + len(self._refused)
            point = point_by_turn(spec.sampler, spec.space, derived_seed(spec.seed, "sampler", 0), turn)
        seed = derived_seed(spec.seed, "sampler", number + attempt * 2**31)
        sampler = build_sampler(spec.sampler, spec.space, seed, len(spec.objectives))
        self._drawing = self._drawing or self._drawing_study()
        study, first_generation = self._drawing
        parameters, trial = study.draw(sampler, spec.space.suggest, point)
        drawn = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={TRIAL: number},
            system_attrs=generations_from(first_generation, notes(trial)),
        )
        return parameters, drawn

    def _drawing_study(self) -> tuple[DrawingStudy, int]:
        """A study of the trials that the sampler is shown, and which generation is called 0 there."""
        name, objectives, first_generation = self.spec.sampler.name, len(self.spec.objectives), 0
        shown = as_seen_by(name, self.trials, objectives)
        if name == "cmaes":
            shown = self._optimisers.shown_in(shown)
        if name == "nsga2":
            shown, first_generation = shown_in_two_generations(shown)
        if objectives == 1:
            shown = best_and_latest(shown)
        return DrawingStudy(shown, objectives), first_generation

    @property
    def trials(self) -> list[FrozenTrial]:
        """All that was proposed or told, whether it is a trial of the table or not, in that order. The number of each
        is its id in the storage, which counts the trials of all studies.
        """
        studies = [self._study] if self._beside is None else [self._study, self._beside]
        count = sum(len(study.get_trials(deepcopy=False)) for study in studies)
        return [_numbered(self._storage.get_trial(identity), identity) for identity in range(count)]

    def sync(self) -> None:
        """Returns when all that was proposed and told is on the disk."""
        self._journal.sync()

    def refuse(self, identity: int, broken: Mapping[str, float]) -> None:
        """Tells that a proposal broke constraints; a second time it changes nothing."""
        self._refused.add(identity)
        known = self._storage.get_trial(identity)
        if not known.state.is_finished():
            trial = optuna.Trial(self._study, identity)
            for constraint, amount in broken.items():
                if constraint not in known.constraints:
                    trial.set_constraint(constraint, AMOUNT_OF_DEATH + amount)
            self._end(identity, TrialState.PRUNED)

    def tell(self, identity: int, outcome: Outcome, best: Sequence[float], images: int, violation: float = 0.0) -> None:
        """Tells how a trial stands. best: its scores at its best rung so far, one number for each objective; violation:
        by how much it breaks limits there. images: those of the rung, or those at which the trial ended on the way
        there. Told a second time, nothing changes.

        A pruned trial keeps its best score so far at the images it reached: TPE ranks it below every completed trial,
        and among the pruned ones by images and score. A trial that ends and breaks limits has the violation as a
        constraint, by which Optuna ranks it below all that keep them. A trial that died breaks a constraint by more, so
        that samplers learn that its region is bad; told FAIL, it would be forgotten. A trial that failed is told FAIL,
        for it says nothing about its configuration.
        """
        known = self._storage.get_trial(identity)
        if known.state.is_finished():
            if outcome is Outcome.COMPLETED:
                self._tell_more(identity, best, images, violation)
        elif outcome is Outcome.FAILED:
            self._end(identity, TrialState.FAIL)
        else:
            self._tell_open(identity, outcome, best, images, violation)

    def _tell_open(self, identity: int, outcome: Outcome, best: Sequence[float], images: int, violation: float) -> None:
        """Tells of a trial of which Optuna does not know yet how it ended."""
        known = self._storage.get_trial(identity)
        finite = all(map(math.isfinite, best))
        if len(best) == 1 and finite and images not in known.intermediate_values:
            for name, amount in violation_at(images, violation).items():
                self._storage.set_trial_user_attr(identity, name, amount)
            self._storage.set_trial_intermediate_value(identity, images, best[0])
        if outcome in DEAD and str(outcome) not in known.constraints:
            optuna.Trial(self._study, identity).set_constraint(str(outcome), AMOUNT_OF_DEATH + 1.0)
        if outcome is not Outcome.RUNNING and violation > 0 and LIMITS not in known.constraints:
            optuna.Trial(self._study, identity).set_constraint(LIMITS, violation)
        if outcome is Outcome.COMPLETED:
            self._end(identity, TrialState.COMPLETE, best)
        elif outcome is not Outcome.RUNNING:
            if len(best) > 1:  # for which Optuna keeps no course
                self._storage.set_trial_user_attr(identity, IMAGES, images)
            self._end(identity, TrialState.PRUNED, best if finite else None)

    def _tell_more(self, identity: int, best: Sequence[float], images: int, violation: float) -> None:
        """Tells that a completed trial went on and reached a better score, as another trial beside those of the table:
        Optuna does not change a finished one. Of a trial that was told pruned, as a baseline is, nothing more is told.
        """
        known = self._storage.get_trial(identity)
        place = violation, *best
        if known.state is not TrialState.COMPLETE or place >= (known.constraints.get(LIMITS, 0.0), *known.values):
            return
        if any(t.user_attrs.get(EXTENDS) == identity and t.values == list(best) for t in self.trials):
            return
        again = optuna.trial.create_trial(
            params=known.params,
            distributions=known.distributions,
            values=list(best),
            intermediate_values={images: best[0]} if len(best) == 1 else {},
            user_attrs={
                **{EXTENDS: identity, TRIAL: known.user_attrs.get(TRIAL)},
                **(violation_at(images, violation) if len(best) == 1 else {}),
            },
        )
        if violation > 0:
            again.set_constraint(LIMITS, violation)
        self._create(self._others(), again)
        self._drawing = None

    def _end(self, identity: int, state: TrialState, values: Sequence[float] | None = None) -> None:
        self._storage.set_trial_state_values(identity, state, None if values is None else list(values))
        self._drawing = None


def _numbered(trial: FrozenTrial, number: int) -> FrozenTrial:
    """A trial with this number."""
    if trial.number != number:
        trial = copy.copy(trial)
        trial.number = number
    return trial
