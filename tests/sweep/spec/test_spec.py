"""The description of a sweep: what it refuses, and what forbids resuming."""

import math
from dataclasses import replace

import pytest
from curve_array import CURVE_SPACE

from gan_core.config.conditions import Conditions, ScoringConfig
from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.gan import LARGEST_SEED
from gan_core.config.health import HealthConfig
from gan_core.config.input_error import InputError
from search_spaces.space import SearchSpace, shipped_spaces
from sweep.spec.budget import Cost
from sweep.spec.objectives import objectives
from sweep.spec.resources import Resources
from sweep.spec.sweep_spec import LARGEST_AUTO_COHORT, SweepSpec

SPEC_KEYS = [
    "name",
    "space",
    "trials",
    "ladder",
    "lanes_per_cohort",
    "lanes_per_call",
    "precision",
    "execution",
    "objective",
    "sampler",
    "enqueue",
    "population",
    "confirm",
    "budget",
    "keep_checkpoints",
    "checkpoint_minutes",
    "tracking",
    "seed",
    "data_root",
    "skip_corrupt_images",
    "scoring",
    "health",
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
    assert spec.objective == "fidelity"
    assert (spec.scoring, spec.health) == (ScoringConfig(), HealthConfig())
    assert (spec.lanes_per_cohort, spec.sampler.plain(), spec.seed, spec.data_root) == ("auto", "tpe", 0, None)
    assert (spec.objectives, spec.enqueue, spec.population, spec.confirm.top) == (("fidelity",), (), None, 0)
    assert spec.budget.spent(Cost(elapsed_seconds=1e9, device_seconds=1e9, images=10**15, best_score=-1e9)) is None
    assert (spec.precision, spec.execution, spec.lanes_per_call) == ("float32", "auto", "auto")


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
    {"scoring": {"features": "~/net.pt", "samples": 500, "coverage_limit": 0}, "skip_corrupt_images": True},
    {"scoring": {"inception_weights": "w: 'a'.pth", "class_kl_limit": 1e-3}, "objective": "kid"},
    {"health": {"grace_images": 1, "won_loss": -1e-3, "copying": 1}},
    {"sampler": {"name": "tpe", "n_startup_trials": 3, "multivariate": False}, "objective": ["fid", "seconds"]},
    {"sampler": {"name": "grid", "points": 2}, "trials": 5, "ladder": {"rule": "hyperband", "patience_rungs": 1}},
    {"enqueue": [{"lane.beta1": 0.25}, {}], "confirm": {"top": 2, "seeds": 3}, "keep_checkpoints": 0},
    {"budget": {"hours": 1.5, "score": 0.25, "when_spent": "cut"}, "tracking": {"tensorboard": False}},
    {"population": {"perturb": [0.5, 2.0], "exploit_fraction": 0.5}, "ladder": {"grace_images": 5, "rule": "none"}},
    {"precision": "bfloat16", "execution": "eager", "lanes_per_call": 4},
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
    assert (again.scoring, again.health) == (spec.scoring, spec.health)
    assert again.conditions() == spec.conditions()


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("trials=8", ("trials",), 8),
        ("seed=9", ("seed",), 9),
        ("sampler=random", ("sampler",), "random"),
        ("lanes_per_cohort=auto", ("lanes_per_cohort",), "auto"),
        ("lanes_per_call=4", ("lanes_per_call",), 4),
        ("precision=tf32", ("precision",), "tf32"),
        ("execution=eager", ("execution",), "eager"),
        ("ladder.keep_fraction=0.125", ("ladder", "keep_fraction"), 0.125),
        ("ladder.rungs_images=[5, 6]", ("ladder", "rungs_images"), [5, 6]),
        ("resources.gpus_per_cohort=0.5", ("resources", "gpus_per_cohort"), 0.5),
        ("lane.beta1=0.25", ("space", "base", "lane.beta1"), 0.25),
        ("lane.generator_lr=1e-4", ("space", "base", "lane.generator_lr"), 1e-4),
        ("structure.loss=hinge", ("space", "base", "structure.loss"), "hinge"),
        ("data_seed=12", ("space", "base", "data_seed"), 12),
        ("space=gaussian", ("space", "base", "structure.dataset"), "gaussian"),
        ("scoring.samples=500", ("scoring", "samples"), 500),
        ("scoring.features=pca", ("scoring", "features"), "pca"),
        ("scoring.class_kl_limit=1e-2", ("scoring", "class_kl_limit"), 0.01),
        ("health.won_loss=0", ("health", "won_loss"), 0.0),
        ("health.grace_images=1000", ("health", "grace_images"), 1000),
        ("skip_corrupt_images=true", ("skip_corrupt_images",), True),
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
        (["scoring.samples=7"], ["scoring.samples"]),
        (["health.won_loss=0.5", "scoring.features=pca"], ["scoring.features", "health.won_loss"]),
        (["skip_corrupt_images=true"], ["skip_corrupt_images"]),
        (["objective=fid"], ["objective"]),
        (["structure.latent_size=7"], ["space.base.structure.latent_size"]),
        (["precision=bfloat16"], ["precision"]),
        (["execution=eager"], ["execution"]),
        (["data_root=/elsewhere", "resources.gpus_per_cohort=0.5", "resources.cpus_per_cohort=2"], []),
        (["lanes_per_call=4"], []),
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
    "far key": ({"q": 3}, ["unknown key 'q'", "the nearest of 24: "]),
    "number as a key": ({5: 3}, ["unknown key '5'"]),
    "name of a path": ({"name": "a/b"}, ["folder's name", "'a/b'"]),
    "name upwards": ({"name": ".."}, ["folder's name"]),
    "no name": ({"name": ""}, ["folder's name"]),
    "name no text": ({"name": 5}, ["folder's name", "5"]),
    "no trials": ({"trials": 0}, ["trials", "at least 1", "got 0"]),
    "too many trials": ({"trials": 10**6}, ["trials", "at most 999999", "1000000"]),
    "trials as text": ({"trials": "many"}, ["trials", "whole number", "'many'"]),
    "trials as truth": ({"trials": True}, ["trials", "whole number", "True"]),
    "part of a trial": ({"trials": 1.5}, ["trials", "whole number", "1.5"]),
    "no lanes": ({"lanes_per_cohort": 0}, ["lanes_per_cohort", "'auto'", "0"]),
    "lanes as text": ({"lanes_per_cohort": "few"}, ["lanes_per_cohort", "'few'"]),
    "lanes as truth": ({"lanes_per_cohort": True}, ["lanes_per_cohort", "True"]),
    "no lanes in a call": ({"lanes_per_call": 0}, ["lanes_per_call must be 'auto' or a whole number", "got 0"]),
    "part of a lane in a call": ({"lanes_per_call": 1.5}, ["lanes_per_call", "whole number", "1.5"]),
    "lanes in a call as truth": ({"lanes_per_call": True}, ["lanes_per_call", "got True"]),
    "lanes in a call as text": ({"lanes_per_call": "all"}, ["lanes_per_call", "'auto'", "'all'"]),
    "precision near": ({"precision": "bfloat"}, ["unknown precision 'bfloat'", "did you mean 'bfloat16'"]),
    "precision far": ({"precision": "half"}, ["unknown precision 'half'", "known: float32, tf32, bfloat16"]),
    "precision as a number": ({"precision": 16}, ["unknown precision 16"]),
    "precision as a list": ({"precision": ["tf32"]}, ["unknown precision ['tf32']"]),
    "execution near": ({"execution": "replay"}, ["unknown execution 'replay'", "did you mean 'replayed'"]),
    "execution far": ({"execution": "jit"}, ["unknown execution 'jit'", "known: auto, compiled, replayed, eager"]),
    "execution null": ({"execution": None}, ["unknown execution None"]),
    "sampler near": ({"sampler": "tpee"}, ["unknown sampler 'tpee'", "did you mean 'tpe'"]),
    "sampler far": ({"sampler": "cma"}, ["unknown sampler 'cma'", "did you mean 'cmaes'"]),
    "sampler further": ({"sampler": "anneal"}, ["unknown sampler 'anneal'", "tpe, random, gp", "qmc, nsga2"]),
    "sampler as a list": ({"sampler": ["tpe"]}, ["sampler must be a name, or a mapping", "['tpe']"]),
    "sampler option near": ({"sampler": {"name": "tpe", "n_startup_trial": 1}}, ["did you mean 'n_startup_trials'"]),
    "sampler option far": ({"sampler": {"name": "random", "x": 1}}, ["unknown option 'x' of sampler random", "none"]),
    "sampler option in part": ({"sampler": {"n_startup_trials": 1.5}}, ["sampler.n_startup_trials", "whole", "1.5"]),
    "sampler option too low": ({"sampler": {"name": "nsga2", "population_size": 1}}, ["at least 2", "got 1"]),
    "sampler option no truth": ({"sampler": {"multivariate": 1}}, ["sampler.multivariate", "true or false", "1"]),
    "sampler option above": ({"sampler": {"name": "nsga2", "crossover_prob": 2}}, ["from 0 to 1", "got 2"]),
    "sampler option name": ({"sampler": {"name": "qmc", "qmc_type": "lhs"}}, ["one of sobol, halton", "'lhs'"]),
    "a grid without points": ({"sampler": "grid"}, ["points"]),
    "enqueue no list": ({"enqueue": {"lane.beta1": 0.5}}, ["enqueue must list mappings"]),
    "enqueue of numbers": ({"enqueue": [5]}, ["enqueue must list mappings", "got 5"]),
    "enqueue outside": ({"enqueue": [{"lane.beta1": 0.95}]}, ["point 1 of enqueue", "lane.beta1 0.95 lies outside"]),
    "enqueue of a typing error": ({"enqueue": [{"lane.bta1": 0.5}]}, ["point 1 of enqueue", "did you mean"]),
    "enqueue of what is fixed": (
        {"enqueue": [{}, {"structure.batch_size": 8}]},
        ["point 2", "not searched"],
    ),
    "no finalists at all": ({"confirm": {"top": -1}}, ["confirm.top", "at least 0", "-1"]),
    "confirm by one seed": ({"confirm": {"seeds": 1}}, ["confirm.seeds", "at least 2", "1"]),
    "confirm key": ({"confirm": {"seed": 3}}, ["unknown key 'seed' in confirm", "did you mean 'seeds'"]),
    "budget key": ({"budget": {"hour": 3}}, ["unknown key 'hour' in budget", "did you mean 'hours'"]),
    "budget below zero": ({"budget": {"images": -1}}, ["budget.images", "at least 0", "-1"]),
    "budget end": ({"budget": {"when_spent": "now"}}, ["budget.when_spent", "finish, cut", "'now'"]),
    "keep fewer than none": ({"keep_checkpoints": -1}, ["keep_checkpoints", "at least 0", "-1"]),
    "population key": ({"population": {"exploit": 1}}, ["population", "exploit"]),
    "population confirmed": (
        {"population": {}, "confirm": {"top": 1}},
        ["a population has one objective"],
    ),
    "tracker": ({"tracking": {"tensorbord": True}}, ["unknown tracker 'tensorbord'", "did you mean 'tensorboard'"]),
    "rule": ({"ladder": {"rule": "halving"}}, ["unknown ladder.rule 'halving'", "asha, hyperband, none"]),
    "grace": ({"ladder": {"grace_images": 0.5}}, ["ladder.grace_images", "0.5"]),
    "seed below zero": ({"seed": -1}, ["seed", "from 0 to", "-1"]),
    "seed too large": ({"seed": LARGEST_SEED + 1}, ["seed", str(LARGEST_SEED)]),
    "seed as text": ({"seed": "x"}, ["seed", "whole number", "'x'"]),
    "data root as a number": ({"data_root": 5}, ["data_root", "folder", "5"]),
    "objective near": ({"objective": "fidd"}, ["unknown objective 'fidd'", "did you mean 'fid'"]),
    "objective of the other data": ({"objective": "wasserstein"}, ["unknown objective", "fid, kid, class_kl"]),
    "no objective": ({"objective": []}, ["objective must name at least one score"]),
    "objective twice": ({"objective": ["fid", "fid"]}, ["objective 'fid' stands twice"]),
    "a cost first": ({"objective": ["seconds", "fid"]}, ["unknown objective 'seconds'"]),
    "further objective near": (
        {"objective": ["fid", "second"]},
        ["did you mean 'seconds'"],
    ),
    "cmaes of two": ({"objective": ["fid", "seconds"], "sampler": "cmaes"}, ["cmaes minimises one objective, got 2"]),
    "objective that no data set has": ({"objective": "loss"}, ["unknown objective 'loss' on digits; known: fidelity"]),
    "score of which more is better": (
        {"objective": "recall"},
        ["unknown objective 'recall' on digits: more of it is better; write -recall"],
    ),
    "score of which less is better": (
        {"objective": ["fidelity", "-fid"]},
        ["unknown further objective '-fid' on digits: less of it is better; write fid"],
    ),
    "cost that is to rise": (
        {"objective": ["fid", "-seconds"]},
        ["unknown further objective '-seconds'", "less of it is better; write seconds"],
    ),
    "share near": ({"objective": "-coverge"}, ["unknown objective '-coverge'", "did you mean '-coverage'"]),
    "skip as text": ({"skip_corrupt_images": "yes please"}, ["skip_corrupt_images", "true or false", "'yes please'"]),
    "scoring no mapping": ({"scoring": 5}, ["scoring must map features", "5"]),
    "scoring null": ({"scoring": None}, ["scoring must map", "None"]),
    "scoring key near": ({"scoring": {"sample": 5}}, ["unknown key 'sample' in scoring", "did you mean 'samples'"]),
    "scoring key far": ({"scoring": {"q": 5}}, ["unknown key 'q' in scoring", "known: features, inception_weights"]),
    "samples below zero": ({"scoring": {"samples": -1}}, ["scoring.samples", "at least 0", "-1"]),
    "samples in part": ({"scoring": {"samples": 1.5}}, ["scoring.samples", "a whole number", "1.5"]),
    "too many samples": ({"scoring": {"samples": 10**7}}, ["scoring.samples", "at most 1e+06"]),
    "features as a number": ({"scoring": {"features": 5}}, ["scoring.features", "text", "5"]),
    "limit at zero": ({"scoring": {"class_kl_limit": 0}}, ["scoring.class_kl_limit", "at least 1e-06"]),
    "limit above all": ({"scoring": {"coverage_limit": 1.1}}, ["scoring.coverage_limit", "at most 1", "1.1"]),
    "limit no number": ({"scoring": {"coverage_limit": math.nan}}, ["scoring.coverage_limit", "nan"]),
    "health no mapping": ({"health": ["grace"]}, ["health must map grace_images", "['grace']"]),
    "health key near": ({"health": {"won_los": 1}}, ["unknown key 'won_los' in health", "did you mean 'won_loss'"]),
    "health key as a number": ({"health": {3: 1}}, ["unknown key '3' in health"]),
    "grace below zero": ({"health": {"grace_images": -1}}, ["health.grace_images", "at least 0", "-1"]),
    "accuracy above all": ({"health": {"won_accuracy": 2}}, ["health.won_accuracy", "at most 1", "2"]),
    "threshold as truth": ({"health": {"oscillation": True}}, ["health.oscillation", "a number", "True"]),
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
    "unknown space": ({"space": "cifar"}, ["unknown space 'cifar'", "the nearest of 15: infogan", "or a .yaml file"]),
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
    "misspelt group": ("lanes.beta1=0.5", ["unknown key 'lanes'", "the nearest of 24: "]),
    "part of a number": ("trials.x=8", ["trials", "'x'"]),
    "out of range": ("lane.beta1=1.0", ["lane.beta1", "below 1", "1.0"]),
    "wrong type": ("lane.beta1=high", ["lane.beta1", "a number", "'high'"]),
    "nothing": ("lane.beta1=", ["lane.beta1", "None"]),
    "broken yaml": ("trials=[1", ["--set trials", "not plain YAML"]),
    "python tag": ("trials=!!python/object/apply:os.system ['true']", ["--set trials", "not plain YAML", "python"]),
    "unfitting": ("structure.dataset=gaussian", ["architecture 'mlp' with dataset 'gaussian'", "change one of them"]),
    "unknown part of scoring": ("scoring.feature=pca", ["unknown key 'feature'", "did you mean 'features'"]),
    "unknown part of health": ("health.grace=1", ["unknown key 'grace' in health", "grace_images"]),
    "part out of range": ("scoring.samples=-1", ["scoring.samples", "at least 0", "-1"]),
}


