"""AdamW over (block, lane) on a GPU: two Triton kernels, whatever L is. Imported only once there is a CUDA tensor.

Every number that a step depends on lies in device memory, so a CUDA graph of the step follows learning rates and decays
that are changed in place, lanes that rest, and step counts that differ by lane. A step neither waits for the device nor
allocates. The first step builds the kernels, which takes a second, so one has to be made before a capture.

L lanes, P numbers of parameters.
"""

# pyright: reportArgumentType=false, reportIndexIssue=false, reportOperatorIssue=false, reportOptionalOperand=false
# Triton's language is written in Python and typed as something else.

import os
import shutil
import sysconfig
from pathlib import Path

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_NUMBERS = 1024  # of one lane's row in a program: 8 a thread, two 16-byte loads from each of four rows
BLOCK_LANES = 128
OPTIONS = {"enable_fp_fusion": False}  # each operation rounds, as on the CPU; Triton 3.9 warns where it is not set


def builds_here() -> bool:
    """Whether Triton finds what it needs to build its launcher: a C compiler and Python's headers."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    return compiler is not None and (Path(sysconfig.get_paths()["include"]) / "Python.h").exists()


def step_lanes(
    rows: tuple[Tensor, Tensor, Tensor, Tensor],
    steps: Tensor,
    active: Tensor,
    coefficients: Tensor,
    factors: Tensor,
    eps: float,
) -> None:
    """One update of the active lanes; the others keep every bit. rows: parameters, gradient, mean and mean square, each
    [L, P]; steps: float32 [L]; active: bool [L]; coefficients: float64 [5, L]; factors: scratch memory [7, L].
    """
    (trained, grad, mean, mean_square), lanes = rows, len(steps)
    numbers = trained.shape[1]
    assert all(x.stride() == (numbers, 1) for x in (grad, mean, mean_square))
    assert trained.stride(1) == 1
    with torch.cuda.device_of(trained):  # Triton launches on the current device, not the tensors'
        _advance[(triton.cdiv(lanes, BLOCK_LANES),)](
            steps,
            active,
            coefficients,
            coefficients.stride(0),
            factors,
            lanes,
            BLOCK=BLOCK_LANES,
            **OPTIONS,
        )
        _update[(triton.cdiv(numbers, BLOCK_NUMBERS), lanes)](
            trained,
            grad,
            mean,
            mean_square,
            active,
            factors,
            lanes,
            numbers,
            trained.stride(0),
            EPS=eps,
            BLOCK=BLOCK_NUMBERS,
            **OPTIONS,
        )


@triton.jit
def _advance(steps, active, coefficients, pitch, factors, lanes, BLOCK: tl.constexpr):  # noqa: ANN001, ANN202, N803
    """Counts the step and computes each lane's factors [7, L] in float64 from its coefficients [5, L], as
    torch.optim.AdamW does in Python: in one thread a lane, where `_update` would repeat it in every thread.
    """
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = lane < lanes
    count = tl.load(steps + lane, mask=here, other=0.0) + tl.load(active + lane, mask=here, other=0).to(tl.float32)
    tl.store(steps + lane, count, mask=here)
    lr = tl.load(coefficients + lane, mask=here, other=0.0)
    beta1 = tl.load(coefficients + pitch + lane, mask=here, other=0.0)
    beta2 = tl.load(coefficients + 2 * pitch + lane, mask=here, other=0.0)
    weight_decay = tl.load(coefficients + 3 * pitch + lane, mask=here, other=0.0)
    lr *= tl.load(coefficients + 4 * pitch + lane, mask=here, other=0.0)
    count = count.to(tl.float64)
    rest1 = 1 - tl.exp(count * tl.log(tl.maximum(beta1, 1e-300)))  # 1 - beta**steps; of 0, log is infinite
    rest2 = 1 - tl.exp(count * tl.log(tl.maximum(beta2, 1e-300)))
    kind = factors.dtype.element_ty
    tl.store(factors + lane, beta1.to(kind), mask=here)
    tl.store(factors + lanes + lane, (1 - beta1).to(kind), mask=here)
    tl.store(factors + 2 * lanes + lane, beta2.to(kind), mask=here)
    tl.store(factors + 3 * lanes + lane, (1 - beta2).to(kind), mask=here)
    tl.store(factors + 4 * lanes + lane, (lr / rest1).to(kind), mask=here)
    tl.store(factors + 5 * lanes + lane, tl.sqrt(rest2).to(kind), mask=here)
    tl.store(factors + 6 * lanes + lane, (1 - lr * weight_decay).to(kind), mask=here)


@triton.jit
def _update(  # noqa: ANN202
    trained,  # noqa: ANN001
    grad,  # noqa: ANN001
    mean,  # noqa: ANN001
    mean_square,  # noqa: ANN001
    active,  # noqa: ANN001
    factors,  # noqa: ANN001
    lanes,  # noqa: ANN001
    numbers,  # noqa: ANN001
    pitch,  # noqa: ANN001
    EPS: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
):
    """One block of one lane's row, in the order of torch.optim.AdamW; without weight decay `kept` is 1."""
    lane = tl.program_id(1)
    if tl.load(active + lane):
        place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        here = place < numbers
        row = lane.to(tl.int64) * numbers + place
        own = trained + lane.to(tl.int64) * pitch + place
        beta1, one_less_beta1 = tl.load(factors + lane), tl.load(factors + lanes + lane)
        beta2, one_less_beta2 = tl.load(factors + 2 * lanes + lane), tl.load(factors + 3 * lanes + lane)
        size, root = tl.load(factors + 4 * lanes + lane), tl.load(factors + 5 * lanes + lane)
        kept = tl.load(factors + 6 * lanes + lane)
        g = tl.load(grad + row, mask=here)
        m = tl.load(mean + row, mask=here) * beta1 + g * one_less_beta1
        v = tl.load(mean_square + row, mask=here) * beta2 + g * g * one_less_beta2
        tl.store(mean + row, m, mask=here)
        tl.store(mean_square + row, v, mask=here)
        tl.store(own, tl.load(own, mask=here) * kept - size * m / (tl.sqrt(v) / root + EPS), mask=here)
