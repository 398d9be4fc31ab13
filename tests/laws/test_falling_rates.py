"""Learning rates that fall, betas of D, weight decay: from a sweep to a model, and in runs of before there were any."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from curve_array import CURVE_SPACE, curve_spec, run_folder
from table_rows import row, stored

from gan_core.config.gan import HYPERPARAMETERS, GanConfig
from gan_core.config.input_error import InputError
from results.export import ExportedConfiguration, export_trial
from results.lineage import schedule_of
from results.loading import LATER_HYPERPARAMETERS
from results.rows import MAY_BE_NULL
from results.store import JsonLines, RunFolder
from results.table import ResultsTable
from results.text import trials_text
from search_spaces.describe import describe_space
from search_spaces.space import SearchSpace
from sweep.ledger.cohort_record import read_rows
from sweep.ledger.standings import row_config
from sweep.proposals.warm_start import best_points
from sweep.run import run_sweep
from sweep.spec.sweep_spec import SweepSpec
from sweep.winner.sampling import of_trial

LATER = ("lr_schedule", "lr_schedule_images", "discriminator_beta1", "discriminator_beta2")
LATER += ("generator_weight_decay", "discriminator_weight_decay")
SPEC: dict[str, Any] = {
    "name": "falling",
    "space": {
        "extends": "gaussian",
        "base": {
            **{"structure.generator_width": 5, "structure.discriminator_width": 5},
            **{"lane.lr_schedule": "cosine", "lane.discriminator_beta1": 0.5},
        },
        "ranges": {
            **{"lane.lr_schedule": {"choices": ["linear", "cosine"]}},
            **{"lane.discriminator_beta1": {"low": 0.0, "high": 0.9}},
            **{"lane.discriminator_weight_decay": {"choices": [0.0, 0.5]}},
        },
    },
    "trials": 2,
    "ladder": {"rungs_images": [500, 1000], "rule": "none"},
    "scoring": {"samples": 100},
    "execution": "eager",
    "lanes_per_cohort": 2,
    "tracking": {"tensorboard": False},
}


@pytest.fixture
def falling(gan_sweep) -> Path:
    Path("falling.yaml").write_text(yaml.safe_dump(SPEC))
    assert gan_sweep("run", "falling.yaml", "--local").code == 0
    return Path("runs/falling")


def test_from_a_sweep_to_a_model_rates_fall_over_what_is_trained_there(gan_sweep, falling):
    """Its last rung in a sweep, and `--images` in a model, which then is gone on with by that number alone."""
    assert gan_sweep("export", falling, "--trial", "1").code == 0
    exported = ExportedConfiguration.read("best.yaml")
    assert exported.configuration["lane.discriminator_beta2"] is None
    assert gan_sweep("verify", "best.yaml").out.splitlines()[-1] == "reproduced exactly"
    same = gan_sweep("train", "best.yaml", "-o", "the same", "--images", "1000")
    assert "reproduces the sweep's" in same.out
    assert same.out.endswith("\nnext: gan-sweep sample 'the same' -n 64 -o grid.png\n")
    whole = [Path("the same", name).read_bytes() for name in ("generator.safetensors", "metrics.csv")]
    state = Path("the same/state.safetensors")
    state.write_bytes(state.read_bytes()[:-1])
    damaged = gan_sweep("train", "best.yaml", "-o", "the same", "--images", "1000")
    assert (damaged.code, damaged.err.count("\n")) == (2, 1)
    assert "; remove state.safetensors, and training begins again" in damaged.err
    state.unlink()
    assert gan_sweep("train", "best.yaml", "-o", "the same", "--images", "1000").code == 0
    assert [Path("the same", name).read_bytes() for name in ("generator.safetensors", "metrics.csv")] == whole
    other = gan_sweep("train", "best.yaml", "-o", "other", "--images", "1500")
    assert "the sweep's learning rates fell over 1,000 images, and its score is not compared" in other.out
    assert yaml.safe_load(Path("other/config.yaml").read_text())["training"]["images"] == 1500
    again = gan_sweep("train", "best.yaml", "-o", "other", "--images", "3000")
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert "these differ: training.images, over which its learning rates fall; choose another -o" in again.err
    assert gan_sweep("train", "other/config.yaml", "-o", "copy").code == 0
    assert Path("copy/generator.safetensors").read_bytes() == Path("other/generator.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("lane", "refused"),
    [
        ({}, False),
        ({"lane.lr_schedule": "linear"}, True),
        ({"lane.lr_schedule": "linear", "lane.lr_schedule_images": 100}, False),
    ],
    ids=["constant", "over the budget", "over a number"],
)
def test_further_rungs_are_refused_where_rates_fall_over_the_last_ones_images(tmp_path, lane, refused):
    def spec(rungs: list[int]) -> Any:
        base = {**CURVE_SPACE.get("base", {}), **lane}
        return curve_spec(space={**CURVE_SPACE, "base": base}, ladder={"rungs_images": rungs}, trials=2)

    folder, longer = run_folder(spec([100]), tmp_path), spec([100, 200])
    assert spec([100]).conditions().budget_images == 100
    assert bool(spec([100]).differences(longer, extended=True)) == refused
    if refused:
        with pytest.raises(InputError, match=r"rungs_images \(learning rates fall over the last rung's images, which"):
            run_sweep(longer, folder.path, local=True, extend=True)


# ---- what spaces can say


def refusal(**keys: Any) -> str:
    with pytest.raises(InputError) as refused:
        SearchSpace.load(keys)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_what_is_missing_follows_in_constraints_and_is_told_in_the_table_of_a_space():
    space = SearchSpace.load({"base": {"lane.beta1": 0.5}, "constraints": ["lane.discriminator_beta1 <= 0.6"]})
    assert space.violations(GanConfig.unflatten({"lane.beta1": 0.75})) == {
        "lane.discriminator_beta1 <= 0.6": pytest.approx(0.2)
    }
    assert not space.violations(GanConfig.unflatten({"lane.beta1": 0.75, "lane.discriminator_beta1": 0.0}))
    table = describe_space(space)
    assert ["lane.discriminator_beta1", "as", "lane.beta1"] in [line.split() for line in table.splitlines()]
    assert SearchSpace.load(space.plain()) == space


def test_the_beta_of_d_may_be_a_ratio_to_the_other_and_not_the_other_way_round():
    tied = {"lane.discriminator_beta1": {"ratio_to": "lane.beta1", "low": 0.5, "high": 0.5}}
    space = SearchSpace.load({"base": {"lane.beta1": 0.5}, "ranges": tied})
    assert space.base.lane.discriminator_beta1 == 0.25
    other = {"lane.beta1": {"ratio_to": "lane.discriminator_beta1", "low": 1, "high": 1}}
    assert "a number that is trained with and never null, got 'lane.discriminator_beta1'" in refusal(ranges=other)


def test_a_range_has_values_and_its_base_must_be_one_of_them():
    for scope in ({"choices": [None, 0.5]}, {"low": None, "high": 0.5}):
        assert "must be of values, got null" in refusal(ranges={"lane.discriminator_beta1": scope})
    unset = {"lane.discriminator_beta1": {"low": 0.0, "high": 0.9}}
    assert "the base value None of lane.discriminator_beta1 lies outside its range" in refusal(ranges=unset)
    base = SearchSpace.load({"base": {"lane.beta1": 0.25}})
    assert base.fix({}, unset).base.lane.discriminator_beta1 == 0.25


def test_a_known_point_has_null_drawn_as_what_it_follows():
    scope = {"low": 0.1, "high": 0.9, "when": {"lane.lr_schedule": "linear"}}
    ranges = {"lane.lr_schedule": {"choices": ["constant", "linear"]}, "lane.discriminator_beta1": scope}
    space = SearchSpace.load({"base": {"lane.beta1": 0.5}, "ranges": ranges})
    point = space.parameters_of({"lane.lr_schedule": "linear"})
    assert point == {"lane.lr_schedule": "linear", "lane.discriminator_beta1": 0.5}
    spec = SweepSpec.from_mapping({"space": space.plain(), "enqueue": [{"lane.lr_schedule": "linear"}]})
    assert spec.enqueue == ({"lane.lr_schedule": "linear"},)
    outside = space.fix({"lane.beta1": 0.95})
    with pytest.raises(InputError, match=r"discriminator_beta1 0.95 lies outside its range 0.1 .. 0.9; choose a value"):
        outside.parameters_of({"lane.lr_schedule": "linear"})


def test_how_long_rates_fall_is_searched_where_they_fall():
    ranges = {"lane.lr_schedule": {"choices": ["constant", "cosine"]}, "lane.lr_schedule_images": {"low": 0, "high": 9}}
    assert "lane.lr_schedule_images is how long learning rates fall, got 9 with" in refusal(ranges=ranges)
    ranges["lane.lr_schedule_images"]["when"] = {"lane.lr_schedule": "cosine"}  # pyright: ignore[reportArgumentType]
    assert SearchSpace.load({"ranges": ranges}).spreads_rates_over_budget


# ---- rows and models of earlier versions


def without_later(path: Path) -> None:
    """Takes out of a run's rows what an earlier version did not write."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [{k: v for k, v in record.items() if k.removeprefix("lane.") not in LATER} for record in records]
    path.write_text("".join(json.dumps(record) + "\n" for record in kept))


