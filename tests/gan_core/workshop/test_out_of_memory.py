"""If memory does not even suffice for one lane per call, an array raises one exception, which says by how much."""

import weakref
from dataclasses import asdict
from typing import Any

import pytest
import torch
from tiny_arrays import GAUSSIAN, assert_all_same, configs_of, lane_results, structure_of, train
from torch import Tensor

import gan_core.game.step
import gan_core.training.optim
from gan_core.config.conditions import Conditions, Execution, ScoringConfig
from gan_core.config.gan import GanConfig
from gan_core.config.reports import Death, LaneReport, OutOfMemory
from gan_core.config.structure import StructureConfig
from gan_core.execution.pace import is_out_of_memory, within_memory
from gan_core.execution.trace import trace
from gan_core.training.lane_array import LaneArray
from gan_core.training.steps import CalledSteps
from gan_core.workshop.workshop import Workshop

CONFIGS = [GanConfig(structure=StructureConfig(**GAUSSIAN), seed=seed) for seed in range(3)]
HOST = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8000 bytes. Error code 12"
CARD = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 7.44 GiB"
pytestmark = pytest.mark.usefixtures("arithmetic")


@pytest.fixture
def workshop() -> Workshop:
    conditions = Conditions(dataset="gaussian", scoring=ScoringConfig(samples=50), execution="eager", lanes_per_call=4)
    return Workshop(conditions, "cpu")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError(HOST), "8000 bytes more could not be allocated"),
        (torch.OutOfMemoryError(CARD), "20.00 MiB more could not be allocated"),
        (MemoryError("Unable to allocate 7.45 GiB for an array with shape (10, 10)"), "7.45 GiB more could not be"),
        (MemoryError(), "memory ran out"),
        (RuntimeError("CUDA error: out of memory"), "memory ran out"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "memory ran out"),
    ],
)
def test_whatever_says_that_memory_ran_out_becomes_one_exception_that_says_how_much(error, says):
    assert is_out_of_memory(error)
    for lanes, who in ((1, "one lane does"), (3, "3 lanes do")):
        with pytest.raises(OutOfMemory, match=f"^{who} not fit the memory: {says}") as caught, within_memory(lanes):
            raise error
        assert caught.value.__cause__ is error


def test_other_errors_stay_what_they_are():
    for error in (RuntimeError("shapes differ"), ValueError("out of memory"), KeyError("x")):
        with pytest.raises(type(error)), within_memory(1):
            raise error


def test_rows_that_cannot_be_allocated_are_told_when_the_array_is_built(workshop, monkeypatch):
    whole = gan_core.training.optim.Rows.stack

    def short(shapes: Any, buffers: Any, lanes: Any, like: Any) -> Any:
        if len(lanes) > 1:
            raise RuntimeError(HOST)
        return whole(shapes, buffers, lanes, like)

    monkeypatch.setattr(gan_core.training.optim.Rows, "stack", short)
    with pytest.raises(OutOfMemory, match="^3 lanes do not fit the memory: 8000 bytes more could not be allocated$"):
        workshop.build(CONFIGS)
    (report,) = workshop.build(CONFIGS[:1]).train_to(13)
    assert report.death is None


def test_a_step_is_tried_with_fewer_lanes_a_call_before_training_gives_up(workshop, monkeypatch):
    sizes: list[int] = []

    def prepare(self: CalledSteps, step: int) -> None:
        sizes.append(self.chunk.lanes)
        raise torch.OutOfMemoryError(CARD)

    array = workshop.build(CONFIGS)
    monkeypatch.setattr(CalledSteps, "prepare", prepare)
    with pytest.raises(OutOfMemory, match="^3 lanes do not fit the memory: 20.00 MiB"):
        array.train_to(13)
    assert sizes == [3, 1]


def test_memory_that_runs_out_while_steps_are_made_or_scored_is_told(workshop, monkeypatch):
    def fails(*given: object) -> None:
        raise RuntimeError(HOST)

    for owner, name in ((CalledSteps, "train"), (LaneArray, "generate")):
        array = workshop.build(CONFIGS[:1])
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fails)
            with pytest.raises(OutOfMemory, match="^one lane does not fit"):
                array.train_to(13)


def test_copies_that_do_not_fit_are_told(workshop, monkeypatch):
    def fails(*given: object) -> None:
        raise torch.OutOfMemoryError(CARD)

    array = workshop.build(CONFIGS)
    monkeypatch.setattr(gan_core.training.optim.Rows, "take", fails)
    with pytest.raises(OutOfMemory, match="^3 lanes do not fit"):
        array.take_over([0, 0, 2], [CONFIGS[0], CONFIGS[0], CONFIGS[2]])


def test_what_the_failed_calls_held_is_free_while_the_exception_is_caught():
    class Large:
        pass

    held = []

    def build() -> None:
        large = Large()
        held.append(weakref.ref(large))
        raise MemoryError

    try:
        with within_memory(1):
            build()
    except OutOfMemory:
        assert held[0]() is None


def test_a_death_for_want_of_memory_survives_its_way_through_plain_values(workshop):
    (report,) = workshop.build(CONFIGS[:1]).train_to(13)
    death = Death("out_of_memory", "one lane does not fit the memory: memory ran out")
    assert LaneReport.from_plain({**asdict(report), "death": asdict(death)}).death == death


def test_a_function_that_runs_out_of_memory_while_it_is_traced_leaves_its_tensors_as_they_were():
    tensors = {"running": torch.arange(6.0).view(2, 3), "out": torch.zeros(2, 3)}

    def moves_and_fails(given: dict[str, Tensor]) -> None:
        given["running"].mul_(0.9).add_(1)
        given["out"].copy_(given["running"])
        raise torch.OutOfMemoryError(CARD)

    with pytest.raises(torch.OutOfMemoryError):
        trace(moves_and_fails, tensors)
    assert torch.equal(tensors["running"], torch.arange(6.0).view(2, 3))
    assert torch.equal(tensors["out"], torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("case", "program", "execution"),
    [
        ("mlp_bn", "generator_gradients", "replayed"),
        ("mlp batch", "discriminator_gradients", "compiled"),
        ("mlp spectral r1 sum", "discriminator_gradients", "replayed"),
    ],
)
def test_an_array_that_ran_out_of_memory_once_its_buffers_had_moved_trains_as_one_that_did_not(
    case: str, program: str, execution: Execution, few: Any, monkeypatch: pytest.MonkeyPatch
):
    """Tracing a step overwrites the running moments of batch norm and the vectors of spectral norm; the retry must
    start from those before the step.
    """
    configs, dataset = configs_of(case)[:2], few(structure_of(case).dataset)
    expected = LaneArray(configs, dataset, execution=execution, lanes_per_call=1)
    train(expected, 3)
    whole, moved = getattr(gan_core.game.step, program), list[bool]()

    def short(game: Any, call_of: Any, tensors: dict[str, Tensor], **options: Any) -> None:
        buffers = {**game.networks.generator.buffers(), **game.networks.discriminator.buffers()}
        before = {name: tensor.clone() for name, tensor in tensors.items() if name.partition(".")[2] in buffers}
        whole(game, call_of, tensors, **options)
        if not moved:
            moved.append(any(not torch.equal(tensor, tensors[name]) for name, tensor in before.items()))
            raise RuntimeError(HOST)

    monkeypatch.setattr(gan_core.game.step, program, short)
    array = LaneArray(configs, dataset, execution=execution)
    train(array, 3)
    assert moved == [True]
    assert array.lanes_per_call == 1
    assert_all_same(array, lane_results(expected))
