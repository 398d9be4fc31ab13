"""CurveArray: lanes whose scores are a formula of configuration and images. A sweep over it takes milliseconds."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import DamagedFile
from gan_core.config.reports import Death, FidelityReport, LaneReport, Midway
from gan_core.config.structure import StructureConfig
from results.store import JsonLines, RunFolder
from results.trial_run import TrialRun
from sweep.cohorts.best_rungs import BestRungs
from sweep.cohorts.cohort import CohortRun
from sweep.cohorts.contracts import Build
from sweep.ledger.cohort_record import Cohort
from sweep.ledger.study import LaneStudy
from sweep.proposals.proposals import STUDY_NAME
from sweep.spec.sweep_spec import SweepSpec

CURVE_SPACE: Mapping[str, Any] = {
    "name": "curve",
    "base": {"structure.generator_width": 16, "structure.discriminator_width": 16, "lane.beta1": 0.5},
    "ranges": {
        "structure.generator_width": {"choices": [16, 32]},
        "lane.generator_lr": {"low": 1e-5, "high": 1e-2, "log": True},
        "lane.discriminator_lr": {"low": 1e-5, "high": 1e-2, "log": True},
        "lane.beta1": {"low": 0.0, "high": 0.9},
    },
}


class CurveArray:
    """A `TrainableArray` without training. A lane whose generator_lr lies above `cliff_lr` diverges, one
    whose beta1 lies above `cliff_beta1` collapses, both at the first batch at or after `cliff_images`, in the middle of
    a rung or not; every third seed scores worse the longer it trains, as an unstable GAN does, and shows a sign of it.
    """

    choices = 0

    def __init__(
        self,
        configs: Sequence[GanConfig],
        averages_images: Sequence[float] = (),
        *,
        cliff_lr: float = math.inf,
        cliff_beta1: float = math.inf,
        cliff_images: int = 0,
    ) -> None:
        assert len({config.structure for config in configs}) == 1, "a cohort mixed structures in one array"
        self.configs, self.built_lanes = list(configs), len(configs)
        self.cliff_lr, self.cliff_beta1, self.cliff_images = cliff_lr, cliff_beta1, cliff_images
        self.images = 0
        self.read_at = 0

    def train_to(self, images: int, on_step: Callable[[int], None] | None = None) -> list[LaneReport]:
        batch = self.configs[0].structure.batch_size
        while self.images < images:
            self.images += batch
            if on_step is not None:
                on_step(self.images)
        return self.score()

    def score(self) -> list[LaneReport]:
        reports = [self._report(config) for config in self.configs]
        self.read_at = self.images
        return reports

    def keep(self, lanes: Sequence[int]) -> None:
        self.configs = [self.configs[lane] for lane in lanes]

    def picture(self, lane: int, count: int) -> np.ndarray:
        return np.full((count, 1, 4, 4), curve_level(self.configs[lane].seed, self.images), np.float32)

    def take_over(self, sources: Sequence[int], configs: Sequence[GanConfig]) -> None:
        assert [config.seed for config in configs] == [self.configs[source].seed for source in sources]
        self.configs = list(configs)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps([self.images, self.read_at, [config.seed for config in self.configs]]))

    def save_midway(self, path: Path) -> Midway:
        self.save(path)
        return Midway(0.25)

    def load_midway(self, path: Path, midway: Midway) -> None:
        assert midway == Midway(0.25)
        self.load_lanes([(path, lane) for lane in range(len(self.configs))])

    def save_lane(self, lane: int, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([self.images, self.read_at, [self.configs[lane].seed]]))

    def save_generator(self, lane: int, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([self.images, self.configs[lane].seed]))

    def load_lanes(self, places: Sequence[tuple[Path, int]]) -> None:
        try:
            found = [json.loads(path.read_text()) for path, _ in places]
        except (OSError, ValueError) as error:
            raise DamagedFile(f"cannot read one of {[str(path) for path, _ in places]}: {error}") from error
        assert len({(images, read_at) for images, read_at, _ in found}) == 1, "lanes of different images"
        self.images, self.read_at, _ = found[0]
        seeds = [seeds[lane] for (_, _, seeds), (_, lane) in zip(found, places, strict=True)]
        assert seeds == [config.seed for config in self.configs], "the checkpoint is of other lanes"

    def _report(self, config: GanConfig) -> LaneReport:
        batch = config.structure.batch_size
        dies_at = max(batch, math.ceil(self.cliff_images / batch) * batch)
        death = curve_death(config, self.cliff_lr, self.cliff_beta1) if dies_at <= self.images else None
        images = self.images if death is None else dies_at
        d_loss = math.nan if death else 1.0 + (self.read_at + self.images) / 1e5
        score = curve_score(config, images)
        values = {"fidelity": math.nan} if death else {"fidelity": score, "fid": score + 1, "class_kl": score / 10}
        health = {"d_gradient": math.nan if death else score, "sample_deviation": 0.5}
        signs = ("oscillation", "low_coverage") if config.seed % 3 == 0 and death is None else ()
        fidelity = FidelityReport(values, "curve", "formula")
        middle = (self.read_at + images) // 2
        curve = [
            {"images_seen": n, "d_loss": n + curve_level(config.seed, n), "g_loss": math.nan} for n in (middle, images)
        ]
        return LaneReport(images, d_loss, d_loss / 2, fidelity, health, signs, death, 0.25, "cpu", curve=curve)


def curve_death(config: GanConfig, cliff_lr: float, cliff_beta1: float) -> Death | None:
    """Why a lane dies once it has come to the cliff."""
    if config.lane.generator_lr > cliff_lr:
        return Death("diverged", "discriminator loss is nan")
    return Death("collapsed", "G ignores its latent") if config.lane.beta1 > cliff_beta1 else None


def curve_level(seed: int, images: int) -> float:
    """The grey of a lane's samples, in [-1, 1]: another one after other images."""
    return (seed + images) % 97 / 48 - 1


