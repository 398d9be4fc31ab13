"""The command line: what each command prints, writes and returns."""

import csv
import itertools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from filelock import FileLock
from lost_compiler import without_compiler
from PIL import Image
from tiny_runs import TINY, settings

from gan_core.native.arithmetic import compiler_here
from gan_core.workshop.one_model import read_metrics
from results.curves import load_curves
from results.store import JsonLines, RunFolder
from results.table import ResultsTable
from search_spaces.space import shipped_spaces
from sweep.run import run_sweep
from sweep.spec.sweep_spec import SweepSpec

COMMANDS = (
    *("run", "watch", "list", "results", "show", "report", "export", "train", "verify", "sample"),
    *("spaces", "data", "dashboard", "doctor"),
)
SECONDS_ALLOWED = 0.5  # of processor time: a busy machine shall fail no test
PROBE = (
    "import sys, atexit; from sweep.commands.cli import main; heavy = {'torch', 'ray', 'optuna', 'sklearn', 'pandas'}\n"
    "atexit.register(lambda: print('loaded', sorted(heavy & set(sys.modules))))\n"
    "sys.exit(main(sys.argv[1:]))"
)


def process(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "sweep.commands.cli", *(str(a) for a in arguments)]


def same_tables(first: Path, second: Path) -> bool:
    frames = [
        ResultsTable.load(run).frame.drop(columns=["seconds", "elapsed_seconds", "device"]) for run in (first, second)
    ]
    return frames[0].equals(frames[1])


def tree(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


@pytest.fixture
def run(digits_run, tmp_path) -> Path:
    """A copy of the finished run."""
    return shutil.copytree(digits_run, tmp_path / "run")


@pytest.fixture(scope="module")
def model(digits_run, tmp_path_factory) -> Path:
    """A model trained by `export` and `train`."""
    from sweep.commands.cli import main

    home = tmp_path_factory.mktemp("model")
    assert main(["export", str(digits_run), "-o", str(home / "best.yaml")]) == 0
    assert main(["train", str(home / "best.yaml"), "-o", str(home / "best"), "--images", "1024"]) == 0
    return home / "best"


# ---- quick answers


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--help"], 0, "COMMAND"),
        *(([command, "--help"], 0, f"usage: gan-sweep {command}") for command in COMMANDS),
        (["run", "--trials", "many"], 2, "--trials"),
        (["nonsense"], 2, "nonsense"),
        (["run", "--set", "trials"], 2, "KEY=VALUE"),
        (["results", "nowhere"], 2, "no run folder"),
    ],
    ids=str,
)
def test_help_and_usage_errors_answer_within_half_a_second_and_load_nothing_heavy(tmp_path, arguments, code, says):
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", PROBE, *arguments], cwd=tmp_path, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == code
        assert says in done.stdout + done.stderr
        assert done.stdout.splitlines()[-1] == "loaded []"
        if seconds[-1] < SECONDS_ALLOWED:
            break
    assert min(seconds) < SECONDS_ALLOWED


def test_the_installed_command_is_this_one(tmp_path):
    installed = Path(sys.executable).with_name("gan-sweep")
    done = subprocess.run([installed, "spaces"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert {line.split()[0] for line in done.stdout.splitlines()} == set(shipped_spaces())


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["runn"],
        ["run", "--trials", "0"],
        ["run", "--trials", "-3"],
        ["run", "--trials", "2.5"],
        ["run", "--bogus"],
        ["run", "a.yaml", "b.yaml"],
        ["results"],
        ["results", "x", "--top", "0"],
        ["export", "x", "--trial", "-1"],
        ["train"],
        ["train", "x", "--images", "0"],
        ["train", "x", "--seed", "-1"],
        ["sample", "x", "-n", "0"],
        ["sample", "x", "-n", "many"],
        ["sample", "x", "--class", "seven"],
        ["sample", "x", "--class", "-1"],
        ["dashboard"],
        ["dashboard", "x", "--port", "99999"],
    ],
    ids=" ".join,
)
def test_a_usage_error_is_one_line_and_exit_2(gan_sweep, arguments):
    answer = gan_sweep(*arguments)
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert answer.err.startswith("gan-sweep")
    assert "--help" in answer.err


def test_a_reader_that_goes_away_is_no_error(digits_run):
    command = f"{sys.executable} -m sweep.commands.cli results {digits_run} -o - --format json | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# ---- run


def test_a_dry_run_prints_spec_space_and_cost_and_writes_nothing(gan_sweep):
    answer = gan_sweep("run", "--dry-run", "--local", *settings("trials=8", "ladder.rungs_images=[100, 300]"))
    assert answer.code == 0
    assert list(Path().iterdir()) == []
    shown = yaml.safe_load(answer.out.partition("digits: ")[0])
    spec = SweepSpec.from_mapping({}, ["trials=8", "ladder.rungs_images=[100, 300]"])
    assert shown == spec.plain()
    assert "lane.generator_lr" in answer.out
    assert "0.0002 .. 0.01 log" in answer.out
    assert "0.2 .. 2 log x lane.generator_lr" in answer.out
    assert "8 trials in 8 cohorts of up to 1 lane, 1 at a time" in answer.out
    assert f"about {spec.ladder.expected_images(8):,} images" in answer.out
    assert "2,400 without pruning" in answer.out
    assert answer.out.splitlines()[-1] == "nothing was started (--dry-run)"


