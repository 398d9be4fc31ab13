"""ResultsTable: what a sweep found, as a checked pandas DataFrame. Needs pandas alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from results.confirmation import chance_of_order, confirmations, replicate_scores
from results.idle import without_idle
from results.objectives import higher_is_better, score_name
from results.pareto import pareto_ranks
from results.rows import DEAD, GROUPS, MADE_BY, MAY_BE_NULL, OBJECTIVES_JOINED_BY, row_fault
from results.store import JsonLines, ResultsError, RunFolder

SCORED = ("d_loss", "g_loss", "score", "best_score", "seconds")
REQUIRED = ("trial", "replicate", "cohort", "lane", "rung", "images_seen", "outcome", "reason", "objective", "protocol")
LATER = {"replicate": 0, "elapsed_seconds": 0.0, "parent": None}  # columns that earlier versions did not write
LATER_HYPERPARAMETERS = {  # likewise, and with what those versions trained; what may be null was as null
    "lane.lr_schedule": "constant",
    "lane.lr_schedule_images": 0.0,
    "lane.generator_weight_decay": 0.0,
    "lane.discriminator_weight_decay": 0.0,
}
WHOLE = ("replicate", "parent")
ALIKE = {  # columns that have one value in all rows, or nothing
    "protocol": "scores of different protocols cannot be compared",
    "objective": "rows of different objectives are not of one sweep",
}
NUMBERS = (*SCORED, *LATER, *MAY_BE_NULL)


@dataclass(frozen=True)
class ResultsTable:
    """frame: a row for each trial at each rung, in the order they were recorded; replicate 0 is the search, from 1 its
    finalists run again. Of several objectives the first decides which rung stands for a trial.

    Raises ResultsError when columns are missing, a (trial, replicate, rung) stands twice, or rows have different
    protocols or objectives.
    """

    frame: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [name for name in (*REQUIRED, *SCORED) if name not in self.frame.columns]
        if missing:
            raise ResultsError(f"the table lacks the columns {', '.join(missing)}; it is not a table of a sweep")
        _check_once(self.frame)
        for name, says in ALIKE.items():
            _check_alike(self.frame[name].tolist(), says)

    @classmethod
    def load(cls, run: str | Path, *, whole: bool = False) -> "ResultsTable":
        """The table of a run folder, finished or not. A hyperparameter that has no effect in a trial (the weight of a
        penalty that there is not) is missing there; whole: it has the value that stands in the configuration. A beta of
        D that is null, and so is G's, is missing too.
        """
        folder = RunFolder(run).require()
        records = JsonLines(folder.rows).read(row_fault)
        if not records:
            raise ResultsError(f"{folder.path} has no results yet; no trial has reached its first rung")
        try:
            frame = _with_numbers(pd.DataFrame.from_records(records))
            return cls(frame if whole else without_idle(frame))
        except ResultsError as error:
            raise ResultsError(f"{folder.rows}: {error}") from error

    @property
    def objectives(self) -> tuple[str, ...]:
        """What is minimised, one or several, as `results.objectives` names it."""
        return tuple(str(self.frame["objective"].iloc[0]).split(OBJECTIVES_JOINED_BY))

    @property
    def objective(self) -> str:
        """What is minimised; of several, the first: the column `score`."""
        return self.objectives[0]

    @property
    def trials(self) -> pd.DataFrame:
        """A row for each trial of the search, best first: its best rung, with `outcome` and `reason` of its last,
        `seconds` and `images_trained` in all. A trial without any score comes last.

        With several objectives also `pareto_rank` (1: on the front), which then orders before the score: of each
        contender's objectives at its best rung (`seconds`: in all). It is missing where a trial is no contender.
        """
        frame = self.frame.loc[self.frame["replicate"] == 0].sort_values(["trial", "rung"])
        last = frame.groupby("trial").tail(1).set_index("trial")
        scored = frame.assign(rank=frame["score"].fillna(float("inf")))
        best = scored.loc[scored.groupby("trial")["rank"].idxmin()].set_index("trial").drop(columns="rank")
        best["outcome"], best["reason"] = last["outcome"], last["reason"]
        best["images_trained"] = last["images_seen"]
        best["seconds"] = frame.groupby("trial")["seconds"].sum()
        ranked = []
        if len(self.objectives) > 1:
            best["pareto_rank"] = self._pareto_rank(best.loc[_contends(best)])
            ranked = ["pareto_rank"]
        dead = best["outcome"].isin(DEAD)
        order = best.assign(dead=dead).reset_index()
        order = order.sort_values(["dead", *ranked, "score", "trial"], na_position="last")
        return order.drop(columns="dead").reset_index(drop=True)

    @property
    def differing(self) -> list[str]:
        """The hyperparameters, by column, that are not the same in all trials of the search: missing is a value too."""
        trials: Any = self.trials
        names = [name for name in trials.columns if name.startswith(("structure.", "lane."))]
        return [name for name in names if trials[name].nunique(dropna=False) > 1]

    def _pareto_rank(self, contenders: pd.DataFrame) -> pd.Series:
        """Rows of contenders -> their ranks. Raises ResultsError where an objective is no column."""
        others = {name: name if name == "seconds" else f"fidelity.{score_name(name)}" for name in self.objectives[1:]}
        columns = ["score", *others.values()]
        if missing := [name for name in columns if name not in contenders.columns]:
            raise ResultsError(f"objective {', '.join(missing)} is no column of the table; it was changed")
        values = contenders[columns].to_numpy(float)
        values[:, [False, *map(higher_is_better, others)]] *= -1  # as the score is already
        ranks = pareto_ranks(values)
        return pd.Series(ranks, index=contenders.index, dtype="Int64")

    @property
    def contenders(self) -> pd.DataFrame:
        """The rows of `trials` that may be best: with a score, and not dead."""
        trials = self.trials
        return trials.loc[_contends(trials)]

    @property
    def endings(self) -> str:
        """How many trials ended how, `2 diverged, 1 out_of_memory`, the commonest first."""
        return ", ".join(f"{count} {outcome}" for outcome, count in self.trials["outcome"].value_counts().items())

    def best(self) -> pd.Series:
        """The row of `trials` with the lowest score, of several objectives that on the front with the lowest first one.
        A dead trial (diverged, collapsed, failed or out of memory) is never best.

        Raises ResultsError when there is none.
        """
        if self.contenders.empty:
            raise ResultsError(f"no trial of this run has a score: {self.endings}")
        return self.contenders.iloc[0]

    def trial(self, number: int) -> pd.Series:
        """One trial's row of `trials`. Raises ResultsError when there is no such trial."""
        rows = self.trials
        found = rows[rows["trial"] == number]
        if found.empty:
            known = f"0 to {max(rows['trial'].tolist())}" if len(rows) else "none"
            raise ResultsError(f"there is no trial {number} in this run; trials with results: {known}")
        return found.iloc[0]

    def baseline(self) -> pd.Series | None:
        """Trial 0, the space's default settings, or None before it has a score."""
        rows = self.trials
        found = rows[(rows["trial"] == 0) & rows["score"].notna()]
        return None if found.empty else found.iloc[0]

    @property
    def confirmed(self) -> pd.DataFrame:
        """A row for each finalist whose replicates have all ended, the winner first, as
        `results.confirmation.confirmations` says; empty where there is none. By the first objective, whose scores are
        shown as they are: where more of it is better, a failed replicate counts as minus infinity.
        """
        trials = self.trials
        search = dict(zip(trials["trial"].tolist(), trials["score"].tolist(), strict=True))
        found = confirmations(replicate_scores(self.frame), search)
        if not higher_is_better(self.objective):
            return found
        negated = {name: -found[name] for name in ("median", "mean", "search_score")}
        return found.assign(**negated, q25=-found["q75"], q75=-found["q25"])

    def records(self, trials: pd.DataFrame) -> list[dict[str, Any]]:
        """Rows of `trials` as JSON has them: None for what is missing or infinite. Where finalists are confirmed, a row
        has what `confirmed` says of it under that name, None for the others.
        """
        found, confirmed = _plain(trials), {row["trial"]: row for row in _plain(self.confirmed)}
        return [{**row, "confirmed": confirmed.get(row["trial"])} for row in found] if confirmed else found

    def winner(self) -> pd.Series | None:
        """The first row of `confirmed`, or None where there is none, or most of each finalist's replicates failed."""
        rows = self.confirmed
        return rows.iloc[0] if len(rows) and np.isfinite(rows["median"].iloc[0]) else None

    def chance_of_order(self) -> float | None:
        """How likely the first two of `confirmed` come out so clearly apart by chance; None without two of them."""
        if len(self.confirmed) < 2:
            return None
        scores = replicate_scores(self.frame)
        first, second = self.confirmed["trial"].iloc[:2]
        return chance_of_order(scores[first], scores[second])


