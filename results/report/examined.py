"""How the scores of a run were examined, as its file has it: the scores of damaged real images, and what was missed."""

import json
from dataclasses import dataclass
from typing import Any

from results.report.wording import short
from results.store import RESTORE, ResultsError, RunFolder, read_whole

SHOWN = ("fidelity", "fid", "precision", "coverage", "memorisation")


@dataclass(frozen=True)
class Examined:
    """line: the verdict in a sentence. columns: names of scores. rows: what was done to real images, its scores, and
    what they should have shown and did not.
    """

    line: str
    columns: tuple[str, ...]
    rows: list[tuple[str, list[str], list[str]]]


def examined(folder: RunFolder) -> Examined | None:
    """The examination of a run; None for a run without one, as of numbers. Raises ResultsError for a changed file."""
    content = read_whole(folder.examination)
    if content is None:
        return None
    try:
        found = json.loads(content)
        rows = [_row(finding) for finding in found["findings"]]
        verdict, features = str(found["verdict"]), str(found["extractor"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ResultsError(f"{folder.examination} is no examination; {RESTORE}") from error
    columns = tuple(name for name in SHOWN if any(score == score for score in _scores(rows, name)))
    missed = sum(1 for row in rows if row[2])
    tells = f"The scores compare images in the features “{features}”"
    line = f"{tells}, and tell all {len(rows) - 1} damages from real images."
    if missed:
        line = f"{tells}, and do not see everything ({verdict}): {missed} of {len(rows)} checks were missed."
    texts = [(name, [short(scores[SHOWN.index(c)]) for c in columns], faults) for name, scores, faults in rows]
    return Examined(line, columns, texts)


def _scores(rows: list[tuple[str, list[float], list[str]]], name: str) -> list[float]:
    return [scores[SHOWN.index(name)] for _, scores, _ in rows]


def _row(finding: Any) -> tuple[str, list[float], list[str]]:
    scores = [float(finding["scores"].get(name, "nan")) for name in SHOWN]
    return str(finding["damage"] or "real images, fresh"), scores, [str(fault) for fault in finding["faults"]]