def test_rows_of_an_earlier_version_have_the_defaults(gan_sweep, digits_run):
    run = Path(digits_run)
    rows = read_rows(RunFolder(run))
    assert all(f"lane.{name}" in rows[0].hyperparameters for name in LATER)
    old = Path("old")
    old.mkdir()
    for name in ("spec.yaml", "rows.jsonl", "cohorts.jsonl"):
        (old / name).write_bytes((run / name).read_bytes())
    without_later(old / "rows.jsonl")
    assert [row_config(row) for row in read_rows(RunFolder(old))] == [row_config(row) for row in rows]
    space = SearchSpace.load(yaml.safe_load((run / "spec.yaml").read_text())["space"])
    assert best_points(old, space) == best_points(run, space)
    with pytest.raises(InputError, match="lane.lr_schedule is not searched, and so must be 'linear' as in the base"):
        best_points(old, space.fix({"lane.lr_schedule": "linear"}))
    (old / "rows.jsonl").write_text((old / "rows.jsonl").read_text() + _in_a_new_row(run))
    before, after = (
        GanConfig.unflatten(yaml.safe_load(export_trial(path, trial=0))["configuration"]) for path in (old, run)
    )
    assert before == after
    table = ResultsTable.load(old)  # a run that was extended: what only its last trial says is no difference
    assert not {f"lane.{name}" for name in LATER}.intersection(table.differing)
    assert set(table.trials["lane.lr_schedule"]) == {"constant"}
    (old / "checkpoints").symlink_to(run / "checkpoints")
    assert of_trial(old, 2).config == of_trial(run, 2).config