def test_a_dry_run_needs_neither_ray_nor_data(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "run", "--dry-run"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "loaded ['torch']"
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_says_what_memory_the_base_and_the_largest_structure_take(gan_sweep, tmp_path):
    space = {"extends": "digits", "ranges": {"structure.discriminator_width": {"choices": [128, 384]}}}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"space": space, "lanes_per_cohort": 5}))
    answer = gan_sweep("run", "--local", "--dry-run", tmp_path / "sweep.yaml")
    base, largest, whole, time, *_ = answer.out.splitlines()[-7:]
    form = r"{}: a lane keeps (\d+\.\d) MB; a cohort of 5 lanes (\d+\.\d) MB, \d+\.\d MB of it scratch"
    found = [
        re.fullmatch(form.format(title), line)
        for title, line in (("memory, at its most", base), ("its largest structure", largest))
    ]
    (kept, cohort), (largest_kept, largest_cohort) = ([float(n) for n in match.groups()] for match in found if match)
    weights = (64 * 384 + 384 + 384 * 384 + 384 + 384 + 1) - (64 * 128 + 128 + 128 * 128 + 128 + 128 + 1)
    assert largest_kept - kept == pytest.approx(5 * 4 * weights / 1e6, abs=0.2)
    assert cohort > 5 * kept
    assert largest_cohort > 5 * largest_kept
    assert re.fullmatch(r"with \d+ MB of a process itself and 460 kB of data, 1 process about \d+ MB", whole)
    assert time.startswith("time: about ")


def test_a_dry_run_says_once_where_there_is_no_compiler(gan_sweep, monkeypatch):
    from gan_core.native import toolchain

    def says(*changes: str) -> list[str]:
        toolchain.told.cache_clear()
        return gan_sweep("run", "--local", "--dry-run", *settings("trials=2", *changes)).err.splitlines()

    assert says() == []
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None)
    toolchain._found.cache_clear()
    try:
        assert says("execution=replayed") == []
        lines = {execution: says(f"execution={execution}") for execution in ("auto", "compiled")}
    finally:
        toolchain._found.cache_clear()
        toolchain.told.cache_clear()
    warning = "gan-sweep: warning: no C compiler is installed; steps are replayed instead, more slowly"
    assert [line.partition(" (")[0] for said in lines.values() for line in said] == [warning] * 2


def test_a_dry_run_builds_no_lane_that_would_not_fit(gan_sweep):
    wide = settings("structure.generator_width=60000", "trials=4", "lanes_per_cohort=2")
    answer = gan_sweep("run", "--local", "--dry-run", *wide)
    latent = SweepSpec().space.base.structure.latent_size
    rows = 4 * 6 * (latent * 60_000 + 60_000 + 60_000**2 + 60_000 + 64 * 60_000 + 64) / 1e9
    assert answer.code == 0
    assert f"more than {rows:.1f} GB a lane" in answer.out


def test_options_and_settings_reach_the_spec(gan_sweep, tmp_path):
    (tmp_path / "sweep.yaml").write_text("trials: 3\nseed: 4\n")
    options = ("--trials", "6", "--name", "it's a run", "--data-root", tmp_path / "my data", "--set", "seed=5")
    options += ("--skip-corrupt-images", "--set", "scoring.samples=9")
    answer = gan_sweep("run", tmp_path / "sweep.yaml", "--dry-run", *options)
    shown = yaml.safe_load(answer.out.partition("digits: ")[0])
    assert (shown["trials"], shown["seed"], shown["name"]) == (6, 5, "it's a run")
    assert shown["data_root"] == str(tmp_path / "my data")
    assert (shown["skip_corrupt_images"], shown["scoring"]["samples"]) == (True, 9)


def test_hyperparameters_that_go_together_are_set_together(gan_sweep, untimed):
    pair = settings("structure.architecture=gaussian", "structure.dataset=ring")
    answer = gan_sweep("run", "--dry-run", *pair)
    assert (answer.code, answer.err) == (0, "")
    shown = yaml.safe_load(answer.out.partition("digits: ")[0])["space"]["base"]
    assert (shown["structure.architecture"], shown["structure.dataset"]) == ("gaussian", "ring")


def test_a_run_prints_its_progress_its_table_and_the_next_command(gan_sweep, digits_run):
    answer = gan_sweep("run", "--local", "--name", "mine", *settings(*TINY))
    assert answer.code == 0
    assert answer.err == ""
    assert same_tables(Path("runs/mine"), digits_run)
    best = ResultsTable.load("runs/mine").best()
    assert "trials 4/4 done, 0 running" in answer.out
    nearest = f"no trial keeps the limits; nearest: trial {best['trial']}, fidelity {best['score']:.4g}, breaks "
    assert nearest in answer.out  # after 512 images
    assert "defaults (trial 0)" in answer.out
    assert answer.out.splitlines()[-1] == "next: gan-sweep export runs/mine -o best.yaml"
    assert Path("runs/mine/best.png").exists()


