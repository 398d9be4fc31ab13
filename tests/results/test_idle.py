"""A hyperparameter without effect in a trial is missing in tables and present in exports."""

import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from curve_array import curve_spec, run_cohorts, run_folder
from table_rows import row, stored

from gan_core.config.combinations import _EFFECTIVE, check_lane
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.lane import LaneConfig
from gan_core.config.structure import StructureConfig
from results.export import export_trial
from results.formats import plain_records
from results.idle import EFFECTIVE, without_idle
from results.rows import MAY_BE_NULL, Outcome
from results.store import RunFolder, exclusive
from results.table import ResultsTable
from results.text import trials_text
from sweep.commands.results import how_to_go_on
from sweep.proposals.warm_start import best_points

STRUCTURES = [
    StructureConfig(),
    *(
        StructureConfig(loss=loss)
        for loss in ("minimax", "minimax_clamped", "least_squares", "hinge", "wasserstein_gp")
    ),
    StructureConfig(gradient_penalty="r1"),
    StructureConfig(discriminator_norm="batch"),
    StructureConfig(discriminator_norm="spectral"),
    StructureConfig(architecture="mlp_bn"),
    StructureConfig(architecture="mlp_dropout"),
    StructureConfig(architecture="mlp_minimax"),
    StructureConfig(architecture="cgan"),
    StructureConfig(architecture="dcgan"),
    StructureConfig(architecture="dcgan", discriminator_norm="none", loss="wasserstein_gp"),
    StructureConfig(architecture="infogan", categorical_codes=10),
    StructureConfig(architecture="infogan", continuous_codes=2),
    StructureConfig(architecture="own", networks="my_gan.py#0123456789ab"),
    GanConfig.unflatten({"structure.loss": "my_gan.py:my_loss#0123456789ab"}).structure,
]
LANE = {**{field.name: 0.25 for field in fields(LaneConfig)}, "discriminator_steps": 1, "generator_steps": 1}


def shown(structure: StructureConfig, **lane: float | str) -> dict[str, bool]:
    """The lane parameters in the table of this configuration."""
    values = {**GanConfig(structure=structure).flatten(), **{f"lane.{name}": value for name, value in lane.items()}}
    found = without_idle(pd.DataFrame([values])).iloc[0]
    return {name.removeprefix("lane."): bool(pd.notna(found[name])) for name in values if name.startswith("lane.")}


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_what_is_idle_is_what_a_configuration_refuses_to_set(structure):
    found = shown(structure)
    for name in _EFFECTIVE:
        try:
            check_lane(structure, replace(LaneConfig(), **{name: LANE[name]}))
        except InputError:
            assert not found.pop(name, False)  # own networks do not even have some
        else:
            assert found.pop(name)
    assert found.pop("penalty_weight") == (structure.penalty != "none")
    assert not found.pop("instance_noise_images")
    assert shown(structure, instance_noise=0.1)["instance_noise_images"]
    assert not found.pop("lr_schedule_images")
    assert shown(structure, lr_schedule="linear")["lr_schedule_images"]
    assert {f"lane.{name}" for name, is_shown in found.items() if not is_shown} == set(MAY_BE_NULL)


def test_every_rule_of_a_configuration_is_one_of_tables():
    assert {f"lane.{name}" for name in _EFFECTIVE} < set(EFFECTIVE)


def test_a_table_without_the_columns_that_decide_stays_as_it_is():
    frame = pd.DataFrame({"lane.penalty_weight": [10.0], "lane.label_smoothing": [0.1]})
    assert without_idle(frame).equals(frame)


def penalties(path: Path) -> Path:
    """A run of two trials, the better one without a penalty."""
    whole = {name: value for name, value in GanConfig().flatten().items()}
    rows = [
        {**whole, **row(0, 0, 2.0, Outcome.COMPLETED)},
        {**whole, **row(1, 0, 3.0, Outcome.COMPLETED), "structure.gradient_penalty": "r1", "lane.penalty_weight": 0.5},
    ]
    run = stored(path, rows)
    (run / "spec.yaml").write_text("name: x\nladder: {rungs_images: [100]}\n")
    return run


def test_an_idle_value_is_missing_in_table_records_and_text_and_stands_in_the_export(tmp_path):
    run = penalties(tmp_path)
    table = ResultsTable.load(run)
    weights = [record["lane.penalty_weight"] for record in plain_records(table.trials)]
    assert weights == [None, 0.5]
    assert table.frame["lane.penalty_weight"].isna().tolist() == [True, False]
    lines = [line.split() for line in trials_text(table, table.trials, reasons=False).splitlines()]
    place = lines[0].index("penalty_weight")
    assert [line[place] for line in lines[1:3]] == ["-", "0.5"]
    exported = yaml.safe_load(export_trial(run, 0))["configuration"]
    assert exported == {**GanConfig().flatten(), "lane.beta1": 0.0}
    assert ResultsTable.load(run, whole=True).trials["lane.penalty_weight"].tolist() == [10.0, 0.5]


def test_a_warm_start_takes_the_whole_configuration(tmp_path):
    from search_spaces.space import SearchSpace

    ranges = {"lane.beta1": {"low": 0.0, "high": 0.9}}
    assert best_points(penalties(tmp_path), SearchSpace.load({"ranges": ranges})) == [{"lane.beta1": 0.0}]


def test_a_column_is_hidden_where_all_trials_of_the_run_agree_and_not_where_those_shown_do(tmp_path):
    table = ResultsTable.load(penalties(tmp_path))
    assert table.differing == ["structure.gradient_penalty", "lane.beta1", "lane.penalty_weight"]
    header = trials_text(table, table.trials.head(1), reasons=False).splitlines()[0].split()
    assert header[-3:] == ["gradient_penalty", "beta1", "penalty_weight"]
    assert "generator_lr" not in header


def test_results_say_how_a_run_that_was_broken_off_goes_on(gan_sweep, digits_run):
    run = RunFolder(shutil.copytree(digits_run, "a run"))
    assert "broken off" not in gan_sweep("results", run.path).out
    lines = run.rows.read_text().splitlines(keepends=True)
    run.rows.write_text("".join(lines[:-1]))
    said = "this run was broken off; go on with: gan-sweep run 'a run/spec.yaml' --out 'a run'\n"
    assert gan_sweep("results", run.path).out.endswith(said)
    with exclusive(run.driver_lock):
        assert gan_sweep("results", run.path).out.endswith("\nthis run is going on\n")
    assert gan_sweep("results", run.path, "-o", "x.json").out.endswith(" trials in x.json\n")
    run.spec.write_text("trails: 3\n")  # a table does not need it
    answer: Any = gan_sweep("results", run.path)
    assert (answer.code, "broken off" in answer.out) == (0, False)


@pytest.mark.parametrize("kept", [0, 1, 2, 3, 5, 9])
def test_what_a_table_says_of_the_end_of_a_run_all_of_its_files_say(tmp_path, kept):
    spec = curve_spec(trials=4, confirm={"top": 1, "seeds": 2})
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder)
    if kept:
        lines = folder.rows.read_text().splitlines(keepends=True)
        folder.rows.write_text("".join(lines[:-kept]))
    table = ResultsTable.load(folder.path)
    assert how_to_go_on(folder, table=table) == how_to_go_on(folder)
    assert (how_to_go_on(folder, table=table) == "") == (kept == 0)
