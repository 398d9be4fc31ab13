"""A sum of means becomes one formula for each set of rows, and what is none is refused."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.execution.formulas import NotInC
from gan_core.execution.means import means_in_c
from gan_core.execution.trace import trace
from gan_core.lanes.axis import plain_calls

ONES = torch.ones(1, 4)
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def formulas(loss: Loss) -> dict[tuple[str, ...], str]:
    def written(given: dict[str, Tensor]) -> None:
        given["loss"].copy_(loss(given["x"], given["y"], given["s"]))

    tensors = {"x": torch.zeros(1, 4), "y": torch.zeros(1, 4), "s": torch.zeros(1), "loss": torch.zeros(1)}
    with plain_calls():
        return dict(means_in_c(trace(written, tensors)))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (lambda x, y, s: -x.mean(1), {("x",): "(-x[i])"}),
        (lambda x, y, s: x.mean(1) - y.mean(-1), {("x",): "x[i]", ("y",): "(-y[i])"}),
        (lambda x, y, s: x.mean(1) - (x * x).mean(1), {("x",): "(x[i] - (x[i] * x[i]))"}),
        (lambda x, y, s: (x.tanh().mean(1) + s * x.mean(1)) / 2, {("x",): "((tanh_of(x[i]) + (x[i] * s)) / (T)2.0)"}),
        (lambda x, y, s: F.softplus(y - x).mean(1), {("x", "y"): "softplus_of((y[i] - x[i]))"}),
        (lambda x, y, s: 1 - x.mean(1), {(): "(T)1.0", ("x",): "(-x[i])"}),
        (lambda x, y, s: 1 - (x.mean(1) + s), {(): "((T)1.0 - s)", ("x",): "(-x[i])"}),
        (lambda x, y, s: (s.unsqueeze(1) * x).mean(1) + s, {("x",): "(s * x[i])", (): "s"}),
    ],
)
def test_terms_over_the_same_rows_become_one(loss: Loss, expected: dict[tuple[str, ...], str]):
    assert formulas(loss) == expected


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (lambda x, y, s: s * s, "no sum of means"),
        (lambda x, y, s: x.mean(0)[:1], "other axes"),
        (lambda x, y, s: x.mean(1).mean(0, keepdim=True), "other axes"),
        (lambda x, y, s: x[:, :2].mean(1), "of a row"),
        (lambda x, y, s: x.cumsum(1).mean(1), "cumsum"),
        (lambda x, y, s: x.mean(1) * y.mean(1), "of two means"),
        (lambda x, y, s: x.mean(1).exp() + y.mean(1), "of means"),
        (lambda x, y, s: (x - y.mean(1, keepdim=True)).mean(1), "of a row and a mean"),
        (lambda x, y, s: (x * ONES).mean(1), "a constant tensor"),
        (lambda x, y, s: F.softplus(x, beta=2).mean(1), "softplus with a factor"),
    ],
)
def test_what_is_no_sum_of_means_is_not_in_c(loss: Loss, says: str):
    with pytest.raises(NotInC, match=says):
        formulas(loss)
