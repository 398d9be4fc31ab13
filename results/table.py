"""ResultsTable: what a sweep found, as a checked pandas DataFrame. Needs pandas alone."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from results.rows import DEAD, GROUPS
from results.store import JsonLines, ResultsError, RunFolder

NUMBERS = ("d_loss", "g_loss", "score", "best_score", "seconds")
REQUIRED = ("trial", "cohort", "lane", "rung", "images_seen", "outcome", "reason", "objective", "protocol", *NUMBERS)


@dataclass(frozen=True)
class ResultsTable:
    """frame: a row for each trial at each rung, in the order they were recorded.

    Raises ResultsError when columns are missing, a (trial, rung) stands twice, or rows have different protocols.
    """

    frame: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [name for name in REQUIRED if name not in self.frame.columns]
        if missing:
            raise ResultsError(f"the table lacks the columns {', '.join(missing)}; it is not a table of a sweep")
        twice = self.frame.duplicated(["trial", "rung"])
        if twice.any():
            first = self.frame[twice].iloc[0]
            raise ResultsError(f"trial {first['trial']} stands twice at rung {first['rung']}; the file was changed")
        protocols = sorted(set(self.frame["protocol"]) - {""})
        if len(protocols) > 1:
            raise ResultsError(f"scores of different protocols cannot be compared: {', '.join(protocols)}")

    @classmethod
    def load(cls, run: str | Path) -> "ResultsTable":
        """The table of a run folder, finished or not."""
        folder = RunFolder(run).require()
        records = JsonLines(folder.rows).read()
        if not records:
            raise ResultsError(f"{folder.path} has no results yet; no trial has reached its first rung")
        frame = pd.DataFrame.from_records(records)
        for name in frame.columns:
            if name in NUMBERS or name.partition(".")[0] in GROUPS:
                try:
                    frame[name] = pd.to_numeric(frame[name])
                except (ValueError, TypeError) as error:
                    raise ResultsError(f"{folder.rows}: {name} is not a number everywhere; it was changed") from error
        try:
            return cls(frame)
        except ResultsError as error:
            raise ResultsError(f"{folder.rows}: {error}") from error

    @property
    def objective(self) -> str:
        """The score that is minimised."""
        return str(self.frame["objective"].iloc[0])

    @property
    def trials(self) -> pd.DataFrame:
        """A row for each trial, best first: its best rung, with `outcome` and `reason` of its last, `seconds` and
        `images_trained` in all. A trial without any score comes last.
        """
        frame = self.frame.sort_values(["trial", "rung"])
        last = frame.groupby("trial").tail(1).set_index("trial")
        scored = frame.assign(rank=frame["score"].fillna(float("inf")))
        best = scored.loc[scored.groupby("trial")["rank"].idxmin()].set_index("trial").drop(columns="rank")
        best["outcome"], best["reason"] = last["outcome"], last["reason"]
        best["images_trained"] = last["images_seen"]
        best["seconds"] = frame.groupby("trial")["seconds"].sum()
        dead = best["outcome"].isin(DEAD)
        order = best.assign(dead=dead).reset_index().sort_values(["dead", "score", "trial"], na_position="last")
        return order.drop(columns="dead").reset_index(drop=True)

    @property
    def contenders(self) -> pd.DataFrame:
        """The rows of `trials` that may be best: with a score, and not dead."""
        trials = self.trials
        return trials.loc[~trials["outcome"].isin(DEAD) & trials["score"].notna()]

    def best(self) -> pd.Series:
        """The row of `trials` with the lowest score; a dead trial (diverged, collapsed or failed) is never best.

        Raises ResultsError when there is none.
        """
        if self.contenders.empty:
            raise ResultsError("no trial of this run has a score; all diverged, collapsed or failed")
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
