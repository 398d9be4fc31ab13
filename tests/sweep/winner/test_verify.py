"""`gan-sweep verify`: an exported configuration is trained to its first rung again."""

import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from lost_compiler import without_compiler
from tiny_runs import ROW, TINY, settings

from gan_core.config.reports import LaneReport
from gan_core.lanes.axis import lane_arithmetic
from gan_core.native.isa import executable_isas
from gan_core.workshop.one_model import read_metrics
from gan_core.workshop.workshop import Workshop
from results.rows import Outcome
from results.store import JsonLines, RunFolder
from sweep.spec.sweep_spec import SweepSpec
from sweep.winner.verify import DIFFERS, REPRODUCED, Comparison


@pytest.fixture
def best(gan_sweep, digits_run) -> Path:
    assert gan_sweep("export", digits_run).code == 0
    return Path("best.yaml")


def edited(path: Path, part: str, **changes: Any) -> Path:
    """The exported file, with some values of one part changed."""
    values = yaml.safe_load(path.read_text())
    values[part].update(changes)
    path.write_text(yaml.safe_dump(values))
    return path


# ---- what is compared


@pytest.mark.parametrize(
    ("recorded", "now", "largest", "verdict"),
    [
        ({"fid": 1 / 3, "d_loss": 0.0}, {"fid": 1 / 3, "d_loss": 0.0}, 0.0, "reproduced exactly"),
        ({"fid": 2.0, "d_loss": 1.0}, {"fid": 2.0, "d_loss": 1 + 2e-7}, 2e-7, "reproduced to 6 digits"),
        ({"fid": -1.0}, {"fid": -1.0 - 3e-13}, 3e-13, "reproduced to 12 digits"),
        (
            {"fid": 2.0, "d_loss": 1.0},
            {"fid": 2.5, "d_loss": 1.1},
            0.2,
            "differs: 2 of 2 numbers, fid most (2.0e-01 of it)",
        ),
        (
            {"fid": 1.0, "kid": 1.0},
            {"fid": math.nan, "kid": 1.0},
            math.inf,
            "differs: 1 of 2 numbers, fid most (inf of it)",
        ),
        ({"fid": 0.0}, {"fid": 1e-12}, 1.0, "differs: 1 of 1 numbers, fid most (1.0e+00 of it)"),
    ],
)
def test_numbers_are_compared_relative_to_the_larger_and_the_worst_decides(recorded, now, largest, verdict):
    compared = Comparison(recorded, now)
    assert compared.largest == pytest.approx(largest, rel=1e-3)
    assert compared.verdict() == verdict
    assert compared.reproduced == verdict.startswith("reproduced")


@pytest.mark.parametrize(("difference", "reproduced"), [(0.99e-6, True), (1.01e-6, False)])
def test_what_differs_by_more_than_a_millionth_is_not_reproduced(difference, reproduced):
    assert Comparison({"fid": 1.0}, {"fid": 1.0 - difference}).reproduced == reproduced


def test_the_table_has_a_line_for_each_number_to_its_last_digit():
    lines = Comparison({"fid": 0.1 + 0.2, "d_loss": 1.0}, {"fid": 0.1 + 0.2, "d_loss": 2.0}).table().splitlines()
    assert [line.split() for line in lines] == [
        ["name", "recorded", "now", "difference"],
        ["fid", "0.30000000000000004", "0.30000000000000004", "0"],
        ["d_loss", "1.0", "2.0", "5.0e-01"],
    ]


# ---- the command


def test_a_trial_of_a_cohort_is_reproduced_exactly_alone(gan_sweep, best):
    """The sweep had two lanes per array and this has one; the result is bitwise the same."""
    answer = gan_sweep("verify", best)
    assert (answer.code, answer.err) == (REPRODUCED, "")
    lines = answer.out.splitlines()
    assert lines[0] == "training to 256 images"
    assert lines[-1] == "reproduced exactly"
    recorded = yaml.safe_load(best.read_text())["first_rung"]
    shown = {line.split()[0]: line.split()[1:] for line in lines[2:-1]}
    assert set(shown) == set(recorded) - {"images_seen"}
    assert {"d_loss", "g_loss", "fidelity", "fid"} <= set(shown)
    assert all(values == [repr(recorded[name])] * 2 + ["0"] for name, values in shown.items())


@pytest.mark.parametrize("trial", range(4))
def test_every_trial_of_a_run_is_reproduced_from_its_export(gan_sweep, digits_run, trial):
    assert gan_sweep("export", digits_run, "--trial", str(trial), "-o", "one.yaml").code == 0
    assert gan_sweep("verify", "one.yaml").out.splitlines()[-1] == "reproduced exactly"


