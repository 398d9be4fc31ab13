"""Weights of L lanes in one buffer, and AdamW with every coefficient one number a lane.

L lanes, P parameter numbers and B buffer numbers in a row: a row holds all weights of one network in one lane, each
weight starting on a boundary of LANE_BYTES.
"""

import math
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import compress

import numpy as np
import torch
from torch import Tensor

from gan_core.lanes.axis import lane_pitch
from gan_core.lanes.torch_internals import fused_adamw
from gan_core.networks.layers import Shapes
from gan_core.training.native_adam import NativeAdam


class Rows:
    """A network's weights: `flat` [L, P + B], and views of it [L, *shape] by name, in `views`. A row holds first the P
    numbers of the parameters, which are trained, then the B numbers of the buffers.

    `trained` [L, P] is the part that an optimiser changes; `gradients` are views by name of `grad` [L, P].
    """

    def __init__(self, shapes: Shapes, buffers: Shapes, flat: Tensor) -> None:
        self.shapes, self.buffers = shapes, buffers
        self.flat = flat
        self.trained = flat[:, : _row_size(shapes, flat.dtype)]
        self.grad = torch.zeros_like(self.trained, memory_format=torch.contiguous_format)
        self.views = self.with_flat(flat)
        self.gradients = _split(shapes, self.grad)

    @classmethod
    def stack(cls, shapes: Shapes, buffers: Shapes, lanes: Sequence[dict[str, np.ndarray]], like: Tensor) -> "Rows":
        """One row from each lane's initial weights, in the type and on the device of `like`."""
        width = _row_size(shapes, like.dtype) + _row_size(buffers, like.dtype)
        rows = cls(shapes, buffers, like.new_zeros(len(lanes), width))
        for name, view in rows.views.items():
            view.copy_(torch.from_numpy(np.stack([lane[name] for lane in lanes])))
        return rows

    def with_flat(self, flat: Tensor) -> dict[str, Tensor]:
        """Another buffer of the same layout, such as an average of the weights, as weights by name."""
        return _split({**self.shapes, **self.buffers}, flat)

    def part(self, start: int, stop: int) -> "Rows":
        """The lanes from start to stop, sharing this memory but for the gradients."""
        return Rows(self.shapes, self.buffers, self.flat[start:stop])

    def take(self, lanes: Sequence[int]) -> "Rows":
        """The rows of these lanes, in this order, as a new buffer."""
        return Rows(self.shapes, self.buffers, self.flat[list(lanes)])


def _row_size(shapes: Shapes, dtype: torch.dtype) -> int:
    return sum(lane_pitch(math.prod(shape), dtype) for shape in shapes.values())


def _split(shapes: Shapes, flat: Tensor) -> dict[str, Tensor]:
    views, start = {}, 0
    for name, shape in shapes.items():
        numel = math.prod(shape)
        views[name] = flat[:, start : start + numel].view(len(flat), *shape)
        start += lane_pitch(numel, flat.dtype)
    return views


Coefficients = tuple[float, float, float, float]  # of a lane's Adam: lr, beta1, beta2, weight_decay


