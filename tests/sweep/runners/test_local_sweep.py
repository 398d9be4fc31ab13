"""Real training in this process: a table, pictures, and an exported trial that trains to the same numbers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_runs import TINY, isa_here, settings

from gan_core.config.gan import HYPERPARAMETERS
from gan_core.fidelity.examination import PASSED, Examination
from gan_core.native.arithmetic import compiler_here
from gan_core.workshop.one_model import read_metrics
from results.rows import MADE_BY, MAY_BE_NULL
from results.store import JsonLines, RunFolder
from results.table import ResultsTable
from results.trial_run import TrialRun
from sweep.run import run_sweep
from sweep.spec.sweep_spec import SweepSpec

SCORES = [
    *("fidelity.fidelity", "fidelity.fidelity_error", "fidelity.violation", "fidelity.violation_error"),
    *("fidelity.class_balance_violation", "fidelity.coverage_violation", "fidelity.fid", "fidelity.fid_error"),
    *("fidelity.fid_floor", "fidelity.kid", "fidelity.kid_error", "fidelity.precision", "fidelity.recall"),
    *("fidelity.density", "fidelity.coverage", "fidelity.memorisation"),
    *("fidelity.class_kl", "fidelity.class_kl_error", "fidelity.classes_covered"),
]
HEALTH = [
    *("health.discriminator_accuracy", "health.penalty", "health.d_gradient", "health.g_gradient"),
    "health.d_loss_deviation",
]
COLUMNS = [
    *("trial", "cohort", "lane", "rung", "images_seen", "outcome", "reason", "d_loss", "g_loss"),
    *("seconds", "device", "objective", "protocol", "data_digest", *MADE_BY),
    *SCORES,
    *HEALTH,
    "signs",
    *HYPERPARAMETERS,
]
GAUSSIAN = (
    "space=gaussian",
    "trials=3",
    "lanes_per_cohort=3",
    "ladder.rungs_images=[250, 1000]",
    "ladder.keep_fraction=0.5",
    "structure.generator_width=8",
    "structure.discriminator_width=8",
)


def rows_of(run: Path) -> Any:
    """A run's frame. Any: to a type checker, comparing columns may give a bool."""
    return ResultsTable.load(run).frame


def trials_of(run: Path) -> Any:
    """A row for each trial of a run."""
    return ResultsTable.load(run).trials


@pytest.fixture(scope="module")
def gaussian_run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("gaussian") / "run"
    run_sweep(SweepSpec.from_mapping({}, GAUSSIAN), out, local=True)
    return out


def test_the_table_has_every_documented_column_filled(digits_run):
    frame: Any = ResultsTable.load(digits_run, whole=True).frame
    assert set(COLUMNS) <= set(frame.columns)
    assert frame[COLUMNS].drop(columns=["g_loss", *MAY_BE_NULL]).notna().all(axis=None)
    assert np.isfinite(frame[[*SCORES, *HEALTH, "d_loss", "g_loss", "seconds"]].to_numpy()).all()
    assert frame["health.sample_deviation"].isna().all()  # looked at every 32 steps; these rungs have 4
    assert frame["device"].str.fullmatch(r"cpu, (compiled|replayed), \d+ lanes a call").all()
    assert (frame[[name for name in MADE_BY if name != "device"]].nunique() == 1).all()
    assert frame.iloc[0][["isa", "compiler"]].tolist() == [isa_here(), compiler_here()]  # of the scores in any case
    assert (frame["execution"] == frame["device"].str.split(", ").str[1]).all()
    assert (frame["seconds"] > 0).all()


def test_rungs_are_reached_exactly_and_outcomes_follow_the_ladder(digits_run):
    frame = rows_of(digits_run)
    assert frame.groupby("rung")["images_seen"].unique().map(list).to_dict() == {0: [256], 1: [512]}
    ends = frame.groupby("trial").tail(1).set_index("trial")["outcome"].to_dict()
    assert sorted(ends) == [0, 1, 2, 3]
    assert set(ends.values()) == {"completed", "pruned"}
    assert ends[0] == "completed"


def test_trials_differ_in_what_is_searched_and_in_their_seeds_alone(digits_run):
    trials = trials_of(digits_run)
    assert trials["seed"].nunique() == trials["lane.generator_lr"].nunique() == trials["fidelity.fid"].nunique() == 4
    assert trials[["data_seed", "structure.generator_width", "protocol", "data_digest"]].nunique().eq(1).all()


def test_scores_stand_beside_their_noise_floor_and_name_their_protocol(digits_run):
    frame = rows_of(digits_run)
    assert (frame["score"] == frame["fidelity.fidelity"]).all()
    assert (frame["fidelity.fid"] > frame["fidelity.fid_floor"]).all()
    assert (frame["fidelity.fidelity"] == frame["fidelity.fid"] - frame["fidelity.fid_floor"]).all()
    assert (frame["fidelity.violation"] > 0).all()  # after 512 images little is covered
    assert frame["limits_broken"].str.contains("coverage").all()
    assert frame["fidelity.fid_floor"].between(0.01, 10).all()
    protocol = frame["protocol"].iloc[0]
    assert protocol.startswith("fid/classifier64-")
    assert f"digits-{frame['data_digest'].iloc[0]}-held_out-797/200@latents42/limits-kl0.1-coverage0.5" in protocol


