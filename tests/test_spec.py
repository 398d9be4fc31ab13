"""SweepSpec: the one description of a sweep, what it refuses, and what forbids resuming."""

import math
from dataclasses import replace

import pytest
from curve_array import CURVE_SPACE

from gan_core.config import LARGEST_SEED, InputError
from search_spaces.space import SearchSpace, shipped_spaces
from sweep.spec import IMAGE_OBJECTIVES, LARGEST_AUTO_COHORT, VALUE_OBJECTIVES, Resources, SweepSpec

SPEC_KEYS = [
    "name",
    "space",
    "trials",
    "ladder",
    "lanes_per_cohort",
    "objective",
    "sampler",
    "seed",
    "data_root",
    "resources",
]


def refused(values, *assignments: str) -> str:
    with pytest.raises(InputError) as refusal:
        SweepSpec.from_mapping(values, assignments)
    message = str(refusal.value)
    assert "\n" not in message
    return message


def test_without_anything_a_sweep_is_the_promised_one():
    spec = SweepSpec.from_mapping({})
    assert spec == SweepSpec()
    assert spec.space.base.structure.dataset == "digits"
    assert spec.space.base.structure.architecture == "mlp"
    assert spec.trials == 32
    assert len(spec.ladder) >= 3
    assert spec.score_name() == "fid"
    assert (spec.lanes_per_cohort, spec.sampler, spec.seed, spec.data_root) == ("auto", "tpe", 0, None)


def test_the_keys_of_a_spec_are_the_documented_ones():
    assert list(SweepSpec().plain()) == SPEC_KEYS


def test_a_file_is_read_and_names_the_run(tmp_path):
    path = tmp_path / "nightly.yaml"
    path.write_text("space: gaussian\ntrials: 7\nladder: {rungs_images: [10, 20], keep_fraction: 0.25}\nseed: 5\n")
    spec = SweepSpec.from_yaml(path)
    assert (spec.name, spec.trials, spec.seed) == ("nightly", 7, 5)
    assert spec.ladder.rungs_images == (10, 20)
    assert spec.ladder.keep_fraction == 0.25
    assert spec.space == SearchSpace.load("gaussian")


@pytest.mark.parametrize(
    ("values", "name"),
    [({"space": "gaussian"}, "gaussian"), ({"space": "gaussian", "name": "mine"}, "mine"), ({}, "digits")],
)
def test_a_run_is_named_by_its_spec_or_its_space(values, name):
    assert SweepSpec.from_mapping(values).name == name


def test_a_ladder_key_that_is_not_given_keeps_its_default():
    default = SweepSpec().ladder
    assert SweepSpec.from_mapping({"ladder": {"keep_fraction": 0.5}}).ladder.rungs_images == default.rungs_images
    assert SweepSpec.from_mapping({"ladder": {"rungs_images": [8]}}).ladder.keep_fraction == default.keep_fraction


ROUND_TRIPS = [
    *({"space": name} for name in shipped_spaces()),
    {"space": CURVE_SPACE, "trials": 3, "lanes_per_cohort": 2, "objective": "class_kl", "sampler": "random"},
    {"ladder": {"rungs_images": [1, 7, 1_000_000], "keep_fraction": 1 / 3}, "seed": LARGEST_SEED},
    {"resources": {"gpus_per_cohort": 0.25, "cpus_per_cohort": 2}, "data_root": "~/data: 'a'"},
    {"space": {"extends": "mlp", "ranges": {"lane.beta1": {"low": 0.0, "high": 0.9, "step": 0.1}}}},
    {"name": "2026-01-02", "ladder": {"keep_fraction": 1}},
]


