"""Tests estimates of memory against torch's allocator, closed forms and the data sets themselves."""

import gc
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from gan_core.config.conditions import Execution
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.lane import LaneConfig
from gan_core.config.structure import StructureConfig
from gan_core.data.dataset import Dataset, load_dataset
from gan_core.files.own_code import pinned
from gan_core.training.draws import BLOCK_STEPS
from gan_core.training.lane_array import LaneArray
from gan_core.workshop.memory import Allocations, MemoryNeed, data_form, lane_memory, row_bytes

MLP: dict[str, Any] = {"architecture": "mlp", "dataset": "mnist"}
DCGAN: dict[str, Any] = {"architecture": "dcgan", "dataset": "mnist", "image_size_pixels": 32}
DCGAN |= {"generator_width": 8, "discriminator_width": 8}
PENALISED = MLP | {"generator_width": 64, "discriminator_width": 64, "gradient_penalty": "r1", "batch_size": 32}
CONDITIONAL: dict[str, Any] = {"architecture": "cgan", "dataset": "digits", "generator_width": 40}


def made_data(structure: StructureConfig) -> Dataset:
    form = data_form(structure)
    images = torch.linspace(-1, 1, 500 * math.prod(form.sample_shape)).view(500, *form.sample_shape)
    return Dataset(structure.dataset, images, torch.arange(500) % 10, images[:1], None, 10, "")


def allocator_bytes(function: Callable[[], object]) -> tuple[int, int]:
    """By torch's allocator, the bytes that the result of a function holds, and the peak while it runs."""
    gc.collect()  # what earlier tests left in cycles must not be freed meanwhile
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        kept = function()
    assert profiler.profiler is not None
    assert profiler.profiler.kineto_results is not None
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    now, most = 0, 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
        most = max(most, now)
    assert kept is not None
    return now, most


def one_step(structure: StructureConfig, lane: LaneConfig, lanes: int, lanes_per_call: int) -> LaneArray:
    configs = [GanConfig(structure=structure, lane=lane, seed=seed) for seed in range(lanes)]
    array = LaneArray(configs, made_data(structure), lanes_per_call=lanes_per_call)
    array.train_to(structure.batch_size)
    return array


@pytest.mark.parametrize(
    ("fields", "lane", "lanes", "lanes_per_call"),
    [
        (MLP, {}, 2, 2),
        (MLP, {}, 34, 17),
        (DCGAN, {}, 2, 1),
        (DCGAN, {}, 9, 3),
        (PENALISED, {"instance_noise": 0.1, "discriminator_dropout": 0.3, "generator_steps": 3}, 6, 3),
        (CONDITIONAL, {"ema_half_life_images": 1000.0}, 9, 3),
    ],
    ids=["mlp", "mlp of 34 lanes", "dcgan", "dcgan of 9 lanes", "with options", "conditional"],
)
def test_what_is_foretold_is_what_torch_allocates(fields, lane, lanes, lanes_per_call):
    structure = StructureConfig(**fields)
    memory = lane_memory(GanConfig(structure=structure, lane=LaneConfig(**lane)), samples=1)
    data = made_data(structure).train.nbytes
    held, most = allocator_bytes(lambda: one_step(structure, LaneConfig(**lane), lanes, lanes_per_call))
    called = 1 if memory.in_turn else lanes_per_call
    foretold = memory.kept_bytes * lanes + memory.scratch_bytes * called
    assert foretold == pytest.approx(held - data, rel=0.2)
    assert memory.array_bytes(lanes, [lanes_per_call]) == pytest.approx(most - data, rel=0.2)


def test_the_same_configuration_takes_the_same_memory_again():
    config = GanConfig(structure=StructureConfig(generator_width=20, discriminator_width=30))
    assert lane_memory(config, samples=10) == lane_memory(config, samples=10)


@pytest.mark.parametrize(("execution", "steps"), [("compiled", 1), ("replayed", 1 + BLOCK_STEPS)])
def test_a_dense_lane_keeps_its_rows_and_what_it_is_fed(execution: Execution, steps: int):
    """The compiled code draws the latents of each step when they are needed, and keeps none for a whole block."""
    structure = StructureConfig(generator_width=128, discriminator_width=64, latent_size=20, batch_size=32)
    config, pixels = GanConfig(structure=structure), 64
    generator = 20 * 128 + 128 + 128 * 128 + 128 + 128 * pixels + pixels
    discriminator = pixels * 64 + 64 + 64 * 64 + 64 + 64 + 1
    rows = 4 * (5 * (generator + discriminator) + generator)
    assert row_bytes(config) == rows
    latents = 2 * steps * 32 * 20
    fed = 4 * (latents + 2 * 32 * pixels)
    memory = lane_memory(config, samples=100, execution=execution)
    assert memory.kept_bytes == pytest.approx(rows + fed, rel=0.02)
    assert memory.scored_bytes == 4 * 100 * (2 * pixels + 20)


