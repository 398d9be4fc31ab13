"""The results of scoring real images that were damaged on purpose, which show whether the scores can be trusted.

They are plain values that `gan_core.fidelity.examine` makes. This module does not load torch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from gan_core.config.limits import Place
from gan_core.config.reports import place_of

PASSED = "passed"
FIRST: Place = (-math.inf, -math.inf)
COLUMNS = ("fidelity", "fid", "fid_error", "precision", "coverage", "memorisation")


@dataclass(frozen=True)
class Finding:
    """The scores of one set of images.

    damage: what was done to real images, "" for fresh ones; kind, dose: as in `gan_core.fidelity.damages.Damage`;
    scores: name -> value, at least those of COLUMNS; faults: sentences on what a score should have shown and did not.
    """

    damage: str
    kind: str
    dose: int
    scores: Mapping[str, float]
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Examination:
    """The findings for one extractor on one data set, beginning with fresh real images. extractor: its kind."""

    extractor: str
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """Everything that a score should have shown and did not."""
        return tuple(fault for finding in self.findings for fault in finding.faults)

    @property
    def verdict(self) -> str:
        """`passed`, or `failed: ` and the kinds of damage that were missed; the column `examination` of the table."""
        kinds = dict.fromkeys(finding.kind for finding in self.findings if finding.faults)
        return f"failed: {', '.join(kinds)}" if kinds else PASSED

    @property
    def line(self) -> str:
        """The verdict in one readable line."""
        faults = list(self.faults)
        if not faults:
            return f"features {self.extractor!r} tell all damages from real images"
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        return f"features {self.extractor!r} do not see everything: {faults[0]}{more}"

    def text(self) -> str:
        """A table with a line per finding, and below it what was missed."""
        width = max(len(finding.damage or "real images") for finding in self.findings)
        lines = [f"{'':{width}}" + "".join(f"{name:>14}" for name in COLUMNS)]
        for finding in self.findings:
            numbers = "".join(f"{_short(finding.scores.get(name, math.nan)):>14}" for name in COLUMNS)
            lines.append(
                f"{finding.damage or 'real images':{width}}{numbers}{'   <- missed' if finding.faults else ''}"
            )
        return "\n".join([*lines, self.line, *(f"  {fault}" for fault in self.faults[1:])])

    def plain(self) -> dict[str, Any]:
        """The examination as values for JSON; the inverse of `from_plain`."""
        return {"extractor": self.extractor, "verdict": self.verdict, "findings": [asdict(f) for f in self.findings]}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Examination":
        """Reads what `plain` returns. Raises KeyError, TypeError or ValueError for anything else."""
        findings = tuple(
            Finding(
                str(f["damage"]),
                str(f["kind"]),
                int(f["dose"]),
                {str(name): float(value) for name, value in f["scores"].items()},
                tuple(map(str, f["faults"])),
            )
            for f in values["findings"]
        )
        if not findings:
            raise ValueError("an examination has findings")
        return cls(str(values["extractor"]), findings)


def judged(findings: Sequence[Finding], distinct_images: int) -> tuple[Finding, ...]:
    """Adds to each finding its faults. The first finding is of fresh real images, distinct_images of them different.

    `fid` must rise for every damage, by more than the combined standard error of both scores, and more for a larger
    dose. For missing modes, a broken limit of class shares or coverage may tell instead, and the order of a sweep
    (`gan_core.config.limits`) must show a larger dose. Besides, `precision` must fall for noise alone, shuffled pixels
    and the largest dose of noise, `coverage` for the largest dose of missing modes and for one repeated image, and
    `memorisation` must rise for copies. Noise alone must rank behind any blur, which leaves the layout of the image.
    Fresh real images must break no limit.
    """
    real = findings[0]
    blurred = max((_place(f) for f in findings if f.kind == "blur"), default=FIRST)
    last: dict[str, int] = {}
    for finding in findings:
        last[finding.kind] = max(finding.dose, last.get(finding.kind, 0))
    before: dict[str, Finding] = {}
    found = [replace(real, faults=_faults_of_real(real))]
    for finding in findings[1:]:
        faults = _faults(finding, real, before.get(finding.kind), finding.dose == last[finding.kind], distinct_images)
        if finding.kind == "pure noise" and not _place(finding) > blurred:
            faults.append(f"{finding.damage} ranks before blurred images")
        if finding.dose or finding.kind not in before:
            before[finding.kind] = finding
        found.append(replace(finding, faults=tuple(faults)))
    return tuple(found)


def _faults_of_real(real: Finding) -> tuple[str, ...]:
    broken = real.scores["violation"] != 0
    return ("fresh real images break a limit of fidelity",) if broken else ()


def _place(finding: Finding) -> Place:
    return place_of(finding.scores, "fidelity")


def _faults(finding: Finding, real: Finding, before: Finding | None, most: bool, distinct_images: int) -> list[str]:
    """before: the finding of the next smaller dose, if any; most: whether this is the largest dose."""
    mine, theirs, name = finding.scores, real.scores, finding.damage
    if finding.kind == "copies":
        seen = mine["memorisation"] > 0.5 + mine["memorisation_error"]
        return [] if seen else [f"{name} go unnoticed by memorisation"]
    modes = finding.kind == "modes"
    limited = modes and mine["violation"] > theirs["violation"]
    faults, score = [], "fidelity" if modes else "fid"
    if not limited and not mine[score] - theirs[score] > math.hypot(mine["fid_error"], theirs["fid_error"]):
        faults.append(f"{name}: {score} does not see it")
    if finding.dose and before is not None:
        worse = _place(finding) > _place(before) if modes else mine[score] > before.scores[score]
        if not worse:
            faults.append(f"{name}: {score} is not worse than after {before.damage}")
    if finding.kind in ("pure noise", "shuffled pixels") or (finding.kind == "noise" and most):
        faults += _not_lower("precision", finding, real, distinct_images)
    if finding.kind == "repetition" or (finding.kind == "modes" and most):
        faults += _not_lower("coverage", finding, real, distinct_images)
    return faults


def _not_lower(score: str, finding: Finding, real: Finding, distinct_images: int) -> list[str]:
    """A fault, unless the share is lower than that of real images by more than the binomial standard error."""
    mine, theirs = finding.scores[score], real.scores[score]
    error = math.sqrt((mine * (1 - mine) + theirs * (1 - theirs)) / distinct_images)
    lower = theirs - mine > error
    return [] if lower else [f"{finding.damage}: {score} is {mine:.3g}, and {theirs:.3g} of real images"]


def _short(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}"
