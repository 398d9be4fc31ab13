"""Lanes that are copied, saved and loaded one by one go on bit for bit as the lineage they are of, trained alone."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_arrays import (
    CASES,
    assert_all_same,
    assert_same,
    bits,
    configs_of,
    lane_results,
    structure_of,
    train,
    trained,
)

from gan_core.config.conditions import Execution, ScoringConfig
from gan_core.config.gan import GanConfig
from gan_core.config.health import HealthConfig
from gan_core.config.input_error import InputError
from gan_core.config.lane import LaneConfig
from gan_core.data.dataset import Dataset
from gan_core.fidelity.protocol import Scorer
from gan_core.fidelity.scorers import build_scorer
from gan_core.training.checkpoint import load_tensors
from gan_core.training.draws import BLOCK_STEPS
from gan_core.training.lane_array import LaneArray
from gan_core.workshop.one_model import ModelFolder, load_generator_weights
from gan_core.workshop.saved_generator import SampleKind, sample_generator
from gan_core.workshop.scored_array import ScoredArray

RUNG, AFTER = 5, 6  # steps; lanes of k = 1, 2, 3 have had a turn before it and after
EXECUTIONS: tuple[Execution, ...] = ("eager", "compiled")
TYPES = (torch.float32, torch.float64)
HEALTH = HealthConfig()
Few = Callable[[str], Dataset]
pytestmark = pytest.mark.usefixtures("arithmetic")

# Of each family: lane parameters that no lane has at first, each of which makes other programs of the step.
SPECIAL: dict[str, dict[str, Any]] = {
    "mlp": {"label_smoothing": 0.2, "discriminator_dropout": 0.3},
    "dcgan": {"discriminator_dropout": 0.3, "batch_norm_eps": 1e-3, "batch_norm_momentum": 0.4},
    "mlp_bn": {"batch_norm_eps": 1e-3, "batch_norm_momentum": 0.4},
}
PERTURBED: tuple[dict[str, Any], ...] = (
    {"generator_lr": 4e-3, "beta1": 0.3, "lr_schedule": "cosine", "lr_schedule_images": 200.0},
    {"discriminator_steps": 2, "generator_steps": 2, "instance_noise": 0.3, "instance_noise_images": 200.0},
    {"ema_half_life_images": 40.0, "discriminator_lr": 3e-3, "beta2": 0.9, "generator_weight_decay": 0.5},
)
# Each lane parameter: an array in which it matters, and another value than its default.
EFFECTS: dict[str, tuple[str, Any]] = {
    "generator_lr": ("mlp", 4e-3),
    "discriminator_lr": ("mlp", 3e-3),
    "beta1": ("mlp", 0.3),
    "beta2": ("mlp", 0.9),
    "discriminator_beta1": ("mlp", 0.3),
    "discriminator_beta2": ("mlp", 0.9),
    "generator_weight_decay": ("mlp", 0.5),
    "discriminator_weight_decay": ("mlp", 0.5),
    "lr_schedule": ("mlp", "cosine"),
    "lr_schedule_images": ("mlp", 500.0),
    "discriminator_steps": ("mlp", 2),
    "generator_steps": ("mlp", 2),
    "ema_half_life_images": ("mlp", 40.0),
    "label_smoothing": ("mlp", 0.2),
    "instance_noise": ("mlp", 0.3),
    "instance_noise_images": ("mlp", 200.0),
    "generator_dropout": ("mlp_dropout sum", 0.3),
    "discriminator_dropout": ("mlp", 0.3),
    "penalty_weight": ("mlp spectral r1 sum", 0.5),
    "batch_norm_eps": ("mlp_bn", 1e-3),
    "batch_norm_momentum": ("mlp_bn", 0.4),
    "information_weight": ("infogan", 0.5),
    "continuous_code_weight": ("infogan", 1.0),
}


def plain(case: str) -> list[GanConfig]:
    """Three lanes without any special form that differ in seed and rates."""
    return [
        GanConfig(
            structure=structure_of(case),
            lane=LaneConfig(generator_lr=rate, discriminator_lr=2 * rate, discriminator_steps=1 + seed),
            seed=seed,
            data_seed=seed % 2,
        )
        for seed, rate in enumerate((1e-3, 5e-3, 2e-3))
    ]


def changed(config: GanConfig, **lane: Any) -> GanConfig:
    return replace(config, lane=replace(config.lane, **lane))


def lineage(
    donor: GanConfig, follower: GanConfig, data: Dataset, dtype: torch.dtype, execution: Execution
) -> dict[str, bytes]:
    """A donor alone to the rung; then its state in an array of one lane of the follower's parameters, by `load` alone.
    An average begins from the donor's weights where it had none.
    """
    first = trained([donor], data, dtype, RUNG, execution=execution)
    tensors = dict(first.state.tensors())
    if not donor.lane.ema_half_life_images:
        tensors["average"] = tensors["generator"]
    after = LaneArray([follower], data, dtype=dtype, execution=execution)
    after.state.load(tensors)
    train(after, AFTER)
    return lane_results(after)[0]


@pytest.mark.parametrize(
    ("case", "dtype", "execution"),
    [
        *((case, dtype, "eager") for case in ("mlp", "dcgan") for dtype in TYPES),
        *((case, torch.float32, "compiled") for case in ("mlp", "dcgan")),
        ("mlp_bn", torch.float32, "replayed"),
    ],
)
def test_a_lane_that_took_over_another_goes_on_as_its_lineage_trained_alone(case, dtype, execution, few: Few):
    data, sources, before = few(structure_of(case).dataset), (2, 0, 2, 0), plain(case)
    after = [before[0 if i == 3 else 2] for i in range(4)]
    after[1] = before[0]
    after[0] = changed(before[2], **PERTURBED[0], **SPECIAL[case])
    after[2] = changed(before[2], **PERTURBED[1])
    after[3] = changed(before[0], **PERTURBED[2])
    array = trained(before, data, dtype, RUNG, execution=execution)
    array.take_over(sources, after)
    train(array, AFTER)
    results = lane_results(array)
    for result, source, config in zip(results, sources, after, strict=True):
        assert_same(result, lineage(before[source], config, data, dtype, execution))
    assert len({result["generator"] for result in results}) == 4


def test_the_effects_are_of_all_lane_parameters():
    assert set(EFFECTS) == {field.name for field in fields(LaneConfig)}


@pytest.mark.parametrize("name", EFFECTS)
def test_every_lane_parameter_that_is_changed_has_its_effect(name: str, few: Few):
    """So that the law above does not hold because a new value is ignored."""
    case, value = EFFECTS[name]
    config = plain(case)[0]
    if name == "instance_noise_images":
        config = changed(config, instance_noise=0.5)
    if name.startswith("lr_schedule"):
        config = changed(config, lr_schedule="linear", lr_schedule_images=200.0)
    array = trained([config, config], few(structure_of(case).dataset), torch.float32, RUNG)
    array.take_over([0, 0], [config, changed(config, **{name: value})])
    train(array, AFTER)
    same, other = lane_results(array)
    assert same["samples"] != other["samples"]


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_lanes_that_copy_themselves_do_not_change(execution, few: Few):
    case = "dcgan"
    data, configs = few(structure_of(case).dataset), configs_of(case)
    whole = trained(configs, data, torch.float32, RUNG + AFTER, execution=execution)
    array = trained(configs, data, torch.float32, RUNG, execution=execution)
    before = lane_results(array)
    array.take_over([0, 1, 1, 3], [configs[0], configs[1], changed(configs[1], beta1=0.7), configs[3]])
    now = lane_results(array)
    assert_same(now[2], before[1])
    for lane in (0, 1, 3):
        assert_same(now[lane], before[lane])
    train(array, AFTER)
    results, expected = lane_results(array), lane_results(whole)
    for lane in (0, 1, 3):
        assert_same(results[lane], expected[lane])
    assert results[2]["generator"] != results[1]["generator"]


def test_a_lane_that_gives_up_its_average_is_scored_by_its_weights_at_once(few: Few):
    config = changed(plain("mlp")[0], ema_half_life_images=40.0)
    array = trained([config, config], few("digits"), torch.float32, RUNG)
    array.take_over([0, 1], [config, changed(config, ema_half_life_images=0.0)])
    averaged, weights = (array.generator_tensors(lane) for lane in (0, 1))
    for name, view in array.state.generator.views.items():
        assert bits(weights[name]) == bits(view[1])
    assert bits(averaged["0.weight"]) != bits(weights["0.weight"])


@pytest.mark.parametrize("field", ["seed", "data_seed", "structure"])
def test_a_copy_with_other_seeds_or_structure_is_our_own_mistake(field, few: Few):
    config = plain("mlp")[0]
    value = replace(config.structure, latent_size=6) if field == "structure" else 9
    array = trained([config], few("digits"), torch.float32, 1)
    with pytest.raises(ValueError, match="what copies lane 0 must have its structure, seed 0 and data_seed"):
        array.take_over([0], [replace(config, **{field: value})])
    assert array.configs == [config]


# ---- one by one, through files


@pytest.fixture(scope="module")
def scorer(gaussian: Dataset) -> Scorer:
    return build_scorer(gaussian, ScoringConfig(samples=50))


def scored(configs: Sequence[GanConfig], data: Dataset, scorer: Scorer, dtype: torch.dtype, execution: Execution):
    return ScoredArray(LaneArray(configs, data, dtype=dtype, execution=execution), scorer, HEALTH)


def save_lanes(array: ScoredArray, home: Path) -> list[Path]:
    paths = [home / f"lane-{lane}.safetensors" for lane in range(array.array.lanes)]
    for lane, path in enumerate(paths):
        array.save_lane(lane, path)
    return paths


@pytest.mark.parametrize(("dtype", "execution"), [*((dtype, "eager") for dtype in TYPES), (torch.float32, "compiled")])
@pytest.mark.parametrize("name", ["mlp", "dcgan"])
def test_lanes_saved_one_by_one_go_on_in_any_grouping_as_if_they_had_not_stopped(
    name, dtype, execution, few: Few, scorer, tmp_path
):
    """Two of four have an average; alone, or with the other that has none, a lane keeps none."""
    assert [bool(c.lane.ema_half_life_images) for c in configs_of(name)] == [False, True, False, True]
    data, configs = few(structure_of(name).dataset), configs_of(name)
    array = scored(configs, data, scorer, dtype, execution)
    train(array.array, RUNG)
    paths = save_lanes(array, tmp_path)
    train(array.array, AFTER)
    expected = lane_results(array.array)
    for lanes in ([3, 1, 2, 0], [2, 0], [0, 3], [1]):
        other = scored([configs[lane] for lane in lanes], data, scorer, dtype, execution)
        other.load_lanes([(paths[lane], 0) for lane in lanes])
        train(other.array, AFTER)
        assert_all_same(other.array, [expected[lane] for lane in lanes])
    assert len({result["generator"] for result in expected}) == 4


def test_a_lane_from_an_array_without_averages_is_scored_by_its_weights_beside_one_that_has_one(
    few: Few, scorer, tmp_path
):
    config = plain("mlp")[0]
    averaged = changed(config, ema_half_life_images=40.0)
    paths = []
    for made in (config, averaged):
        array = scored([made], few("digits"), scorer, torch.float32, "eager")
        train(array.array, RUNG)
        paths += [tmp_path / f"{len(paths)}"]
        (array.save if made is config else lambda path, array=array: array.save_lane(0, path))(paths[-1])
    both = scored([config, averaged], few("digits"), scorer, torch.float32, "eager")
    both.load_lanes([(path, 0) for path in paths])
    for lane, path in enumerate(paths):
        alone = scored([both.array.configs[lane]], few("digits"), scorer, torch.float32, "eager")
        alone.load(path)
        assert_same(lane_results(both.array)[lane], lane_results(alone.array)[0])


def test_what_save_lane_writes_is_what_an_array_of_that_lane_saves(few: Few, scorer, tmp_path):
    configs = configs_of("mlp")
    array, alone = (scored(c, few("digits"), scorer, torch.float32, "eager") for c in (configs, configs[1:2]))
    for one in (array, alone):
        train(one.array, RUNG)
    array.save_lane(1, tmp_path / "lane")
    alone.save(tmp_path / "array")
    assert (tmp_path / "lane").read_bytes() == (tmp_path / "array").read_bytes()
    fresh = scored(configs[1:2], few("digits"), scorer, torch.float32, "eager")
    fresh.load(tmp_path / "lane")
    assert_all_same(fresh.array, lane_results(alone.array))


@pytest.mark.parametrize("whole", [False, True], ids=["save_lane", "save"])
def test_lanes_by_files_with_other_parameters_go_on_as_if_they_had_taken_over(whole, few: Few, scorer, tmp_path):
    """Exploit and explore between arrays, in two processes even; of an array in which nobody had an average."""
    data, before = few("digits"), plain("mlp")[:2]
    after = [changed(before[1], **PERTURBED[2], **SPECIAL["mlp"]), changed(before[1], ema_half_life_images=0.0)]
    array = scored(before, data, scorer, torch.float32, "eager")
    train(array.array, RUNG)
    if whole:
        alone = scored(before[1:], data, scorer, torch.float32, "eager")
        train(alone.array, RUNG)
        alone.save(tmp_path / "donor")
    else:
        array.save_lane(1, tmp_path / "donor")
    array.take_over([1, 1], after)
    other = scored(after, data, scorer, torch.float32, "eager")
    other.load_lanes([(tmp_path / "donor", 0)] * 2)
    for one in (array, other):
        train(one.array, AFTER)
    assert_all_same(other.array, lane_results(array.array))


def test_files_that_do_not_go_together_are_refused_in_one_line(few: Few, scorer, tmp_path):
    data, configs = few("digits"), plain("mlp")
    early, late = (scored(configs[:2], data, scorer, torch.float32, "eager") for _ in range(2))
    wide = replace(configs[0], structure=replace(configs[0].structure, generator_width=8))
    other = scored([wide], data, scorer, torch.float32, "eager")
    for array, steps, name in ((early, 1, "early"), (late, 2, "late"), (other, 1, "other")):
        train(array.array, steps)
        array.save_lane(0, tmp_path / name)
    early.save(tmp_path / "two")
    for names, said in (
        (("early", "late"), "must have seen the same images, the checkpoints have 13, 26"),
        (("early", "other"), "'generator' does not fit this configuration"),
        (("early", "two"), "two holds no living lane 2"),
        (("early", "missing"), "cannot read the tensors in"),
    ):
        with pytest.raises(InputError, match=said) as refused:
            early.load_lanes([(tmp_path / name, 2 if name == "two" else 0) for name in names])
        assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="each of 2 lanes needs one place, got 1"):
        early.load_lanes([(tmp_path / "early", 0)])


def test_a_saved_generator_samples_as_its_lane_is_scored(few: Few, scorer, tmp_path):
    configs, data = configs_of("dcgan"), few("digits")
    array = scored(configs, data, scorer, torch.float32, "eager")
    train(array.array, RUNG)
    folder, samples = ModelFolder(tmp_path), array.array.sample(9, seed=4)
    for lane, config in enumerate(configs):
        array.save_generator(lane, folder.generator)
        drawn = sample_generator(config, SampleKind((1, 8, 8), 10), load_generator_weights(folder), 9, seed=4)
        assert bits(drawn) == bits(samples[lane])
    weights = bits(array.array.state.generator.views["0.weight"][1])
    array.save_generator(1, folder.generator)
    assert bits(load_tensors(folder.generator)["0.weight"]) != weights  # but its average


# ---- the lanes of a ScoredArray


def test_a_dead_lane_takes_over_a_living_one_and_lives(gaussian: Dataset, scorer):
    structure = structure_of("gaussian")
    configs = [GanConfig(structure=structure, seed=seed) for seed in range(3)]
    array, alone = (scored(part, gaussian, scorer, torch.float32, "eager") for part in (configs, configs[2:]))
    array.array.state.discriminator.flat[0] = torch.nan
    block, batch = BLOCK_STEPS * structure.batch_size, structure.batch_size
    reports = array.train_to(block + batch)
    assert [report.death is None for report in reports] == [False, True, True]
    for asked in (lambda: array.take_over([0, 1, 2], configs), lambda: array.save_lane(0, Path("nowhere"))):
        with pytest.raises(ValueError, match=r"lane 0 is not among those that live, \[1, 2\]"):
            asked()
    explored = changed(configs[2], beta1=0.5)
    array.take_over([2, 1, 2], [explored, configs[1], configs[2]])
    alone.train_to(block + batch)
    alone.take_over([0, 0], [explored, configs[2]])
    reports, expected = array.train_to(2 * block), alone.train_to(2 * block)
    assert [report.death for report in reports] == [None] * 3
    assert [reports[i].fidelity for i in (0, 2)] == [report.fidelity for report in expected]
    assert [reports[i].d_loss for i in (0, 2)] == [report.d_loss for report in expected]
    assert reports[0].d_loss != reports[2].d_loss
    assert CASES["gaussian"][0]["batch_size"] == batch
