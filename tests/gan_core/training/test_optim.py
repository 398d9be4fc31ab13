"""Rows and Adam: torch.optim.AdamW in every lane, and lanes left out keep every bit."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core.lanes.axis import LANE_BYTES
from gan_core.training.optim import Adam, Rows

SHAPES = {"0.weight": (3, 7), "0.bias": (7,), "2.weight": (7, 1), "2.bias": (1,)}
BUFFERS = {"1.running_mean": (7,), "1.running_var": (7,), "2.u": (1,)}
LR, BETA1, BETA2 = [1e-3, 0.0, 3e-2, 0.1], [0.9, 0.5, 0.0, 0.99], [0.999, 0.9, 0.99, 0.0]
DECAY = [0.0, 0.5, 3.0, 0.01]
COEFFICIENTS = [*zip(LR, BETA1, BETA2, DECAY, strict=True)]
LANES = len(LR)
BOTH_PATHS = pytest.mark.parametrize("path", ["_step_rows", "_step_columns"])


def rows(lanes: int = LANES, dtype: torch.dtype = torch.float64) -> Rows:
    drawn = [np.random.default_rng(i) for i in range(lanes)]
    every = {**SHAPES, **BUFFERS}
    initial = [{name: source.standard_normal(shape) for name, shape in every.items()} for source in drawn]
    return Rows.stack(SHAPES, BUFFERS, initial, torch.empty(0, dtype=dtype))


def adam(dtype: torch.dtype = torch.float64) -> Adam:
    return Adam(rows(dtype=dtype), COEFFICIENTS)


def torchs(weights: Tensor, lane: int) -> torch.optim.Optimizer:
    lr, beta1, beta2, decay = COEFFICIENTS[lane]
    return torch.optim.AdamW([weights], lr, (beta1, beta2), eps=1e-8, weight_decay=decay, foreach=False)


def gradient(step: int, like: Tensor) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1000 + step).standard_normal(like.shape)).to(like.dtype)


def run(optimiser: Adam, path: str, active: Sequence[list[bool] | Tensor | None]) -> None:
    for step, goes in enumerate(active):
        optimiser.rows.grad.copy_(gradient(step, optimiser.rows.trained))
        getattr(optimiser, path)(goes)


def state(optimiser: Adam) -> list[Tensor]:
    return [optimiser.rows.flat, optimiser.mean, optimiser.mean_square, optimiser.steps]


def lane_bits(optimiser: Adam, lane: int) -> list[bytes]:
    return [tensor[lane].numpy().tobytes() for tensor in state(optimiser)]


@BOTH_PATHS
def test_adam_is_torchs_in_every_lane_also_when_lanes_rest(path):
    turns = [[step % (i + 1) == 0 for i in range(LANES)] for step in range(30)]
    optimiser = adam()
    start = optimiser.rows.trained.clone()
    run(optimiser, path, turns)
    for i in range(LANES):
        weights = start[i].clone().requires_grad_()
        reference = torchs(weights, i)
        for step, goes in enumerate(turns):
            if goes[i]:
                weights.grad = gradient(step, start)[i]
                reference.step()
        np.testing.assert_allclose(optimiser.rows.trained[i].numpy(), weights.detach().numpy(), rtol=1e-12, atol=1e-14)
        assert optimiser.steps[i].item() == sum(goes[i] for goes in turns)
    moved = (optimiser.rows.trained - start).abs().sum(1) > 0
    assert moved.tolist() == [lr > 0 for lr in LR]


def test_both_paths_give_the_same_state():
    turns = [[True, step % 2 == 0, True, step % 3 == 0] for step in range(30)]
    one, other = adam(), adam()
    run(one, "_step_rows", turns)
    run(other, "_step_columns", turns)
    for mine, theirs in zip(state(one), state(other), strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-12, atol=1e-15)


def test_on_the_cpu_a_step_is_the_path_by_rows():
    one, other = adam(torch.float32), adam(torch.float32)
    run(one, "_step_rows", [[True] * LANES] * 5)
    run(other, "step", [[True] * LANES] * 5)
    assert [lane_bits(one, i) for i in range(LANES)] == [lane_bits(other, i) for i in range(LANES)]


@BOTH_PATHS
def test_coefficients_changed_in_place_hold_from_the_next_step_on(path):
    optimiser = adam()
    parts = [weights.clone().requires_grad_() for weights in optimiser.rows.trained]
    references = [torchs(part, lane) for lane, part in enumerate(parts)]
    for step in range(10):
        if step == 5:
            optimiser.lr[1] = references[1].param_groups[0]["lr"] = 0.25
            optimiser.beta1.fill_(0.3)
            optimiser.beta2[2] = 0.6
            optimiser.weight_decay[3] = references[3].param_groups[0]["weight_decay"] = 0.7
            for reference, beta2 in zip(references, optimiser.beta2.tolist(), strict=True):
                reference.param_groups[0]["betas"] = (0.3, beta2)
        optimiser.rows.grad.copy_(gradient(step, optimiser.rows.trained))
        getattr(optimiser, path)()
        for part, grad, reference in zip(parts, optimiser.rows.grad, references, strict=True):
            part.grad = grad
            reference.step()
    for mine, part in zip(optimiser.rows.trained, parts, strict=True):
        np.testing.assert_allclose(mine.numpy(), part.detach().numpy(), rtol=1e-12, atol=1e-14)


@BOTH_PATHS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_share_of_the_learning_rate_is_another_rate_in_the_update_and_in_the_decay(dtype, path):
    shares, falling, lower = [0.5, 1.0, 0.25, 0.0], adam(dtype), adam(dtype)
    falling.set_lr_shares(shares)
    lower.lr.mul_(torch.tensor(shares))
    for optimiser in (falling, lower):
        run(optimiser, path, [None] * 3)
    assert [lane_bits(falling, i) for i in range(LANES)] == [lane_bits(lower, i) for i in range(LANES)]
    assert torch.equal(falling.rows.flat[3], adam(dtype).rows.flat[3])
    falling.set(COEFFICIENTS)
    assert falling.lr_share.tolist() == [1.0] * LANES


@BOTH_PATHS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_lanes_are_chosen_by_a_list_by_a_tensor_or_all_by_none(dtype, path):
    by_list, by_other = adam(dtype), adam(dtype)
    run(by_list, path, [[True] * LANES, [False, True, True, False]])
    run(by_other, path, [None, torch.tensor([False, True, True, False])])
    assert by_list.steps.tolist() == [1, 2, 2, 1]
    assert [lane_bits(by_list, i) for i in range(LANES)] == [lane_bits(by_other, i) for i in range(LANES)]


def test_both_paths_give_the_same_state_in_float32_to_rounding():
    one, other = adam(torch.float32), adam(torch.float32)
    run(one, "_step_rows", [None] * 20)
    run(other, "_step_columns", [None] * 20)
    for mine, theirs in zip(state(one), state(other), strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=2e-5, atol=1e-6)


@BOTH_PATHS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("poison", [0.0, math.nan, math.inf])
def test_a_resting_lane_keeps_every_bit_whatever_its_gradient_is(poison, dtype, path):
    optimiser = adam(dtype)
    run(optimiser, path, [[True] * LANES] * 3)
    before = [lane_bits(optimiser, i) for i in range(LANES)]
    optimiser.rows.grad.copy_(gradient(3, optimiser.rows.trained))
    optimiser.rows.grad[[0, 2]] += poison
    getattr(optimiser, path)([False, True, False, True])
    changed = [lane_bits(optimiser, i) != before[i] for i in range(LANES)]
    assert changed == [False, True, False, True]
    assert all(bool(tensor[[1, 3]].isfinite().all()) for tensor in state(optimiser))


@BOTH_PATHS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_lane_of_nan_leaves_the_others_bit_for_bit_the_same(dtype, path):
    clean, poisoned = adam(dtype), adam(dtype)
    poisoned.rows.flat[1] = math.nan
    poisoned.mean[2] = math.inf
    for optimiser in (clean, poisoned):
        run(optimiser, path, [[True] * LANES] * 5)
    assert bool(poisoned.rows.trained[1:3].isnan().all())
    assert [lane_bits(clean, i) for i in (0, 3)] == [lane_bits(poisoned, i) for i in (0, 3)]


@BOTH_PATHS
@pytest.mark.parametrize("poison", [0.0, math.nan])
def test_adam_never_touches_a_buffer(path, poison):
    optimiser = adam()
    before = {name: optimiser.rows.views[name].numpy().tobytes() for name in BUFFERS}
    parameters = optimiser.rows.trained.clone()
    optimiser.rows.grad += poison
    run(optimiser, path, [[True] * LANES] * 3)
    optimiser.rows.grad += poison
    getattr(optimiser, path)([True] * LANES)
    assert {name: optimiser.rows.views[name].numpy().tobytes() for name in BUFFERS} == before
    assert not torch.equal(optimiser.rows.trained[0], parameters[0])


@BOTH_PATHS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_lanes_taken_out_go_on_with_the_same_bits(dtype, path):
    whole = adam(dtype)
    run(whole, path, [[True] * LANES, [True, False, True, True]])
    index = [3, 0]
    part = whole.take(index, whole.rows.take(index))
    for step in range(2, 6):
        whole.rows.grad.copy_(gradient(step, whole.rows.trained))
        part.rows.grad.copy_(whole.rows.grad[index])
        getattr(whole, path)([True] * LANES)
        getattr(part, path)([True] * len(index))
    assert part.coefficients.T.tolist() == [[*COEFFICIENTS[i], 1.0] for i in index]
    assert [lane_bits(part, i) for i in range(2)] == [lane_bits(whole, i) for i in index]


def test_rows_hold_each_lanes_parameters_on_boundaries_and_zeros_between():
    made = rows()
    sources = [np.random.default_rng(i) for i in range(LANES)]
    for i, source in enumerate(sources):
        for name, shape in SHAPES.items():
            np.testing.assert_array_equal(made.views[name][i].numpy(), source.standard_normal(shape))
        for name, shape in BUFFERS.items():
            np.testing.assert_array_equal(made.views[name][i].numpy(), source.standard_normal(shape))
    first = made.flat.data_ptr()
    assert all((view[i].data_ptr() - first) % LANE_BYTES == 0 for view in made.views.values() for i in range(LANES))
    assert int((made.flat != 0).sum()) == LANES * (21 + 7 + 7 + 1 + 7 + 7 + 1)


def test_a_row_is_all_parameters_and_then_all_buffers():
    made = rows()
    trained, whole = made.trained.clone(), made.flat.clone()
    for name in BUFFERS:
        made.views[name].fill_(7.0)
    assert torch.equal(made.trained, trained)
    assert made.grad.shape == trained.shape
    assert set(made.gradients) == set(SHAPES)
    assert set(made.views) == {*SHAPES, *BUFFERS}
    assert int((made.flat != whole).sum()) == LANES * (7 + 7 + 1)
    made.trained.zero_()
    assert not any(made.views[name].any() for name in SHAPES)
    assert all(bool((made.views[name] == 7).all()) for name in BUFFERS)


def test_views_and_flat_are_one_memory():
    made = rows()
    made.flat.zero_()
    assert not any(tensor.any() for tensor in made.views.values())
    made.grad.fill_(1.0)
    assert all(bool((gradient == 1).all()) for gradient in made.gradients.values())


def test_another_buffer_of_the_same_layout_reads_as_parameters():
    made = rows()
    doubled = made.with_flat(made.flat * 2)
    assert all(torch.equal(doubled[name], view * 2) for name, view in made.views.items())


def test_taken_rows_are_a_copy_in_the_asked_order():
    made = rows()
    taken = made.take([2, 0])
    assert all(torch.equal(taken.views[name], made.views[name][[2, 0]]) for name in made.views)
    made.flat.zero_()
    assert bool(taken.flat.any(1).all())


def test_a_part_follows_when_the_coefficients_of_the_whole_change():
    rows = Rows({"w": (4,)}, {}, torch.ones(3, 32).double())
    adam = Adam(rows, [(lr, 0.5, 0.9, 0.0) for lr in (0.1, 0.2, 0.3)])
    part = adam.part(1, 3, rows.part(1, 3))
    adam.lr[1] = 0.0
    part.rows.grad.fill_(1.0)
    part.step()
    assert torch.equal(rows.flat[:2], torch.ones(2, 32).double())
    assert rows.flat[2, :4].tolist() == pytest.approx([0.7] * 4)
