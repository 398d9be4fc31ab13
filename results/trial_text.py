"""One trial in words and tables: its configuration against the default, its rungs, its signs, and how it ended."""

import shlex
import textwrap
from collections.abc import Mapping
from typing import Any

import pandas as pd

from gan_core.config.arguments import CHANGING_PREFIXES
from gan_core.config.health import SIGN_WORDS
from results.analysis.across_seeds import replicates
from results.objectives import natural, score_name
from results.printable import printable
from results.rows import DEAD, MAY_BE_NULL, Outcome, short
from results.screen import Column, column, laid_out, measured_cells
from results.text import seeds_text, spread_text
from results.trial_columns import REPORTED, by_influence, error_column
from results.trial_run import TrialRun
from results.trial_table import TrialTable, configuration_of

WIDTH = 100  # characters of a line where there is no terminal
HEALTH = "health."


def trial_text(table: TrialTable, number: int, width: int | None = None) -> str:
    """What is known of one trial of a run: how it ended and why, its place, what differs from the default and what does
    not, each rung with its scores, losses and health, its signs in words, its replicates, and where its samples are.

    width: of a line, in characters. Raises ResultsError if there is no such trial.
    """
    ended = table.trial(number)
    frame: Any = table.frame
    rows = frame[(frame["trial"] == number) & (frame["replicate"] == 0)].sort_values("rung")
    parts = [
        _ending(table, ended, rows),
        *_configuration(table, rows.iloc[-1], width or WIDTH),
        _rungs(table, rows, width),
        _signs(rows),
        _replicates(table, number, width),
        _files(table, number),
    ]
    return "\n\n".join(part for part in parts if part)


def _ending(table: TrialTable, ended: Any, rows: Any) -> str:
    """How the trial ended, what it reached, its place among the others, and what the defaults reach."""
    number, name = ended["trial"], score_name(table.objective)
    run = "" if table.folder is None else f" of {table.folder.shown}"
    end = "goes on" if ended["outcome"] == Outcome.RUNNING else str(ended["outcome"]).replace("_", " ")
    lines = [f"trial {number}{run}: {end} at {rows['images_seen'].iloc[-1]:,} images; {ended['reason']}"]
    seed = f"seed {ended['seed']}, " if "seed" in ended.index else ""
    lines.append(f"{seed}{ended['seconds']:.3g} s of device time")
    if pd.isna(ended["score"]):
        return "\n".join(map(printable, [*lines, "it has no score"]))
    reached = measured_cells([natural(table.objective, ended["score"])], [_error(table, ended)])[0]
    places = table.contenders["trial"].tolist()
    place = f"place {places.index(number) + 1} of {len(places)}" if number in places else "no place, because it died"
    best = f"{name} {reached} at its best rung, {ended['rung']} ({ended['images_seen']:,} images): {place}"
    base: Any = table.baseline()
    if base is not None and not table.is_baseline(ended) and base["outcome"] not in DEAD:
        best += f"; the defaults (trial 0) reach {natural(table.objective, base['score']):.4g}"
    breaks = table.breaks(ended)
    return "\n".join(map(printable, [*lines, best, *([f"it breaks a limit: {breaks}"] if breaks else [])]))


def _error(table: TrialTable, row: Any) -> float:
    column_of = error_column(row.index, score_name(table.objective))
    return float("nan") if column_of is None else row[column_of]


def _configuration(table: TrialTable, row: Any, width: int) -> list[str]:
    """What differs from the default, the most important first, with the default; and the rest in one paragraph."""
    own, defaults = configuration_of(row), _defaults(table)
    own.pop("seed", None)  # of each trial its own
    order = dict.fromkeys([*by_influence(table), *own])
    differing = [name for name in order if name in own and name in defaults and own[name] != defaults[name]]
    rest = ", ".join(f"{short(name)} {_value(name, value)}" for name, value in own.items() if name not in differing)
    lines = textwrap.wrap(printable(rest), width, break_long_words=False, break_on_hyphens=False)
    same = "\n".join(["as the default:" if defaults else "configuration:", *lines])
    if not differing:
        return ["nothing differs from the default", same] if defaults else [same]
    columns = [
        column("differs from the default", list(map(short, differing))),
        column("value", [_value(name, own[name]) for name in differing]),
        column("default", [_value(name, defaults[name]) for name in differing]),
    ]
    return [laid_out(columns, None)[0], same]


