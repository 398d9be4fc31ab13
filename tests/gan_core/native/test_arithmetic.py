"""What a report says it ran on: how steps were really carried out, in which instruction set, by which compiler."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest
import torch
from lost_compiler import without_compiler
from tiny_arrays import configs_of, structure_of, trained
from tiny_runs import isa_here

from gan_core.config.arithmetic import Arithmetic
from gan_core.config.conditions import Conditions, Execution, ScoringConfig
from gan_core.config.gan import GanConfig
from gan_core.config.reports import LaneReport
from gan_core.config.structure import StructureConfig
from gan_core.config.version import code_version
from gan_core.data.dataset import Dataset
from gan_core.native.arithmetic import arithmetic_here, compiler_here, compiler_name, installed_versions, processor_name
from gan_core.workshop.workshop import Workshop

pytestmark = pytest.mark.usefixtures("arithmetic")
VALUES = StructureConfig(architecture="gaussian", dataset="gaussian", generator_width=5, discriminator_width=5)
IMAGES = StructureConfig(architecture="mlp", dataset="digits", generator_width=5, discriminator_width=5, batch_size=16)
GNU = "\nCopyright (C) 2022 Free Software Foundation, Inc.\nThis is free software; see the source\n"


def reported(structure: StructureConfig, execution: Execution = "compiled") -> LaneReport:
    scoring = ScoringConfig(samples=50, features="pca" if structure is IMAGES else "auto")
    conditions = Conditions(dataset=structure.dataset, scoring=scoring, execution=execution)
    return Workshop(conditions, "cpu").build([GanConfig(structure=structure)]).train_to(32)[0]


def test_the_processor_and_the_compiler_are_named_by_what_they_call_themselves():
    assert processor_name()
    assert processor_name() == processor_name().strip()
    assert re.fullmatch(r"((gcc|clang) \d+(\.\d+)+)?", compiler_here())  # of those that the suite is run with


@pytest.mark.parametrize("execution", ["compiled", "replayed", "eager"])
def test_a_report_says_how_steps_were_carried_out_and_what_was_computed_in_c(execution: Execution):
    report = reported(VALUES, execution)
    in_c = execution == "compiled"
    assert report.arithmetic.execution == execution
    assert report.arithmetic.isa == (isa_here() if in_c else "")
    assert report.arithmetic.compiler == (compiler_here() if in_c else "")
    assert re.fullmatch(rf"cpu, {execution}, \d+ lanes a call", report.device)
    assert report.arithmetic.code_version == code_version()
    assert f"torch {torch.__version__.partition('+')[0]}" in report.arithmetic.versions
    assert report.arithmetic.processor.endswith(f", {torch.backends.cpu.get_cpu_capability()}")


def test_scores_of_images_are_in_c_also_where_steps_are_replayed():
    made = reported(IMAGES, "replayed").arithmetic
    assert (made.execution, made.isa, made.compiler) == ("replayed", isa_here(), compiler_here())


def test_a_classifier_of_the_same_name_that_was_trained_otherwise_is_told_apart(tmp_path, monkeypatch):
    """As on another machine: the name is a hash of data and recipe, and another rounding leads to other weights. What
    was kept of the one is not read for the other.
    """
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path))
    found = []
    for steps in (20, 20, 21):
        monkeypatch.setattr("gan_core.fidelity.features.classifier.STEPS", steps)
        scoring = ScoringConfig(features="classifier", samples=50)
        scorer = Workshop(Conditions(dataset="digits", scoring=scoring), "cpu").scorer
        found.append((scorer.protocol, scorer.features_digest))
        (kept,) = tmp_path.glob("classifier*.safetensors")
        kept.unlink()
    assert found[0] == found[1]
    assert found[0][0] != found[2][0]
    assert found[0][0].replace(found[0][1], "") == found[2][0].replace(found[2][1], "")
    assert found[0][1] != found[2][1]
    assert re.fullmatch("[0-9a-f]{12}", found[0][1])
    assert len(list(tmp_path.glob("reference-*.safetensors"))) == 2 * 2  # of 50 samples, and of what is examined


def test_a_report_of_images_names_the_weights_of_their_classifier_and_one_of_numbers_has_none():
    assert reported(VALUES).fidelity.features_digest == reported(VALUES).columns()["features_digest"] == ""
    report = reported(IMAGES)
    assert len(report.columns()["features_digest"]) == 12
    assert report.columns().items() >= report.arithmetic.known().items()


def test_what_is_not_known_in_c_was_replayed_whatever_was_asked_for(few: Callable[[str], Dataset], monkeypatch):
    case = "mlp spectral r1 sum"
    monkeypatch.setattr("gan_core.execution.function_calls.LARGEST_PRODUCT", 5 * 9 * 32)
    array = trained(configs_of(case)[:1], few(structure_of(case).dataset), torch.float32, 1, execution="compiled")
    made = array.arithmetic()
    assert (made.execution, made.isa, made.compiler) == ("replayed", "", "")


def test_without_a_compiler_a_row_says_that_steps_were_replayed_and_that_nothing_was_in_c():
    with without_compiler(), pytest.warns(UserWarning, match="no C compiler is installed; steps are replayed"):
        report = reported(IMAGES)
    made = report.arithmetic
    assert (made.execution, made.isa, made.compiler) == ("replayed", "", "")
    assert report.device.startswith("cpu, replayed, ")


def test_before_its_first_step_nothing_is_said_of_an_arrays_steps(few: Callable[[str], Dataset]):
    case = "gaussian moments least_squares"
    array = trained(configs_of(case)[:1], few("gaussian"), torch.float32, 0, execution="compiled")
    assert array.arithmetic().execution == ""
    assert array.arithmetic().isa == ""


def test_lanes_that_die_say_what_they_died_of_on_what():
    workshop = Workshop(Conditions(dataset="gaussian", scoring=ScoringConfig(samples=50)), "cpu")
    array = workshop.build([GanConfig(structure=VALUES, seed=seed) for seed in range(2)])
    array.array.state.generator.flat[1] = torch.nan
    living, dead = array.train_to(32 * VALUES.batch_size)
    assert (living.death, dead.death is None) == (None, False)
    assert living.arithmetic == dead.arithmetic
    assert dead.arithmetic.execution == "compiled"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("cc (Debian 12.2.0-14+deb12u1) 12.2.0" + GNU, "gcc 12.2.0"),
        ("gcc-12 (Ubuntu 12.3.0-1ubuntu1~22.04) 12.3.0" + GNU, "gcc 12.3.0"),
        ("gcc (GCC) 11.4.1 20231218 (Red Hat 11.4.1-3)" + GNU, "gcc 11.4.1"),
        ("x86_64-linux-gnu-gcc (GCC) 15.1" + GNU, "gcc 15.1"),
        ("Debian clang version 14.0.6\nTarget: x86_64-pc-linux-gnu\n", "clang 14.0.6"),
        ("Apple clang version 15.0.0 (clang-1500.3.9.4)\n", "clang 15.0.0"),
        ("clang version 20.1.0-rc2 (https://example.org/llvm 1234567)\n", "clang 20.1.0"),
        ("tcc version 0.9.27 (x86_64 Linux)\n", "tcc version 0.9.27 (x86_64 Linux)"),
        ("", ""),
    ],
)
def test_a_compiler_is_named_by_its_kind_and_version_alone(said: str, name: str):
    assert compiler_name(said) == name


def test_a_report_comes_back_from_json_with_its_arithmetic_and_an_earlier_versions_without():
    report = replace(reported(VALUES), health={})  # where a NaN equals nothing
    plain = json.loads(json.dumps(asdict(report)))
    assert LaneReport.from_plain(plain) == report
    del plain["arithmetic"], plain["fidelity"]["features_digest"]
    earlier = LaneReport.from_plain(plain)
    assert earlier == replace(report, arithmetic=Arithmetic())


def test_what_is_computed_here_has_the_fields_of_its_part_alone():
    of_gpu = arithmetic_here("cuda graph", "a card", in_c=False)
    assert (of_gpu.isa, of_gpu.compiler, of_gpu.processor) == ("", "", "a card")
    assert set(of_gpu.known()) == {"execution", "processor", "code_version", "versions"}
    assert of_gpu.versions == ", ".join(f"{name} {number}" for name, number in installed_versions().items())
    assert Arithmetic().known() == {}