def test_each_trial_has_a_picture_and_the_best_has_two(digits_run):
    folder = RunFolder(digits_run)
    best: Any = ResultsTable.load(digits_run).best()
    names = ["real.png", *(f"trial-{trial:04d}.png" for trial in range(4))]
    assert sorted(p.name for p in folder.samples.iterdir()) == names
    for path in folder.samples.iterdir():
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert picture.width == picture.height
            assert np.asarray(picture).std() > 10
    assert folder.best_samples.read_bytes() == folder.trial_samples(TrialRun(best["trial"])).read_bytes()


def test_of_checkpoints_the_best_generators_and_the_last_states_of_the_completed_are_left(digits_run):
    assert not [path.name for path in digits_run.rglob("*") if path.name.endswith((".partial", ".rename"))]
    folder, trials = RunFolder(digits_run), trials_of(digits_run)
    left = {str(path.relative_to(folder.checkpoints)) for path in folder.checkpoints.rglob("*.safetensors")}
    completed = trials.loc[trials["outcome"] == "completed", "trial"]
    scored = trials.loc[trials["score"].notna(), "trial"]
    assert len(scored) == 4  # no more than are kept
    expected = {f"trial-{trial:04d}/generator.safetensors" for trial in scored}
    assert left == expected | {f"trial-{trial:04d}/last.safetensors" for trial in completed}


def test_a_second_sweep_of_the_same_spec_gives_the_same_table(digits_run, tmp_path):
    table = run_sweep(SweepSpec.from_mapping({}, TINY), tmp_path / "again", local=True)
    mine, theirs = (
        frame.drop(columns=["seconds", "elapsed_seconds", "device"])
        for frame in (table.frame, ResultsTable.load(digits_run).frame)
    )
    assert mine.equals(theirs)


def test_a_finished_sweep_is_found_finished_and_nothing_is_trained_again(digits_run):
    before = {path: path.read_bytes() for path in digits_run.rglob("*") if path.is_file()}
    table = run_sweep(SweepSpec.from_mapping({}, TINY), digits_run, local=True)
    assert {path: path.read_bytes() for path in digits_run.rglob("*") if path.is_file()} == before
    assert len(table.trials) == 4


def exported_and_trained(gan_sweep, run: Path, trial: int, images: int) -> tuple[list[dict[str, float]], str]:
    """The metrics of a model trained from an exported trial, and what was printed."""
    assert gan_sweep("export", run, "--trial", trial, "-o", f"trial{trial}.yaml").code == 0
    answer = gan_sweep("train", f"trial{trial}.yaml", "--images", images)
    assert answer.code == 0, answer.err
    return read_metrics(Path(f"models/trial{trial}/metrics.csv")), answer.out


def check_reproduced(gan_sweep, run: Path) -> None:
    """Every trial, trained alone from its exported file, passes through the very numbers that the sweep recorded."""
    frame, table = rows_of(run), ResultsTable.load(run)
    compared = ["images_seen", "d_loss", "g_loss", *(c for c in frame.columns if c.startswith("fidelity."))]
    for trial in sorted(set(frame["trial"])):
        recorded = frame[frame["trial"] == trial].sort_values("rung")
        budget = SweepSpec.from_yaml(RunFolder(run).spec).ladder.rungs_images[recorded["rung"].max()]
        metrics, said = exported_and_trained(gan_sweep, run, trial, budget)
        assert [[row[c] for c in compared] for row in metrics] == recorded[compared].values.tolist()
        best = table.trial(trial)
        assert f"reproduces the sweep's {best['score']:.4g} exactly" in said
        assert f"best fidelity {best['score']:.4g} at {best['images_seen']:,} images" in said


def test_an_exported_trial_trains_to_the_sweeps_numbers_exactly(gan_sweep, digits_run):
    check_reproduced(gan_sweep, digits_run)


def test_an_exported_gaussian_trial_trains_to_the_sweeps_numbers_exactly(gan_sweep, gaussian_run):
    check_reproduced(gan_sweep, gaussian_run)


def test_two_points_within_one_batch_are_one_scoring(gan_sweep, gaussian_run):
    """The file says 250, the command 300, and with batches of 100 both are 300: no reason to call it divergence."""
    metrics, _ = exported_and_trained(gan_sweep, gaussian_run, 0, 300)
    assert [row["images_seen"] for row in metrics] == [300]


def test_two_rungs_within_one_batch_kill_no_lane(tmp_path):
    """Batches of 64: both rungs stand at 64 images, and no step lies between them."""
    spec = SweepSpec.from_mapping({}, [*TINY, "trials=2", "ladder.rungs_images=[50, 60]"])
    table = run_sweep(spec, tmp_path / "run", local=True)
    assert set(table.trials["outcome"]) <= {"completed", "pruned"}