def test_the_rows_of_own_networks_are_counted_without_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path / "cache"))
    text = "from torch import nn\n\n\nclass Discriminator(nn.Linear):\n    def __init__(self):\n"
    text += "        super().__init__(64, 1)\n\n\nclass Generator(nn.Sequential):\n"
    text += "    def __init__(self, width: int = 8, latent_size=9):\n"
    text += "        super().__init__(nn.Linear(latent_size, width), nn.BatchNorm1d(width), nn.Linear(width, 64))\n"
    (tmp_path / "counted.py").write_text(text)
    networks, width = pinned("structure.networks", "counted.py", tmp_path), 10**9
    structure = StructureConfig(architecture="own", networks=networks)
    config = GanConfig.unflatten({**GanConfig(structure=structure).flatten(), "generator.width": width})
    latents = structure.latent_size
    generator = (latents + 1) * width + 2 * width + (width + 1) * 64
    assert row_bytes(config) == 4 * (5 * (generator + 65) + 2 * width + (generator + 2 * width))


def test_drawing_the_samples_of_a_rung_takes_what_is_foretold():
    structure = StructureConfig(generator_width=32, discriminator_width=32)
    memory = lane_memory(GanConfig(structure=structure), samples=2500)
    array = one_step(structure, LaneConfig(), 5, 5)
    _, most = allocator_bytes(lambda: array.sample(2500, seed=0))
    assert 5 * memory.scored_bytes == pytest.approx(most, rel=0.2)


def test_an_array_takes_its_lanes_its_sizes_of_call_and_the_larger_of_building_and_scoring():
    memory = MemoryNeed(
        kept_bytes=1000, scratch_bytes=100, building_bytes=10, scored_bytes=1, fed_bytes=0, in_turn=False
    )
    assert memory.array_bytes(8, [4, 4]) == 8000 + 400 + 40
    assert memory.array_bytes(8, [1, 1, 2, 4]) == 8000 + 700 + 70
    assert memory.cohort_bytes(8, largest_call=32) == 8000 + 700 + 70  # calls of 1, 2, 4 and the lane that is left
    assert memory.cohort_bytes(1, largest_call=32) == 1110
    assert MemoryNeed(1000, 100, 500, 5, 20, True).array_bytes(8, [1, 2, 4]) == 8000 + 100 + 500 - 7 * 20
    assert MemoryNeed(1000, 100, 100, 5, 20, True).array_bytes(8, [1, 2, 4]) == 8000 + 100 + 8 * 5
    assert MemoryNeed(1000, 100, 10, 50, 0, False).array_bytes(8, [4, 4]) == 8000 + 400 + 8 * 50


def test_allocations_are_counted_until_they_die_and_views_of_them_never():
    before = torch.zeros(300)
    with Allocations() as seen:
        kept = torch.zeros(1000)
        views = kept[:10], kept.view(10, 100), before[5:]
        kept += 1
        gone = torch.ones(5000, dtype=torch.float64)
        del gone
        other = torch.zeros(250)
    assert len(views) == 3
    assert seen.now_bytes == kept.nbytes + other.nbytes == 5000
    assert seen.most_bytes == 4000 + 40_000


@pytest.mark.parametrize("name", ["gaussian", "mixture:0,1;5,1", "ring", "grid:3", "digits"])
def test_a_data_set_has_the_form_that_its_name_tells(name):
    whole = load_dataset(name)
    form = data_form(StructureConfig(architecture="mlp" if name == "digits" else "gaussian", dataset=name))
    assert (form.sample_shape, form.classes) == (whole.sample_shape, whole.classes)
    assert form.bytes == whole.train.nbytes + whole.held_out.nbytes


def test_resized_images_take_what_they_are_resized_to():
    form = data_form(StructureConfig(**DCGAN))
    assert (form.sample_shape, form.classes, form.bytes) == ((1, 32, 32), 10, 70_000 * 32 * 32 * 4)


def test_a_folder_of_pictures_needs_a_size():
    with pytest.raises(InputError, match="image_size_pixels"):
        data_form(StructureConfig(dataset="images:somewhere"))
    form = data_form(StructureConfig(dataset="images:somewhere", image_size_pixels=16))
    assert (form.sample_shape, form.bytes) == ((3, 16, 16), 0)
