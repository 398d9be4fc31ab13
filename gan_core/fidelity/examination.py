"""What became of real images that were damaged on purpose, once they were scored: whether a score can be trusted.

Plain values; `gan_core.fidelity.examine` makes them. No torch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

PASSED = "passed"
COLUMNS = ("fidelity", "fid", "fid_error", "precision", "coverage", "memorisation")


@dataclass(frozen=True)
class Finding:
    """How one set of images scored. damage: what was done to real ones ("" to fresh real ones); kind and dose: as
    `gan_core.fidelity.damages.Damage` has them; scores: name -> number, those of COLUMNS; faults: what a score should
    have shown and did not, in words.
    """

    damage: str
    kind: str
    dose: int
    scores: Mapping[str, float]
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Examination:
    """The findings of one extractor on one data set, fresh real images first. extractor: its kind."""

    extractor: str
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """Everything that a score should have shown and did not."""
        return tuple(fault for finding in self.findings for fault in finding.faults)

    @property
    def verdict(self) -> str:
        """`passed`, or `failed: ` and the kinds of damage that went unseen: a row's column `examination`."""
        kinds = dict.fromkeys(finding.kind for finding in self.findings if finding.faults)
        return f"failed: {', '.join(kinds)}" if kinds else PASSED

    @property
    def line(self) -> str:
        """The verdict for a person, in one line."""
        faults = list(self.faults)
        if not faults:
            return f"features {self.extractor!r} tell all damages from real images"
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        return f"features {self.extractor!r} do not see everything: {faults[0]}{more}"

    def text(self) -> str:
        """The table, a line a finding, and what was missed."""
        width = max(len(finding.damage or "real images") for finding in self.findings)
        lines = [f"{'':{width}}" + "".join(f"{name:>14}" for name in COLUMNS)]
        for finding in self.findings:
            numbers = "".join(f"{_short(finding.scores.get(name, math.nan)):>14}" for name in COLUMNS)
            lines.append(
                f"{finding.damage or 'real images':{width}}{numbers}{'   <- missed' if finding.faults else ''}"
            )
        return "\n".join([*lines, self.line, *(f"  {fault}" for fault in self.faults[1:])])

    def plain(self) -> dict[str, Any]:
        """As JSON has it; the inverse of `from_plain`."""
        return {"extractor": self.extractor, "verdict": self.verdict, "findings": [asdict(f) for f in self.findings]}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Examination":
        """Raises KeyError, TypeError or ValueError where the values are no examination."""
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
    """The findings with their faults; the first is of fresh real images, of which so many differ.

    Whatever is wrong with images, `fid` must say so, or `fidelity` where modes are missing, which its limit of class
    shares may tell: by more than the two standard errors together, and by more for a greater dose. Beside it
    `precision` falls under noise alone, shuffled pixels and the most noise, `coverage` where most modes are missing or
    one image is repeated, `memorisation` rises with copies, and noise alone has a worse `fidelity` than any blur, which
    leaves blobs where things are. Real images break no limit of `fidelity`.
    """
    real = findings[0]
    blobs = max((f.scores["fidelity"] for f in findings if f.kind == "blur"), default=-math.inf)
    last: dict[str, int] = {}
    for finding in findings:
        last[finding.kind] = max(finding.dose, last.get(finding.kind, 0))
    before: dict[str, Finding] = {}
    found = [replace(real, faults=_faults_of_real(real))]
    for finding in findings[1:]:
        faults = _faults(finding, real, before.get(finding.kind), finding.dose == last[finding.kind], distinct_images)
        if finding.kind == "pure noise" and not finding.scores["fidelity"] > blobs:
            faults.append(f"{finding.damage} has a better fidelity than blurred images")
        if finding.dose or finding.kind not in before:
            before[finding.kind] = finding
        found.append(replace(finding, faults=tuple(faults)))
    return tuple(found)


def _faults_of_real(real: Finding) -> tuple[str, ...]:
    broken = real.scores["violation"] != 0
    return ("fresh real images break a limit of fidelity",) if broken else ()


def _faults(finding: Finding, real: Finding, before: Finding | None, most: bool, distinct_images: int) -> list[str]:
    """before: a smaller dose; most: whether there is no greater one."""
    mine, theirs, name = finding.scores, real.scores, finding.damage
    if finding.kind == "copies":
        seen = mine["memorisation"] > 0.5 + mine["memorisation_error"]
        return [] if seen else [f"{name} go unnoticed by memorisation"]
    faults, score = [], "fidelity" if finding.kind == "modes" else "fid"
    if not mine[score] - theirs[score] > math.hypot(mine["fid_error"], theirs["fid_error"]):
        faults.append(f"{name}: {score} does not see it")
    if finding.dose and before is not None and not mine[score] > before.scores[score]:
        faults.append(f"{name}: {score} is not worse than after {before.damage}")
    if finding.kind in ("pure noise", "shuffled pixels") or (finding.kind == "noise" and most):
        faults += _not_lower("precision", finding, real, distinct_images)
    if finding.kind == "repetition" or (finding.kind == "modes" and most):
        faults += _not_lower("coverage", finding, real, distinct_images)
    return faults


def _not_lower(score: str, finding: Finding, real: Finding, distinct_images: int) -> list[str]:
    """A fault unless a share is lower by more than its binomial standard error."""
    mine, theirs = finding.scores[score], real.scores[score]
    error = math.sqrt((mine * (1 - mine) + theirs * (1 - theirs)) / distinct_images)
    lower = theirs - mine > error
    return [] if lower else [f"{finding.damage}: {score} is {mine:.3g}, and {theirs:.3g} of real images"]


def _short(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}"