def test_the_same_command_on_a_finished_run_says_so_and_trains_nothing(gan_sweep, run):
    before = tree(run)
    answer = gan_sweep("run", "--local", "--out", run, *settings(*TINY))
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"{run} is finished: 4 trials. See them: gan-sweep results {run}\n"
    assert tree(run) == before
    spaced = run.rename("a run")
    answer = gan_sweep("run", "--local", "--out", spaced, *settings(*TINY))
    assert answer.out == "a run is finished: 4 trials. See them: gan-sweep results 'a run'\n"


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        (["trials=5"], ["trials"]),
        (["seed=3", "ladder.keep_fraction=0.75"], ["ladder.keep_fraction", "seed"]),
        (["lane.beta1=0.5"], ["space.base.lane.beta1", "space.ranges.lane.beta1.low"]),
    ],
)
def test_a_run_with_another_spec_is_refused_naming_the_keys(gan_sweep, run, changes, keys):
    before = tree(run)
    answer = gan_sweep("run", "--local", "--out", run, *settings(*TINY, *changes))
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    assert "these keys differ: " + ", ".join(keys) in answer.err
    assert tree(run) == before


def test_where_a_run_finds_its_data_and_devices_may_change(gan_sweep, run, tmp_path):
    changes = (f"data_root={tmp_path}", "resources.cpus_per_cohort=2")
    answer = gan_sweep("run", "--local", "--out", run, *settings(*TINY, *changes))
    assert answer.code == 0
    assert "is finished" in answer.out


def test_an_interrupted_local_run_says_how_to_resume_and_resumes_to_the_undisturbed_table(tmp_path):
    sizes = (*TINY[:4], "ladder.rungs_images=[1024, 4096]", "trials=8", "lanes_per_cohort=2")
    command = process("run", "--local", "--out", "it", *settings(*sizes))
    rows = JsonLines(tmp_path / "it" / "rows.jsonl")
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not rows.read() and first.poll() is None:
        time.sleep(0.005)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert (first.returncode, "Traceback" in said) == (130, False), said
    assert said.strip().startswith(
        "interrupted; what was reported is in it. Go on with: gan-sweep run --local --out it"
    )
    before = rows.read()
    assert before
    assert len({row["trial"] for row in before if row["outcome"] != "running"}) < 8

    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert second.stdout.startswith("going on with it\n")
    assert rows.read()[: len(before)] == before
    run_sweep(SweepSpec.from_mapping({}, sizes), tmp_path / "undisturbed", local=True)
    assert same_tables(tmp_path / "it", tmp_path / "undisturbed")


@pytest.mark.parametrize("name", ["rows.jsonl", "optuna.jsonl"])
def test_a_torn_last_line_is_warned_of_and_the_run_goes_on_to_the_same_table(gan_sweep, run, digits_run, name):
    torn = RunFolder(run).path / name
    rows = RunFolder(run).rows
    rows.write_bytes(b"".join(rows.read_bytes().splitlines(keepends=True)[:-1]))  # not finished any more
    torn.write_bytes(torn.read_bytes() + b'{"trial":')
    answer = gan_sweep("run", "--local", "--out", run, *settings(*TINY))
    assert answer.code == 0, answer.err
    assert (
        answer.err == f"gan-sweep: warning: {torn}: the last line is torn (a writer was killed); 9 bytes are cut off\n"
    )
    assert same_tables(run, digits_run)


# ---- results


def test_results_print_a_line_for_each_trial_best_first(gan_sweep, digits_run):
    answer = gan_sweep("results", digits_run)
    table = ResultsTable.load(digits_run)
    lines = answer.out.splitlines()
    assert answer.code == 0
    assert [int(line.split()[0]) for line in lines[1:-1]] == table.trials["trial"].tolist()
    assert lines[-1] == "best by fidelity (lower is better), each trial at its best rung"
    scores = {"fidelity", "fid", "kid", "precision", "recall", "coverage", "class_kl", "memorisation"}
    assert {"trial", "outcome", "images_seen", "generator_lr", *scores} <= set(lines[0].split())
    assert not {"fid_floor", "violation", "signs", "d_gradient"} & set(lines[0].split())
    assert "latent_size" not in lines[0]  # the same in every trial