def test_of_a_schedule_what_was_in_force_on_the_way_to_the_first_rung_is_trained(gan_sweep, best):
    values = yaml.safe_load(best.read_text())
    rate = "lane.generator_lr"
    found, later = values["configuration"][rate], 2 * values["configuration"][rate]
    segments = [{"from_images": 0, rate: found}, {"from_images": 256, rate: later}]
    best.write_text(yaml.safe_dump({**values, "configuration": {**values["configuration"], rate: later}}))
    assert gan_sweep("verify", best).code == DIFFERS
    best.write_text(yaml.safe_dump({**yaml.safe_load(best.read_text()), "schedule": segments}))
    assert gan_sweep("verify", best).out.splitlines()[-1] == "reproduced exactly"


def test_what_was_replayed_is_replayed_again(gan_sweep, tmp_path):
    sizes = [s for s in TINY if not s.startswith(("trials", "ladder"))]
    command = settings(*sizes, "trials=1", "ladder.rungs_images=[256]", "execution=replayed")
    assert gan_sweep("run", "--local", "--out", tmp_path / "run", *command).code == 0
    gan_sweep("export", tmp_path / "run")
    assert yaml.safe_load(Path("best.yaml").read_text())["execution"] == "replayed"
    assert gan_sweep("verify", "best.yaml").out.splitlines()[-1] == "reproduced exactly"
    edited_values = {**yaml.safe_load(Path("best.yaml").read_text()), "execution": "compiled"}
    Path("best.yaml").write_text(yaml.safe_dump(edited_values))
    said = gan_sweep("verify", "best.yaml").out.splitlines()
    assert "  execution: replayed then, compiled now" in said
    assert "reproduced exactly" not in said


@pytest.mark.parametrize("change", [{"seed": 5}, {"lane.generator_lr": 0.04}], ids=str)
def test_another_configuration_differs_and_the_file_is_suspected(gan_sweep, best, change):
    answer = gan_sweep("verify", edited(best, "configuration", **change))
    assert (answer.code, answer.err) == (DIFFERS, "")
    assert re.search(r"^differs: \d+ of \d+ numbers, \w+ most", answer.out, re.MULTILINE)
    assert "device, isa, compiler, versions and protocol are the same: was the file edited?" in answer.out


def test_a_difference_names_the_device_the_versions_the_code_and_the_protocol_that_are_others(gan_sweep, best):
    edited(best, "source", device="cpu of another kind, 2 lanes a call", code_version="0.0+old")
    edited(best, "versions", torch="1.0", optuna="1.0")
    edited(best, "score", protocol="another")
    edited(best, "first_rung", fid=1e9)
    out = gan_sweep("verify", best).out
    said = [line.strip() for line in out[out.index("differs") :].splitlines()[1:]]
    assert "device: cpu of another kind then, cpu now" in said
    assert any(re.fullmatch(r"code: 0\.0\+old then, \S+ now", line) for line in said)
    assert any(re.fullmatch(r"torch: 1\.0 then, \S+ now", line) for line in said)
    assert any(line.startswith("protocol: another then, ") for line in said)
    assert not any(line.startswith(("optuna", "numpy", "device, versions")) for line in said)


def test_where_the_last_digits_alone_differ_what_was_otherwise_is_said_and_nobody_is_suspected(gan_sweep, best):
    found = yaml.safe_load(best.read_text())["first_rung"]["fid"]
    edited(best, "first_rung", fid=found * (1 + 5e-10))
    answer = gan_sweep("verify", best)
    assert (answer.code, answer.out.splitlines()[-1]) == (REPRODUCED, "reproduced to 9 digits")
    edited(best, "source", compiler="clang 14.0.6")
    answer = gan_sweep("verify", best)
    assert answer.code == REPRODUCED
    assert answer.out.splitlines()[-1].startswith("  compiler: clang 14.0.6 then, ")


def reasons(out: str) -> list[str]:
    return [line.strip() for line in out[out.index("differs") :].splitlines()[1:]]


