"""The rows in MLflow: a parent run for the sweep, with a nested run for each trial."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_core.config.limits import LAST
from results.rows import DEAD, ResultRow
from results.store import RunFolder
from sweep.tracking.tracked_row import TrackerFailed, has_ended, hyperparameters, numbers, trial_name, words
from sweep.tracking.tracking_identity import identity_of

SWEEP_TAG, TRIAL_TAG, ROWS_TAG = "gan_sweep.id", "gan_sweep.trial", "gan_sweep.rows"
PARENT_TAG = "mlflow.parentRunId"
SWEEP_PARAMETERS = ("trials", "objective", "sampler", "seed")
PAGE = 1_000
STARTED, STOPPED, FINISHED, FAILED = "RUNNING", "KILLED", "FINISHED", "FAILED"


@dataclass
class _Run:
    """A trial's run. start: milliseconds since 1970; rows: how many were logged; seconds: training time so far."""

    identity: str
    start: int
    rows: int
    status: str
    seconds: float = 0.0


class MlflowTracker:
    """Runs are found again by their tags, and one tag says how many rows a run holds, so that a row that is sent again
    is skipped. The timestamp of a metric is the run's start plus the trial's training time: a row that was logged by a
    process which was killed before it set the tag is then logged a second time with identical values, and MLflow's
    databases keep one of the two.

    options: uri (default: an SQLite file in the run's folder), experiment (default: the sweep's name).
    """

    def __init__(self, options: Mapping[str, str], folder: RunFolder, spec: Mapping[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reads this when it is imported
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        folder.mlflow.mkdir(parents=True, exist_ok=True)
        uri = options.get("uri", f"sqlite:///{folder.mlflow.resolve() / 'mlflow.db'}")
        self._trials = spec["trials"]
        self._sweep = identity_of(folder)
        self._runs: dict[int, _Run] = {}
        self._best = LAST
        with _failures():
            self._client = MlflowClient(uri)
            self._experiment = self._open_experiment(options.get("experiment", spec["name"]), uri)
            self._parent = self._find_runs() or self._begin_sweep(spec)
            self._client.update_run(self._parent, STARTED)

    def row(self, row: ResultRow, picture: Path | None, curve: Sequence[Any] = ()) -> None:
        with _failures():
            run = self._runs.get(row.trial) or self._begin_trial(row)
            run.seconds = row.seconds + (run.seconds if row.rung else 0.0)
            if row.rung >= run.rows:
                self._log(run, row, picture)
            wanted = (FAILED if row.outcome in DEAD else FINISHED) if has_ended(row) else STARTED
            if row.rung + 1 == run.rows and run.status != wanted:
                self._set_status(run, wanted)
        if row.outcome not in DEAD:
            self._best = min(self._best, row.place)

    def close(self) -> None:
        """Marks runs that have not ended as stopped. A resumed sweep marks them as running again."""
        with _failures():
            for run in self._runs.values():
                if run.status == STARTED:
                    self._set_status(run, STOPPED)
            ended = sum(run.status in (FINISHED, FAILED) for run in self._runs.values())
            if self._best < LAST:
                self._client.log_metric(self._parent, "best_score", self._best[1], step=ended)
                self._client.log_metric(self._parent, "best_violation", self._best[0], step=ended)
            self._client.update_run(self._parent, FINISHED if ended >= self._trials else STOPPED)

    def _log(self, run: _Run, row: ResultRow, picture: Path | None) -> None:
        from mlflow.entities import Metric, Param, RunTag

        if picture is not None:
            self._client.log_artifact(run.identity, str(picture), "samples")
        time = run.start + round(1000 * run.seconds)
        self._client.log_batch(
            run.identity,
            metrics=[Metric(name, value, time, row.images_seen) for name, value in numbers(row).items()],
            params=[Param(name, str(v)) for name, v in hyperparameters(row).items()] if row.rung == 0 else [],
            tags=[RunTag(k, v) for k, v in {**words(row), ROWS_TAG: str(row.rung + 1)}.items()],
        )
        run.rows = row.rung + 1

    def _set_status(self, run: _Run, status: str) -> None:
        if status == STARTED:
            self._client.update_run(run.identity, status)
        else:
            self._client.set_terminated(run.identity, status)
        run.status = status

    def _open_experiment(self, name: str, uri: str) -> str:
        """The experiment's id. One that is created in a local SQLite file stores its pictures beside that file."""
        if (known := self._client.get_experiment_by_name(name)) is not None:
            return known.experiment_id
        scheme, _, path = uri.partition(":///")
        beside = (Path(path).parent / "artifacts").as_uri() if scheme == "sqlite" else None
        return self._client.create_experiment(name, artifact_location=beside)

    def _find_runs(self) -> str | None:
        """Loads the runs of this sweep's trials. Returns the id of the parent run, or None if there is none yet."""
        parent = token = None
        while True:
            found = self._client.search_runs(
                [self._experiment], f"tags.`{SWEEP_TAG}` = '{self._sweep}'", max_results=PAGE, page_token=token
            )
            for run in found:
                tags = run.data.tags
                if TRIAL_TAG in tags:
                    rows = int(tags.get(ROWS_TAG, 0))
                    self._runs[int(tags[TRIAL_TAG])] = _Run(run.info.run_id, run.info.start_time, rows, run.info.status)
                else:
                    parent = run.info.run_id
            if not (token := found.token):
                return parent

    def _begin_sweep(self, spec: Mapping[str, Any]) -> str:
        from mlflow.entities import Param

        run = self._client.create_run(self._experiment, run_name=spec["name"], tags={SWEEP_TAG: self._sweep})
        given = [Param(name, str(spec[name])) for name in SWEEP_PARAMETERS if name in spec]
        self._client.log_batch(run.info.run_id, params=given)
        return run.info.run_id

    def _begin_trial(self, row: ResultRow) -> _Run:
        tags = {SWEEP_TAG: self._sweep, TRIAL_TAG: str(row.trial), PARENT_TAG: self._parent}
        run = self._client.create_run(self._experiment, run_name=trial_name(row.trial), tags=tags)
        self._runs[row.trial] = _Run(run.info.run_id, run.info.start_time, 0, STARTED)
        return self._runs[row.trial]


@contextmanager
def _failures() -> Iterator[None]:
    """MLflow wraps the errors of its server and database. Opening a database raises SQLAlchemy's own errors, and an
    ImportError where the database's driver is not installed.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, ImportError) as error:
        raise TrackerFailed(str(error)) from error