def _defaults(table: TrialTable) -> Mapping[str, Any]:
    """The configuration of trial 0: the base of the space, or what trial 0 began with where the spec has none."""
    space = table.spec.get("space")
    base = space.get("base") if isinstance(space, Mapping) else None
    if isinstance(base, Mapping):
        return base
    first = table.frame[(table.frame["trial"] == 0) & (table.frame["replicate"] == 0)]
    return {} if first.empty else configuration_of(first.iloc[0])


def _value(name: str, value: Any) -> str:
    if value is None:
        return f"as {short(MAY_BE_NULL[name])}" if name in MAY_BE_NULL else "null"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _rungs(table: TrialTable, rows: Any, width: int | None) -> str:
    """A line for each rung. Hyperparameters are shown that change on the way, as in a population."""
    scores = [name for name in map(score_name, table.objectives) if f"fidelity.{name}" in rows.columns]
    watched = [name for name in rows.columns if name.startswith(HEALTH) and rows[name].fillna(0).any()]
    moving = [
        name for name in rows.columns if name.startswith(CHANGING_PREFIXES) and rows[name].nunique(dropna=False) > 1
    ]
    columns = [column(name, rows[name]) for name in ("rung", "images_seen", "outcome")]
    columns += [column("parent", rows["parent"])] if rows["parent"].notna().any() else []
    for name in scores:
        error = error_column(rows.columns, name)
        values = rows[f"fidelity.{name}"]
        shown = column(name, values) if error is None else Column(printable(name), measured_cells(values, rows[error]))
        columns.append(shown)
    reported = [name for name in rows.columns if name.startswith(REPORTED)]
    for rank, name in enumerate((*reported, "d_loss", "g_loss", *moving, *watched), 1):
        columns.append(column(short(name), rows[name], rank))
    lines, hidden = laid_out(columns, width)
    return f"{lines}\n{hidden} more column{'s' * (hidden > 1)} in a wider terminal" if hidden else lines


def _signs(rows: Any) -> str:
    """Each sign with what it means, and the rungs at which it was seen."""
    seen: dict[str, list[str]] = {}
    for rung, signs in zip(rows["rung"], rows["signs"].fillna(""), strict=True):
        for sign in str(signs).split():
            seen.setdefault(sign, []).append(str(rung))
    lines = ["signs of trouble:" if seen else "no signs of trouble"]
    for sign, rungs in seen.items():
        at = f"rung{'s' * (len(rungs) > 1)} {', '.join(rungs)}"
        lines.append(printable(f"  {sign} ({at}): {SIGN_WORDS.get(sign, 'a sign of another version')}"))
    return "\n".join(lines)


def _replicates(table: TrialTable, number: int, width: int | None) -> str:
    """A line for each training from another seed, with its best score, and their median."""
    found: Any = replicates(table)
    rows = found[found["trial"] == number]
    if rows.empty:
        return ""
    columns = [column(name, rows[name]) for name in ("replicate", "outcome", "images_seen")]
    columns += [column(score_name(table.objective), rows["score"]), column("reason", rows["reason"], 1)]
    lines = ["from other seeds:", laid_out(columns, width)[0]]
    for finalist in table.confirmed.to_dict("records"):
        if finalist["trial"] == number:
            lines.append(f"median {spread_text(finalist)} over {seeds_text(finalist)}")
    return "\n".join(lines)


def _files(table: TrialTable, number: int) -> str:
    """Where its samples and its generator are, if they were kept, and the command that exports it."""
    folder = table.folder
    if folder is None:
        return ""
    run, trial = shlex.quote(folder.shown), TrialRun(number)
    lines = []
    if folder.trial_samples(trial).is_file():
        lines.append(f"samples: {folder.trial_samples(trial)}")
    if folder.best_generator(trial).is_file():
        lines.append(f"more samples: gan-sweep sample {run} --trial {number}")
    return "\n".join(map(printable, [*lines, f"export: gan-sweep export {run} --trial {number}"]))