def test_a_difference_names_the_isa_the_compiler_the_execution_the_processor_and_the_features(gan_sweep, best):
    here = yaml.safe_load(best.read_text())["source"]
    others = {"execution": "eager", "isa": "sve", "compiler": "clang 14.0.6", "processor": "Graviton, SVE256"}
    edited(best, "source", **others, features_digest="0123456789ab", device="cpu, eager, 1 lanes a call")
    edited(best, "first_rung", fid=1e9)
    assert reasons(gan_sweep("verify", best).out) == [
        f"execution: eager then, {here['execution']} now",
        f"isa: sve then, {here['isa']} now",
        f"compiler: clang 14.0.6 then, {here['compiler']} now",
        f"processor: Graviton, SVE256 then, {here['processor']} now",
        f"classifier of the scores: 0123456789ab then, {here['features_digest']} now",
    ]


def test_of_an_isa_that_this_processor_has_too_it_is_said_how_to_take_it(gan_sweep, best):
    now = yaml.safe_load(best.read_text())["source"]["isa"]
    others = [isa.name for isa in executable_isas() if isa.name != now]
    if not others:
        pytest.skip("this processor executes one instruction set")
    edited(best, "source", isa=others[0])
    edited(best, "first_rung", fid=1e9)
    said = reasons(gan_sweep("verify", best).out)
    assert said[0] == f"isa: {others[0]} then, {now} now"
    assert said[1].startswith(f"this processor has {others[0]} too: GAN_SWEEP_ISA={others[0]} gan-sweep verify")
    assert len(said) == 2


def test_what_the_first_rung_was_computed_by_counts_where_later_ones_were_not(gan_sweep, best):
    edited(best, "source", at_first_rung={"compiler": "gcc 4.8.5", "versions": {"torch": "1.0"}})
    edited(best, "first_rung", fid=1e9)
    said = reasons(gan_sweep("verify", best).out)
    assert [line.partition(" now")[0].partition(", ")[0] for line in said] == [
        "torch: 1.0 then",
        "compiler: gcc 4.8.5 then",
    ]


def test_without_a_compiler_what_was_compiled_is_replayed_and_verify_says_so(gan_sweep, best):
    here = yaml.safe_load(best.read_text())["source"]
    with without_compiler():
        answer = gan_sweep("verify", edited(best, "first_rung", fid=1e9))
    gone = [f"isa: {here['isa']} then, none now", f"compiler: {here['compiler']} then, none now"]
    if here["execution"] == "compiled":  # which on some machines is the slower way
        gone.insert(0, "execution: compiled then, replayed now")
        assert "no C compiler is installed; steps are replayed instead" in answer.err
    assert reasons(answer.out) == gone


def test_a_file_of_an_earlier_version_is_verified_and_what_it_does_not_say_is_said(gan_sweep, best):
    values = yaml.safe_load(best.read_text())
    for name in ("execution", "isa", "compiler", "processor", "features_digest"):
        del values["source"][name]
    values["source"]["device"] = "cpu, 2 lanes a call"
    best.write_text(yaml.safe_dump(values))
    assert gan_sweep("verify", best).out.splitlines()[-1] == "reproduced exactly"
    said = reasons(gan_sweep("verify", edited(best, "first_rung", fid=1e9)).out)
    assert said == ["an earlier version wrote the file, which does not say isa, compiler and execution"]


def test_a_training_that_dies_differs_and_says_how(gan_sweep, best):
    edited(best, "configuration", **{"lane.generator_lr": 0.0})
    edited(best, "health", collapsed_deviation=1e6, collapsed_images=100)
    edited(best, "first_rung", images_seen=4096)  # lanes are asked whether they live after every 32 steps
    answer = gan_sweep("verify", best)
    assert answer.code == DIFFERS
    assert "training collapsed: G ignores its latent" in answer.out
    assert "nan" in answer.out


def test_a_number_that_is_not_measured_any_more_differs(gan_sweep, best):
    answer = gan_sweep("verify", edited(best, "first_rung", forgotten_score=1.0))
    assert answer.code == DIFFERS
    assert "forgotten_score most (inf of it)" in answer.out


@pytest.mark.parametrize("kept", [{}, {"images_seen": 256}], ids=str)
def test_a_file_without_a_first_rung_is_refused_in_one_line(gan_sweep, best, kept):
    values = {**yaml.safe_load(best.read_text()), "first_rung": kept}
    best.write_text(yaml.safe_dump(values))
    answer = gan_sweep("verify", best)
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert "no numbers under first_rung; write it with `gan-sweep export` of this version" in answer.err


def test_other_data_are_refused_in_one_line(gan_sweep, best):
    answer = gan_sweep("verify", edited(best, "data", digest="other"))
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert "the configuration was found on other" in answer.err