class Adam:
    """AdamW (Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2) on Rows, in the order of
    torch.optim.AdamW, with a step count for each lane. Without weight decay it equals Adam to the last bit.

    lr >= 0, 0 <= beta < 1, weight_decay >= 0 (of all parameters) and lr_share, by which lr is multiplied, are float64
    [L] on the device of the rows, views of `coefficients` [5, L]. A change in place takes effect from the next step
    on, also in a CUDA graph. `mean` and `mean_square` are [L, P], `steps` float32 [L]; all three are changed in place
    and never replaced. A lane left out of a step keeps its parameters and state bit for bit.
    """

    def __init__(
        self,
        rows: Rows,
        coefficients: Sequence[Coefficients] | Tensor,
        state: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> None:
        """coefficients: those of each lane, or another Adam's [5, L], which are then shared. state: mean, mean_square
        and steps to continue from, shared too; without it all start at 0.
        """
        device = rows.flat.device
        self.rows = rows
        given = coefficients if isinstance(coefficients, Tensor) else _columns(coefficients)
        self.coefficients = given.to(device)
        self.lr, self.beta1, self.beta2, self.weight_decay, self.lr_share = self.coefficients.unbind(0)
        self.eps = 1e-8
        begin = torch.zeros_like(rows.grad), torch.zeros_like(rows.grad), rows.flat.new_zeros(len(rows.flat)).float()
        self.mean, self.mean_square, self.steps = begin if state is None else state
        self.factors = rows.flat.new_zeros(7, len(rows.flat))
        self._patterns: dict[tuple[bool, ...], Tensor] = {}
        every = (rows.trained, rows.grad, self.mean, self.mean_square, self.steps)
        self._rows = [tuple([part] for part in parts) for parts in zip(*(x.unbind(0) for x in every), strict=True)]
        self._kernel = device.type == "cuda" and _has_kernel()
        self._fused = fused_adamw() if device.type == "cpu" else None
        self.native: NativeAdam | None = None

    def compile(self) -> None:
        """Computes all later steps in one call of C for all lanes, on the CPU. Its last bits differ from those of
        torch's kernel. Raises NoCompiler.
        """
        rows = self.rows.trained, self.rows.grad, self.mean, self.mean_square
        self.native = NativeAdam(rows, self.steps, self.coefficients, self.eps)

    def step(self, active: Sequence[bool] | Tensor | None = None) -> None:
        """One update of the active lanes from `rows.grad`. active: None for all lanes, a list, or a bool tensor [L] on
        the device. On a GPU nothing waits for the device, except when a list is given for the first time.
        """
        if self.native is not None:
            self.native(self._goes(active))
        elif self._fused is not None:
            self._step_rows(active)
        elif self._kernel:
            self._step_kernel(active)
        else:
            self._step_columns(active)

    def _step_rows(self, active: Sequence[bool] | Tensor | None = None) -> None:
        """One fused pass over memory for each lane. torch's kernel takes lists of tensors but a single learning rate
        and pair of betas, hence one call a lane: at P = 2,500 the call itself takes half of the time, at 116,000 none.
        """
        assert self._fused is not None
        self.steps += self._goes(active)
        every = zip(self._rows, *self.coefficients.tolist(), strict=True)
        chosen = every if active is None else compress(every, active)
        for (trained, grad, mean, mean_square, steps), lr, beta1, beta2, weight_decay, share in chosen:
            self._fused(
                trained,
                grad,
                mean,
                mean_square,
                [],
                steps,
                lr=lr * share,
                beta1=beta1,
                beta2=beta2,
                weight_decay=weight_decay,
                eps=self.eps,
                amsgrad=False,
                maximize=False,
            )

    def _step_kernel(self, active: Sequence[bool] | Tensor | None = None) -> None:
        """The same update as one kernel over (block, lane)."""
        from gan_core.training.adam_kernel import step_lanes

        rows = self.rows.trained, self.rows.grad, self.mean, self.mean_square
        step_lanes(rows, self.steps, self._goes(active), self.coefficients, self.factors, self.eps)

    def _step_columns(self, active: Sequence[bool] | Tensor | None = None) -> None:
        """The same update as elementwise operations on [L, P], for GPUs without Triton, where torch.compile is missing
        too, and for a torch without its fused kernel. Resting lanes are kept by selection, since a product with a mask
        would let 0 * NaN through.
        """
        goes = self._goes(active)
        self.steps += goes
        lr, beta1, beta2 = self.lr * self.lr_share, self.beta1, self.beta2
        size, root = lr / (1 - beta1**self.steps), (1 - beta2**self.steps).sqrt()
        kept = 1 - lr * self.weight_decay
        torch.stack([beta1, 1 - beta1, beta2, 1 - beta2, size, root, kept], out=self.factors)
        beta1, rest1, beta2, rest2, size, root, kept = self.factors[:, :, None]
        mean = self.mean * beta1 + self.rows.grad * rest1
        mean_square = self.mean_square * beta2 + self.rows.grad * self.rows.grad * rest2
        moved = self.rows.trained * kept - size * mean / (mean_square.sqrt() / root + self.eps)
        for old, new in ((self.mean, mean), (self.mean_square, mean_square), (self.rows.trained, moved)):
            torch.where(goes[:, None], new, old, out=old)

    def _goes(self, active: Sequence[bool] | Tensor | None) -> Tensor:
        """Which lanes are updated, bool [L] on the device; each pattern is sent there once."""
        if isinstance(active, Tensor):
            return active
        pattern = (True,) * len(self.steps) if active is None else tuple(active)
        if pattern not in self._patterns:
            self._patterns[pattern] = torch.tensor(pattern, device=self.steps.device)
        return self._patterns[pattern]

    def set(self, coefficients: Sequence[Coefficients]) -> None:
        """Continues with these coefficients and with the present moments and step counts."""
        self.coefficients.copy_(_columns(coefficients))

    def set_lr_shares(self, shares: Sequence[float]) -> None:
        """From the next step on each lane's learning rate is this share of its lr: [L], from 0 to 1."""
        self.lr_share.copy_(torch.tensor(shares, dtype=torch.float64))

    def part(self, start: int, stop: int, rows: Rows) -> "Adam":
        """The lanes from start to stop, whose rows these are, sharing this memory."""
        return Adam(
            rows,
            self.coefficients[:, start:stop],
            state=(self.mean[start:stop], self.mean_square[start:stop], self.steps[start:stop]),
        )

    def take(self, lanes: Sequence[int], rows: Rows) -> "Adam":
        """A copy of the state of these lanes, in this order, for their rows."""
        index = torch.tensor(list(lanes), device=self.steps.device)
        taken = Adam(rows, self.coefficients.index_select(1, index))
        for name in ("mean", "mean_square", "steps"):
            getattr(taken, name).copy_(getattr(self, name)[index])
        return taken


def _columns(lanes: Sequence[Coefficients]) -> Tensor:
    """The coefficients of lanes with a learning rate share of 1: float64 [5, L]."""
    return torch.tensor([*zip(*lanes, strict=True), [1.0] * len(lanes)], dtype=torch.float64)


def _has_kernel() -> bool:
    if find_spec("triton") is None:
        return False
    from gan_core.training.adam_kernel import builds_here

    return builds_here()
