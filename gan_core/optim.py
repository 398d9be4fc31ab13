"""Weights of L lanes in one buffer, and Adam with every coefficient a number a lane.

L lanes, P numbers of parameters and B of buffers a row: all of one network in one lane, each weight starting on a
boundary of LANE_BYTES.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gan_core.lanes import column, lane_pitch
from gan_core.layers import Shapes


class Rows:
    """A network's weights: `flat` [L, P + B], and views of it [L, *shape] by name. A row is P numbers of parameters,
    then B of buffers.

    `views` are plain views of all; `leaves` are the parameters again, which share their memory and require gradients;
    `trained` [L, P] is what an optimiser moves; `gradients` are views of `grad` [L, P].
    """

    def __init__(self, shapes: Shapes, buffers: Shapes, flat: Tensor) -> None:
        self.shapes, self.buffers = shapes, buffers
        self.flat = flat
        self.trained = flat[:, : _row_size(shapes, flat.dtype)]
        self.grad = torch.zeros_like(self.trained, memory_format=torch.contiguous_format)
        self.views = self.with_flat(flat)
        self.leaves = {name: self.views[name].detach().requires_grad_() for name in shapes}
        self.gradients = _split(shapes, self.grad)

    @classmethod
    def stack(cls, shapes: Shapes, buffers: Shapes, lanes: Sequence[dict[str, np.ndarray]], like: Tensor) -> "Rows":
        """One row from each lane's initial weights, in like's type and on its device."""
        width = _row_size(shapes, like.dtype) + _row_size(buffers, like.dtype)
        rows = cls(shapes, buffers, like.new_zeros(len(lanes), width))
        for name, view in rows.views.items():
            view.copy_(torch.from_numpy(np.stack([lane[name] for lane in lanes])))
        return rows

    @property
    def weights(self) -> dict[str, Tensor]:
        """What a pass that is differentiated takes: leaves, and views of the buffers."""
        return {**self.views, **self.leaves}

    def with_flat(self, flat: Tensor) -> dict[str, Tensor]:
        """Another buffer of the same layout (an average of the weights, say) as weights by name."""
        return _split({**self.shapes, **self.buffers}, flat)

    def store_gradients(self, loss: Tensor) -> None:
        """d(sum of loss [L]) / d(parameters) into `grad`; a lane's gradient depends on its own loss alone."""
        gradients = torch.autograd.grad(loss.sum(), list(self.leaves.values()))
        torch._foreach_copy_(list(self.gradients.values()), gradients)  # pyright: ignore[reportPrivateImportUsage]

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


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1, in the order of torch.optim.Adam) on Rows, coefficients [L], steps [L].

    lr >= 0, 0 <= beta < 1. A lane left out of a step keeps parameters and state bit for bit.
    """

    def __init__(self, rows: Rows, lr: Sequence[float], beta1: Sequence[float], beta2: Sequence[float]) -> None:
        self.rows = rows
        self.lr, self.beta1, self.beta2 = list(lr), list(beta1), list(beta2)
        self.eps = 1e-8
        self.mean = torch.zeros_like(rows.grad)
        self.mean_square = torch.zeros_like(rows.grad)
        self.steps = rows.flat.new_zeros(len(rows.flat), dtype=torch.float32)

    def step(self, active: Sequence[bool]) -> None:
        """One update of the active lanes from `rows.grad`."""
        if self.rows.flat.device.type == "cpu":
            self._step_rows(active)
        else:
            self._step_columns(active)

    def _step_rows(self, active: Sequence[bool]) -> None:
        """One native fused pass over memory a lane; measured 14 times faster than [L, P] elementwise operations."""
        trained, grad = self.rows.trained.unbind(0), self.rows.grad.unbind(0)
        mean, mean_square, steps = self.mean.unbind(0), self.mean_square.unbind(0), self.steps.unbind(0)
        for i, goes in enumerate(active):
            if not goes:
                continue
            steps[i].add_(1)
            torch._fused_adam_(  # pyright: ignore[reportPrivateImportUsage]
                [trained[i]],
                [grad[i]],
                [mean[i]],
                [mean_square[i]],
                [],
                [steps[i]],
                lr=self.lr[i],
                beta1=self.beta1[i],
                beta2=self.beta2[i],
                weight_decay=0.0,
                eps=self.eps,
                amsgrad=False,
                maximize=False,
            )

    def _step_columns(self, active: Sequence[bool]) -> None:
        """The same update as elementwise operations on [L, P]: no launch a lane. Frozen lanes by selection, since a
        product with a mask would let 0 * NaN through.
        """
        goes = torch.tensor(active, device=self.steps.device)
        self.steps += goes
        lr, beta1, beta2 = (column(x, self.rows.flat)[:, None] for x in (self.lr, self.beta1, self.beta2))
        steps = self.steps.to(self.rows.flat.dtype)[:, None]
        mean = torch.lerp(self.mean, self.rows.grad, 1 - beta1)
        mean_square = self.mean_square * beta2 + (1 - beta2) * self.rows.grad * self.rows.grad
        scale = lr / (1 - beta1**steps)
        moved = self.rows.trained - scale * mean / (mean_square.sqrt() / (1 - beta2**steps).sqrt() + self.eps)
        for old, new in ((self.mean, mean), (self.mean_square, mean_square), (self.rows.trained, moved)):
            old.copy_(torch.where(goes[:, None], new, old))

    def take(self, lanes: Sequence[int], rows: Rows) -> "Adam":
        """The state of these lanes, in this order, for their rows."""
        taken = Adam(rows, *([values[i] for i in lanes] for values in (self.lr, self.beta1, self.beta2)))
        index = list(lanes)
        taken.mean, taken.mean_square, taken.steps = self.mean[index], self.mean_square[index], self.steps[index]
        return taken
