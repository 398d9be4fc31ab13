"""An exported configuration: a file that can be read, edited and trained."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from curve_array import CurveArray, curve_spec, run_cohorts, run_folder
from table_rows import replicates, row, stored

from gan_core.config.conditions import Conditions, ScoringConfig
from gan_core.config.gan import GanConfig
from gan_core.config.health import HealthConfig
from gan_core.config.input_error import InputError
from gan_core.config.structure import StructureConfig
from gan_core.lanes.precision import host_pairs, host_rounds
from results.export import FINAL_TRAINING_FACTOR, ExportedConfiguration, export_trial, write_export
from results.rows import Outcome
from results.store import ResultsError, RunFolder
from results.table import ResultsTable
from results.trial_table import configuration_of
from sweep.winner.final_training import conditions_of, train_final
from sweep.winner.sampling import of_model, write_numbers

CLIFF_LR = 3e-3


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> RunFolder:
    spec = curve_spec(trials=8, lanes_per_cohort=4)
    folder = run_folder(spec, tmp_path_factory.mktemp("export") / "run")
    run_cohorts(spec, folder, lambda configs, _=(): CurveArray(configs, cliff_lr=CLIFF_LR))
    return folder


@pytest.fixture(scope="module")
def table(folder) -> ResultsTable:
    return ResultsTable.load(folder.path, whole=True)


def read(text: str, path: Path) -> ExportedConfiguration:
    write_export(text, path)
    return ExportedConfiguration.read(path)


def test_without_a_number_the_best_trial_is_exported(folder, table):
    values = yaml.safe_load(export_trial(folder.path))
    assert values["source"]["trial"] == table.best()["trial"]


def test_an_export_holds_the_trials_own_configuration_and_numbers_to_the_last_bit(folder, table, tmp_path):
    scored = table.trials[table.trials["score"].notna()]
    assert len(scored) >= 3
    for found in (table.trial(trial) for trial in scored["trial"]):
        exported = read(export_trial(folder.path, found["trial"]), tmp_path / "best.yaml")
        config = GanConfig.unflatten(exported.configuration)
        assert configuration_of(found) == config.flatten()
        assert (exported.score["fidelity"], exported.score["d_loss"]) == (found["score"], found["d_loss"])
        assert exported.score["fid"] == found["fidelity.fid"]
        assert exported.score["images_seen"] == found["images_seen"]
        assert (exported.score["protocol"], exported.data_digest) == ("curve", "formula")


def test_a_trial_without_a_score_cannot_be_exported_and_the_reason_is_said(folder, table):
    dead = table.trials[table.trials["score"].isna()]["trial"].tolist()
    assert dead
    with pytest.raises(ResultsError, match=rf"trial {dead[0]} has no score to export \(diverged: discriminator loss"):
        export_trial(folder.path, dead[0])


def test_the_final_budget_follows_the_ladder_and_is_scored_at_its_rungs(folder, tmp_path):
    exported = read(export_trial(folder.path), tmp_path / "best.yaml")
    assert exported.evaluate_at_images == (100, 300)
    assert exported.images == FINAL_TRAINING_FACTOR * 300


def test_an_export_carries_how_the_sweep_scored_and_watched(tmp_path):
    scoring, health = {"samples": 77, "features": "pca"}, {"won_loss": 0.125}
    spec = curve_spec(trials=3, objective="class_kl", scoring=scoring, health=health, precision="tf32")
    folder = run_folder(spec, tmp_path / "run")
    run_cohorts(spec, folder)
    exported = read(export_trial(folder.path), tmp_path / "best.yaml")
    assert exported.objective == "class_kl"
    assert exported.scoring == {**asdict(ScoringConfig()), **scoring}
    assert exported.health == {**asdict(HealthConfig()), **health}
    assert exported.precision == "tf32"
    best: Any = ResultsTable.load(folder.path).best()
    assert exported.score["class_kl"] == best["score"] == best["fidelity.class_kl"]


def test_a_person_reads_where_an_export_came_from(folder, table):
    text = export_trial(folder.path)
    values, best = yaml.safe_load(text), table.best()
    assert text.startswith(f"# Trial {best['trial']} of sweep 'curve': fidelity {best['score']:.4g} at ")
    assert values["source"]["run"] == "curve"
    assert values["source"]["code_version"] == best["code_version"]
    assert values["data"] == {"name": "digits", "digest": "formula", "skip_corrupt_images": False}


def test_a_trial_that_there_is_not_cannot_be_exported(folder):
    with pytest.raises(ResultsError, match="no trial 99"):
        export_trial(folder.path, 99)


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match="cannot write"):
        write_export("text", tmp_path / "file" / "best.yaml")


def exported_run(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The folder of a run with these records, which have complete configurations, on a ladder of 100 and 200 images."""
    whole = GanConfig().flatten()
    run = stored(path, [{**whole, **record} for record in rows])
    (run / "spec.yaml").write_text("name: x\nseed: 4\nladder: {rungs_images: [100, 200]}\nexecution: eager\n")
    return run