def test_signs_stand_in_the_table_the_csv_and_the_json_where_there_are_any(gan_sweep, run):
    rows = JsonLines(RunFolder(run).rows)
    records = rows.read()
    chosen = ResultsTable.load(run).best()
    for record in records:
        if record["trial"] == chosen["trial"]:
            record["signs"] = "oscillation low_coverage"
    rows.path.unlink()
    rows.append(records)
    lines = gan_sweep("results", run).out.splitlines()
    assert "signs" in lines[0].split()
    assert "oscillation low_coverage" in lines[1]
    assert "oscillation" not in "".join(lines[2:])
    gan_sweep("results", run, "-o", "trials.json")
    assert json.loads(Path("trials.json").read_text())[0]["signs"] == "oscillation low_coverage"
    gan_sweep("results", run, "--all-rungs", "-o", "rows.csv")
    with Path("rows.csv").open(newline="") as file:
        signs = {row["trial"]: row["signs"] for row in csv.DictReader(file)}
    assert signs == {str(t): "oscillation low_coverage" if t == chosen["trial"] else "" for t in range(4)}


def test_the_objective_stands_in_the_table_whatever_it_is(gan_sweep, tmp_path):
    sizes = ("trials=2", "lanes_per_cohort=2", "ladder.rungs_images=[100]", "scoring.samples=50")
    command = ("run", "--local", "--out", tmp_path / "ring", *settings("space=ring", "objective=mode_jsd", *sizes))
    out = gan_sweep(*command).out
    assert "best by mode_jsd (lower is better)" in out
    assert "mode_jsd" in next(line for line in out.splitlines() if "outcome" in line).split()


def test_a_sweep_without_a_winner_ends_with_1_and_its_commonest_reason(gan_sweep, tmp_path):
    """A generator that does not change is collapsed if the threshold is above the spread of its initial samples."""
    still = ("lane.generator_lr=0", "health.collapsed_deviation=1e6", "health.collapsed_images=100")
    sizes = ("space=ring", "trials=2", "lanes_per_cohort=2", "ladder.rungs_images=[4000]", "scoring.samples=50")
    answer = gan_sweep("run", "--local", "--out", tmp_path / "dead", *settings(*sizes, *still))
    assert (answer.code, answer.err) == (1, "")
    last = answer.out.splitlines()[-1]
    assert last.startswith("no trial has a score (2 collapsed); collapsed: G ignores its latent")
    again = gan_sweep("run", "--local", "--out", tmp_path / "dead", *settings(*sizes, *still))
    assert (again.code, again.err, again.out.splitlines()[-1]) == (1, "", last)
    results = gan_sweep("results", tmp_path / "dead").out
    assert results.count("collapsed") == 2
    assert "G ignores its latent" in results
    answer = gan_sweep("export", tmp_path / "dead")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "no trial of this run has a score: 2 collapsed" in answer.err


def test_top_leaves_the_best(gan_sweep, digits_run):
    answer = gan_sweep("results", digits_run, "--top", "2")
    assert [int(line.split()[0]) for line in answer.out.splitlines()[1:-1]] == (
        ResultsTable.load(digits_run).trials["trial"].tolist()[:2]
    )


