"""The rows of a sweep as a checked pandas DataFrame, and which of its trials are best."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from gan_core.config.arguments import PREFIXES
from gan_core.config.limits import LIMITED, broken_in_words
from results.confirmation import chance_of_order, confirmations, replicate_scores
from results.idle import without_idle
from results.limits import violations, violations_of_first
from results.loading import SCORED, load_rows
from results.objectives import higher_is_better, score_name
from results.pareto import constrained_ranks
from results.rows import DEAD, MAY_BE_NULL, OBJECTIVES_JOINED_BY
from results.spec_file import read_mapping
from results.store import ResultsError, RunFolder
from results.stored_run import run_folder

REQUIRED = ("trial", "replicate", "cohort", "lane", "rung", "images_seen", "outcome", "reason", "objective", "protocol")
ALIKE = {  # columns in which all values that are not empty must be equal
    "protocol": "scores of different protocols cannot be compared",
    "objective": "rows of different objectives are not of one sweep",
}


@dataclass(frozen=True)
class TrialTable:
    """frame: one row per trial and rung, in the order in which they were recorded. folder: the run it was loaded from,
    None for a table made of a frame alone.

    Rows of replicate 0 belong to the search, those of other replicates to finalists run again from other seeds. With
    several objectives, the first decides which rung is a trial's best. Raises ResultsError if columns are missing, if a
    (trial, replicate, rung) occurs twice, or if rows have different protocols or objectives.
    """

    frame: pd.DataFrame
    folder: RunFolder | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        missing = [name for name in (*REQUIRED, *SCORED) if name not in self.frame.columns]
        if missing:
            raise ResultsError(f"the table lacks the columns {', '.join(missing)}; it is not a table of a sweep")
        if self.frame.empty:
            raise ResultsError("the table has no rows, so there is nothing to say of its trials; keep at least one")
        _check_once(self.frame)
        for name, says in ALIKE.items():
            _check_alike(self.frame[name].tolist(), says)

    @classmethod
    def load(cls, run: str | Path, *, whole: bool = False) -> Self:
        """Loads the table of a run, finished or not, from its folder or its address in an object store (`s3://...`).
        Raises ResultsError if the run has no results yet, and StoreError if the store cannot be read.

        A hyperparameter is missing in trials where it has no effect, such as the weight of a penalty that is not used;
        whole: keep its value. A hyperparameter that is null because it follows another one is missing in either case.
        """
        folder = run_folder(run).require()
        frame = load_rows(folder.rows)
        if frame.empty:
            raise ResultsError(f"{folder.shown} has no results yet; no trial has reached its first rung")
        try:
            return cls(frame if whole else without_idle(frame), folder)
        except ResultsError as error:
            raise ResultsError(f"{folder.rows}: {error}") from error

    @cached_property
    def spec(self) -> Mapping[str, Any]:
        """The run's spec as plain values; empty for a table that was made of a frame alone. Raises ResultsError if the
        file cannot be read.
        """
        return {} if self.folder is None else read_mapping(self.folder.spec)

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives, in the notation of `results.objectives`."""
        return tuple(str(self.frame["objective"].iloc[0]).split(OBJECTIVES_JOINED_BY))

    @property
    def objective(self) -> str:
        """The first objective, which the column `score` holds."""
        return self.objectives[0]

    @property
    def trials(self) -> pd.DataFrame:
        """One row per trial of the search, the best first: its best rung, with the `outcome` and `reason` of its last.

        Rungs and trials that keep the limits of the objective come before those that break them, which are ordered by
        how far they are off (`gan_core.config.limits`). `seconds` and `images_trained` are totals. Dead trials come
        last. With several objectives there is a column `pareto_rank` (1 for the Pareto front), by which rows are
        ordered before the score. It ranks the objectives of each contender at its best rung (`seconds` in total) by
        constrained domination, and is missing for other trials.
        """
        return self._trials.copy()

    @cached_property
    def _trials(self) -> pd.DataFrame:
        frame = self.frame.reset_index(drop=True)
        keys = frame[["trial", "replicate", "rung", "score", "seconds"]]  # sorting whole rows takes twice the memory
        keys = keys.assign(violation=violations_of_first(frame), unscored=frame["score"].isna())
        keys = keys.loc[keys["replicate"] == 0].sort_values(["trial", "rung"])
        last = frame.loc[keys.groupby("trial").tail(1).index].set_index("trial")
        ranked = keys.sort_values(["trial", "unscored", "violation", "score", "rung"])
        best = frame.loc[ranked.groupby("trial").head(1).index].set_index("trial")
        best["outcome"], best["reason"] = last["outcome"], last["reason"]
        best["images_trained"] = last["images_seen"]
        best["seconds"] = keys.groupby("trial")["seconds"].sum()
        by = ["dead", "unscored", "violation", "score", "trial"]
        if len(self.objectives) > 1:
            best["pareto_rank"] = self._pareto_rank(best.loc[_contends(best)])
            by = ["dead", "pareto_rank", "score", "trial"]
        order = best.assign(
            dead=best["outcome"].isin(DEAD),
            unscored=best["score"].isna(),
            violation=violations(best, self.objectives),
        ).reset_index()
        order = order.sort_values(by, na_position="last")
        return order.drop(columns=["dead", "unscored", "violation"]).reset_index(drop=True)

    @property
    def differing(self) -> list[str]:
        """The columns of hyperparameters that differ between trials of the search; missing counts as a value."""
        trials: Any = self.trials
        names = [name for name in trials.columns if name.startswith(PREFIXES)]
        return [name for name in names if trials[name].nunique(dropna=False) > 1]

    def _pareto_rank(self, contenders: pd.DataFrame) -> pd.Series:
        """The Pareto ranks of contenders. Raises ResultsError if the table lacks the column of an objective."""
        others = {name: name if name == "seconds" else f"fidelity.{score_name(name)}" for name in self.objectives[1:]}
        columns = ["score", *others.values()]
        if missing := [name for name in columns if name not in contenders.columns]:
            raise ResultsError(f"objective {', '.join(missing)} is no column of the table; it was changed")
        values = contenders[columns].to_numpy(float)
        values[:, [False, *map(higher_is_better, others)]] *= -1  # the column `score` is negated already
        ranks = constrained_ranks(values, violations(contenders, self.objectives))
        return pd.Series(ranks, index=contenders.index, dtype="Int64")

    @property
    def contenders(self) -> pd.DataFrame:
        """The rows of `trials` that can be the best: those with a score that are not dead."""
        trials = self.trials
        return trials.loc[_contends(trials)]

    @property
    def endings(self) -> str:
        """The number of trials per outcome, the most common first, such as `2 diverged, 1 out_of_memory`."""
        return ", ".join(f"{count} {outcome}" for outcome, count in self.trials["outcome"].value_counts().items())

    def best(self) -> pd.Series:
        """The first row of `trials`: of those that keep the limits, the one with the lowest score; with several
        objectives, among those on the Pareto front. If no trial keeps the limits, `breaks` says what this one breaks.

        A dead trial (diverged, collapsed, failed or out of memory) is never the best. Raises ResultsError if no other
        trial has a score.
        """
        if self.contenders.empty:
            raise ResultsError(f"no trial of this run has a score: {self.endings}")
        return self.contenders.iloc[0]

    def breaks(self, row: Mapping[str, Any] | pd.Series) -> str:
        """In words, which limits of the objectives a row breaks, such as `class balance: 8 of 10 classes`; "" if it
        keeps them, and where no objective has limits.
        """
        if not set(self.objectives) & set(LIMITED):
            return ""
        scores = {str(name): value for name, value in row.items() if str(name).startswith("fidelity.")}
        return broken_in_words({k.partition(".")[2]: float(v) for k, v in scores.items() if not pd.isna(v)})

    def trial(self, number: int) -> pd.Series:
        """The row of `trials` of one trial. Raises ResultsError if there is no such trial."""
        rows = self.trials
        found = rows[rows["trial"] == number]
        if found.empty:
            known = f"0 to {max(rows['trial'].tolist())}" if len(rows) else "none"
            raise ResultsError(f"there is no trial {number} in this run; trials with results: {known}")
        return found.iloc[0]

    def baseline(self) -> pd.Series | None:
        """The row of the default values of the space: of trial 0 at its best rung, as in `trials`. In a population, its
        rungs count until it took over another trial's state. None before it has a score.
        """
        rows = self._of_defaults.trials
        found = rows[(rows["trial"] == 0) & rows["score"].notna()]
        return None if found.empty else found.iloc[0]

    @cached_property
    def _of_defaults(self) -> Self:
        """The table without what trial 0 did after it took over another trial's state."""
        if "parent" not in self.frame.columns:
            return self
        own: Any = self.frame[(self.frame["trial"] == 0) & (self.frame["replicate"] == 0)]
        taken = own.loc[own["parent"].notna(), "rung"]
        later = own.index[own["rung"] > taken.min()]  # none where it took over nothing
        return self if later.empty else replace(self, frame=self.frame.drop(index=later))

    def is_baseline(self, row: Mapping[str, Any] | pd.Series) -> bool:
        """Whether a row, as in `trials`, is that of the default values."""
        base = self.baseline()
        return base is not None and (row["trial"], row["rung"]) == (base["trial"], base["rung"])

    @property
    def confirmed(self) -> pd.DataFrame:
        """One row per finalist whose replicates have all ended, the winner first; `results.confirmation` has the rules.

        The order is by the first objective, whose values are not negated here; if more is better, a failed replicate
        counts as minus infinity. A replicate that breaks limits at all its rungs counts as failed.
        """
        trials = self.trials
        search = dict(zip(trials["trial"].tolist(), trials["score"].tolist(), strict=True))
        found = confirmations(replicate_scores(self.frame), search)
        if not higher_is_better(self.objective):
            return found
        negated = {name: -found[name] for name in ("median", "mean", "search_score")}
        return found.assign(**negated, q25=-found["q75"], q75=-found["q25"])

    def winner(self) -> pd.Series | None:
        """The first row of `confirmed`; None if there is none, or if its median is infinite by failed replicates."""
        rows = self.confirmed
        return rows.iloc[0] if len(rows) and np.isfinite(rows["median"].iloc[0]) else None

    def chance_of_order(self) -> float | None:
        """The probability that chance alone separates the first two of `confirmed` so clearly; None without two."""
        if len(self.confirmed) < 2:
            return None
        scores = replicate_scores(self.frame)
        first, second = self.confirmed["trial"].iloc[:2]
        return chance_of_order(scores[first], scores[second])


