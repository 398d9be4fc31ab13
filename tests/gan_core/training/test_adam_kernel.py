"""The GPU's Adam: run on the CPU by Triton's interpreter, built for a GPU without one, and, where there is one, run."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core.training import optim
from gan_core.training.optim import Adam, Rows

SHAPES, BUFFERS = {"weight": (37, 31), "bias": (31,)}, {"running_mean": (31,)}  # two blocks, the second cut
LR, BETA1, BETA2 = [1e-3, 3e-2, 1e-2, 0.1], [0.9, 0.0, 0.5, 0.99], [0.999, 0.9, 0.0, 0.99]
DECAY = [0.0, 2.0, 0.1, 0.0]
SCALE = [1.0, 1e-2, 1e-8, 1.0]  # of the gradients: eps counts in the third lane
LANES, STEPS, CHANGED_AT = len(LR), 20, 11
POISONED = 3
TURNS = [[True, step % 3 > 0, step % 4 != 2, step != 7] for step in range(STEPS)]
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
gpu = pytest.mark.gpu
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def adam(dtype: torch.dtype, device: str = "cpu") -> Adam:
    drawn = [np.random.default_rng(i) for i in range(LANES)]
    initial = [{name: d.standard_normal(shape) for name, shape in {**SHAPES, **BUFFERS}.items()} for d in drawn]
    rows = Rows.stack(SHAPES, BUFFERS, initial, torch.empty(0, dtype=dtype, device=device))
    return Adam(rows, [*zip(LR, BETA1, BETA2, DECAY, strict=True)])


def gradient(step: int, like: Tensor) -> Tensor:
    drawn = np.random.default_rng(100 + step).standard_normal(like.shape) * np.array(SCALE)[:, None]
    return torch.from_numpy(drawn).to(like)


def trajectory(path: str, optimiser: Adam, *, poisoned: bool = False) -> dict[str, np.ndarray]:
    """State after each step, [STEPS, L, ...]: lanes rest with NaN for a gradient, the second's lr changes, and
    the third's falls.
    """
    seen = {name: [] for name in ("flat", "mean", "mean_square", "steps")}
    for step, turn in enumerate(TURNS):
        optimiser.rows.grad.copy_(gradient(step, optimiser.rows.trained))
        optimiser.rows.grad[[not goes for goes in turn]] = torch.nan
        if poisoned:
            optimiser.rows.grad[POISONED] = torch.nan
        if step == CHANGED_AT:
            optimiser.lr[1] = 0.2
        optimiser.set_lr_shares([1.0, 1.0, 1 - step / STEPS, 1.0])
        getattr(optimiser, path)(turn)
        for name, states in seen.items():
            states.append(getattr(optimiser.rows if name == "flat" else optimiser, name).cpu().numpy().copy())
    return {name: np.stack(states) for name, states in seen.items()}


def save_interpreted(to: str) -> None:
    """What the interpreter computes, by dtype, poison and name; called in a process where TRITON_INTERPRET is set."""
    adam(torch.float32).step()
    assert "gan_core.training.adam_kernel" not in sys.modules, "the CPU needs no Triton"
    results = {}
    with np.errstate(all="ignore"):  # the interpreter computes with numpy, also what a mask then drops
        for dtype in (torch.float32, torch.float64):
            for poisoned in (False, True):
                found = trajectory("_step_kernel", adam(dtype), poisoned=poisoned)
                results |= {f"{dtype} {poisoned} {name}": values for name, values in found.items()}
    np.savez(to, **results)


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    pytest.importorskip("triton")
    here, to = Path(__file__).parent, tmp_path_factory.mktemp("adam") / "states.npz"
    paths = os.pathsep.join([str(here), *map(str, here.parents[:3])])
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error::UserWarning",
            "-c",
            f"import {Path(__file__).stem} as t; t.save_interpreted({str(to)!r})",
        ],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(np.load(to))


def assert_is_torchs(found: dict[str, np.ndarray], dtype: torch.dtype) -> None:
    """Equal to torch.optim.AdamW on each lane's row alone, to rounding relative to the lane's largest number."""
    start = adam(dtype).rows.trained
    tolerance = 2e-6 if dtype == torch.float32 else 1e-14
    for i in range(LANES):
        weights = start[i].clone().requires_grad_()
        reference = torch.optim.AdamW(
            [weights], lr=LR[i], betas=(BETA1[i], BETA2[i]), eps=1e-8, weight_decay=DECAY[i], foreach=False
        )
        for step, turn in enumerate(TURNS):
            if step == CHANGED_AT and i == 1:
                reference.param_groups[0]["lr"] = 0.2
            if i == 2:
                reference.param_groups[0]["lr"] = LR[i] * (1 - step / STEPS)
            if turn[i]:
                weights.grad = gradient(step, start)[i]
                reference.step()
        state = reference.state[weights]
        theirs = {"flat": weights.detach(), "mean": state["exp_avg"], "mean_square": state["exp_avg_sq"]}
        for name, expected in theirs.items():
            mine, wanted = found[name][-1, i, : len(weights)], expected.numpy()
            np.testing.assert_allclose(
                mine, wanted, rtol=0, atol=tolerance * np.abs(wanted).max(), err_msg=f"{name} {i}"
            )
        assert found["steps"][-1, i] == sum(turn[i] for turn in TURNS)


@DTYPES
def test_the_kernel_is_torchs_adam_in_every_lane(dtype, interpreted):
    assert_is_torchs(
        {name: interpreted[f"{dtype} False {name}"] for name in ("flat", "mean", "mean_square", "steps")}, dtype
    )


@DTYPES
@pytest.mark.parametrize("name", ["flat", "mean", "mean_square", "steps"])
def test_a_resting_lane_keeps_every_bit_and_another_does_not(name, dtype, interpreted):
    states = interpreted[f"{dtype} False {name}"]
    same = [[states[s, i].tobytes() == states[s - 1, i].tobytes() for i in range(LANES)] for s in range(1, STEPS)]
    assert same == [[not goes for goes in turn] for turn in TURNS[1:]]


@DTYPES
@pytest.mark.parametrize("name", ["flat", "mean", "mean_square", "steps"])
def test_a_lane_of_nan_leaves_the_others_bit_for_bit_the_same(name, dtype, interpreted):
    clean, poisoned = (interpreted[f"{dtype} {kind} {name}"] for kind in (False, True))
    assert clean[:, :POISONED].tobytes() == poisoned[:, :POISONED].tobytes()
    assert np.isnan(poisoned[-1, POISONED]).any() == (name != "steps")


@DTYPES
def test_the_kernel_never_touches_a_buffer(dtype, interpreted):
    optimiser = adam(dtype)
    numbers = optimiser.rows.trained.shape[1]
    buffers = optimiser.rows.flat[:, numbers:].numpy()
    flat = interpreted[f"{dtype} True flat"]
    assert buffers.any()
    assert all(after[:, numbers:].tobytes() == buffers.tobytes() for after in flat)


@pytest.mark.parametrize(("kind", "wide"), [("fp32", "v4.b32"), ("fp64", "v2.b64")])
def test_the_kernels_build_for_a_gpu_and_move_16_bytes_at_a_time(kind, wide):
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from gan_core.training import adam_kernel

    row = f"*{kind}"
    advance = {"steps": "*fp32", "active": "*i1", "coefficients": "*fp64", "pitch": "i32"}
    advance |= {"factors": row, "lanes": "i32"}
    update = {name: row for name in ("trained", "grad", "mean", "mean_square")}
    update |= {"active": "*i1", "factors": row, "lanes": "i32", "numbers": "i32", "pitch": "i32"}
    aligned = {(i,): [["tt.divisibility", 16]] for i in (0, 1, 2, 3, 7, 8)}  # as rows and their pitch are
    built = [
        triton.compile(
            ASTSource(kernel, {**signature, **dict.fromkeys(constants, "constexpr")}, constants, attributes),
            target=GPUTarget("cuda", 90, 32),
            options=adam_kernel.OPTIONS,
        ).asm
        for kernel, signature, constants, attributes in (
            (adam_kernel._advance, advance, {"BLOCK": adam_kernel.BLOCK_LANES}, {}),
            (adam_kernel._update, update, {"EPS": 1e-8, "BLOCK": adam_kernel.BLOCK_NUMBERS}, aligned),
        )
    ]
    assert all(asm["cubin"] for asm in built)
    numbers_a_thread, loads = 1024 // 128, built[1]["ptx"].count(f"ld.global.{wide}")
    assert loads == 4 * numbers_a_thread * int(kind[2:]) // 128
    assert built[1]["ptx"].count(f"st.global.{wide}") == loads * 3 // 4


def test_without_triton_or_a_compiler_there_is_no_kernel(monkeypatch):
    pytest.importorskip("triton")
    from gan_core.training import adam_kernel

    monkeypatch.setattr(adam_kernel, "builds_here", lambda: True)
    assert optim._has_kernel()
    monkeypatch.setattr(optim, "find_spec", lambda name: None)
    assert not optim._has_kernel()


def test_the_kernel_needs_a_c_compiler_and_pythons_headers(monkeypatch, tmp_path):
    pytest.importorskip("triton")
    from gan_core.training import adam_kernel

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(adam_kernel.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    monkeypatch.setenv("CC", "cc")
    assert not adam_kernel.builds_here()
    (tmp_path / "Python.h").touch()
    assert adam_kernel.builds_here()
    monkeypatch.delenv("CC")
    assert not adam_kernel.builds_here()


@gpu
@needs_cuda
@DTYPES
@pytest.mark.parametrize("path", ["step", "_step_columns"])
def test_on_a_gpu_adam_is_torchs_and_that_of_the_rows(path, dtype):
    there, here = trajectory(path, adam(dtype, "cuda")), trajectory("_step_rows", adam(dtype))
    assert_is_torchs(there, dtype)
    for name, mine in there.items():
        scale = np.abs(here[name]).max(axis=(0, *range(2, mine.ndim)), keepdims=True)
        tolerance = 2e-6 if dtype == torch.float32 else 1e-14
        np.testing.assert_array_less(np.abs(mine - here[name]), tolerance * scale + 1e-300, err_msg=name)


@gpu
@needs_cuda
@pytest.mark.parametrize("path", ["step", "_step_columns"])
def test_a_captured_step_follows_rates_and_resting_lanes_without_recapture(path):
    eager, captured = adam(torch.float64, "cuda"), adam(torch.float64, "cuda")
    active = torch.ones(LANES, dtype=torch.bool, device="cuda")
    for optimiser in (eager, captured):
        optimiser.rows.grad.copy_(gradient(0, optimiser.rows.trained))
        getattr(optimiser, path)(active)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        getattr(captured, path)(active)
    for step in range(1, 6):
        active.copy_(torch.tensor(TURNS[step]))
        for optimiser in (eager, captured):
            optimiser.rows.grad.copy_(gradient(step, optimiser.rows.trained))
            optimiser.coefficients[0, 1] = step * 0.01
        getattr(eager, path)(active)
        graph.replay()
    assert torch.equal(captured.steps, eager.steps)
    torch.testing.assert_close(captured.rows.flat, eager.rows.flat, rtol=1e-14, atol=0)