SEARCH = [
    row(3, 0, 4.0),
    row(7, 0, 6.0),
    row(3, 1, 2.0, Outcome.COMPLETED),
    row(7, 1, 3.0, Outcome.COMPLETED),
]


def test_the_winner_among_confirmed_finalists_is_exported_with_the_seed_it_was_found_with(tmp_path):
    replicated = [*replicates(3, 9.0, 8.0, 7.0), *replicates(7, 5.0, 3.5, math.inf)]
    rows = [{**record, "seed": 10 * record["trial"] + record.get("replicate", 0)} for record in [*SEARCH, *replicated]]
    run = exported_run(tmp_path, rows)
    text = export_trial(run)
    values = yaml.safe_load(text)
    assert text.startswith(
        "# Trial 7 of sweep 'x': fidelity 3 at 200 images, median 5.00 (4.25 to inf, 1 failed) over 3 seeds other than"
    )
    assert (values["source"]["trial"], values["configuration"]["seed"], values["score"]["fidelity"]) == (7, 70, 3.0)
    assert values["source"]["confirmed"] == {
        **{"seeds": 3, "failed": 1, "median": 5.0, "q25": 4.25, "q75": math.inf, "mean": 4.25},
        "deviation": pytest.approx(1.5 / math.sqrt(2)),
        "chance_of_order": 2 * 7 / 20,  # 7's ranks 1, 2 and 6: of 20 splits, 7 sum to no more
    }


def test_a_trial_asked_for_by_number_says_what_its_own_other_seeds_reached(tmp_path):
    run = exported_run(
        tmp_path, [*SEARCH, row(0, 0, 1.5, Outcome.COMPLETED), *replicates(3, 9.0, 8.0), *replicates(7, 5.0, 3.5)]
    )
    confirmed = {trial: yaml.safe_load(export_trial(run, trial))["source"]["confirmed"] for trial in (0, 3, 7)}
    assert confirmed[0] is False
    assert (confirmed[3]["median"], confirmed[3]["chance_of_order"]) == (8.5, None)
    assert (confirmed[7]["median"], confirmed[7]["chance_of_order"]) == (4.25, pytest.approx(2 / 6))
    assert (
        export_trial(run, 0)
        .splitlines()[0]
        .endswith("fidelity 1.5 at 100 images, from one seed, not confirmed with others.")
    )
    assert yaml.safe_load(export_trial(run))["source"]["trial"] == 7  # though trial 0 was luckier


def test_where_every_finalist_mostly_fails_the_best_of_the_search_is_exported_and_that_is_said(tmp_path):
    run = exported_run(tmp_path, [*SEARCH, *replicates(3, math.inf, math.inf, 1.0)])
    text = export_trial(run)
    assert "median inf (inf to inf, 2 failed) over 3 seeds other than its own" in text.splitlines()[0]
    confirmed = yaml.safe_load(text)["source"]["confirmed"]
    assert (yaml.safe_load(text)["source"]["trial"], confirmed["failed"], confirmed["median"]) == (3, 2, math.inf)
    assert (confirmed["deviation"], confirmed["chance_of_order"]) == (None, None)


def test_an_export_carries_what_its_first_rung_measured_and_how_steps_were_carried_out(tmp_path):
    run = exported_run(tmp_path, SEARCH)
    exported = read(export_trial(run), tmp_path / "best.yaml")
    assert exported.first_rung == {"fidelity": 4.0, "fid": 5.0, "d_loss": 1.0, "images_seen": 100}  # g_loss was NaN
    assert exported.score["images_seen"] == 200
    assert (exported.execution, exported.source["device"], exported.schedule) == ("eager", "cpu", ())
    assert conditions_of(GanConfig(), exported, None, False).execution == "eager"


