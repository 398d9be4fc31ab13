"""Saboteur: kills a sweep at a boundary between two of its steps; and Facts, what a finished sweep left behind."""

import math
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from curve_array import CurveArray, opened, optunas_study, run_cohorts, run_folder

import sweep.cohorts.best_rungs
import sweep.cohorts.checkpoints
from results.store import JsonLines, RunFolder
from sweep.cohorts.best_rungs import BestRungs
from sweep.cohorts.checkpoints import Checkpoints
from sweep.cohorts.contracts import Build
from sweep.ledger.recorder import Recorder
from sweep.ledger.study import LaneStudy
from sweep.proposals.journal import Journal
from sweep.spec.sweep_spec import SweepSpec


class Killed(BaseException):
    """As abrupt as a signal: no handler of `Exception` stops it."""


@dataclass
class Facts:
    """What a finished sweep left behind."""

    killed: str
    rows: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    told: dict[int, tuple]
    pictures: dict[str, bytes]
    paths: set[str]
    warned: list[str]


def facts(folder: RunFolder, spec: SweepSpec, killed: str = "", warned: list[str] | None = None) -> Facts:
    """Reads a finished run; proves on the way that nothing is left to do in it."""
    paths = {str(path.relative_to(folder.path)) for path in folder.path.rglob("*")}
    with opened(spec, folder) as study:
        trials = {t._trial_id: t for t in optunas_study(folder).get_trials()}
        mine = {number: trials[identity] for number, identity in study.identities.items()}
        assert study.open_cohort(99) is None
    return Facts(
        killed,
        [{**row, "elapsed_seconds": 0.0} for row in JsonLines(folder.rows).read()],
        JsonLines(folder.curves).read(),
        {n: (t.state, t.value, t.params, t.intermediate_values, t.constraints) for n, t in mine.items()},
        {path.name: path.read_bytes() for path in folder.samples.glob("*")},
        paths,
        warned or [],
    )


@dataclass
class Saboteur:
    """Raises Killed at the n-th of the boundaries that a sweep passes: before and after each call of BOUNDARIES."""

    kill_at: float = math.inf
    passed: list[str] = field(default_factory=list)

    def passes(self, where: str) -> None:
        self.passed.append(where)
        if len(self.passed) == self.kill_at:
            raise Killed(where)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        for owner, name in BOUNDARIES:
            patch.setattr(owner, name, self.wrapped(getattr(owner, name), name))

    def wrapped(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def watched(*arguments: Any, **named: Any) -> Any:
            self.passes(f"before {name}")
            answer = call(*arguments, **named)
            if name != "append_logs":  # the next boundary comes at once
                self.passes(f"after {name}")
            return answer

        return watched


BOUNDARIES = (
    (JsonLines, "append"),
    (Journal, "append_logs"),
    (LaneStudy, "open_cohort"),
    (LaneStudy, "judge"),
    (Recorder, "_tell"),
    (Checkpoints, "finish"),
    (BestRungs, "keep_best"),
    (CurveArray, "save"),
    (CurveArray, "save_lane"),
    (CurveArray, "save_generator"),
    (CurveArray, "keep"),
    (sweep.cohorts.checkpoints, "write_atomically"),
    (sweep.cohorts.best_rungs, "draw_samples"),
    (shutil, "rmtree"),
    (Path, "rename"),
)


def killed_and_resumed(
    spec: SweepSpec, path: Path, install: Callable[[pytest.MonkeyPatch], object], build: Build = CurveArray
) -> Facts:
    """Runs a sweep with something installed that kills it once, then goes on to the end without it."""
    folder, where = run_folder(spec, path), ""
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        try:
            run_cohorts(spec, folder, build)
        except Killed as killed:
            where = str(killed)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        run_cohorts(spec, folder, build)
    return facts(folder, spec, where, [str(warning.message) for warning in heard])
