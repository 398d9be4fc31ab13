"""How single calls of a trace are written in C. A function with a call that is neither here nor in `function_calls` is
not compiled.
"""

from collections.abc import Callable
from typing import Any

import torch

from gan_core.execution.c_text import number

aten = torch.ops.aten


class NotInC(Exception):
    """A trace has a call that cannot be translated to C, so it is replayed instead."""


def _clamp(x: str, low: str | None = None, high: str | None = None) -> str:
    text = x if low is None else f"({x} < {low} ? {low} : {x})"
    return text if high is None else f"({text} > {high} ? {high} : {text})"


def _elu(x: str, *rest: str) -> str:
    if any(factor != number(1) for factor in rest):
        raise NotInC(f"elu with {', '.join(rest)}")
    return f"elu_of({x})"


def _elu_backward(grad: str, alpha: str, scale: str, input_scale: str, is_result: str, out: str) -> str:
    if is_result != "1":
        raise NotInC("elu_backward of its input")
    return f"{out} <= 0 ? {grad} * {input_scale} * ({out} + {alpha} * {scale}) : {grad} * {scale}"


def _power(x: str, exponent: str) -> str:
    times = float(exponent.removeprefix("(T)"))
    if times not in (1, 2, 3):
        raise NotInC(f"a power of {times}")
    return "(" + " * ".join([x] * int(times)) + ")"


def _softplus(x: str, beta: str = number(1), threshold: str = "") -> str:
    """Torch returns the argument itself above the threshold of 20, where the two differ by less than 2.1e-9."""
    if beta != number(1):
        raise NotInC(f"softplus with a factor of {beta}")
    return f"softplus_of({x})"


# Elementwise calls -> their formula in C, given the formulas of their arguments.
FORMULAS: dict[Any, Callable[..., str]] = {
    aten.add.Tensor: "({} + {})".format,
    aten.add_.Tensor: "({} + {})".format,
    aten.add.Scalar: "({} + {})".format,
    aten.sub.Tensor: "({} - {})".format,
    aten.rsub.Scalar: "({1} - {0})".format,
    aten.mul.Tensor: "({} * {})".format,
    aten.mul_.Tensor: "({} * {})".format,
    aten.mul.Scalar: "({} * {})".format,
    aten.div.Tensor: "({} / {})".format,
    aten.div.Scalar: "({} / {})".format,
    aten.neg.default: "(-{})".format,
    aten.clone.default: "{}".format,
    aten._to_copy.default: "{}".format,
    aten.exp.default: "exp_of({})".format,
    aten.tanh.default: "tanh_of({})".format,
    aten.sqrt.default: "sqrt_of({})".format,
    aten.sigmoid.default: "sigmoid_of({})".format,
    aten.lerp.Tensor: "({2} < (T)0.5 ? {0} + {2} * ({1} - {0}) : {1} - ({1} - {0}) * (1 - {2}))".format,
    aten.maximum.default: "maximum_of({}, {})".format,
    aten.clamp.default: _clamp,
    aten.clamp_min.default: _clamp,
    aten.pow.Tensor_Scalar: _power,
    aten.relu.default: "({0} < 0 ? 0 : {0})".format,
    aten.relu_.default: "({0} < 0 ? 0 : {0})".format,
    aten.leaky_relu.default: "({0} > 0 ? {0} : {0} * {1})".format,
    aten.leaky_relu_.default: "({0} > 0 ? {0} : {0} * {1})".format,
    aten.leaky_relu_backward.default: "({1} > 0 ? {0} : {0} * {2})".format,
    aten.threshold_backward.default: "({1} <= {2} ? 0 : {0})".format,
    aten.elu.default: _elu,
    aten.elu_backward.default: _elu_backward,
    aten.sigmoid_backward.default: "({0} * ((1 - {1}) * {1}))".format,
    aten.tanh_backward.default: "({0} * (1 - {1} * {1}))".format,
    aten.silu.default: "({0} * sigmoid_of({0}))".format,
    aten.silu_backward.default: "({0} * sigmoid_of({1}) * (1 + {1} * (1 - sigmoid_of({1}))))".format,
    aten.softplus.default: _softplus,
    aten.softplus_backward.default: "({1} * {2} > {3} ? {0} : {0} * sigmoid_of({1} * {2}))".format,
    aten.gt.Scalar: "({} > {})".format,
    aten.gt.Tensor: "({} > {})".format,
    aten.ge.Scalar: "({} >= {})".format,
    aten.le.Scalar: "({} <= {})".format,
    aten.lt.Scalar: "({} < {})".format,
    aten.lt.Tensor: "({} < {})".format,
    aten.eq.Tensor: "({} == {})".format,
    aten.masked_fill.Scalar: "({1} ? {2} : {0})".format,
    aten.masked_fill_.Scalar: "({1} ? {2} : {0})".format,
    aten.logical_and_.default: "({} && {})".format,
    aten.where.self: "({} ? {} : {})".format,
}

# Sums -> the formula of what is added for each number, and that of the result, given the total of `count` numbers.
REDUCTIONS = {
    aten.sum.dim_IntList: ("{}", "{}"),
    aten.mean.dim: ("{}", "{} / {count}"),
    aten.linalg_vector_norm.default: ("{0} * {0}", "sqrt_of({})"),
}

ALLOCATIONS = (aten.new_empty.default, aten.empty_like.default)
ZEROS = (aten.zeros.default, aten.zeros_like.default, aten.new_zeros.default)
COPIES = (aten.clone.default, aten._to_copy.default)  # whose keyword arguments do not change the numbers
# The gradient of a part -> the part.
PARTS = {aten.slice_backward.default: aten.slice.Tensor, aten.select_backward.default: aten.select.int}