MADE = {
    **{"device": "cpu, compiled, 8 lanes a call", "execution": "compiled", "isa": "avx2", "compiler": "gcc 12.2.0"},
    **{"processor": "EPYC, AVX2", "code_version": "0.1.0+5f2c9a1b", "features_digest": "0123456789ab"},
    "versions": "gan-sweep 0.1.0, torch 2.14.1, numpy 2.3.5",
}
VERSIONS = {"gan-sweep": "0.1.0", "torch": "2.14.1", "numpy": "2.3.5"}


def made_by(record: dict[str, Any], **otherwise: str) -> dict[str, Any]:
    """The record of a row computed as in MADE, except for some values."""
    return {**record, **MADE, **otherwise}


def test_an_export_says_what_computed_its_trial_when_that_trained_and_not_what_is_installed_now(tmp_path):
    rows = [made_by(row(3, 0, 4.0), device="cpu, compiled, 1 lanes a call"), made_by(row(3, 1, 2.0))]
    exported = read(export_trial(exported_run(tmp_path, rows)), tmp_path / "best.yaml")
    assert {name: exported.source[name] for name in MADE if name != "versions"} == {
        name: value for name, value in MADE.items() if name != "versions"
    }
    assert exported.versions == VERSIONS
    assert "at_first_rung" not in exported.source  # lanes a call decide no bit


@pytest.mark.parametrize(
    ("really", "exported_as"), [("replayed", "replayed"), ("compiled", "compiled"), ("cuda graph", "eager")]
)
def test_an_exports_execution_is_the_one_that_was_used_where_that_can_be_asked_for(tmp_path, really, exported_as):
    """The run is executed eagerly; for a CUDA graph, the export has the execution that was requested."""
    rows = [made_by(record, execution=really) for record in SEARCH]
    exported = read(export_trial(exported_run(tmp_path, rows)), tmp_path / "best.yaml")
    assert (exported.execution, exported.source["execution"]) == (exported_as, really)
    assert conditions_of(GanConfig(), exported, None, False).execution == exported_as


def test_a_trial_that_went_on_elsewhere_is_exported_as_its_first_rung_was_trained(tmp_path):
    elsewhere = {"execution": "replayed", "isa": "", "compiler": "", "versions": "gan-sweep 0.1.0, torch 2.13.0"}
    rows = [made_by(row(3, 0, 4.0), **elsewhere), made_by(row(3, 1, 2.0))]
    exported = read(export_trial(exported_run(tmp_path, rows)), tmp_path / "best.yaml")
    assert (exported.execution, exported.source["execution"]) == ("replayed", "compiled")
    assert exported.source["at_first_rung"] == {**elsewhere, "versions": {"gan-sweep": "0.1.0", "torch": "2.13.0"}}
    assert exported.versions == VERSIONS


def test_rows_of_an_earlier_version_are_exported_with_what_they_say(tmp_path):
    written_then = {"device", "code_version"}
    rows = [{k: v for k, v in record.items() if k not in MADE or k in written_then} for record in SEARCH]
    exported = read(export_trial(exported_run(tmp_path, rows)), tmp_path / "best.yaml")
    assert (exported.execution, dict(exported.versions)) == ("eager", {})
    assert set(exported.source) & set(MADE) == written_then
    assert "at_first_rung" not in exported.source