@pytest.mark.parametrize(("assignment", "says"), BAD_ASSIGNMENTS.values(), ids=BAD_ASSIGNMENTS)
def test_an_assignment_that_does_not_fit_is_refused_with_the_rule_and_the_value(assignment, says):
    message = refused({"trials": 4}, assignment)
    assert [fragment for fragment in says if fragment not in message] == []


IMAGE_SHARES = ("-precision", "-recall", "-density", "-coverage")
MODES = ("-modes_covered", "-high_quality_share")
OBJECTIVES = {
    "digits": ("fidelity", "fid", "kid", "class_kl", *IMAGE_SHARES),
    "polygons": (
        *("fidelity", "fid", "kid", "triangle_distance", *IMAGE_SHARES),
        *("-triangle_precision", "-triangle_recall"),
    ),
    "images:photos": ("fidelity", "fid", "kid", "class_kl", *IMAGE_SHARES),
    "gaussian": ("fidelity", "wasserstein", "energy", "mean_error", "deviation_error"),
    "mixture:0,1;4,1": ("fidelity", "wasserstein", "energy", "mean_error", "deviation_error", *MODES),
    "ring": ("fidelity", "energy", "mode_jsd", *MODES),
    "grid": ("fidelity", "energy", "mode_jsd", *MODES),
}


