"""A function becomes a program: as it stands, or replayed, with a trace that equal functions share."""

import pytest
import torch
from torch import Tensor

from gan_core.config.conditions import Execution
from gan_core.execution import programs
from gan_core.execution.pace import Pace
from gan_core.execution.programs import ProgramMaker
from gan_core.workshop.memory import Allocations

Tensors = dict[str, Tensor]


def descend(tensors: Tensors) -> None:
    """A step down the gradient of a sum of cubes."""
    leaf = tensors["x"].detach().requires_grad_()
    (gradient,) = torch.autograd.grad((leaf**3).sum(), leaf)
    tensors["x"].sub_(gradient, alpha=0.1)


def given(seed: int = 0, numbers: int = 40) -> Tensors:
    return {"x": torch.randn(2, numbers, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)}


@pytest.mark.parametrize("execution", ["eager", "replayed"])
def test_a_program_does_what_its_function_does_each_time_it_is_called(execution: Execution):
    tensors, start = given(), given()["x"]
    program = ProgramMaker(execution, Pace(2)).build(descend, tensors, "descend")
    assert torch.equal(tensors["x"], start)  # it is made without a step
    for _ in range(3):
        program()
        start = start - 0.1 * 3 * start**2
        torch.testing.assert_close(tensors["x"], start, rtol=1e-14, atol=1e-14)


def test_functions_of_one_kind_are_traced_once_and_each_has_tensors_of_its_own(monkeypatch):
    traced = []

    def trace(function, tensors):
        traced.append(list(tensors))
        return programs_trace(function, tensors)

    programs_trace = programs.trace
    monkeypatch.setattr(programs, "trace", trace)
    maker, chunks = ProgramMaker("replayed", Pace(2)), [given(seed) for seed in range(3)]
    made = [maker.build(descend, tensors, ("descend", 1)) for tensors in chunks]
    assert traced == [["x"]]
    for program in (made[1], made[0], made[1]):
        program()
    for tensors, times, seed in zip(chunks, (1, 2, 0), range(3), strict=True):
        expected = given(seed)
        for _ in range(times):
            descend(expected)
        assert torch.equal(tensors["x"], expected["x"])
    maker.build(descend, given(), ("descend", 2))
    assert len(traced) == 2  # its Python depends on something else


def test_programs_of_one_maker_share_the_memory_they_need():
    maker, tensors, large = ProgramMaker("replayed", Pace(2)), [given(kind) for kind in range(3)], given(numbers=10_000)
    with Allocations() as counted:
        kept = [maker.build(descend, tensors[0], 0)]
        alone = counted.now_bytes
        kept += [maker.build(descend, tensors[kind], kind) for kind in (1, 2)]
        assert 0 < alone <= counted.now_bytes < 1.1 * alone  # each has its own constants
        kept.append(maker.build(descend, large, 3))
        assert counted.now_bytes >= alone + 2 * 10_000 * 8
    assert len(kept) == 4
