"""Standings: every row of a run, and what follows from them: who goes on, who is best, what it has cost."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from gan_core.config.gan import GanConfig
from gan_core.config.reports import Death, minimised
from results.objectives import natural, score_name
from results.pareto import pareto_ranks
from results.rows import DEAD, Outcome, ResultRow
from results.store import ResultsError, RunFolder
from sweep.ladder.ladder import Change, Reached, Standing, Verdict
from sweep.ladder.population import Member, Move, plan
from sweep.ledger.cohort_record import read_cohorts, read_rows
from sweep.ledger.same_data import SharedData
from sweep.ledger.snapshot import Snapshot
from sweep.proposals.seeds import derived_seed
from sweep.spec.budget import Cost
from sweep.spec.confirmation import run_number, trial_and_replicate
from sweep.spec.objectives import COSTS
from sweep.spec.sweep_spec import SweepSpec

BASELINE = "baseline, never pruned"  # how a reason begins where trial 0 went on although its rank was too low


class Standings:
    """The rows of a sweep, in memory, by *run*: a trial, or one of its confirmations, as `run_number` numbers them."""

    def __init__(self, spec: SweepSpec, folder: RunFolder) -> None:
        self.spec, self.folder = spec, folder
        self.rows: dict[int, list[ResultRow]] = {}
        self._from_rung: dict[int, int] = {}  # run -> the rung it was last begun at
        self._reached: dict[tuple[int, int], Reached] = {}  # (bracket, rung) -> all that came there
        self._lines = 0  # of the file, that were taken in
        self.elapsed_seconds = self.device_seconds = 0.0
        self.images = 0
        self.shared = SharedData(folder)

    @classmethod
    def load(cls, spec: SweepSpec, folder: RunFolder) -> "Standings":
        """Those that are on disk, to look at. Raises ResultsError when a row has no place."""
        standings = cls(spec, folder)
        for record in read_cohorts(folder):
            standings.admit(record.cohort.trials, record.cohort.from_rung)
            standings.note_time(record.elapsed_seconds)
        for row in read_rows(folder):
            standings.add([row])
        return standings

    def admit(self, runs: Iterable[int], from_rung: int = 0) -> None:
        """Takes in the runs of a cohort, which begin at a rung."""
        for run in runs:
            self.rows.setdefault(run, [])
            self._from_rung[run] = from_rung

    def note_time(self, elapsed_seconds: float) -> None:
        """Takes in how long the sweep has gone on: a budget of hours may be spent before the next row says so."""
        self.elapsed_seconds = max(self.elapsed_seconds, elapsed_seconds)

    def add(self, rows: Sequence[ResultRow]) -> None:
        """Takes in rows that were recorded together, in the order of their lines. Raises ResultsError when one has no
        place.
        """
        for row in rows:
            self._lines += 1
            run = run_number(row.trial, row.replicate)
            place = len(self.rows[run]) if run in self.rows else None
            if place is None:
                raise ResultsError(
                    f"{self.folder.rows}, line {self._lines}: {self.folder.cohorts.name} beside it has no trial "
                    f"{row.trial}; a line of one of them is missing, or was changed by hand: restore both files"
                )
            if row.rung != place or row.rung >= len(self.spec.ladder):
                raise ResultsError(
                    f"{self.folder.rows}, line {self._lines}: trial {row.trial} has no place for rung {row.rung}; "
                    "a row before it is missing, or it was changed by hand: restore the file"
                )
            self.shared.note(row)
            mine = self.rows[run]
            before = mine[-1].images_seen if mine else 0
            same = bool(mine) and mine[-1].hyperparameters == row.hyperparameters  # forty names and values: kept once
            mine.append(replace(row, hyperparameters=mine[-1].hyperparameters) if same else row)
            self.note_time(row.elapsed_seconds)
            self.device_seconds += row.seconds
            self.images += row.images_seen - before
            there = row.images_seen >= self.spec.ladder.rungs_images[row.rung]  # and was not cut on the way
            if there and row.replicate == 0 and row.outcome not in DEAD and math.isfinite(row.score):
                self._at(run, row.rung).add([self.standing(mine)])

    def ended(self, run: int) -> bool:
        """Whether a run has an outcome, since it was last begun."""
        rows = self.rows[run]
        return len(rows) > self._from_rung[run] and rows[-1].outcome is not Outcome.RUNNING

    @property
    def trials(self) -> list[int]:
        """The trials that were handed out, in the order of their numbers."""
        return sorted(run for run in self.rows if trial_and_replicate(run)[1] == 0)

    def standing(self, rows: Sequence[ResultRow]) -> Standing:
        """How a trial stands by its rows so far: every objective at the rung whose first one is the lowest, and costs
        in all. NaN where no rung has a score.
        """
        best, names = _best_row(rows), self.spec.objectives
        if best is None:
            return Standing((math.nan,) * len(names), (0.0,) * len(names))
        costs = {"seconds": sum(row.seconds for row in rows)}
        values = tuple(costs[name] if name in COSTS else minimised(best.fidelity, name) for name in names)
        errors = tuple(_standard_error(best.fidelity, name) for name in names)
        return Standing((best.score, *values[1:]), errors)

    def verdicts(
        self, rows: Mapping[int, ResultRow], deaths: Mapping[int, Death | None], beside: Mapping[int, ResultRow]
    ) -> dict[int, Verdict]:
        """One verdict a run, for rows of one cohort at one rung that are not taken in yet; deaths: of each, or None.
        beside: rows of those that were judged there already and go on.

        All count as having reached the rung before the first is judged, so their order decides nothing.
        """
        courses = {run: [*self.rows[run], row] for run, row in rows.items()}
        standings = {run: self.standing(course) for run, course in courses.items()}
        alive = [run for run in rows if deaths[run] is None]
        fields: dict[int, Reached] = {}
        for run in alive:
            if trial_and_replicate(run)[1] == 0:
                bracket = self.bracket(run)
                if bracket not in fields:
                    fields[bracket] = Reached(list(self._at(run, rows[run].rung).values))
                fields[bracket].add([standings[run]])
        verdicts = {}
        for run, death in deaths.items():
            if death is not None:
                verdicts[run] = Verdict(Outcome(death.outcome), death.reason)
            else:
                verdicts[run] = self._verdict(run, courses[run], fields.get(self.bracket(run), Reached()))
        going = {run: rows[run] for run, verdict in verdicts.items() if verdict.goes_on}
        moves = self.moves({**beside, **going})
        for run in going.keys() & moves.keys():
            verdicts[run] = Verdict(Outcome.RUNNING, moves[run].reason, change_of(moves[run], rows[run]))
        return verdicts

    def _verdict(self, run: int, course: Sequence[ResultRow], reached: Reached) -> Verdict:
        ladder, rung, (trial, replicate) = self.spec.ladder, course[-1].rung, trial_and_replicate(run)
        if replicate:
            last = rung == len(ladder) - 1
            text = f"confirmation {replicate} of trial {trial}"
            return Verdict(Outcome.COMPLETED if last else Outcome.RUNNING, text)
        standing = self.standing(course)
        verdict = ladder.judge(rung, self.bracket(run), standing, reached)
        if self.spec.population and verdict.outcome is Outcome.PRUNED and standing.known:
            return Verdict(Outcome.RUNNING, "of a population, which prunes nobody")
        if verdict.goes_on and ladder.is_plateau([self.standing(course[: n + 1]) for n in range(len(course))]):
            reason = f"no improvement beyond twice its standard error in {ladder.patience_rungs} rungs"
            verdict = Verdict(Outcome.PRUNED, reason)
        if run == 0 and verdict.outcome is Outcome.PRUNED:
            return Verdict(Outcome.RUNNING, f"{BASELINE}; {verdict.reason}")
        return verdict

    def moves(self, rows: Mapping[int, ResultRow]) -> dict[int, Move]:
        """What each lane of a population that goes on from a rung does next: by the rows of all that do."""
        population = self.spec.population
        if population is None or not rows:
            return {}
        members = [
            Member(run, row_config(row), row.score, self.standing([row]).errors[0]) for run, row in sorted(rows.items())
        ]
        rung = next(iter(rows.values())).rung
        return {move.trial: move for move in plan(members, self.spec.space, population, rung, self.spec.seed)}

    def in_force(self, runs: Sequence[int]) -> dict[int, GanConfig]:
        """The configurations of a population's lanes that go on, after the last rung at which all of them were judged:
        of the next one a killed owner may have recorded a part.
        """
        rung = min((len(self.rows[run]) for run in runs if not self.ended(run)), default=0) - 1
        if rung < 0:
            return {}
        there = {run: self.rows[run][rung] for run in runs if len(self.rows[run]) > rung}
        there = {run: row for run, row in there.items() if row.outcome is Outcome.RUNNING}
        return {run: move.config for run, move in self.moves(there).items()}

    def survivors(self) -> list[int]:
        """Runs that ended at what was the last rung, and go on where rungs were added to the ladder: those whose last
        state is kept, while the budget is not spent. First those of one rung that are of the search, or confirmations.
        """
        ladder, found = self.spec.ladder, []
        if self.spec.budget.spent(self.cost()):
            return found
        for run, rows in sorted(self.rows.items()):
            if not rows or rows[-1].outcome is not Outcome.COMPLETED or len(rows) >= len(ladder):
                continue
            if not self.ended(run) or not self.folder.last_state(run).exists():
                continue
            trial, replicate = trial_and_replicate(run)
            verdict = ladder.judge(
                len(rows) - 1, self.bracket(run), self.standing(rows), self._at(trial, len(rows) - 1)
            )
            if replicate or trial == 0 or verdict.goes_on:
                found.append(run)
        kinds = [(len(self.rows[run]), trial_and_replicate(run)[1] > 0) for run in found]
        return [run for run, kind in zip(found, kinds, strict=True) if kind == kinds[0]]

    def best_config(self, trial: int) -> GanConfig:
        """The configuration of a trial at its best rung, or at its last one where none has a score."""
        rows = self.rows[trial]
        return row_config(_best_row(rows) or rows[-1])

    def ranking(self) -> list[int]:
        """The trials that have a score and are not dead, best first: by the first objective, or by fronts."""
        found = [t for t in self.trials if self.rows[t] and self.rows[t][-1].outcome not in DEAD]
        standings = {trial: self.standing(self.rows[trial]) for trial in found}
        found = [trial for trial in found if standings[trial].known]
        if len(self.spec.objectives) == 1 or not found:
            return sorted(found, key=lambda trial: (standings[trial].best, trial))
        import numpy as np

        fronts = pareto_ranks(np.array([standings[trial].best for trial in found]))
        return [t for _, _, t in sorted(zip(fronts, (standings[t].best for t in found), found, strict=True))]

    @property
    def best(self) -> int | None:
        """The trial of the lowest first objective (with several: on the front), or None."""
        ranking = self.ranking() if len(self.spec.objectives) > 1 else None
        if ranking is not None:
            return ranking[0] if ranking else None
        return self._best_single()

    def _best_single(self) -> int | None:
        scored = (
            (rows[-1].best_score, run)
            for run, rows in self.rows.items()
            if rows and trial_and_replicate(run)[1] == 0 and rows[-1].outcome not in DEAD
        )
        found = min((pair for pair in scored if math.isfinite(pair[0])), default=None)
        return None if found is None else found[1]

    def cost(self, elapsed_seconds: float = 0.0, images: int = 0) -> Cost:
        """What the sweep has cost; elapsed_seconds and images: since the last row."""
        best = self.best
        return Cost(
            elapsed_seconds=max(self.elapsed_seconds, elapsed_seconds),
            device_seconds=self.device_seconds,
            images=self.images + images,
            best_score=math.inf if best is None else self.rows[best][-1].best_score,
            objective=self.spec.objective,
        )

    def snapshot(self, elapsed_seconds: float, images: int, running: int) -> Snapshot:
        """Where the sweep stands, for those who watch. images: since the last rows; running: runs in training."""
        trials, best = self.trials, self.best
        ends = [self.rows[t][-1].outcome for t in trials if self.ended(t)]
        cost, over, confirm = self.cost(elapsed_seconds, images), self.search_ended, self.spec.confirm
        objective = self.spec.objective
        row = None if best is None else _best_row(self.rows[best])
        base = self.rows[0][-1] if self.rows.get(0) else None
        return Snapshot(
            trials=len(trials) if over else self.spec.trials,
            done=len(ends),
            running=running,
            outcomes={str(outcome): ends.count(outcome) for outcome in Outcome if outcome is not Outcome.RUNNING},
            images=cost.images,
            best_trial=best,
            best_score=natural(objective, row.best_score) if row else math.nan,
            best_config=dict(row.hyperparameters) if row else {},
            baseline_score=natural(objective, base.best_score) if base and base.outcome not in DEAD else math.nan,
            device_seconds=cost.device_seconds,
            budget_used=self.spec.budget.used(cost),
            confirmations=len(self.wanted_confirmations()) if over else confirm.top * confirm.seeds,
            confirmed=sum(self.ended(run) for run in self.rows if trial_and_replicate(run)[1]),
        )

    def wanted_confirmations(self) -> list[int]:
        """The confirmations of the finalists; empty until the search has ended."""
        confirm = self.spec.confirm
        finalists = self.ranking()[: confirm.top]
        return [run_number(trial, replicate) for trial in finalists for replicate in range(1, confirm.seeds + 1)]

    @property
    def search_ended(self) -> bool:
        """Whether every trial has ended and no more are asked for."""
        trials = self.trials
        if any(not self.ended(trial) for trial in trials):
            return False
        return len(trials) >= self.spec.trials or self.spec.budget.spent(self.cost()) is not None

    @property
    def finished(self) -> bool:
        """Whether the search has ended, nothing is to be continued, and every confirmation asked for has ended."""
        if not self.search_ended or self.survivors():
            return False
        return all(run in self.rows and self.ended(run) for run in self.wanted_confirmations())

    def bracket(self, run: int) -> int:
        """The bracket of a run's trial: of its number and the sweep's seed alone."""
        if self.spec.ladder.rule != "hyperband":
            return 0
        return self.spec.ladder.bracket(derived_seed(self.spec.seed, "bracket", trial_and_replicate(run)[0]) / 2**31)

    def _at(self, run: int, rung: int) -> Reached:
        return self._reached.setdefault((self.bracket(run), rung), Reached())


def _standard_error(fidelity: Mapping[str, float], name: str) -> float:
    """Of one score, for this model: where there are two, the one that takes the real samples as given, which all lanes
    share. 0 where there is none.
    """
    score = score_name(name)
    error = fidelity.get(f"{score}_latent_error", fidelity.get(f"{score}_error", 0.0))
    return error if math.isfinite(error) else 0.0


def change_of(move: Move, row: ResultRow) -> Change | None:
    """A population's move as what becomes of the lane; None where it goes on as it is."""
    stays = move.source == row.trial and move.config == row_config(row)
    return None if stays else Change(move.source, move.config)


def judged(row: ResultRow, verdict: Verdict) -> ResultRow:
    """A row with what was decided of its lane."""
    parent = verdict.change.source if verdict.change and verdict.change.source != row.trial else None
    return replace(row, outcome=verdict.outcome, reason=verdict.reason, parent=parent)


def _best_row(rows: Sequence[ResultRow]) -> ResultRow | None:
    """The one with the lowest score, or None where none has a score."""
    return min((row for row in rows if math.isfinite(row.score)), key=lambda row: row.score, default=None)


def row_config(row: ResultRow) -> GanConfig:
    """The configuration that was in force while a row's lane trained."""
    return GanConfig.unflatten(row.hyperparameters)