def test_batches_are_whole_so_a_rung_is_passed_and_not_cut(gaussian_run):
    frame = rows_of(gaussian_run)
    assert sorted(frame["images_seen"].unique()) == [300, 1000]
    assert (frame["structure.batch_size"] == 100).all()


def test_one_dimensional_scores_have_their_own_columns(gaussian_run):
    frame = rows_of(gaussian_run)
    scores = ["fidelity", "fidelity_error", "violation", "violation_error", "wasserstein", "wasserstein_error"]
    scores += ["energy", "energy_error", "energy_latent_error"]
    scores += ["mean_error", "mean_error_error", "deviation_error", "deviation_error_error", "wasserstein_floor"]
    assert [c for c in frame.columns if c.startswith("fidelity.")] == [f"fidelity.{name}" for name in scores]
    assert (frame["score"] == frame["fidelity.fidelity"]).all()
    over = frame["fidelity.wasserstein"] - frame["fidelity.wasserstein_floor"]
    assert np.allclose(frame["fidelity.fidelity"], over, rtol=1e-12)  # one mode: nothing to miss
    assert (frame["fidelity.wasserstein"] >= frame["fidelity.mean_error"] * 0.99).all()  # |E x - E y| <= W1


def test_another_objective_is_what_is_ranked_by(tmp_path):
    spec = SweepSpec.from_mapping({}, [*TINY, "objective=class_kl", "trials=2"])
    table = run_sweep(spec, tmp_path / "run", local=True)
    assert table.objective == "class_kl"
    assert table.frame["score"].tolist() == table.frame["fidelity.class_kl"].tolist()
    assert table.best()["score"] == min(table.contenders["fidelity.class_kl"])


def test_lanes_that_blow_up_end_as_diverged_and_those_beside_them_do_not_notice(tmp_path):
    """Without a mean of squares (beta2 of 0) Adam divides by gradients that vanish, and steps of 10 overflow; those of
    2e-4 do so too, by luck, so the others hardly move.
    """
    rates = {f"lane.{name}_lr": {"choices": [1e-9, 10.0]} for name in ("generator", "discriminator")}
    space = {"extends": "gaussian", "base": {"lane.beta2": 0.0, **dict.fromkeys(rates, 1e-9)}, "ranges": rates}
    values = {"space": space, "trials": 8, "sampler": "random", "seed": 1}
    sizes = ("lanes_per_cohort=8", "ladder.rungs_images=[1000, 10000]", "ladder.keep_fraction=1.0", *GAUSSIAN[5:])
    spec = SweepSpec.from_mapping(values, sizes)
    table = run_sweep(spec, tmp_path / "run", local=True)
    trials = trials_of(tmp_path / "run")
    dead = trials[trials["outcome"] == "diverged"]
    assert 1 <= len(dead) <= 7
    assert (dead[list(rates)] == 10.0).any(axis=1).all()
    assert dead["reason"].str.contains("loss is|not finite|gradient is|score is|no gradient for G").all()
    assert not set(dead["trial"]) & set(table.contenders["trial"])
    assert np.isfinite(table.contenders["score"].to_numpy()).all()
    alone = run_sweep(replace(spec, trials=1), tmp_path / "alone", local=True).frame
    beside = table.frame[table.frame["trial"] == 0].reset_index(drop=True)
    compared = ["images_seen", "d_loss", "g_loss", "score"]
    assert alone[compared].equals(beside[compared])


def test_rows_of_a_real_sweep_are_plain_json_numbers(digits_run):
    for row in JsonLines(RunFolder(digits_run).rows).read():
        may_be_null = ("health.sample_deviation", "parent", *MAY_BE_NULL)
        kinds = {type(value) for name, value in row.items() if name not in may_be_null}
        assert kinds <= {int, float, str}
    csv = ResultsTable.load(digits_run).frame.to_csv(index=False)
    assert len(csv.splitlines()) == 1 + len(pd.read_json(RunFolder(digits_run).rows, lines=True))


def test_the_tiny_settings_are_all_in_the_recorded_spec(digits_run):
    recorded = SweepSpec.from_yaml(RunFolder(digits_run).spec)
    assert recorded.differences(SweepSpec.from_mapping({}, TINY)) == []
    assert len(settings(*TINY)) == 2 * len(TINY)


def test_a_local_sweep_leaves_threads_and_denormals_as_they_were(tmp_path, gan_sweep):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    assert gan_sweep("run", "--local", "--out", tmp_path / "run", *settings(*TINY)).code == 0
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    assert torch.tensor(5e-324, dtype=torch.float64).mul(1).item() > 0


def test_a_run_says_how_its_scores_were_examined(digits_run):
    found = Examination.from_plain(json.loads((digits_run / "examination.json").read_text()))
    assert (found.extractor, found.verdict) == ("classifier", PASSED)
    assert set(ResultsTable.load(digits_run).frame["examination"]) == {PASSED}