def test_csv_holds_every_row_to_the_last_bit(gan_sweep, digits_run):
    answer = gan_sweep("results", digits_run, "--all-rungs", "-o", "rows.csv")
    frame = ResultsTable.load(digits_run).frame
    assert answer.out == f"{len(frame)} rows in rows.csv\n"
    with Path("rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(frame.columns)
    for column in ("trial", "rung", "score", "d_loss", "health.d_gradient", "seconds", "lane.generator_lr", "seed"):
        assert [float(row[column]) for row in rows] == frame[column].tolist()
    assert [row["reason"] for row in rows] == frame["reason"].tolist()


def test_json_holds_every_trial_to_the_last_bit(gan_sweep, digits_run):
    trials = ResultsTable.load(digits_run).trials
    assert gan_sweep("results", digits_run, "-o", "trials.json").out == f"{len(trials)} trials in trials.json\n"
    records = json.loads(Path("trials.json").read_text())
    health = ("health.discriminator_accuracy", "health.g_gradient", "signs")
    for column in ("trial", "outcome", "reason", "score", "d_loss", *health, "lane.generator_lr", "lane.beta1", "seed"):
        assert [record[column] for record in records] == trials[column].tolist()
    gan_sweep("results", digits_run, "--top", "1", "--columns", "trial,fidelity", "-o", "one.json")
    best = trials.iloc[0]
    assert json.loads(Path("one.json").read_text()) == [
        {"trial": best["trial"], "fidelity.fidelity": best["fidelity.fidelity"]}
    ]


# ---- export, train, sample


def test_an_export_names_the_trial_and_the_next_command(gan_sweep, digits_run):
    best = ResultsTable.load(digits_run).best()
    answer = gan_sweep("export", digits_run)
    assert answer.code == 0
    assert answer.out.startswith(f"Trial {best['trial']} of sweep 'digits': fidelity {best['score']:.4g} at ")
    assert answer.out.splitlines()[-1] == "written to best.yaml; train it: gan-sweep train best.yaml"
    assert yaml.safe_load(Path("best.yaml").read_text())["configuration"]["seed"] == best["seed"]
    answer = gan_sweep("export", digits_run, "-o", "the best.yaml")
    assert answer.out.endswith("written to the best.yaml; train it: gan-sweep train 'the best.yaml'\n")


@pytest.mark.parametrize("trial", [0, 3])
def test_an_export_of_a_trial_is_of_that_trial(gan_sweep, digits_run, trial):
    assert gan_sweep("export", digits_run, "--trial", str(trial), "-o", "deep/er/one.yaml").code == 0
    values = yaml.safe_load(Path("deep/er/one.yaml").read_text())
    assert values["source"]["trial"] == trial
    assert values["configuration"]["seed"] == ResultsTable.load(digits_run).trial(trial)["seed"]


def test_a_models_folder_holds_all_that_a_model_needs(model):
    names = {path.name for path in model.iterdir() if not path.name.startswith(".")}
    wanted = {"generator.safetensors", "state.safetensors", "metrics.csv", "curves.jsonl", "config.yaml", "samples.png"}
    assert names == wanted
    assert [row["images_seen"] for row in read_metrics(model / "metrics.csv")] == [256, 512, 640, 768, 896, 1024]
    assert load_curves(model)["images_seen"].tolist() == [256, 512, 640, 768, 896, 1024]  # each shorter than a block


def test_a_model_says_what_computed_it_and_from_where_on(gan_sweep, model, tmp_path):
    """The training is resumed without a compiler, and then with one again."""
    home, config = shutil.copytree(model, tmp_path / "on"), model.parent / "best.yaml"
    source = yaml.safe_load(config.read_text())["source"]
    known = ("execution", "isa", "compiler", "processor", "code_version")

    def made_by() -> list[dict[str, Any]]:
        return yaml.safe_load((home / "config.yaml").read_text())["model"]["made_by"]

    (first,) = made_by()
    assert first["from_images"] == 0
    assert {name: first[name] for name in known} == {name: source[name] for name in known}
    assert f"torch {torch.__version__.partition('+')[0]}" in first["versions"]
    with without_compiler():
        gan_sweep("train", config, "-o", home, "--images", "1536")
    assert made_by()[0] == first
    assert (made_by()[1]["from_images"], made_by()[1]["execution"]) == (1024, "replayed")
    assert not {"isa", "compiler"} & set(made_by()[1])
    gan_sweep("train", config, "-o", home, "--images", "2048")
    assert made_by()[2] == {**first, "from_images": 1536}
    assert len(made_by()) == 3
    assert yaml.safe_load((home / "config.yaml").read_text())["execution"] == first["execution"]  # as it was begun


@pytest.mark.parametrize(
    ("part", "change", "why"),
    [
        ("score", {"protocol": "another"}, "was computed by another protocol, and is not compared"),
        ("source", {"features_digest": "0123456789ab"}, "was computed with another machine's classifier, and is not"),
    ],
    ids=["protocol", "classifier"],
)
def test_scores_that_cannot_be_compared_are_not(gan_sweep, model, tmp_path, part, change, why):
    values = yaml.safe_load((model.parent / "best.yaml").read_text())
    same = gan_sweep("train", model.parent / "best.yaml", "-o", tmp_path / "same", "--images", "512").out
    assert "reproduces the sweep's" in same
    values[part].update(change)
    Path("other.yaml").write_text(yaml.safe_dump(values))
    said = gan_sweep("train", "other.yaml", "-o", tmp_path / "model", "--images", "512").out
    assert f"  the sweep's score {why}" in said
    assert "reproduces" not in said


def test_a_model_of_an_earlier_version_keeps_what_that_wrote_of_itself(gan_sweep, model, tmp_path):
    home, config = shutil.copytree(model, tmp_path / "on"), model.parent / "best.yaml"
    values = yaml.safe_load((home / "config.yaml").read_text())
    del values["model"]["made_by"]
    values["model"]["code_version"] = "0.0+old"
    (home / "config.yaml").write_text(yaml.safe_dump(values))
    assert gan_sweep("train", config, "-o", home, "--images", "1280").code == 0
    old, new = yaml.safe_load((home / "config.yaml").read_text())["model"]["made_by"]
    assert old == {"from_images": 0, "code_version": "0.0+old"}
    assert (new["from_images"], new["compiler"]) == (1024, compiler_here())


def test_training_goes_on_where_a_model_stands_and_equals_one_that_never_stopped(gan_sweep, model, tmp_path):
    started = shutil.copytree(model, tmp_path / "on")
    config = model.parent / "best.yaml"
    assert gan_sweep("train", config, "-o", started, "--images", "1536").code == 0
    assert gan_sweep("train", config, "-o", tmp_path / "whole", "--images", "1536").code == 0
    mine, theirs = (read_metrics(path / "metrics.csv") for path in (started, tmp_path / "whole"))
    assert [row for row in mine if row in theirs] == theirs
    assert (started / "generator.safetensors").read_bytes() == (tmp_path / "whole/generator.safetensors").read_bytes()


def test_training_a_finished_model_again_changes_nothing(gan_sweep, model, tmp_path):
    home = shutil.copytree(model, tmp_path / "again")
    before = tree(home)
    answer = gan_sweep("train", model.parent / "best.yaml", "-o", home, "--images", "1024")
    assert answer.code == 0
    assert tree(home) == before


def test_another_seed_is_another_model_and_the_file_says_so(gan_sweep, model):
    config = model.parent / "best.yaml"
    assert gan_sweep("train", config, "-o", "other", "--images", "512", "--seed", "1").code == 0
    assert yaml.safe_load(Path("other/config.yaml").read_text())["configuration"]["seed"] == 1
    assert read_metrics(Path("other/metrics.csv"))[0] != read_metrics(model / "metrics.csv")[0]
    answer = gan_sweep("train", config, "-o", "other", "--images", "512", "--seed", "2")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "these differ: seed" in answer.err


def test_an_edited_file_without_its_digest_trains(gan_sweep, model):
    values = yaml.safe_load((model.parent / "best.yaml").read_text())
    del values["data"], values["score"], values["source"], values["versions"]
    values["configuration"]["lane.beta1"] = 0.25
    values["training"] = {"images": 256, "evaluate_at_images": [128]}
    Path("mine.yaml").write_text(yaml.safe_dump(values))
    assert gan_sweep("train", "mine.yaml").code == 0
    assert [row["images_seen"] for row in read_metrics(Path("models/mine/metrics.csv"))] == [128, 192, 256]


def test_other_data_train_where_a_person_says_so_and_the_model_names_them(gan_sweep, model):
    values = yaml.safe_load((model.parent / "best.yaml").read_text())
    here = values["data"]["digest"]
    values["data"]["digest"] = "abc"
    values["training"] = {"images": 64, "evaluate_at_images": [64]}
    Path("mine.yaml").write_text(yaml.safe_dump(values))
    answer = gan_sweep("train", "mine.yaml")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert f"digest {here}, the configuration was found on abc" in answer.err
    assert "--data-root), or train on these with --other-data" in answer.err
    assert gan_sweep("train", "mine.yaml", "--other-data").code == 0
    data = yaml.safe_load(Path("models/mine/config.yaml").read_text())["data"]
    assert data == {"name": "digits", "digest": here, "skip_corrupt_images": False}


def test_an_export_says_how_its_data_are_read_and_training_asks_for_no_more(gan_sweep, tmp_path):
    """A folder of images, one of them damaged, and a space with a single network."""
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (40, 8, 8)).astype(np.uint8)):
        Path("pictures").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(f"pictures/{number}.png")
    Path("pictures/broken.png").write_bytes(b"\x89PNG")
    names = ("structure.dataset=images:pictures", "structure.image_size_pixels=8", "data_root=data")
    sizes = ("trials=1", "lanes_per_cohort=1", "ladder.rungs_images=[64]", "scoring.samples=50")
    small = ("structure.generator_width=4", "structure.discriminator_width=4", "skip_corrupt_images=true")
    assert gan_sweep("run", "--local", "--out", "run", *settings(*names, *sizes, *small)).code == 0
    assert gan_sweep("export", "run").code == 0
    data = yaml.safe_load(Path("best.yaml").read_text())["data"]
    assert (data["root"], data["skip_corrupt_images"]) == (str(Path("data").absolute()), True)
    for command in (["verify", "best.yaml"], ["train", "best.yaml", "--images", "64"]):
        answer = gan_sweep(*command)
        assert (answer.code, "1 of 41 pictures" in answer.err) == (0, True)
    assert yaml.safe_load(Path("models/best/config.yaml").read_text())["data"] == data