@pytest.mark.parametrize("garbled", [3, ["isa"], {"versions": 3}], ids=str)
def test_what_computed_a_first_rung_must_be_a_mapping(tmp_path, garbled):
    values = {**yaml.safe_load(export_trial(exported_run(tmp_path, SEARCH))), "source": {"at_first_rung": garbled}}
    (tmp_path / "best.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ResultsError, match=r"source\.at_first_rung in .* must be a mapping, its versions too, got"):
        ExportedConfiguration.read(tmp_path / "best.yaml")


def test_a_member_of_a_population_is_exported_as_the_schedule_that_led_to_its_best_rung(tmp_path):
    """Trial 3 is best at its last rung, which it reached from the state and seed of trial 7, with another rate."""
    rate, seed = "lane.generator_lr", "seed"
    rows = [
        {**row(3, 0, 4.0), rate: 1e-3, seed: 33, "parent": 7},
        {**row(7, 0, 3.0), rate: 2e-3, seed: 77},
        {**row(3, 1, 2.0, Outcome.COMPLETED), rate: 2.5e-3, seed: 77},
        {**row(7, 1, 2.5, Outcome.COMPLETED), rate: 2e-3, seed: 77},
    ]
    run = exported_run(tmp_path, [{**record, "lane.beta1": 0.5} for record in rows])
    with (run / "spec.yaml").open("a") as file:
        file.write("population: {exploit_fraction: 0.25}\n")
    text = export_trial(run)
    exported = read(text, tmp_path / "best.yaml")
    assert text.splitlines()[1] == "# It is a schedule, not one configuration: lane parameters change at 100 images."
    assert exported.schedule == ({"from_images": 0, rate: 2e-3}, {"from_images": 100, rate: 2.5e-3})
    assert (exported.configuration[rate], exported.configuration[seed]) == (2.5e-3, 77)
    assert (exported.first_rung["fidelity"], exported.score["fidelity"]) == (3.0, 2.0)
    assert exported.source["lineage"] == [7, 3]
    alone = export_trial(run, 7)
    assert "\nschedule:" not in alone
    assert "lineage" not in alone


def test_of_several_objectives_the_first_decides_and_the_rank_is_said(tmp_path):
    several = {"objective": "fidelity, fid", "fidelity.fid": 1.0}
    exported = read(export_trial(exported_run(tmp_path, [{**r, **several} for r in SEARCH])), tmp_path / "best.yaml")
    assert (exported.objective, exported.source["objectives"], exported.source["pareto_rank"]) == (
        *("fidelity", "fidelity, fid", 1),
    )
    assert conditions_of(GanConfig(), exported, None, False).objective == "fidelity"


GOOD: dict[str, Any] = {
    "configuration": {"structure.architecture": "mlp"},
    "training": {"images": 100, "evaluate_at_images": [10, 50]},
}
BAD_EXPORTS = {
    "no configuration": ({"training": GOOD["training"]}, "no mapping 'configuration'"),
    "configuration as a list": ({**GOOD, "configuration": [1]}, "no mapping 'configuration'"),
    "no training": ({"configuration": {}}, "no mapping 'training'"),
    "no images": ({**GOOD, "training": {"evaluate_at_images": [10]}}, "training.images .* got None"),
    "images at zero": ({**GOOD, "training": {"images": 0, "evaluate_at_images": [10]}}, "training.images .* got 0"),
    "images as text": ({**GOOD, "training": {"images": "x", "evaluate_at_images": [10]}}, "training.images .* got 'x'"),
    "images as truth": ({**GOOD, "training": {"images": True, "evaluate_at_images": [10]}}, "training.images .* True"),
    "no points": ({**GOOD, "training": {"images": 5, "evaluate_at_images": []}}, r"evaluate_at_images .* got \[\]"),
    "schedule as text": ({**GOOD, "schedule": "later"}, "schedule in .* must list mappings of .*, got 'later'"),
    "schedule of numbers": ({**GOOD, "schedule": [100]}, r"schedule in .* must list mappings of .*, got \[100\]"),
    "source as text": ({**GOOD, "source": "here"}, "source in .* must be a mapping, got 'here'"),
    "first rung without images": (
        {**GOOD, "first_rung": {"fid": 1.0}},
        "first_rung .* must map images_seen and scores",
    ),
    "first rung of text": (
        {**GOOD, "first_rung": {"images_seen": 1, "fid": "low"}},
        "first_rung .* to numbers, got {'fid': 'low', 'images_seen': 1}",
    ),
    "points no list": ({**GOOD, "training": {"images": 5, "evaluate_at_images": 3}}, "evaluate_at_images .* got 3"),
    "points as text": ({**GOOD, "training": {"images": 5, "evaluate_at_images": ["a"]}}, r"got \['a'\]"),
    "points falling": ({**GOOD, "training": {"images": 5, "evaluate_at_images": [3, 2]}}, r"must rise, got \[3, 2\]"),
    "data no mapping": ({**GOOD, "data": "mnist"}, "data in .* must be a mapping, got 'mnist'"),
    "score no mapping": ({**GOOD, "score": 5}, "score in .* must be a mapping, got 5"),
    "scoring no mapping": ({**GOOD, "scoring": "pca"}, "scoring in .* must be a mapping, got 'pca'"),
    "health no mapping": ({**GOOD, "health": [1]}, r"health in .* must be a mapping, got \[1\]"),
}


@pytest.mark.parametrize(("values", "says"), BAD_EXPORTS.values(), ids=BAD_EXPORTS)
def test_a_file_edited_to_nonsense_is_refused_by_what_is_wrong(tmp_path, values, says):
    path = tmp_path / "best.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ResultsError, match=says):
        ExportedConfiguration.read(path)


def test_an_export_needs_only_what_training_needs(tmp_path):
    path = tmp_path / "best.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    exported = ExportedConfiguration.read(path)
    assert (exported.images, exported.evaluate_at_images) == (100, (10, 50))
    assert (exported.data_digest, dict(exported.score)) == ("", {})
    assert (exported.objective, dict(exported.scoring), dict(exported.health)) == ("fidelity", {}, {})
    assert exported.precision == Conditions(dataset="digits").precision == "float32"


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_an_exported_configuration_is_trained_in_the_precision_it_was_found_in(tmp_path, precision):
    path = tmp_path / "best.yaml"
    path.write_text(yaml.safe_dump({**GOOD, "precision": precision}))
    assert conditions_of(GanConfig(), ExportedConfiguration.read(path), None, False).precision == precision


def test_a_precision_that_there_is_not_is_refused(tmp_path):
    path = tmp_path / "best.yaml"
    path.write_text(yaml.safe_dump({**GOOD, "precision": "bfloat"}))
    with pytest.raises(InputError, match="unknown precision 'bfloat'; did you mean 'bfloat16'"):
        conditions_of(GanConfig(), ExportedConfiguration.read(path), None, False)


@pytest.mark.skipif(not (host_rounds() or host_pairs()), reason="no products in bfloat16 here")
def test_a_model_is_gone_on_with_and_sampled_in_its_own_precision_alone(tmp_path):
    config = GanConfig(structure=StructureConfig(architecture="gaussian", dataset="gaussian"))
    values = {"configuration": config.flatten(), "training": {"images": 640, "evaluate_at_images": [640]}}
    samples = {}
    for precision in ("float32", "bfloat16"):
        path, home = tmp_path / f"{precision}.yaml", tmp_path / precision
        path.write_text(yaml.safe_dump({**values, "precision": precision}))
        exported = ExportedConfiguration.read(path)
        conditions = conditions_of(config, exported, None, False)
        assert train_final(config, exported, home, 640, conditions) == 0
        again = ExportedConfiguration.read(home / "config.yaml")
        assert again.precision == precision
        write_numbers(of_model(home), 5000, 0, tmp_path / "drawn.npy")
        samples[precision] = np.load(tmp_path / "drawn.npy")
    with pytest.raises(InputError, match="these differ: precision; choose another -o"):
        train_final(config, exported, tmp_path / "float32", 640, conditions)
    text = (tmp_path / "bfloat16" / "config.yaml").read_text()
    (tmp_path / "bfloat16" / "config.yaml").write_text(text.replace("precision: bfloat16", "precision: float32"))
    write_numbers(of_model(tmp_path / "bfloat16"), 5000, 0, tmp_path / "drawn.npy")
    in_float32 = np.load(tmp_path / "drawn.npy")
    assert 0 < np.abs(in_float32 - samples["bfloat16"]).max() < 0.02 * np.abs(in_float32).max()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"configuration: [", "not plain YAML"),
        (b"configuration: !!python/object/apply:os.system ['true']", "it has the tag .*python"),
        (b"\xff\xfe", "it is not text"),
        (b"- a\n", "'key: value' lines, got list"),
        (b"when: 2026-13-45\n", "no mapping 'configuration'"),
        (b"a: 1\na: 2\n", "the key 'a' stands at line 1 and again at line 2"),
        (b"a: " + b"[" * 1500, "nest"),
        (None, "cannot read"),
    ],
)
def test_a_file_that_is_no_export_is_refused_in_one_line(tmp_path, content, says):
    path = tmp_path / "best.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ResultsError, match=says) as refusal:
        ExportedConfiguration.read(path)
    assert "\n" not in str(refusal.value)