@pytest.mark.parametrize("values", ROUND_TRIPS, ids=str)
def test_a_resolved_spec_reads_back_without_a_difference(tmp_path, values):
    spec = SweepSpec.from_mapping(values)
    path = tmp_path / "spec.yaml"
    path.write_text(spec.to_yaml())
    again = SweepSpec.from_yaml(path)
    assert spec.differences(again) == []
    assert again.differences(spec) == []
    assert again.plain() == spec.plain()
    assert again.space.distributions() == spec.space.distributions()
    assert again.data_root == spec.data_root
    assert again.resources == spec.resources


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("trials=8", ("trials",), 8),
        ("seed=9", ("seed",), 9),
        ("sampler=random", ("sampler",), "random"),
        ("lanes_per_cohort=auto", ("lanes_per_cohort",), "auto"),
        ("ladder.keep_fraction=0.125", ("ladder", "keep_fraction"), 0.125),
        ("ladder.rungs_images=[5, 6]", ("ladder", "rungs_images"), [5, 6]),
        ("resources.gpus_per_cohort=0.5", ("resources", "gpus_per_cohort"), 0.5),
        ("lane.beta1=0.25", ("space", "base", "lane.beta1"), 0.25),
        ("lane.generator_lr=1e-4", ("space", "base", "lane.generator_lr"), 1e-4),
        ("structure.loss=hinge", ("space", "base", "structure.loss"), "hinge"),
        ("data_seed=12", ("space", "base", "data_seed"), 12),
        ("space=gaussian", ("space", "base", "structure.dataset"), "gaussian"),
        (" trials = 8 ", ("trials",), 8),
    ],
)
def test_an_assignment_sets_the_key_it_names(assignment, path, value):
    found = SweepSpec.from_mapping({}, [assignment]).plain()
    for key in path:
        found = found[key]
    assert found == value


def test_an_assigned_hyperparameter_is_no_longer_searched():
    spec = SweepSpec.from_mapping({}, ["lane.beta1=0.25", "structure.generator_width=48"])
    assert not {"lane.beta1", "structure.generator_width"} & set(spec.space.ranges)
    assert len(spec.space.ranges) == len(SweepSpec().space.ranges) - 2