def test_training_says_what_it_does_before_the_first_scoring(gan_sweep, model):
    said = gan_sweep("train", model.parent / "best.yaml", "--images", "64").out.splitlines()
    assert said[0] == "loading digits"
    assert "compiling the steps of mlp" in said


def test_the_best_scoring_generator_is_kept_and_not_the_last(gan_sweep, model):
    """With these rates the score rises and falls; the kept generator is that of a training that ends at the best."""
    values = yaml.safe_load((model.parent / "best.yaml").read_text())
    values["configuration"].update({"lane.generator_lr": 0.05, "lane.discriminator_lr": 0.05})
    Path("wild.yaml").write_text(yaml.safe_dump(values))
    assert gan_sweep("train", "wild.yaml", "-o", "long", "--images", "2048").code == 0
    rows = read_metrics(Path("long/metrics.csv"))
    best = min(rows, key=lambda row: row["fidelity.fidelity"])
    assert best["images_seen"] < rows[-1]["images_seen"]
    assert gan_sweep("train", "wild.yaml", "-o", "short", "--images", f"{best['images_seen']:.0f}").code == 0
    kept, expected = (Path(name, "generator.safetensors").read_bytes() for name in ("long", "short"))
    assert kept == expected


def interrupt(command: list[str], cwd: Path, ready: Callable[[], bool]) -> tuple[int, str]:
    """Starts a command, sends SIGINT when `ready` returns true, and returns its exit code and stderr."""
    child = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not ready() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    return child.returncode, said