def configuration_of(row: Mapping[str, Any] | pd.Series) -> dict[str, Any]:
    """The hyperparameters and seeds of a row of a whole table: dotted name -> Python value, None if null.

    Hyperparameters that the row lacks are left out.
    """
    known = {str(name): value for name, value in row.items() if _is_hyperparameter(str(name))}
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in known.items()}
    present = {name: None if pd.isna(value) else value for name, value in plain.items()}
    return {name: value for name, value in present.items() if value is not None or name in MAY_BE_NULL}


def _is_hyperparameter(column: str) -> bool:
    return column.startswith(PREFIXES) or column in ("seed", "data_seed")


def _check_once(frame: pd.DataFrame) -> None:
    """Raises ResultsError if a (trial, replicate, rung) occurs twice."""
    twice = frame.duplicated(["trial", "replicate", "rung"])
    if twice.any():
        first = frame[twice].iloc[0]
        whose = f"trial {first['trial']}" + (f", replicate {first['replicate']}," if first["replicate"] else "")
        line = int(np.argmax(twice)) + 1
        raise ResultsError(f"{whose} stands twice at rung {first['rung']}; the file was changed (line {line})")


def _check_alike(texts: list[str], says: str) -> None:
    """Raises ResultsError if the texts that are not empty differ."""
    first = next(filter(None, texts), "")
    for line, text in enumerate(texts, 1):
        if text not in ("", first):
            raise ResultsError(f"{says}: {', '.join(sorted((first, text)))} (line {line})")


def _contends(trials: pd.DataFrame) -> Any:
    """Whether each row can be the best, bool [n]."""
    return ~trials["outcome"].isin(DEAD) & trials["score"].notna()