def _in_a_new_row(run: Path) -> str:
    """A row of a trial more, as this version writes it."""
    last = json.loads((run / "rows.jsonl").read_text().splitlines()[-1])
    return json.dumps({**last, "trial": 99}) + "\n"


def test_rows_may_hold_null_for_what_then_follows_another():
    assert {name: known.follows for name, known in HYPERPARAMETERS.items() if known.follows} == MAY_BE_NULL


def test_what_earlier_versions_did_not_write_has_the_defaults():
    assert {f"lane.{name}" for name in LATER} == {*LATER_HYPERPARAMETERS, *MAY_BE_NULL}
    assert {name: HYPERPARAMETERS[name].default for name in LATER_HYPERPARAMETERS} == LATER_HYPERPARAMETERS
    assert {HYPERPARAMETERS[name].default for name in MAY_BE_NULL} == {None}


def test_null_is_told_as_what_it_follows_and_drawn_from(tmp_path, digits_run):
    run = RunFolder(shutil.copytree(digits_run, tmp_path / "run"))
    name, betas = "lane.discriminator_beta1", {0: None, 1: 0.25, 2: None, 3: 0.5}
    records = [{**record, name: betas[record["trial"]]} for record in JsonLines(run.rows).read()]
    run.rows.unlink()
    JsonLines(run.rows).append(records)
    table = ResultsTable.load(run.path)
    header, *lines = trials_text(table, table.trials.sort_values("trial"), reasons=False).splitlines()
    assert "discriminator_beta1" in header
    assert [line.count("as beta1") for line in lines[:4]] == [1, 0, 1, 0]
    drawn = {trial: of_trial(run.path, trial).config for trial in betas}
    assert {trial: config.lane.discriminator_beta1 for trial, config in drawn.items()} == betas
    exported = yaml.safe_load(export_trial(run.path, 2))["configuration"]
    assert GanConfig.unflatten(exported).flatten() == drawn[2].flatten()


def test_what_only_the_later_rows_of_a_population_say_is_no_change(tmp_path):
    rows = [row(0, 0, 1.0), {**row(0, 1, 1.0), "lane.lr_schedule": "constant", "lane.discriminator_beta1": None}]
    frame = ResultsTable.load(stored(tmp_path, rows)).frame
    assert schedule_of([{str(k): v for k, v in record.items()} for record in frame.to_dict("records")]) == []


def test_a_model_of_an_earlier_version_is_gone_on_with(gan_sweep, falling):
    assert gan_sweep("export", falling).code == 0
    values = yaml.safe_load(Path("best.yaml").read_text())
    values["configuration"] = {k: v for k, v in values["configuration"].items() if k.removeprefix("lane.") not in LATER}
    Path("old.yaml").write_text(yaml.safe_dump(values))
    assert gan_sweep("train", "old.yaml", "-o", "m", "--images", "500").code == 0
    config = Path("m/config.yaml")
    written = yaml.safe_load(config.read_text())
    written["configuration"] = {
        k: v for k, v in written["configuration"].items() if k.removeprefix("lane.") not in LATER
    }
    config.write_text(yaml.safe_dump(written))
    assert gan_sweep("train", "old.yaml", "-o", "m", "--images", "600").code == 0