def test_a_later_assignment_wins_over_an_earlier_one_and_over_the_file(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("trials: 3\nladder: {rungs_images: [7, 9], keep_fraction: 0.5}\n")
    spec = SweepSpec.from_yaml(path, ["trials=4", "trials=5", "ladder.keep_fraction=0.25"])
    assert spec.trials == 5
    assert (spec.ladder.rungs_images, spec.ladder.keep_fraction) == ((7, 9), 0.25)


@pytest.mark.parametrize(
    ("assignments", "keys"),
    [
        ([], []),
        (["trials=9"], ["trials"]),
        (["ladder.keep_fraction=0.9"], ["ladder.keep_fraction"]),
        (["ladder.rungs_images=[1, 2]", "seed=1"], ["ladder.rungs_images", "seed"]),
        (["name=other"], ["name"]),
        (["structure.latent_size=7"], ["space.base.structure.latent_size"]),
        (["data_root=/elsewhere", "resources.gpus_per_cohort=0.5", "resources.cpus_per_cohort=2"], []),
    ],
)
def test_differences_are_dotted_keys_but_for_where_a_sweep_runs(assignments, keys):
    here, there = SweepSpec.from_mapping({}), SweepSpec.from_mapping({}, assignments)
    assert here.differences(there) == keys
    assert there.differences(here) == keys


def test_a_fixed_hyperparameter_differs_in_its_range_too():
    keys = SweepSpec().differences(SweepSpec.from_mapping({}, ["lane.beta1=0.25"]))
    assert keys == ["space.base.lane.beta1", "space.ranges.lane.beta1.low", "space.ranges.lane.beta1.high"]


BAD_VALUES = {
    "unknown key": ({"trails": 3}, ["unknown key 'trails'", "did you mean 'trials'"]),
    "far key": ({"q": 3}, ["unknown key 'q'", "name, space, trials"]),
    "number as a key": ({5: 3}, ["unknown key '5'"]),
    "name of a path": ({"name": "a/b"}, ["folder's name", "'a/b'"]),
    "name upwards": ({"name": ".."}, ["folder's name"]),
    "no name": ({"name": ""}, ["folder's name"]),
    "name no text": ({"name": 5}, ["folder's name", "5"]),
    "no trials": ({"trials": 0}, ["trials", "at least 1", "0"]),
    "trials as text": ({"trials": "many"}, ["trials", "whole number", "'many'"]),
    "trials as truth": ({"trials": True}, ["trials", "whole number", "True"]),
    "part of a trial": ({"trials": 1.5}, ["trials", "whole number", "1.5"]),
    "no lanes": ({"lanes_per_cohort": 0}, ["lanes_per_cohort", "'auto'", "0"]),
    "lanes as text": ({"lanes_per_cohort": "few"}, ["lanes_per_cohort", "'few'"]),
    "lanes as truth": ({"lanes_per_cohort": True}, ["lanes_per_cohort", "True"]),
    "sampler near": ({"sampler": "tpee"}, ["unknown sampler 'tpee'", "did you mean 'tpe'"]),
    "sampler far": ({"sampler": "cma"}, ["unknown sampler 'cma'", "tpe, random"]),
    "sampler as a list": ({"sampler": ["tpe"]}, ["unknown sampler"]),
    "seed below zero": ({"seed": -1}, ["seed", "from 0 to", "-1"]),
    "seed too large": ({"seed": LARGEST_SEED + 1}, ["seed", str(LARGEST_SEED)]),
    "seed as text": ({"seed": "x"}, ["seed", "whole number", "'x'"]),
    "data root as a number": ({"data_root": 5}, ["data_root", "folder", "5"]),
    "objective near": ({"objective": "fidd"}, ["unknown objective 'fidd'", "did you mean 'fid'"]),
    "objective of the other data": ({"objective": "wasserstein"}, ["unknown objective", "digits", "fid, class_kl"]),
    "objective as a list": ({"objective": ["fid"]}, ["unknown objective"]),
    "ladder no mapping": ({"ladder": [1, 2]}, ["ladder", "rungs_images", "[1, 2]"]),
    "ladder null": ({"ladder": None}, ["ladder", "None"]),
    "ladder key": ({"ladder": {"rungs": [1]}}, ["unknown key 'rungs'", "rungs_images"]),
    "rungs no list": ({"ladder": {"rungs_images": 5}}, ["rungs_images", "list", "5"]),
    "no rungs": ({"ladder": {"rungs_images": []}}, ["rungs_images", "[]"]),
    "rungs falling": ({"ladder": {"rungs_images": [2, 1]}}, ["rungs_images must rise", "[2, 1]"]),
    "rungs equal": ({"ladder": {"rungs_images": [2, 2]}}, ["rungs_images must rise", "[2, 2]"]),
    "rung at zero": ({"ladder": {"rungs_images": [0, 2]}}, ["at least 1", "[0, 2]"]),
    "rungs as text": ({"ladder": {"rungs_images": ["1k"]}}, ["whole numbers", "'1k'"]),
    "rungs in part": ({"ladder": {"rungs_images": [1.5]}}, ["whole numbers", "1.5"]),
    "keep nothing": ({"ladder": {"keep_fraction": 0}}, ["keep_fraction", "above 0", "0"]),
    "keep more than all": ({"ladder": {"keep_fraction": 1.5}}, ["at most 1", "1.5"]),
    "keep as text": ({"ladder": {"keep_fraction": "half"}}, ["keep_fraction", "'half'"]),
    "keep no number": ({"ladder": {"keep_fraction": math.nan}}, ["keep_fraction", "nan"]),
    "keep as truth": ({"ladder": {"keep_fraction": True}}, ["keep_fraction", "True"]),
    "resources no mapping": ({"resources": 2}, ["resources", "gpus_per_cohort", "2"]),
    "resources key": ({"resources": {"gpus": 1}}, ["unknown key 'gpus'", "gpus_per_cohort"]),
    "gpus below zero": ({"resources": {"gpus_per_cohort": -1}}, ["gpus_per_cohort", "at least 0", "-1"]),
    "gpus and a half": ({"resources": {"gpus_per_cohort": 1.5}}, ["gpus_per_cohort", "whole", "1.5"]),
    "gpus as text": ({"resources": {"gpus_per_cohort": "one"}}, ["gpus_per_cohort", "'auto'", "'one'"]),
    "gpus no number": ({"resources": {"gpus_per_cohort": math.nan}}, ["gpus_per_cohort", "nan"]),
    "gpus without end": ({"resources": {"gpus_per_cohort": math.inf}}, ["gpus_per_cohort", "inf"]),
    "no cpus": ({"resources": {"cpus_per_cohort": 0}}, ["cpus_per_cohort", "above 0", "0"]),
    "cpus as text": ({"resources": {"cpus_per_cohort": "all"}}, ["cpus_per_cohort", "'all'"]),
    "cpus no number": ({"resources": {"cpus_per_cohort": math.nan}}, ["cpus_per_cohort", "nan"]),
    "space no name": ({"space": 5}, ["space", "5"]),
    "space null": ({"space": None}, ["space", "None"]),
    "unknown space": ({"space": "cifar"}, ["unknown space 'cifar'", "digits", "gaussian"]),
    "space key": ({"space": {"range": {}}}, ["unknown key 'range'", "did you mean 'ranges'"]),
}


@pytest.mark.parametrize(("values", "says"), BAD_VALUES.values(), ids=BAD_VALUES)
def test_a_spec_that_does_not_fit_is_refused_with_the_rule_and_the_value(values, says):
    message = refused(values)
    assert [fragment for fragment in says if fragment not in message] == []


BAD_ASSIGNMENTS = {
    "no equals": ("trials", ["KEY=VALUE", "'trials'", "trials=8"]),
    "no key": ("=8", ["KEY=VALUE", "'=8'"]),
    "unknown key": ("trails=8", ["unknown key 'trails'", "did you mean 'trials'"]),
    "unknown part": ("ladder.keep=0.5", ["unknown key 'keep'", "keep_fraction"]),
    "unknown hyperparameter": ("lane.generator_rl=1", ["unknown hyperparameter", "lane.generator_lr"]),
    "misspelt group": ("lanes.beta1=0.5", ["unknown key 'lanes'", "known: name, space"]),
    "part of a number": ("trials.x=8", ["trials", "'x'"]),
    "out of range": ("lane.beta1=1.0", ["lane.beta1", "below 1", "1.0"]),
    "wrong type": ("lane.beta1=high", ["lane.beta1", "a number", "'high'"]),
    "nothing": ("lane.beta1=", ["lane.beta1", "None"]),
    "broken yaml": ("trials=[1", ["--set trials", "not plain YAML"]),
    "impossible date": ("name=2026-13-45", ["--set name", "not plain YAML"]),
    "python tag": ("name=!!python/object/apply:os.system ['true']", ["--set name", "not plain YAML"]),
    "unfitting": ("structure.dataset=gaussian", ["go together"]),
}


@pytest.mark.parametrize(("assignment", "says"), BAD_ASSIGNMENTS.values(), ids=BAD_ASSIGNMENTS)
def test_an_assignment_that_does_not_fit_is_refused_with_the_rule_and_the_value(assignment, says):
    message = refused({"trials": 4}, assignment)
    assert [fragment for fragment in says if fragment not in message] == []


@pytest.mark.parametrize(
    ("space", "objective", "score"),
    [
        ("digits", "fidelity", "fid"),
        ("gaussian", "fidelity", "wasserstein"),
        *(("mlp", name, name) for name in IMAGE_OBJECTIVES),
        *(("gaussian", name, name) for name in VALUE_OBJECTIVES),
    ],
)
def test_an_objective_is_a_score_of_the_data_set(space, objective, score):
    assert SweepSpec.from_mapping({"space": space, "objective": objective}).score_name() == score


@pytest.mark.parametrize("slots", [1, 2, 3, 16])
def test_automatic_cohorts_give_the_sampler_four_rounds_a_slot_where_there_are_enough_trials(slots):
    starved, spec = [], SweepSpec()
    for trials in range(1, 300):
        size = replace(spec, trials=trials).cohort_size(slots)
        cohorts = math.ceil(trials / size)
        assert 1 <= size <= min(trials, LARGEST_AUTO_COHORT)
        if cohorts < min(trials, 4 * slots):
            starved.append((trials, size, cohorts))
    assert starved == []


@pytest.mark.parametrize(("lanes", "size"), [(1, 1), (5, 5), (8, 8), (500, 8)])
def test_a_given_cohort_size_is_kept_up_to_all_trials(lanes, size):
    spec = SweepSpec(trials=8, lanes_per_cohort=lanes)
    assert [spec.cohort_size(slots) for slots in (1, 2, 64)] == [size] * 3


def test_resources_by_default_are_one_core_and_a_gpu_where_there_is_one():
    assert SweepSpec().resources == Resources(gpus_per_cohort="auto", cpus_per_cohort=1)


@pytest.mark.parametrize("gpus", ["auto", 0, 0.25, 1, 2, 4.0])
def test_gpus_are_whole_or_a_share_of_one(gpus):
    assert Resources(gpus_per_cohort=gpus).gpus_per_cohort == gpus