@pytest.mark.parametrize("dataset", OBJECTIVES)
def test_an_objective_is_a_score_of_the_data_set_and_no_other_is_taken(dataset):
    parsed = parse_dataset_name(dataset)
    assert objectives(parsed) == OBJECTIVES[dataset]
    base = {"structure.dataset": dataset, "structure.architecture": "gaussian" if parsed.is_values else "mlp"}
    size = {"structure.image_size_pixels": 32} if parsed.kind == "images" else {}
    for objective in {name for names in OBJECTIVES.values() for name in names}:
        values = {"space": {"base": {**base, **size}}, "objective": objective}
        if objective in OBJECTIVES[dataset]:
            assert SweepSpec.from_mapping(values).conditions().objective == objective
        else:
            assert f"unknown objective {objective!r} on {dataset}" in refused(values)


def test_the_objective_is_asked_of_the_data_set_that_is_set():
    other = ("structure.architecture=gaussian", "structure.dataset=ring", "objective=mode_jsd")
    assert SweepSpec.from_mapping({}, other).objective == "mode_jsd"
    assert "unknown objective 'fid' on ring" in refused({"objective": "fid"}, *other[:2])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_assigned_hyperparameters_are_fixed_together(order):
    """Each of them alone is invalid for the digits."""
    pair = ("structure.architecture=gaussian", "structure.dataset=gaussian")
    spec = SweepSpec.from_mapping({}, [pair[i] for i in order])
    assert (spec.space.base.structure.architecture, spec.space.base.structure.dataset) == ("gaussian", "gaussian")
    assert spec.name == "digits"
    for alone in pair:
        assert "change one of them" in refused({}, alone)


