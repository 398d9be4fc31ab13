"""Proposals: the Optuna study behind a sweep. What is asked of it, and what it is told."""

import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from gan_core.config.gan import GanConfig, InputError
from results.rows import DEAD, Outcome
from results.store import ResultsError, RunFolder
from sweep.proposals.drafts import Seen, draft, numbered
from sweep.proposals.fairness import IMAGES, as_seen_by
from sweep.proposals.journal import EXTENDS, Journal, cut_unrecorded
from sweep.proposals.samplers import build_sampler
from sweep.proposals.seeds import derived_seed
from sweep.proposals.tpe import History
from sweep.spec.sweep_spec import SweepSpec

STUDY_NAME, OTHERS_NAME = "gan-sweep", "gan-sweep-others"
TRIAL = "trial"  # the attribute of each trial that is the table's number
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
    """The Optuna studies of a run, of which this is the only writer: in `gan-sweep` each trial has the table's number;
    `gan-sweep-others` has what is no trial of the table, proposals that were refused and later scores of trials that
    went on. Samplers see both. recorded: the ids of the proposals that stand in a cohort, refused ones too; what was
    asked for beside them is dropped. Raises ResultsError when the journal is not this run's.
    """

    def __init__(self, spec: SweepSpec, folder: RunFolder, recorded: Collection[int]) -> None:
        self.spec = spec
        cut_unrecorded(folder.journal, recorded)
        self._journal = Journal(folder.journal)
        self._history = History()
        self._refused: set[int] = set()  # ids of proposals that broke a constraint
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
        """The study of what is no trial of the table, made when it is first needed."""
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

    def ask(self, number: int) -> Proposal:
        """The proposal for a trial, by its number: the first ones are known points, then the sampler's. One that breaks
        a constraint of the space is refused, and another asked for: the sampler is told once the cohort is recorded.

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
                    identity = self._storage.create_new_trial(self._study._study_id, drawn)
                    return Proposal(config, space.derived(parameters), identity, refused)
            identity = self._storage.create_new_trial(self._others()._study_id, drawn)
            refused.append((identity, broken))
            self._refused.add(identity)
        raise InputError(
            f"{ATTEMPTS} proposals in a row broke a constraint of space {space.name!r}, the last one "
            f"{next(iter(refused[-1][1]))!r}; widen it, or narrow the ranges to what it allows"
        )

    def _draw(self, number: int, attempt: int) -> tuple[dict[str, Any], FrozenTrial]:
        """What is proposed, and as a trial of Optuna's that is not in a study yet. A fresh sampler keyed by (seed,
        trial): what is proposed depends on what was told, not on how often the owner was restarted.
        """
        points = self.spec.known_points
        point = points[number] if number < len(points) else None
        seed = derived_seed(self.spec.seed, "sampler", number + attempt * 2**31)
        seeds = derived_seed(self.spec.seed, "sampler", 0), seed
        turn = max(0, number - len(points) + len(self._refused))
        trials, objectives = self.trials, len(self.spec.objectives)
        seen = Seen(self._study, as_seen_by(self.spec.sampler.name, trials, objectives))
        sampler = build_sampler(self.spec.sampler, self.spec.space, seeds, turn, self._history, objectives)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = draft(seen, sampler, len(trials), point)
            parameters = self.spec.space.suggest(trial)
        drawn = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={TRIAL: number},
            system_attrs=seen.noted,
        )
        return parameters, drawn

    @property
    def trials(self) -> list[FrozenTrial]:
        """All that was proposed or told, in that order, numbered so: what is in the table and what is not."""
        studies = [self._study] if self._beside is None else [self._study, self._beside]
        found = [trial for study in studies for trial in study._get_trials(deepcopy=False)]
        return [numbered(trial) for trial in sorted(found, key=lambda trial: trial._trial_id)]

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
                    trial.set_constraint(constraint, amount)
            self._end(identity, TrialState.PRUNED)

    def tell(self, identity: int, outcome: Outcome, best: Sequence[float], images: int) -> None:
        """Tells how a trial stands: its best so far, one number for each objective, at so many images: the rung's, or
        those at which it ended on its way there. A second time it changes nothing.

        A pruned trial keeps its best score so far at the images it reached, which TPE ranks below every completed one
        and among the pruned by progress and score. A dead one is also marked infeasible, so that its region is
        learnt as bad: told FAIL it would be forgotten. A failed one says nothing about its configuration: FAIL.
        """
        known = self._storage.get_trial(identity)
        if known.state.is_finished():
            if outcome is Outcome.COMPLETED:
                self._tell_more(known, best, images)
        elif outcome is Outcome.FAILED:
            self._end(identity, TrialState.FAIL)
        else:
            self._tell_open(known, outcome, best, images)

    def _tell_open(self, known: FrozenTrial, outcome: Outcome, best: Sequence[float], images: int) -> None:
        """Tells of a trial of which Optuna does not know yet how it ended."""
        identity = known._trial_id
        finite = all(map(math.isfinite, best))
        if len(best) == 1 and finite and images not in known.intermediate_values:
            self._storage.set_trial_intermediate_value(identity, images, best[0])
        if outcome in DEAD and str(outcome) not in known.constraints:
            optuna.Trial(self._study, identity).set_constraint(str(outcome), 1.0)
        if outcome is Outcome.COMPLETED:
            self._end(identity, TrialState.COMPLETE, best)
        elif outcome is not Outcome.RUNNING:
            if len(best) > 1:  # for which Optuna keeps no course
                self._storage.set_trial_user_attr(identity, IMAGES, images)
            self._end(identity, TrialState.PRUNED, best if finite else None)

    def _tell_more(self, known: FrozenTrial, best: Sequence[float], images: int) -> None:
        """Tells of a completed trial that it went on, and came to a better score: beside the table's, for Optuna does
        not change a finished one. Of one that was told pruned, as a baseline is, nothing more is told.
        """
        if known.state is not TrialState.COMPLETE or list(best) >= list(known.values):
            return
        if any(t.user_attrs.get(EXTENDS) == known._trial_id and t.values == list(best) for t in self.trials):
            return
        again = optuna.trial.create_trial(
            params=known.params,
            distributions=known.distributions,
            values=list(best),
            intermediate_values={images: best[0]} if len(best) == 1 else {},
            user_attrs={EXTENDS: known._trial_id, TRIAL: known.user_attrs.get(TRIAL)},
        )
        self._storage.create_new_trial(self._others()._study_id, again)
        self._history.told += 1

    def _end(self, identity: int, state: TrialState, values: Sequence[float] | None = None) -> None:
        self._storage.set_trial_state_values(identity, state, None if values is None else list(values))
        self._history.told += 1
