"""Parameters of L lanes in one buffer, and Adam with every coefficient a number a lane.

L lanes, P numbers a row: all parameters of one network in one lane, each starting on a boundary of LANE_BYTES.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gan_core.lanes import column, lane_pitch


class Rows:
    """A network's parameters: `flat` [L, P], and views of it [L, *shape] by name.

    `views` are plain views; `leaves` share their memory and require gradients; `gradients` are views of `grad` [L, P].
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]], flat: Tensor) -> None:
        self.shapes = shapes
        self.flat = flat
        self.grad = torch.zeros_like(flat)
        self.views = self._split(flat)
        self.leaves = {name: view.detach().requires_grad_() for name, view in self.views.items()}
        self.gradients = self._split(self.grad)

    @classmethod
    def stack(cls, shapes: dict[str, tuple[int, ...]], lanes: Sequence[dict[str, np.ndarray]], like: Tensor) -> "Rows":
        """One row from each lane's initial parameters, in like's type and on its device."""
        width = sum(lane_pitch(math.prod(shape), like.dtype) for shape in shapes.values())
        rows = cls(shapes, like.new_zeros(len(lanes), width))
        for name, view in rows.views.items():
            view.copy_(torch.from_numpy(np.stack([lane[name] for lane in lanes])))
        return rows

    def _split(self, flat: Tensor) -> dict[str, Tensor]:
        views, start = {}, 0
        for name, shape in self.shapes.items():
            numel = math.prod(shape)
            views[name] = flat[:, start : start + numel].view(len(flat), *shape)
            start += lane_pitch(numel, flat.dtype)
        return views

    def with_flat(self, flat: Tensor) -> dict[str, Tensor]:
        """Another buffer of the same layout (an average of the weights, say) as parameters by name."""
        return self._split(flat)

    def store_gradients(self, loss: Tensor) -> None:
        """d(sum of loss [L]) / d(parameters) into `grad`; a lane's gradient depends on its own loss alone."""
        gradients = torch.autograd.grad(loss.sum(), list(self.leaves.values()))
        torch._foreach_copy_(list(self.gradients.values()), gradients)  # pyright: ignore[reportPrivateImportUsage]

    def take(self, lanes: Sequence[int]) -> "Rows":
        """The rows of these lanes, in this order, as a new buffer."""
        return Rows(self.shapes, self.flat[list(lanes)])


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1, in the order of torch.optim.Adam) on Rows, coefficients [L], steps [L].

    lr >= 0, 0 <= beta < 1. A lane left out of a step keeps parameters and state bit for bit.
    """

    def __init__(self, rows: Rows, lr: Sequence[float], beta1: Sequence[float], beta2: Sequence[float]) -> None:
        self.rows = rows
        self.lr, self.beta1, self.beta2 = list(lr), list(beta1), list(beta2)
        self.eps = 1e-8
        self.mean = torch.zeros_like(rows.flat)
        self.mean_square = torch.zeros_like(rows.flat)
        self.steps = rows.flat.new_zeros(len(rows.flat), dtype=torch.float32)

    def step(self, active: Sequence[bool]) -> None:
        """One update of the active lanes from `rows.grad`."""
        if self.rows.flat.device.type == "cpu":
            self._step_rows(active)
        else:
            self._step_columns(active)

    def _step_rows(self, active: Sequence[bool]) -> None:
        """One native fused pass over memory a lane; measured 14 times faster than [L, P] elementwise operations."""
        flat, grad = self.rows.flat.unbind(0), self.rows.grad.unbind(0)
        mean, mean_square, steps = self.mean.unbind(0), self.mean_square.unbind(0), self.steps.unbind(0)
        for i, goes in enumerate(active):
            if not goes:
                continue
            steps[i].add_(1)
            torch._fused_adam_(  # pyright: ignore[reportPrivateImportUsage]
                [flat[i]],
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
        moved = self.rows.flat - scale * mean / (mean_square.sqrt() / (1 - beta2**steps).sqrt() + self.eps)
        for old, new in ((self.mean, mean), (self.mean_square, mean_square), (self.rows.flat, moved)):
            old.copy_(torch.where(goes[:, None], new, old))

    def take(self, lanes: Sequence[int], rows: Rows) -> "Adam":
        """The state of these lanes, in this order, for their rows."""
        taken = Adam(rows, *([values[i] for i in lanes] for values in (self.lr, self.beta1, self.beta2)))
        index = list(lanes)
        taken.mean, taken.mean_square, taken.steps = self.mean[index], self.mean_square[index], self.steps[index]
        return taken