def test_an_interrupted_training_is_saved_and_the_same_command_ends_it(gan_sweep, model, tmp_path):
    config = model.parent / "best.yaml"
    command = process("train", config, "-o", "it", "--images", "12000")
    metrics = tmp_path / "it/metrics.csv"
    code, said = interrupt(command, tmp_path, lambda: len(read_metrics(metrics)) >= 5)
    assert code == 130
    assert said.strip() == "interrupted; saved in it. The same command goes on from there"
    stood_at = len(read_metrics(metrics))
    assert gan_sweep("train", config, "-o", tmp_path / "it", "--images", "12000").code == 0
    rows = read_metrics(metrics)
    assert 5 <= stood_at < len(rows)
    assert rows[-1]["images_seen"] == 12032


WAITING = """
import sys
from pathlib import Path
from filelock import FileLock
from sweep.commands.cli import main
from sweep.commands.streams import with_streams

acquire = FileLock.acquire

def asks(lock, *arguments, **options):
    if ".safetensors" in lock.lock_file:
        Path("asked").touch()
    return acquire(lock, *arguments, **options)

FileLock.acquire = asks
sys.exit(with_streams(main))
"""


@pytest.mark.parametrize("command", ["train", "run"])
def test_ctrl_c_before_training_has_begun_is_130_without_a_traceback(tmp_path, model, command):
    """Another process holds the lock of the classifier's cache, so both commands wait there until Ctrl-C is pressed."""
    cache = Path(os.environ["GAN_SWEEP_CACHE"])
    arguments = {"train": ["train", model.parent / "best.yaml", "-o", "it"], "run": ["run", "--local", "--out", "it"]}
    with ExitStack() as held:
        for cached in cache.glob("*.safetensors"):  # the digits' classifier is one of them
            held.enter_context(FileLock(f"{cached}.lock"))
        program = [sys.executable, "-c", WAITING, *map(str, arguments[command])]
        code, said = interrupt(program, tmp_path, (tmp_path / "asked").exists)
    assert (code, "Traceback" in said) == (130, False)
    assert said.count("\n") <= 2


@pytest.mark.parametrize("call", ["symlink", "fsync", "rename", "replace", "unlink"])
def test_ctrl_c_in_the_middle_of_a_write_is_130_and_the_run_resumes_to_the_undisturbed_table(
    gan_sweep, digits_run, monkeypatch, call
):
    """Python runs the handler of Ctrl-C between any two bytecodes, also within Optuna's journal and its lock."""
    real, calls, pressed = getattr(os, call), itertools.count(1), []

    def interrupted(*arguments, **named):
        if next(calls) == 7:
            pressed.append(call)
            raise KeyboardInterrupt
        return real(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, interrupted)
        answer = gan_sweep("run", "--local", "--out", "it", *settings(*TINY))
    assert answer.code == (130 if pressed else 0)
    assert answer.err.count("\n") <= 2
    assert gan_sweep("run", "--local", "--out", "it", *settings(*TINY)).code == 0
    assert same_tables(Path("it"), digits_run)


@pytest.mark.parametrize("count", [1, 5, 64])
def test_samples_are_numbers_in_range_and_the_first_of_more_are_the_same(gan_sweep, model, count):
    noun = "sample" if count == 1 else "samples"
    assert gan_sweep("sample", model, "-n", str(count), "-o", "few.npy").out == f"{count} {noun} in few.npy\n"
    gan_sweep("sample", model, "-n", "64", "-o", "many.npy")
    few, many = np.load("few.npy"), np.load("many.npy")
    assert (few.shape, few.dtype) == ((count, 1, 8, 8), np.float32)
    assert np.abs(few).max() <= 1
    assert few.std() > 0.01
    np.testing.assert_allclose(few, many[:count], atol=1e-6)


def test_a_seed_draws_the_same_samples_again_and_another_draws_others(gan_sweep, model):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        gan_sweep("sample", model, "-n", "4", "--seed", str(seed), "-o", f"{name}.npy")
    a, b, c = (np.load(f"{name}.npy") for name in "abc")
    assert (a == b).all()
    assert (a != c).any()


def test_a_grid_is_a_picture(gan_sweep, model):
    assert gan_sweep("sample", model, "-n", "9").code == 0
    with Image.open("grid.png") as picture:
        assert (picture.format, picture.mode) == ("PNG", "L")
        assert picture.width == picture.height >= 256


def test_samples_of_one_dimension_are_a_row_of_numbers(gan_sweep):
    values = {
        "configuration": {
            "structure.architecture": "gaussian",
            "structure.dataset": "gaussian",
            "structure.generator_width": 8,
            "structure.discriminator_width": 8,
            "structure.latent_size": 1,
        },
        "training": {"images": 128, "evaluate_at_images": [128]},
    }
    Path("one.yaml").write_text(yaml.safe_dump(values))
    assert gan_sweep("train", "one.yaml").code == 0
    assert gan_sweep("sample", "models/one", "-n", "1234", "-o", "x.npy").code == 0
    assert np.load("x.npy").shape == (1234,)
    assert np.isfinite(np.load("x.npy")).all()
    assert gan_sweep("sample", "models/one", "-o", "x.png").code == 0
    with Image.open("x.png") as picture:
        assert picture.mode == "P"