def test_an_assignment_that_leaves_a_range_without_effect_says_which():
    message = refused({"space": "mlp_minimax"}, "structure.loss=hinge")
    assert "lane.label_smoothing needs a cross-entropy loss" in message
    both = SweepSpec.from_mapping({"space": "mlp_minimax"}, ["structure.loss=hinge", "lane.label_smoothing=0"])
    assert both.space.base.structure.loss == "hinge"


def test_the_conditions_are_all_that_a_process_must_know_beside_its_configurations():
    values = {"objective": "kid", "scoring": {"samples": 50}, "health": {"won_loss": 0.5}, "skip_corrupt_images": True}
    manner = {"precision": "tf32", "execution": "eager", "lanes_per_call": 3}
    spec = SweepSpec.from_mapping({**values, **manner, "data_root": "here"}, ["structure.image_size_pixels=16"])
    found = spec.conditions()
    assert found == Conditions(
        dataset="digits",
        objective="kid",
        image_size_pixels=16,
        data_root="here",
        skip_corrupt_images=True,
        budget_images=192_000,
        precision="tf32",
        execution="eager",
        lanes_per_call=3,
        scoring=ScoringConfig(samples=50),
        health=HealthConfig(won_loss=0.5),
    )


@pytest.mark.parametrize(("on_gpu", "rounds"), [(False, 16), (True, 4)])
@pytest.mark.parametrize("slots", [1, 2, 3, 16])
def test_automatic_cohorts_give_the_sampler_rounds_a_slot_where_there_are_enough_trials(slots, on_gpu, rounds):
    starved, spec = [], SweepSpec()
    for trials in range(1, 300):
        size = replace(spec, trials=trials).cohort_size(slots, on_gpu=on_gpu)
        cohorts = math.ceil(trials / size)
        assert 1 <= size <= min(trials, LARGEST_AUTO_COHORT)
        if cohorts < min(trials, rounds * slots):
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
