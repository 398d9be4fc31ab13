"""Verifies that an exported configuration still reaches the scores that the sweep measured at its first rung."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from gan_core.config.gan import HALF_LIFE, GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.reports import LaneReport
from gan_core.config.schedule import Schedule
from gan_core.lanes.axis import lane_arithmetic
from gan_core.native.arithmetic import installed_versions
from gan_core.native.isa import VARIABLE, executable_isas
from gan_core.workshop.trainer_array import TrainerWorkshop
from results.export import ExportedConfiguration, hardware
from results.printable import printable
from results.rows import MADE_BY
from sweep.run import check_files
from sweep.winner.final_training import conditions_of, open_workshop

REPRODUCED, DIFFERS = 0, 1  # exit codes
TOLERANCE = 1e-6  # relative; above the effect of the order of sums in float32, below that of another seed
DECIDING_PACKAGES = ("gan-sweep", "torch", "numpy")
UNKNOWN = "device, isa, compiler, versions and protocol are the same: was the file edited?"
NAMES = {"code_version": "code", "features_digest": "classifier of the scores"}  # readable names of some columns


@dataclass(frozen=True)
class Comparison:
    """Recorded and new values by name; a new value is NaN if it is no longer measured."""

    recorded: Mapping[str, float]
    now: Mapping[str, float]

    def differences(self) -> dict[str, float]:
        """Name -> difference relative to the larger value: 0 if they are equal, infinite if one is not finite."""
        return {name: _relative(value, self.now[name]) for name, value in self.recorded.items()}

    @property
    def largest(self) -> float:
        return max(self.differences().values())

    @property
    def reproduced(self) -> bool:
        """Whether all values agree to within TOLERANCE."""
        return self.largest <= TOLERANCE

    def table(self) -> str:
        """A table with one line per value, to its last digit."""
        rows = [
            (printable(name), repr(value), repr(self.now[name]), f"{difference:.1e}" if difference else "0")
            for (name, value), difference in zip(self.recorded.items(), self.differences().values(), strict=True)
        ]
        return pd.DataFrame(rows, columns=["name", "recorded", "now", "difference"]).to_string(index=False)

    def verdict(self) -> str:
        """`reproduced exactly`, `reproduced to N digits`, or a sentence on what differs."""
        if self.largest == 0:
            return "reproduced exactly"
        if self.reproduced:
            return f"reproduced to {math.floor(-math.log10(self.largest))} digits"
        differences = self.differences()
        count = sum(difference > TOLERANCE for difference in differences.values())
        worst = max(differences, key=differences.__getitem__)
        return f"differs: {count} of {len(differences)} numbers, {worst} most ({differences[worst]:.1e} of it)"


def verify_first_rung(
    exported: ExportedConfiguration, data_root: str | Path | None, skip_corrupt_images: bool, download: bool
) -> int:
    """Trains to the first rung as the sweep did, prints both results, and returns the exit code: 0 if they agree.

    A schedule is trained with the parameters that it has up to the first rung. If the sweep ran on a CPU, so does this.
    Raises InputError if the file has no first rung or the data differ from those of the sweep.
    """
    recorded = {name: value for name, value in exported.first_rung.items() if name not in ("images_seen", HALF_LIFE)}
    if not recorded:
        raise InputError("the file has no numbers under first_rung; write it with `gan-sweep export` of this version")
    average = {HALF_LIFE: exported.first_rung[HALF_LIFE]} if HALF_LIFE in exported.first_rung else {}
    configuration = GanConfig.unflatten({**exported.configuration, **average})
    config = Schedule.read(configuration, exported.schedule).at(0)
    conditions = conditions_of(config, exported, data_root, skip_corrupt_images)
    check_files(config.structure, conditions, download)
    images = exported.first_rung["images_seen"]
    on_cpu = str(exported.source.get("device", "")).startswith("cpu")
    conditions = replace(conditions, budget_images=exported.sweep_images)
    device = "cpu" if on_cpu else "auto"
    trainers = TrainerWorkshop(conditions, device) if conditions.trainer else None
    workshop = trainers or open_workshop(exported, conditions, device)
    print(f"training to {images:,} images")
    with lane_arithmetic():  # as for trials
        report = workshop.build([config]).train_to(images)[0]
    measured = {**report.fidelity.values, **report.report, "d_loss": report.d_loss, "g_loss": report.g_loss}
    compared = Comparison(recorded, {name: measured.get(name, math.nan) for name in recorded})
    print(f"{compared.table()}\n{compared.verdict()}")
    if compared.largest > 0:
        reasons = likely_reasons(exported, report)
        for reason in reasons if compared.reproduced else reasons or [UNKNOWN]:
            print(f"  {printable(reason)}")
    return REPRODUCED if compared.reproduced else DIFFERS


def likely_reasons(exported: ExportedConfiguration, report: LaneReport) -> list[str]:
    """Reasons why values may differ from those of a file, one line each; empty if none is known."""
    there = _then(exported)
    here = {**asdict(report.arithmetic), **installed_versions(), "device": hardware(report.device)}
    fidelity = report.fidelity
    here |= {name: getattr(fidelity, name) for name in ("protocol", "features_digest", "examination")}
    reasons = [] if report.death is None else [f"training {report.death.outcome}: {report.death.reason}"]
    reasons += [
        f"{NAMES.get(name, name)}: {then or 'none'} then, {here.get(name) or 'none'} now"
        for name, then in there.items()
        if then is not None and then != here.get(name, "")
    ]
    then, now = there.get("isa"), report.arithmetic.isa
    if now not in ("", then) and then in [isa.name for isa in executable_isas()]:
        reasons.append(f"this processor has {then} too: {VARIABLE}={then} gan-sweep verify ... computes in it")
    if not there.get("execution"):
        reasons.append("an earlier version wrote the file, which does not say isa, compiler and execution")
    return reasons


def _then(exported: ExportedConfiguration) -> dict[str, Any]:
    """What the first rung in a file was computed with, by name; None for what the file does not record."""
    source = {**exported.source, **exported.source.get("at_first_rung", {})}
    versions = {**exported.versions, **source.get("versions", {})}
    there = {name: versions.get(name) for name in DECIDING_PACKAGES}
    there |= {"code_version": source.get("code_version"), "protocol": exported.score.get("protocol")}
    there["device"] = hardware(str(source.get("device") or "")) or None
    if source.get("execution"):
        there |= {name: source.get(name) for name in MADE_BY if name not in (*there, "versions")}
    return there


def _relative(recorded: float, now: float) -> float:
    if recorded == now:
        return 0.0
    if not (math.isfinite(recorded) and math.isfinite(now)):
        return math.inf
    return abs(now - recorded) / max(abs(now), abs(recorded))
