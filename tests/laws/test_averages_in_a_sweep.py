"""A sweep whose trials keep several averages: what the table, the finalists, the exports and `verify` say of them."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from curve_array import CURVE_SPACE, CurveArray, curve_spec, opened, run_cohorts, run_folder, swept
from tiny_runs import TINY

from gan_core.config.gan import GanConfig
from gan_core.workshop.one_model import read_metrics
from results.export import ExportedConfiguration, export_trial
from results.store import JsonLines, RunFolder
from results.table import ResultsTable
from sweep.ledger.cohort_record import Cohort
from sweep.spec.sweep_spec import SweepSpec

pytestmark = pytest.mark.usefixtures("unsynced")
HALF_LIFE = "lane.ema_half_life_images"
EVERY = {**CURVE_SPACE, "ranges": {**CURVE_SPACE["ranges"], HALF_LIFE: {"every": [0, 50, 400]}}}
RUNGS = [100, 300]


def spec_of(**values: Any) -> SweepSpec:
    ladder = {"rungs_images": RUNGS, "keep_fraction": 0.5}
    return curve_spec(space=EVERY, trials=8, lanes_per_cohort=4, ladder=ladder, keep_checkpoints=9, **values)


class Averaged(CurveArray):
    """Where lanes keep several averages: at the first rung the second is best, later the third, but for lanes of an
    even seed, which have none then. Notes what was built.
    """

    built: list[tuple[tuple[GanConfig, ...], tuple[float, ...]]] = []

    def __init__(self, configs, averages_images=(), **named):
        super().__init__(configs, averages_images, **named)
        self.averages = tuple(averages_images)
        self.built.append((tuple(configs), self.averages))

    def _report(self, config):
        found = super()._report(config)
        if not self.averages:
            return found
        which = 1 if self.images <= 128 else 0 if config.seed % 2 == 0 else 2
        return replace(found, ema_half_life_images=self.averages[which])


@pytest.fixture
def averaged() -> type[Averaged]:
    class Fresh(Averaged):
        built = []

    return Fresh


def test_a_row_names_the_average_that_it_was_scored_with_and_nothing_draws_one(tmp_path, averaged):
    folder = swept(spec_of(), tmp_path, averaged)
    rows = JsonLines(folder.rows).read()
    by_rung = [{row[HALF_LIFE] for row in rows if row["rung"] == rung} for rung in (0, 1)]
    assert by_rung == [{50.0}, {0.0, 400.0}]
    assert all(averages == (0.0, 50.0, 400.0) for _, averages in averaged.built)
    assert {config.lane.ema_half_life_images for configs, _ in averaged.built for config in configs} == {0.0}
    assert not any(HALF_LIFE in line for line in folder.journal.read_text().splitlines())
    table = ResultsTable.load(folder.path)
    for trial in table.trials.to_dict("records"):
        assert trial[HALF_LIFE] == 50.0 if trial["rung"] == 0 else trial[HALF_LIFE] in (0.0, 400.0)


def test_a_cohort_remembers_its_averages_and_older_ones_had_none(tmp_path, averaged):
    with opened(spec_of(), run_folder(spec_of(), tmp_path)) as study:
        cohort = study.open_cohort(4)
    assert cohort is not None
    assert cohort.averages_images == (0.0, 50.0, 400.0)
    assert Cohort.from_plain(cohort.plain()) == cohort
    older = {name: value for name, value in cohort.plain().items() if name != "averages_images"}
    assert Cohort.from_plain(older) == replace(cohort, averages_images=())


def test_finalists_run_again_with_the_one_average_that_they_scored_best_with(tmp_path, averaged):
    """Choosing among several is luck too."""
    folder = swept(spec_of(confirm={"top": 3, "seeds": 2}), tmp_path, averaged)
    table = ResultsTable.load(folder.path)
    chosen = {trial: table.trial(trial)[HALF_LIFE] for trial in table.confirmed["trial"].tolist()}
    assert len(chosen) == 3
    confirming = table.frame[table.frame["replicate"] > 0]
    assert [chosen[trial] for trial in confirming["trial"].tolist()] == confirming[HALF_LIFE].tolist()
    again = [(configs, averages) for configs, averages in averaged.built if not averages]
    found = {config.lane.ema_half_life_images for configs, _ in again for config in configs}
    assert found == set(chosen.values())
    assert found - {0.0}


def test_survivors_and_replicates_go_on_with_the_averages_that_they_had(tmp_path, averaged):
    confirm = {"top": 2, "seeds": 2}
    folder = swept(spec_of(confirm=confirm), tmp_path, averaged)
    averaged.built.clear()
    longer = spec_of(confirm=confirm)
    longer = replace(longer, ladder=replace(longer.ladder, rungs_images=(*RUNGS, 900)))
    folder.spec.write_text(longer.to_yaml())
    run_cohorts(longer, folder, averaged)
    cohorts = [Cohort.from_plain(record) for record in JsonLines(folder.cohorts).read()]
    continued = [cohort for cohort in cohorts if cohort.from_rung == 2]
    kinds = [{run.replicate == 0 for run in cohort.runs} for cohort in continued]
    assert {True} in kinds
    assert {False} in kinds
    assert [{bool(cohort.averages_images)} for cohort in continued] == kinds


def test_the_progress_view_shows_the_average_of_the_best_rung(tmp_path, averaged):
    spec = spec_of()
    folder = swept(spec, tmp_path, averaged)
    with opened(spec, folder) as study:
        snapshot = study.snapshot()
    best: Any = ResultsTable.load(folder.path).best()
    assert snapshot.best_config[HALF_LIFE] == best[HALF_LIFE]
    assert HALF_LIFE in spec.space.searched


def test_an_export_says_which_average_its_first_rung_was_scored_with_where_that_is_another(tmp_path, averaged):
    folder = swept(spec_of(), tmp_path, averaged)
    for trial in ResultsTable.load(folder.path).trials.to_dict("records"):
        (tmp_path / "best.yaml").write_text(export_trial(folder.path, trial["trial"]))
        exported = ExportedConfiguration.read(tmp_path / "best.yaml")
        assert exported.configuration[HALF_LIFE] == trial[HALF_LIFE]
        assert exported.schedule == ()
        assert exported.first_rung.get(HALF_LIFE) == (None if trial["rung"] == 0 else 50.0)


def test_a_population_draws_one_average_a_member(tmp_path, averaged):
    spec = spec_of(population={})
    assert spec.space.averages_images == ()
    assert spec.space.ranges[HALF_LIFE].choices == (0.0, 50.0, 400.0)
    assert SweepSpec.from_mapping(spec.plain()) == spec
    folder = swept(spec, tmp_path, averaged)
    assert {averages for _, averages in averaged.built} == {()}
    assert len({row[HALF_LIFE] for row in JsonLines(folder.rows).read()}) > 1


def test_a_real_sweep_reads_the_average_off_and_its_export_trains_to_the_same(gan_sweep, tmp_path):
    """Three averages of 256 and 512 images, of which the last two are one at the first rung."""
    tiny = [part for part in TINY if HALF_LIFE not in part]
    space = {"extends": "digits", "ranges": {HALF_LIFE: {"every": [0, 26, 500]}}}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump({"space": space}))
    arguments = [word for part in tiny for word in ("--set", part)]
    assert gan_sweep("run", tmp_path / "spec.yaml", "--local", "--out", tmp_path / "run", *arguments).code == 0
    rows = [row for row in JsonLines(RunFolder(tmp_path / "run").rows).read() if row["score"] is not None]
    assert {row[HALF_LIFE] for row in rows if row["rung"] == 0} <= {0.0, 26.0}
    assert {row[HALF_LIFE] for row in rows} - {0.0}
    finished = [row["trial"] for row in rows if row["rung"] == 1]
    for trial in finished:
        assert gan_sweep("export", tmp_path / "run", "--trial", str(trial), "-o", f"{trial}.yaml").code == 0
        assert gan_sweep("verify", f"{trial}.yaml").out.splitlines()[-1] == "reproduced exactly"
        assert gan_sweep("train", f"{trial}.yaml", "-o", f"model-{trial}", "--images", "512").code == 0
        values = yaml.safe_load(Path(f"{trial}.yaml").read_text())
        trained = [row["fidelity.fid"] for row in read_metrics(Path(f"model-{trial}/metrics.csv"))]
        assert trained[-1 if values["source"]["rung"] else 0] == values["score"]["fid"]
        assert not math.isnan(trained[0])