def configuration_of(row: Mapping[str, Any] | pd.Series) -> dict[str, Any]:
    """The hyperparameters and seeds of a row of a whole table, dotted name -> Python value: None for what is null, and
    without what the row lacks.
    """
    known = {str(name): value for name, value in row.items() if _is_hyperparameter(str(name))}
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in known.items()}
    present = {name: None if pd.isna(value) else value for name, value in plain.items()}
    return {name: value for name, value in present.items() if value is not None or name in MAY_BE_NULL}


def _is_hyperparameter(column: str) -> bool:
    return column.startswith(("structure.", "lane.")) or column in ("seed", "data_seed")


def _check_once(frame: pd.DataFrame) -> None:
    """Raises ResultsError where a (trial, replicate, rung) stands twice."""
    twice = frame.duplicated(["trial", "replicate", "rung"])
    if twice.any():
        first = frame[twice].iloc[0]
        whose = f"trial {first['trial']}" + (f", replicate {first['replicate']}," if first["replicate"] else "")
        line = int(np.argmax(twice)) + 1
        raise ResultsError(f"{whose} stands twice at rung {first['rung']}; the file was changed (line {line})")


def _check_alike(texts: list[str], says: str) -> None:
    """Raises ResultsError where rows have different texts; those without any are passed over."""
    first = next(filter(None, texts), "")
    for line, text in enumerate(texts, 1):
        if text not in ("", first):
            raise ResultsError(f"{says}: {', '.join(sorted((first, text)))} (line {line})")


def _contends(trials: pd.DataFrame) -> Any:
    """Which rows may be best, bool [n]."""
    return ~trials["outcome"].isin(DEAD) & trials["score"].notna()


def _plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values, None for what is missing or infinite."""
    known = frame.notna() & ~frame.isin([np.inf, -np.inf])
    return [{str(k): v for k, v in row.items()} for row in frame.astype(object).where(known, None).to_dict("records")]


def _with_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Records without a fault as a frame: numbers as such, and columns of later versions filled in."""
    for name, value in LATER.items():
        if name not in frame.columns:
            frame[name] = value
    for name in MADE_BY:  # of which earlier versions wrote the device and the code alone
        frame[name] = frame[name].fillna("") if name in frame.columns else ""
    for name in frame.columns:
        if name in NUMBERS or name.partition(".")[0] in GROUPS:
            frame[name] = pd.to_numeric(frame[name])
            if name in LATER and LATER[name] is not None:
                frame[name] = frame[name].fillna(LATER[name])
            if name in WHOLE:
                frame[name] = frame[name].astype("Int64")
        if name in LATER_HYPERPARAMETERS:
            frame[name] = frame[name].fillna(LATER_HYPERPARAMETERS[name])
    return frame.astype({"replicate": "int64"})
