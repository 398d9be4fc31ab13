"""The rows in Weights & Biases: one run for each trial, grouped by sweep."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from results.rows import DEAD, ResultRow
from results.schema import ANYTHING, fault, whole_number
from results.store import JsonLines, RunFolder
from sweep.tracking.tracked_row import TrackerFailed, has_ended, hyperparameters, numbers, trial_name, words
from sweep.tracking.tracking_identity import identity_of

PROJECT = "gan-sweep"
STOPPED = 130  # exit code of a run whose trial has not ended; a resumed sweep continues it under the same id


class WandbTracker:
    """Records which rows were logged in `wandb/told.jsonl`, because an offline run cannot be queried. A process that is
    killed between logging and recording logs one row twice at the same step, and the service drops the second.

    options: project, entity, and mode: `online` (the default; never prompts for a key, so one must be configured) or
    `offline`, which writes folders that `wandb sync RUN/wandb/offline-run-*` uploads. A trial that a resumed sweep
    continues has a second such folder with the same id.
    """

    def __init__(self, options: Mapping[str, str], folder: RunFolder, spec: Mapping[str, Any]) -> None:
        import wandb

        self._wandb, self._options, self._folder = wandb, options, folder
        self._sweep, self._name = identity_of(folder), spec["name"]
        folder.wandb.mkdir(parents=True, exist_ok=True)
        self._told_file = JsonLines(folder.wandb / "told.jsonl")
        self._told_file.repair()
        self._told = Counter(record["trial"] for record in self._told_file.read(_fault))
        self._runs: dict[int, Any] = {}
        with self._failures():
            if self._mode == "online" and not wandb.login(prompt=False):
                raise TrackerFailed(
                    "no key for Weights & Biases: run `wandb login`, or give tracking.wandb.mode=offline"
                )

    @property
    def _mode(self) -> str:
        return self._options.get("mode", "online")

    def row(self, row: ResultRow, picture: Path | None, curve: Sequence[Any] = ()) -> None:
        if row.rung < self._told[row.trial]:
            return
        with self._failures():
            run = self._runs.get(row.trial) or self._begin(row)
            values: dict[str, Any] = {**numbers(row), "images_seen": row.images_seen}
            if picture is not None:
                values["samples"] = self._wandb.Image(str(picture))
            run.log(values, step=row.images_seen, commit=True)
            run.summary.update(words(row))
            if has_ended(row):
                self._runs.pop(row.trial).finish(exit_code=int(row.outcome in DEAD))
        self._told_file.append([{"trial": row.trial, "rung": row.rung}])
        self._told[row.trial] += 1

    def close(self) -> None:
        with self._failures():
            for run in self._runs.values():
                run.finish(exit_code=STOPPED)
        self._runs.clear()

    def _begin(self, row: ResultRow) -> Any:
        settings = self._wandb.Settings(
            console="off",  # the process prints for all trials, not for one
            silent=True,
            disable_git=True,
            save_code=False,
            x_disable_stats=True,  # a trial shares its process, so its load cannot be measured
        )
        self._runs[row.trial] = self._wandb.init(
            project=self._options.get("project", PROJECT),
            entity=self._options.get("entity"),
            mode=self._mode,
            dir=str(self._folder.path.resolve()),
            id=f"{self._sweep}-{row.trial:04d}",
            name=trial_name(row.trial),
            group=f"{self._name}-{self._sweep}",
            config=hyperparameters(row),
            resume="allow",
            reinit="create_new",
            settings=settings,
        )
        return self._runs[row.trial]

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Public errors of wandb have one base class, and a background service that died shows as an OSError. Private
        errors cannot be named here; one of them would end this tracker's thread and nothing else.
        """
        try:
            yield
        except self._wandb.errors.Error as error:
            raise TrackerFailed(str(error)) from error


def _fault(record: Mapping[str, Any]) -> str | None:
    return fault(record, {"trial": whole_number()}, ("trial",), lambda name: ANYTHING)