def curve_score(config: GanConfig, images: int) -> float:
    """Best at both rates 1e-3 and beta1 0.5; falls as 100/images, but for every third seed, where it rises."""
    rates = math.log10(config.lane.generator_lr) + 3, math.log10(config.lane.discriminator_lr) + 3
    luck = (config.seed % 101) / 1e4
    trend = images / 1e4 if config.seed % 3 == 0 else 100 / images
    return rates[0] ** 2 + rates[1] ** 2 + (config.lane.beta1 - 0.5) ** 2 + trend + luck


def curve_spec(**values: Any) -> SweepSpec:
    """A sweep over CURVE_SPACE: 5 trials in cohorts of 3, rungs at 100 and 300 images, unless `values` say else."""
    ladder = {"rungs_images": [100, 300], "keep_fraction": 0.5}
    return SweepSpec.from_mapping(
        {"name": "curve", "space": CURVE_SPACE, "trials": 5, "lanes_per_cohort": 3, "ladder": ladder, **values}
    )


def run_folder(spec: SweepSpec, path: Path) -> RunFolder:
    """A run's folder with its spec in it."""
    folder = RunFolder(path).create()
    folder.spec.write_text(spec.to_yaml())
    return folder


@contextmanager
def opened(spec: SweepSpec, folder: RunFolder) -> Iterator[LaneStudy]:
    """The study of a run, closed at the end."""
    study = LaneStudy(spec, folder)
    try:
        yield study
    finally:
        study.close()


def climbing(
    cohort: Cohort,
    study: LaneStudy,
    build: Build = CurveArray,
    limits: dict[StructureConfig, int] | None = None,
    **named: Any,
) -> CohortRun:
    """A cohort in training, as a runner has it."""
    ladder, best = study.spec.ladder, BestRungs(study.objective)
    named = {"checkpoint_seconds": 60 * study.spec.checkpoint_minutes, **named}
    return CohortRun(cohort, ladder, best, build, study, study.folder, limits, **named)


def runs(*trials: int) -> list[TrialRun]:
    """These trials in the search."""
    return [TrialRun(trial) for trial in trials]


def optunas_study(folder: RunFolder, name: str = STUDY_NAME) -> optuna.Study:
    """The study of a run, as any program that uses Optuna reads it from the journal."""
    return optuna.load_study(study_name=name, storage=JournalStorage(JournalFileBackend(str(folder.journal))))


def run_cohorts(spec: SweepSpec, folder: RunFolder, build: Build = CurveArray) -> None:
    """One cohort after another in this process, as `sweep.runners.local.runner` does, without torch."""
    with opened(spec, folder) as study:
        while (cohort := study.open_cohort(spec.cohort_size(1))) is not None:
            run = climbing(cohort, study, build)
            while not run.done:
                run.advance()


def swept(spec: SweepSpec, path: Path, build: Build = CurveArray) -> RunFolder:
    """The folder of a whole sweep."""
    folder = run_folder(spec, path)
    run_cohorts(spec, folder, build)
    return folder


def curve_rows(spec: SweepSpec, path: Path, build: Build = CurveArray) -> list[dict[str, Any]]:
    """The rows of a whole sweep in a new folder."""
    return rows_of(swept(spec, path, build))


def rows_of(folder: RunFolder) -> list[dict[str, Any]]:
    """The rows of a run, as its file has them."""
    return JsonLines(folder.rows).read()


def last_rows(rows: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Trial -> its last row."""
    return {row["trial"]: row for row in rows}