@pytest.fixture(scope="module")
def class_model(tmp_path_factory, digits_run) -> Path:
    """A conditional model of the digits after a short training."""
    from sweep.commands.cli import main

    home = tmp_path_factory.mktemp("classes")
    values = {
        "configuration": {
            "structure.architecture": "cgan",
            "structure.dataset": "digits",
            "structure.generator_width": 8,
            "structure.discriminator_width": 10,
            "structure.latent_size": 4,
            "lane.generator_lr": 0.02,
        },
        "training": {"images": 1280, "evaluate_at_images": [1280]},
        "scoring": {"samples": 100},
    }
    (home / "cgan.yaml").write_text(yaml.safe_dump(values))
    assert main(["train", str(home / "cgan.yaml"), "-o", str(home / "cgan")]) == 0
    return home / "cgan"


def test_without_a_class_a_conditional_model_draws_them_in_turn(gan_sweep, class_model):
    """The noise of the latents is the same, so the i-th sample without a class is the i-th one of class i modulo 10."""
    assert gan_sweep("sample", class_model, "-n", "23", "-o", "all.npy").code == 0
    everything = np.load("all.npy")
    for label in range(10):
        assert gan_sweep("sample", class_model, "-n", "23", "--class", str(label), "-o", "one.npy").code == 0
        one = np.load("one.npy")
        np.testing.assert_allclose(one[label::10], everything[label::10], atol=1e-6)
        assert np.abs(one[(label + 1) % 10 :: 10] - everything[(label + 1) % 10 :: 10]).max() > 1e-3


@pytest.mark.parametrize("label", ["10", "12"])
def test_a_class_that_there_is_not_is_refused_in_one_line(gan_sweep, class_model, label):
    answer = gan_sweep("sample", class_model, "--class", label)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"gan-sweep: this generator has no class or code {label}; known: 0 to 9\n"
    assert not Path("grid.png").exists()


def test_a_training_that_dies_is_one_line_again_and_again(gan_sweep):
    """The model is scored once before it dies; the rows of that evaluation stay readable in a second run."""
    values = {
        "configuration": {
            "structure.architecture": "gaussian",
            "structure.dataset": "ring",
            "structure.generator_width": 8,
            "structure.discriminator_width": 8,
            "structure.latent_size": 2,
            "lane.generator_lr": 0.0,
        },
        "training": {"images": 6400, "evaluate_at_images": [640, 6400]},
        "score": {"objective": "mode_jsd"},
        "scoring": {"samples": 50},
        "health": {"collapsed_deviation": 1e6, "collapsed_images": 2000},
    }
    Path("still.yaml").write_text(yaml.safe_dump(values))
    for _ in range(2):
        answer = gan_sweep("train", "still.yaml")
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert "training collapsed at 2,048 images: G ignores its latent" in answer.err
        assert [row["images_seen"] for row in read_metrics(Path("models/still/metrics.csv"))] == [640]
        assert np.isfinite(read_metrics(Path("models/still/metrics.csv"))[0]["fidelity.mode_jsd"])


# ---- spaces


def test_spaces_are_listed_with_what_they_are_about(gan_sweep):
    lines = gan_sweep("spaces").out.splitlines()
    assert [line.split()[0] for line in lines] == shipped_spaces()
    assert all(len(line.split()) > 3 for line in lines)
    assert [line.partition(" ")[2].strip() for line in lines] == [
        SweepSpec.from_mapping({"space": name}).space.about for name in shipped_spaces()
    ]
    assert all(line.endswith(".") for line in lines)


def test_python_m_sweep_is_the_command_with_its_exit_codes():
    for arguments, code in ((["spaces"], 0), (["spaces", "nowhere"], 2)):
        done = [
            subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
            for module in ("sweep", "sweep.commands.cli")
        ]
        assert [one.returncode for one in done] == [code, code]
        assert (done[0].stdout, done[0].stderr) == (done[1].stdout, done[1].stderr)


@pytest.mark.parametrize("name", shipped_spaces())
def test_a_space_is_printed_with_every_hyperparameter_and_its_range(gan_sweep, name):
    out = gan_sweep("spaces", name).out
    space = SweepSpec.from_mapping({"space": name}).space
    for searched, scope in space.ranges.items():
        row = " ".join(out.partition(f"\n{searched} ")[2].split())  # its range may go on in the next line
        assert row.startswith(f"{space.base.flatten()[searched]} {scope}")


def test_a_space_of_ones_own_is_printed_by_its_path(gan_sweep):
    Path("mine.yaml").write_text("about: mine alone\nextends: mlp\nranges: {lane.beta1: null}\n")
    out = gan_sweep("spaces", "mine.yaml").out
    assert out.startswith("mine: mine alone\n")
    assert next(line for line in out.splitlines() if line.startswith("lane.beta1")).split() == ["lane.beta1", "0.9"]
