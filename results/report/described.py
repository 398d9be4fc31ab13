"""A run as the template of the page and its script need it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from results.objectives import directed, natural, score_name
from results.report.columns import parallel_axes, table_columns
from results.report.examined import Examined, examined
from results.report.figures import Drawn
from results.report.pictures import Picture, by_interest, failures, large, small_picture, trial_pictures
from results.report.reproduction import Reproduction, reproduction
from results.report.runs import ReportedRun
from results.report.sections import Section, important, sections
from results.report.verdict import verdict, warnings, winner
from results.report.wording import counted, short
from results.rows import MAY_BE_NULL
from results.table import ResultsTable
from results.trial_run import TrialRun

BEFORE = ("history", "objectives", "curves", "importance")  # sections before parallel coordinates; the others follow


@dataclass(frozen=True)
class Beside:
    """One of the pictures beside each other. missing: why there is no picture."""

    title: str
    caption: str
    picture: Picture | None
    missing: str = ""


@dataclass(frozen=True)
class Failure:
    """The picture of a typical failure."""

    trial: int
    kind: str
    reason: str
    picture: Picture | None


@dataclass
class Described:
    """What the page says of one run. data: what its script needs of it, for JSON. pictured: trials with their pictures,
    in the order in which they are wanted. trials: how many there are.
    """

    key: str
    index: int
    name: str
    subject: str
    place: str
    state: str
    verdict: list[str]
    reproduction: Reproduction
    examined: Examined | None
    not_examined: str
    data: dict[str, Any]
    table: bool = False
    warnings: list[str] = field(default_factory=list)
    winner: int | None = None
    endings: list[tuple[str, str, int]] = field(default_factory=list)
    beside: list[Beside] = field(default_factory=list)
    samples_lead: str = ""
    changes: list[tuple[str, str, str]] = field(default_factory=list)
    before: list[Section] = field(default_factory=list)
    after: list[Section] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    axes: bool = False
    pictured: list[tuple[int, Path]] = field(default_factory=list)
    trials: int = 0
    pictures_note: str = ""

    @property
    def figures(self) -> list[Drawn]:
        return [figure for section in (*self.before, *self.after) for figure in section.figures]

    @property
    def contents(self) -> list[tuple[str, str]]:
        """The sections, as key and title."""
        last = [("reproduce", "Reproduce"), ("examination", "Scores examined")]
        if not self.table:
            return last
        before = [(part.key, part.title) for part in self.before]
        after = [(part.key, part.title) for part in self.after]
        return [
            ("samples", "Samples"),
            *before,
            ("parallel", "Parallel coordinates"),
            *after,
            *last,
            ("table", "All trials"),
        ]

    @property
    def characters(self) -> int:
        """About how long its text and its large pictures are."""
        pictures = [each.picture for each in (*self.beside, *self.failures) if each.picture]
        return (
            sum(len(each.url) for each in pictures)
            + len(self.reproduction.spec)
            + len(self.reproduction.configuration)
            + 30_000
        )


def described(run: ReportedRun, name: str, index: int) -> Described:
    """Describes a run, one without rows too. Raises ResultsError where its files are damaged."""
    found = examined(run.folder)
    won = None if run.table is None else winner(run.table)
    number = None if won is None else int(won["trial"])
    made = Described(
        key=f"r{index}",
        index=index,
        name=name,
        subject=_subject(run),
        place=run.folder.shown,
        state=run.state,
        verdict=["No trial has reached its first rung yet, so there is nothing to judge."],
        reproduction=reproduction(run, number),
        examined=found,
        not_examined="This run keeps no examination: only scores of images are examined.",
        data={"index": index},
    )
    if run.table is not None:
        _describe(made, run, run.table, won)
    return made


def _describe(made: Described, run: ReportedRun, table: ResultsTable, won: Any) -> None:
    """Adds what rows say."""
    made.table, made.winner = True, None if won is None else int(won["trial"])
    made.verdict, made.warnings = verdict(table, going_on=bool(run.state)), warnings(table)
    typical = failures(table)
    counts: Any = table.trials["outcome"].value_counts()
    made.endings = [
        (f"{count:,} {str(name).replace('_', ' ')}", str(name), int(count)) for name, count in counts.items()
    ]
    made.beside, made.samples_lead = _beside(run, won)
    made.changes = [] if won is None else _changes(table, won)
    ranked = important(table)
    parts = sections(table, ranked, made.key)
    made.before = [part for part in parts if part.key in BEFORE]
    made.after = [part for part in parts if part.key not in BEFORE]
    made.failures = _failures(run, typical)
    columns = table_columns(table, ranked)
    axes = parallel_axes(table, columns, ranked)
    made.axes, made.trials = len(axes) > 1, len(table.trials)
    made.pictured = trial_pictures(run, by_interest(table, typical))
    made.data |= _data(table, columns, axes, made)


def _data(
    table: ResultsTable, columns: list[dict[str, Any]], axes: list[dict[str, Any]], made: Described
) -> dict[str, Any]:
    trials = table.trials["trial"].tolist()
    return {
        "columns": columns,
        "axes": axes if made.axes else [],
        "contenders": len(table.contenders),
        "winner": None if made.winner is None else trials.index(made.winner),
        "baseline": trials.index(0) if 0 in trials else None,
        "pictured": [trial for trial, _ in made.pictured],
    }


def _subject(run: ReportedRun) -> str:
    """In a line, what was searched."""
    if run.table is None:
        return ""
    table, space = run.table, run.table.spec.get("space")
    base = space.get("base") if isinstance(space, dict) else None
    about = space.get("about") if isinstance(space, dict) else None
    parts = [
        (base or {}).get("structure.dataset"),
        str(about).rstrip(".") if about else None,
        directed(table.objectives),
        counted(len(table.differing), "hyperparameter") + " searched",
    ]
    return " · ".join(str(part) for part in parts if part)


def _beside(run: ReportedRun, won: Any) -> tuple[list[Beside], str]:
    """The pictures of real samples, of the winner's and of trial 0's, and a line about them."""
    assert run.table is not None
    table, folder = run.table, run.folder
    shown: list[int] = list(dict.fromkeys([*([] if won is None else [int(won["trial"])]), 0]))
    paths = {number: folder.trial_samples(TrialRun(number, 0)) for number in shown}
    run.pictures([folder.real_samples, *paths.values()])
    real = large(folder.real_samples)
    lead = "Drawn in the same way: generated ones at the best rung of their trial, all from the same latents."
    if real is None:
        lead += " Of real samples, this run has kept no picture."
    found = [Beside("Real samples", "from the held-out split", real)] if real else []
    for number, path in paths.items():
        rows = table.trials[table.trials["trial"] == number]
        if rows.empty:
            continue
        title = f"Trial {number}, the winner" if won is not None and number == won["trial"] else "Trial 0, the defaults"
        found.append(
            Beside(title, _caption(table, rows.iloc[0]), large(path), "It never had a score, so nothing was drawn.")
        )
    return found, lead


def _caption(table: ResultsTable, row: Any) -> str:
    name = score_name(table.objective)
    if pd.isna(row["score"]):
        return str(row["outcome"]).replace("_", " ")
    return f"{name} {short(natural(table.objective, row['score']))} at {row['images_seen']:,} images"


def _changes(table: ResultsTable, won: Any) -> list[tuple[str, str, str]]:
    """The hyperparameters in which the winner differs from trial 0, with both values; none where that is unknown."""
    rows = table.trials[table.trials["trial"] == 0]
    if rows.empty or int(won["trial"]) == 0:
        return []
    base = rows.iloc[0]
    pairs = [(name, _value(name, won[name]), _value(name, base[name])) for name in table.differing]
    return [(name, now, before) for name, now, before in pairs if now != before]


def _value(name: str, value: Any) -> str:
    if pd.isna(value):
        return f"as {MAY_BE_NULL[name]}" if name in MAY_BE_NULL else "without effect"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.4g}"
    return f"{value:,.0f}" if isinstance(value, float) else str(value)


def _failures(run: ReportedRun, typical: Sequence[tuple[int, str]]) -> list[Failure]:
    assert run.table is not None
    pictures = dict(trial_pictures(run, [number for number, _ in typical]))
    rows = run.table.trials.set_index("trial")
    return [
        Failure(
            number,
            kind,
            str(rows["reason"][number]),
            small_picture(pictures[number]) if number in pictures else None,
        )
        for number, kind in typical
    ]
