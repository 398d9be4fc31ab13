"""Standings: the rows of a run in memory, and what they say: how a trial stands, who is best, what the run has cost."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from gan_core.config.gan import GanConfig
from gan_core.config.limits import LAST, Place, violation
from gan_core.config.reports import minimised
from results.objectives import score_name
from results.pareto import constrained_ranks
from results.rows import DEAD, Outcome, ResultRow
from results.store import ResultsError, RunFolder
from results.trial_run import TrialRun
from sweep.ladder.ladder import Reached, Standing
from sweep.ledger.cohort_record import read_cohorts, read_rows
from sweep.ledger.paces import Paces
from sweep.ledger.same_data import SharedData
from sweep.proposals.seeds import derived_seed
from sweep.spec.budget import Cost
from sweep.spec.objectives import COSTS
from sweep.spec.sweep_spec import SweepSpec


class Standings:
    """The rows of a run, in memory. rows: run of a trial -> its rows, rung by rung; empty until it reaches the first.

    Only the owner of the run calls `admit`, `note_time` and `add`.
    """

    def __init__(self, spec: SweepSpec, folder: RunFolder) -> None:
        self.spec, self.folder = spec, folder
        self.rows: dict[TrialRun, list[ResultRow]] = {}
        self.shared = SharedData(folder)
        self.paces = Paces()
        self._best: dict[TrialRun, Place] = {}  # that of the best rung of each run that has a score
        self._from_rung: dict[TrialRun, int] = {}  # the rung to which a run was last begun to be trained
        self._reached: dict[tuple[int, int], Reached] = {}  # (bracket, rung) -> all that reached it
        self._lines = 0  # lines of the file of rows that were taken in
        self._elapsed_seconds = self._device_seconds = 0.0
        self._images = 0

    @classmethod
    def load(cls, spec: SweepSpec, folder: RunFolder) -> "Standings":
        """The standings of a run on the disk, to look at. Raises ResultsError as `read_rows` and `add` do."""
        standings = cls(spec, folder)
        for record in read_cohorts(folder):
            standings.admit(record.cohort.runs, record.cohort.from_rung)
            standings.note_time(record.elapsed_seconds)
        for row in read_rows(folder):
            standings.add([row])
        return standings

    def admit(self, runs: Iterable[TrialRun], from_rung: int = 0) -> None:
        """Takes in the runs of a cohort, which are trained first to `from_rung`."""
        for run in runs:
            self.rows.setdefault(run, [])
            self._from_rung[run] = from_rung

    def note_time(self, elapsed_seconds: float) -> None:
        """Takes in for how long the sweep has gone on. A budget of hours may be spent before the next row."""
        self._elapsed_seconds = max(self._elapsed_seconds, elapsed_seconds)

    def add(self, rows: Sequence[ResultRow]) -> None:
        """Takes in rows in the order of their lines. Raises ResultsError for a row whose trial is in no cohort, and for
        one that does not follow from the rows before it.
        """
        for row in rows:
            self._lines += 1
            mine = self.rows.get(row.run)
            if mine is None:
                raise ResultsError(
                    f"{self.folder.rows}, line {self._lines}: {self.folder.cohorts.name} beside it has no trial "
                    f"{row.trial}; a line of one of them is missing, or was changed by hand: restore both files"
                )
            if row.rung != len(mine) or row.rung >= len(self.spec.ladder):
                raise ResultsError(
                    f"{self.folder.rows}, line {self._lines}: trial {row.trial} has no place for rung {row.rung}; "
                    "a row before it is missing, or it was changed by hand: restore the file"
                )
            self.shared.note(row)
            before = mine[-1].images_seen if mine else 0
            same = bool(mine) and mine[-1].hyperparameters == row.hyperparameters  # to keep forty names and values once
            mine.append(replace(row, hyperparameters=mine[-1].hyperparameters) if same else row)
            if (place := row.place) < self._best.get(row.run, LAST):
                self._best[row.run] = place
            self.note_time(row.elapsed_seconds)
            self._device_seconds += row.seconds
            self._images += row.images_seen - before
            self.paces.note_row(row, row.images_seen - before)
            complete = row.images_seen >= self.spec.ladder.rungs_images[row.rung]  # it was not cut before the rung
            if complete and row.replicate == 0 and row.outcome not in DEAD and math.isfinite(row.score):
                self.reached(row.trial, row.rung).add([self.standing(mine)])

    @property
    def elapsed_seconds(self) -> float:
        """For how long the sweep had gone on when that was last noted, without the time while it was stopped."""
        return self._elapsed_seconds

    def ended(self, run: TrialRun) -> bool:
        """Whether a run has an outcome, and has not been handed out again since."""
        rows = self.rows[run]
        return len(rows) > self._from_rung[run] and rows[-1].outcome is not Outcome.RUNNING

    @property
    def searched(self) -> list[TrialRun]:
        """The runs of the search that were handed out, in the order of their trials."""
        return sorted(run for run in self.rows if not run.replicate)

    def standing(self, rows: Sequence[ResultRow]) -> Standing:
        """How a trial stands after some of its rows: all objectives at its best rung (`best_row`), and costs over all
        rungs. Limits count where any of the objectives has limits. NaN if no rung has a score.
        """
        best, names = best_row(rows), self.spec.objectives
        if best is None:
            return Standing((math.nan,) * len(names), (0.0,) * len(names))
        costs = {"seconds": sum(row.seconds for row in rows)}
        values = tuple(costs[name] if name in COSTS else minimised(best.fidelity, name) for name in names)
        errors = tuple(_standard_error(best.fidelity, name) for name in names)
        broken = max(violation(best.fidelity, name) for name in names)
        error = best.fidelity.get("violation_error", 0.0)
        return Standing((best.score, *values[1:]), errors, broken, error if math.isfinite(error) else 0.0)

    def reached(self, trial: int, rung: int) -> Reached:
        """All trials that have reached a rung, of those in the bracket of this trial."""
        return self._reached.setdefault((self.bracket(trial), rung), Reached())

    def bracket(self, trial: int) -> int:
        """The bracket of a trial. It depends on the trial's number and the seed of the sweep alone."""
        if self.spec.ladder.rule != "hyperband":
            return 0
        return self.spec.ladder.bracket(derived_seed(self.spec.seed, "bracket", trial) / 2**31)

    def best_config(self, trial: int) -> GanConfig:
        """The configuration of a trial at its best rung, or at its last rung if none has a score."""
        rows = self.rows[TrialRun(trial)]
        return row_config(best_row(rows) or rows[-1])

    def ranking(self) -> list[int]:
        """The trials that have a score and are not dead, best first: those that keep the limits by the objective, or
        with several objectives by their Pareto fronts and within a front by the first objective; then the others by how
        far they are off.
        """
        alive = [run for run in self.searched if self.rows[run] and self.rows[run][-1].outcome not in DEAD]
        standings = {run.trial: self.standing(self.rows[run]) for run in alive}
        places = {trial: standing.place for trial, standing in standings.items() if standing.known}
        if len(self.spec.objectives) == 1 or not places:
            return sorted(places, key=lambda trial: (places[trial], trial))
        import numpy as np

        table = np.array(list(places.values()))
        fronts = constrained_ranks(table[:, 1:], table[:, 0])
        firsts = [place[1:] for place in places.values()]
        return [trial for _, _, trial in sorted(zip(fronts, firsts, places, strict=True))]

    def keeps_limits(self, trial: int) -> bool:
        """Whether a trial keeps the limits of the objectives at its best rung, or has no score."""
        return self.standing(self.rows[TrialRun(trial)]).violation == 0

    @property
    def best(self) -> int | None:
        """The first trial of the ranking, or None; it may break limits, if all do. With one objective it is found
        without sorting all trials.
        """
        if len(self.spec.objectives) > 1:
            return next(iter(self.ranking()), None)
        places = (
            (place, run.trial)
            for run, place in self._best.items()
            if not run.replicate and self.rows[run][-1].outcome not in DEAD
        )
        found = min(places, default=None)
        return None if found is None else found[1]

    def cost(self, elapsed_seconds: float = 0.0, images: int = 0) -> Cost:
        """What the sweep has cost. elapsed_seconds: now, if later than the last row; images: shown since the rows."""
        best = self.best
        return Cost(
            elapsed_seconds=max(self._elapsed_seconds, elapsed_seconds),
            device_seconds=self._device_seconds,
            images=self._images + images,
            best_score=math.inf if best is None or not self.keeps_limits(best) else self._best[TrialRun(best)][1],
            objective=self.spec.objective,
        )


def _standard_error(fidelity: Mapping[str, float], name: str) -> float:
    """The standard error of a score, 0 if it is not known. Of two, the one that takes the real samples as given counts,
    because all lanes are compared with the same real samples.
    """
    score = score_name(name)
    error = fidelity.get(f"{score}_latent_error", fidelity.get(f"{score}_error", 0.0))
    return error if math.isfinite(error) else 0.0


def best_row(rows: Sequence[ResultRow]) -> ResultRow | None:
    """The best row in the order of `gan_core.config.limits`, or None if no row has a score."""
    return min((row for row in rows if math.isfinite(row.score)), key=lambda row: row.place, default=None)


def row_config(row: ResultRow) -> GanConfig:
    """The configuration that was in force on the way to a row's rung."""
    return GanConfig.unflatten(row.hyperparameters)
