"""LaneStudy: sole owner of the Optuna study, its journal, and the rows.

What is on disk, in the order in which it is written, each file synced before the next is written:

1. `optuna.jsonl`, Optuna's own journal: what was proposed and what it was told.
2. `cohorts.jsonl`: which trials a cohort has. A proposal that is in no cohort was interrupted, and is asked for anew.
3. `rows.jsonl`: a row for each trial at each rung, with its outcome: *the truth*. A killed owner may have written a row
   and not yet told Optuna; the next owner tells it (`_catch_up`), so no trial is lost, and none counts twice.
"""

import hashlib
import math
import shutil
from contextlib import ExitStack
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.trial import TrialState

from gan_core.reports import LaneReport
from gan_core.version import code_version
from results.rows import DEAD, GROUPS, Outcome, ResultRow
from results.store import OLD_OWNER_SECONDS, JsonLines, ResultsError, RunFolder, exclusive
from sweep.cohort import Cohort
from sweep.journal import Journal
from sweep.ladder import Verdict
from sweep.progress import Snapshot
from sweep.spec import SweepSpec

STUDY_NAME = "gan-sweep"
LONGEST_REASON = 200  # characters of an error's text that a row keeps


def derived_seed(seed: int, purpose: str, number: int) -> int:
    """The seed of one trial (or of one proposal) of a sweep: 31 bits that depend on nothing else."""
    digest = hashlib.blake2b(f"{seed}:{purpose}:{number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


class LaneStudy:
    """Asks for cohorts, judges lanes at rungs, remembers everything. One process at a time may own a run folder.

    Trials are numbered by us, from 0: trial 0 is the space's base configuration and is never pruned, so that every
    table says what searching bought. Raises ResultsError when the files are another run's or were changed.
    """

    def __init__(self, spec: SweepSpec, folder: RunFolder) -> None:
        self.spec, self.folder = spec, folder
        self.objective = spec.objective
        self._open = ExitStack()
        self._open.enter_context(exclusive(folder.study_lock, wait_seconds=OLD_OWNER_SECONDS))
        folder.repair()
        self._rows_file, self._cohorts_file = JsonLines(folder.rows), JsonLines(folder.cohorts)
        self._journal = Journal(folder.journal)
        self._study = self._open_study()
        self._code = code_version()
        self._optuna_trials: dict[int, int] = {}  # our number -> the trial's id in Optuna's storage
        self._cohorts: dict[int, Cohort] = {}
        self._rows: dict[int, list[ResultRow]] = {}  # trial -> its rows, rung by rung
        self._images: dict[int, int] = {}  # trial -> images seen, between rungs
        self._failures: dict[int, str] = {}  # cohort -> what its process last raised
        self._handed_out: set[int] = set()
        self._catch_up()

    def close(self) -> None:
        """Gives the run folder free."""
        self._open.close()

    def open_cohort(self, size: int) -> Cohort | None:
        """The next cohort to train: one that was interrupted, or a new one of up to `size` trials; None when all
        trials of the sweep are handed out.
        """
        for number, cohort in self._cohorts.items():
            if number not in self._handed_out and any(not self._ended(trial) for trial in cohort.trials):
                self._handed_out.add(number)
                return cohort
        proposed = len(self._optuna_trials)
        count = min(size, self.spec.trials - proposed)
        if count <= 0:
            return None
        numbers = range(proposed, proposed + count)
        asked = [self._ask(number) for number in numbers]
        configs = [
            self.spec.space.configuration(trial.params, derived_seed(self.spec.seed, "trial", number))
            for number, trial in zip(numbers, asked, strict=True)
        ]
        cohort = Cohort(len(self._cohorts), tuple(numbers), tuple(configs))
        self._journal.sync()
        self._cohorts_file.append([{**cohort.plain(), "optuna": [trial._trial_id for trial in asked]}])
        self._admit(cohort, [trial._trial_id for trial in asked])
        self._handed_out.add(cohort.number)
        return cohort

    def judge(self, cohort: int, rung: int, trials: list[int], reports: list[LaneReport]) -> list[Verdict]:
        """One verdict a lane, recorded before it is given. Asked again for a rung that was judged, it answers the same.

        All lanes are recorded as having reached the rung before the first is judged, so their order decides nothing.
        """
        if any(len(self._rows[trial]) > rung for trial in trials):  # an owner was killed while, or after, it wrote
            return self._judge_again(cohort, rung, trials, reports)
        scores = [report.fidelity.values.get(self.objective, math.nan) for report in reports]
        best = [
            _lowest([score, *(row.score for row in self._rows[trial])])
            for trial, score in zip(trials, scores, strict=True)
        ]
        alive = [b for b, report in zip(best, reports, strict=True) if report.death is None]
        earlier = [rows[rung] for rows in self._rows.values() if len(rows) > rung]
        reached = [row.best_score for row in earlier if row.outcome not in DEAD]
        verdicts = [
            self._verdict(trial, rung, score, report, reached + alive)
            for trial, score, report in zip(trials, best, reports, strict=True)
        ]
        rows = [
            self._row(cohort, rung, trials[i], verdicts[i], reports[i], scores[i], best[i]) for i in range(len(trials))
        ]
        self._record(rows)
        return verdicts

    def _judge_again(self, cohort: int, rung: int, trials: list[int], reports: list[LaneReport]) -> list[Verdict]:
        """The recorded verdicts, after those that were not recorded yet are judged, among as many as the first time."""
        missing = [i for i, trial in enumerate(trials) if len(self._rows[trial]) <= rung]
        if missing:
            self.judge(cohort, rung, [trials[i] for i in missing], [reports[i] for i in missing])
        rows = [self._rows[trial][rung] for trial in trials]
        return [Verdict(row.outcome, row.reason) for row in rows]

    def note_failure(self, cohort: int, reason: str) -> None:
        """Told what a cohort's process raised, before it is started again."""
        self._failures[cohort] = " ".join(reason.split())[:LONGEST_REASON]

    def fail_cohort(self, cohort: int, times: int) -> None:
        """Records what is still unfinished in a cohort as failed: it was started so many times, and died each time."""
        reason = f"died {times} times: {self._failures.get(cohort, 'its process was killed')}"
        rows = []
        for trial in self._cohorts[cohort].trials:
            if self._ended(trial):
                continue
            earlier = self._rows[trial]
            rows.append(
                self._plain_row(
                    cohort,
                    trial,
                    rung=len(earlier),
                    images_seen=earlier[-1].images_seen if earlier else 0,
                    outcome=Outcome.FAILED,
                    reason=reason,
                    best_score=earlier[-1].best_score if earlier else math.nan,
                )
            )
        self._record(rows)

    def note_images(self, trials: list[int], images: int) -> None:
        """Told between rungs how far trials are: for those who watch, never recorded."""
        self._images.update(dict.fromkeys(trials, images))

    def snapshot(self) -> Snapshot:
        """Where the sweep stands now."""
        last = {trial: rows[-1] for trial, rows in self._rows.items() if rows}
        ended = [row.outcome for row in last.values() if row.outcome is not Outcome.RUNNING]
        scored = [row for row in last.values() if row.outcome not in DEAD and math.isfinite(row.best_score)]
        best = min(scored, key=lambda row: (row.best_score, row.trial), default=None)
        images = {t: rows[-1].images_seen if rows else 0 for t, rows in self._rows.items()}
        return Snapshot(
            trials=self.spec.trials,
            done=len(ended),
            running=sum(not self._ended(t) for c in self._handed_out for t in self._cohorts[c].trials),
            outcomes={str(outcome): ended.count(outcome) for outcome in Outcome if outcome is not Outcome.RUNNING},
            images=sum(max(seen, self._images.get(trial, 0)) for trial, seen in images.items()),
            best_trial=best.trial if best else None,
            best_score=best.best_score if best else math.nan,
            best_config=dict(best.hyperparameters) if best else {},
            baseline_score=last[0].best_score if 0 in last else math.nan,
        )

    @property
    def finished(self) -> bool:
        """Whether every trial of the spec has ended."""
        return len(self._rows) >= self.spec.trials and all(self._ended(trial) for trial in self._rows)

    def _open_study(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = JournalStorage(self._journal)
        study = optuna.create_study(storage=storage, study_name=STUDY_NAME, direction="minimize", load_if_exists=True)
        if study.direction is not optuna.study.StudyDirection.MINIMIZE:
            raise ResultsError(f"{self.folder.journal} holds a study that maximises; it is not this run's")
        return study

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """A fresh sampler keyed by (seed, trial): what is proposed depends on what was told, not on how often the
        owner was restarted.
        """
        seed = derived_seed(self.spec.seed, "sampler", number)
        if self.spec.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed)

    def _ask(self, number: int) -> optuna.Trial:
        if number == 0 and not self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self._study.enqueue_trial(self.spec.space.parameters_of({}))
        self._study.sampler = self._sampler(number)
        trial = self._study.ask()
        self.spec.space.suggest(trial)
        return trial

    def _trial(self, number: int) -> optuna.Trial:
        """A handle on an open trial. The random sampler proposes nothing when a handle is made; TPE would."""
        self._study.sampler = optuna.samplers.RandomSampler(seed=0)
        return optuna.Trial(self._study, self._optuna_trials[number])

    def _admit(self, cohort: Cohort, optuna_ids: list[int]) -> None:
        self._cohorts[cohort.number] = cohort
        for trial, identity in zip(cohort.trials, optuna_ids, strict=True):
            self._optuna_trials[trial] = identity
            self._rows[trial] = []

    def _ended(self, trial: int) -> bool:
        rows = self._rows[trial]
        return bool(rows) and rows[-1].outcome is not Outcome.RUNNING

    def _verdict(self, trial: int, rung: int, best: float, report: LaneReport, reached: list[float]) -> Verdict:
        if report.death is not None:
            return Verdict(Outcome(report.death.outcome), report.death.reason)
        verdict = self.spec.ladder.judge(rung, best, reached)
        if trial == 0 and verdict.outcome is Outcome.PRUNED:
            return Verdict(Outcome.RUNNING, f"baseline, never pruned; {verdict.reason}")
        return verdict

    def _row(
        self, cohort: int, rung: int, trial: int, verdict: Verdict, report: LaneReport, score: float, best: float
    ) -> ResultRow:
        return self._plain_row(
            cohort,
            trial,
            rung=rung,
            images_seen=report.images_seen,
            outcome=verdict.outcome,
            reason=verdict.reason,
            d_loss=report.d_loss,
            g_loss=report.g_loss,
            score=score,
            best_score=best,
            seconds=report.seconds,
            device=report.device,
            protocol=report.fidelity.protocol,
            data_digest=report.fidelity.data_digest,
            fidelity=report.fidelity.values,
            health=report.health,
            signs=" ".join(report.signs),
        )

    def _plain_row(self, cohort: int, trial: int, **values: Any) -> ResultRow:
        """A row with what is the same at every rung filled in."""
        number = self._cohorts[cohort]
        lane = number.trials.index(trial)
        blank = {
            **dict.fromkeys(("d_loss", "g_loss", "score"), math.nan),
            **dict.fromkeys(("device", "protocol", "data_digest"), ""),
            "seconds": 0.0,
        }
        return ResultRow(
            trial=trial,
            cohort=cohort,
            lane=lane,
            objective=self.objective,
            code_version=self._code,
            hyperparameters=number.configs[lane].flatten(),
            **{**blank, **values},
        )

    def _record(self, rows: list[ResultRow]) -> None:
        """Durably first, then in memory, then to Optuna: a crash in between is caught up on."""
        self._rows_file.append([row.flat() for row in rows])
        for row in rows:
            self._rows[row.trial].append(row)
            self._tell(row)
        self._journal.sync()
        for cohort in {row.cohort for row in rows}:
            self._forget_checkpoint(cohort)

    def _forget_checkpoint(self, cohort: int) -> None:
        """Removes what a cohort would go on from, once all its trials have ended."""
        if all(self._ended(trial) for trial in self._cohorts[cohort].trials):
            shutil.rmtree(self.folder.checkpoint(cohort), ignore_errors=True)

    def _tell(self, row: ResultRow) -> None:
        """Lets Optuna know of a row; a second time it changes nothing.

        A pruned trial keeps its best score so far at the images it reached, which TPE ranks below every completed one
        and among the pruned by progress and score. A dead one is also marked infeasible, so that its region is
        learnt as bad: told FAIL it would be forgotten. A failed one says nothing about its configuration: FAIL.
        """
        known = self._study._storage.get_trial(self._optuna_trials[row.trial])
        if known.state.is_finished():
            return
        if row.outcome is Outcome.FAILED:
            self._study.tell(known.number, state=TrialState.FAIL)
            return
        trial = self._trial(row.trial)
        if math.isfinite(row.best_score) and row.images_seen not in known.intermediate_values:
            trial.report(row.best_score, step=row.images_seen)
        if row.outcome in DEAD:
            if str(row.outcome) not in known.constraints:
                trial.set_constraint(str(row.outcome), 1.0)
            self._study.tell(known.number, state=TrialState.PRUNED)
        elif row.outcome is Outcome.PRUNED:
            self._study.tell(known.number, state=TrialState.PRUNED)
        elif row.outcome is Outcome.COMPLETED:
            self._study.tell(known.number, row.best_score)

    def _catch_up(self) -> None:
        """Reads back cohorts and rows, tells Optuna what it has not heard, and drops proposals of no cohort."""
        for record in self._cohorts_file.read():
            self._admit(Cohort.from_plain(record), record["optuna"])
        for record in self._rows_file.read():
            values = {k: math.nan if v is None and _is_number(k) else v for k, v in record.items()}
            try:
                row = ResultRow.from_flat(values)
            except (KeyError, ValueError) as error:
                raise ResultsError(f"{self.folder.rows}: a row lacks or garbles {error}; it was changed") from error
            if row.trial not in self._rows or len(self._rows[row.trial]) != row.rung:
                raise ResultsError(f"{self.folder.rows}: trial {row.trial} has no place for rung {row.rung}")
            self._rows[row.trial].append(row)
            self._tell(row)
        for cohort in self._cohorts:
            self._forget_checkpoint(cohort)
        ours = set(self._optuna_trials.values())
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial._trial_id not in ours:
                self._study.tell(trial.number, state=TrialState.FAIL)


def _is_number(column: str) -> bool:
    return column.partition(".")[0] in GROUPS or column in ("d_loss", "g_loss", "score", "best_score", "seconds")


def _lowest(scores: list[float]) -> float:
    """The lowest finite score, or NaN where there is none."""
    return min((score for score in scores if math.isfinite(score)), default=math.nan)