def test_an_execution_that_there_is_not_is_refused_in_one_line(gan_sweep, best):
    best.write_text(yaml.safe_dump({**yaml.safe_load(best.read_text()), "execution": "compield"}))
    answer = gan_sweep("verify", best)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "unknown execution 'compield'; did you mean 'compiled'" in answer.err


# ---- a population


def population_run(path: Path) -> list[list[LaneReport]]:
    """The folder of a population of two members on three rungs, who copy each other once, and their reports.

    The scores are made up, so that the last rung is the best of each member by an objective without limits.
    """
    spec = SweepSpec.from_mapping({"population": {}}, [*TINY, "ladder.rungs_images=[256, 512, 768]"])
    members = [replace(spec.space.base, seed=seed) for seed in (11, 22)]
    array = Workshop(spec.conditions(), "cpu").build(members)
    parents, reports, rows = ({0: 1}, {1: 0}, {}), [], []
    for rung, (images, parent) in enumerate(zip(spec.ladder.rungs_images, parents, strict=True)):
        reports.append(array.train_to(images))
        rows += [
            replace(
                ROW,
                **{"trial": trial, "rung": rung, "images_seen": images, "parent": parent.get(trial)},
                **{"outcome": Outcome.COMPLETED if rung == 2 else Outcome.RUNNING, "score": 10.0 - rung},
                **{"d_loss": report.d_loss, "g_loss": report.g_loss, "device": report.device, "objective": "fid"},
                **{"fidelity": report.fidelity.values, "protocol": report.fidelity.protocol},
                **{"data_digest": report.fidelity.data_digest, "hyperparameters": members[trial].flatten()},
            ).flat()
            for trial, report in enumerate(reports[-1])
        ]
        for child, donor in parent.items():
            rate = members[donor].lane.generator_lr * 0.8
            members[child] = replace(members[donor], lane=replace(members[donor].lane, generator_lr=rate))
        array.take_over([parent.get(trial, trial) for trial in (0, 1)], members)
    folder = RunFolder(path).create()
    folder.spec.write_text(spec.to_yaml())
    JsonLines(folder.rows).append(rows)
    return reports


@pytest.mark.parametrize(("trial", "led"), [(0, [1, 0, 0]), (1, [1, 0, 1])])
def test_a_member_of_a_population_trains_from_its_export_to_what_its_lineage_measured(gan_sweep, tmp_path, trial, led):
    """Its state came first from trial 1, then from trial 0; what counts is the way to its last rung."""
    with lane_arithmetic():
        reports = population_run(tmp_path / "run")
    assert gan_sweep("export", tmp_path / "run", "--trial", str(trial)).code == 0
    values = yaml.safe_load(Path("best.yaml").read_text())
    assert (values["source"]["lineage"], values["configuration"]["seed"]) == (led, 22)
    assert [segment["from_images"] for segment in values["schedule"]] == [0, 256, 512][: 2 + trial]
    assert gan_sweep("verify", "best.yaml").out.splitlines()[-1] == "reproduced exactly"
    assert gan_sweep("train", "best.yaml", "-o", "model", "--images", "768").code == 0
    trained = read_metrics(Path("model/metrics.csv"))
    for row, rung, owner in zip(trained, reports, led, strict=True):
        report = rung[owner]
        measured = {"d_loss": report.d_loss, "g_loss": report.g_loss, "fidelity.fid": report.fidelity.values["fid"]}
        assert {name: row[name] for name in measured} == measured
    assert reports[2][0].d_loss != reports[2][1].d_loss


# ---- what a person sees of other seeds


def test_results_show_the_finalists_from_other_seeds_below_the_trials(gan_sweep, digits_run, tmp_path):
    run = shutil.copytree(digits_run, tmp_path / "run")
    rows = JsonLines(RunFolder(run).rows)
    last = [record for record in rows.read() if record["rung"] == 1]
    assert len(last) >= 2
    kept = {"outcome": "completed", "fidelity.violation": 0.0}
    rows.append(
        {**record, **kept, "replicate": number, "rung": 0, "score": record["trial"] + number / 4}
        for record in last
        for number in (1, 2)
    )
    before, after = (gan_sweep("results", path).out for path in (digits_run, run))
    assert after.startswith(before)
    added = after.removeprefix(before).splitlines()
    assert added[0] == ""
    assert added[2].split()[:4] == ["trial", "seeds", "failed", "median"]
    first, second = sorted(record["trial"] for record in last)[:2]
    assert added[-1].startswith(f"trial {first} before trial {second}: median ")
    assert gan_sweep("export", run).out.startswith(f"Trial {first} of sweep")
