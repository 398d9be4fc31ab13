"""The calls of a person's forward that are computed as our own layers compute them.

In a trace that is translated to C (`plain_calls`), which is of a vmap over lanes, a linear layer is to be a product of
matrices with a lane axis, a convolution one call of `convolutions`, and batch norm a few elementwise calls; vmap by
itself would make others of them. What has no such form is left to vmap, and its steps are replayed. Where lanes are
called one by one on the CPU, convolutions alone are computed so, because the library is slow with few channels.

L lanes, N rows of a batch, F features, C channels, O outputs.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.lanes.products import lane_matmul
from gan_core.networks.convolutions import convolve, convolve_transposed

OfLanes = Callable[..., Any]  # of tensors [L, ...]
Apply = Callable[..., Any]  # applies such a function to tensors of a lane: `in_vmap`, or `to_one_lane`


class _OfLanes(torch.autograd.Function):
    """A function of all lanes at once, called within a vmap over them. Its gradients are those of what it calls."""

    @staticmethod
    def forward(function: OfLanes, *tensors: Tensor) -> Any:
        """Only called outside of vmap, where there are no lanes."""
        raise NotImplementedError("what does not differ between lanes")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: a vmap calls `function` below itself, where autograd sees each call of it."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        """Calls the function, the first of args, on the tensors with the lane axis first."""
        function, *tensors = args
        lanes = [
            tensor.expand(info.batch_size, *tensor.shape) if axis is None else tensor.movedim(axis, 0)
            for tensor, axis in zip(tensors, in_dims[1:], strict=True)
        ]
        made = function(*lanes)
        return made, (0,) * len(made) if isinstance(made, tuple) else 0


def in_vmap(of_lanes: OfLanes, *tensors: Tensor | None) -> Any:
    """Applies a function of all lanes within a vmap over them."""
    return _OfLanes.apply(of_lanes, *(tensor for tensor in tensors if tensor is not None))


def to_one_lane(of_lanes: OfLanes, *tensors: Tensor | None) -> Any:
    """Applies a function of all lanes to a single one: [...] -> [...]. The result is copied, because an activation in
    place may follow, which autograd refuses on the view that an own function of it returned.
    """
    return of_lanes(*(tensor.unsqueeze(0) for tensor in tensors if tensor is not None)).squeeze(0).clone()


def lane_call(apply: Apply, func: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """A call of torch's functions as our layers compute it; None where they have no such map."""
    if func not in (_CALLS if apply is in_vmap else CONVOLUTIONS):
        return None
    call, names = _CALLS[func]
    return call(apply, **{**dict(zip(names, args, strict=False)), **named})


def labels_call(
    apply: Apply, labels: tuple[Tensor, Tensor], func: Any, args: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    """What a function makes of the labels [N] of a pass, computed from the same as one-hot classes [N, K]: an embedding
    is a product then. None where it makes something else.
    """
    known, one_hot = labels[0], labels[1].detach()
    if apply is not in_vmap or not args or args[0] is not known:
        return None
    further = dict(zip(("weight", "padding_idx", "max_norm"), args[1:], strict=False)) | named
    if func is F.embedding and not further.get("max_norm") and further.get("padding_idx") is None:
        return apply(lane_matmul, one_hot, further["weight"])
    return one_hot if func is F.one_hot and (*args[1:], *named.values()) == (one_hot.shape[1],) else None


def _linear(apply: Apply, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    if input.ndim != 2:
        return None
    return _with_bias(apply, lambda x, weight: lane_matmul(x, weight.mT), input, weight, bias)


def _conv2d(
    apply: Apply,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    step, edge = _square(stride), _square(padding)
    if not _is_plain(input, weight, step, edge, dilation, groups):
        return None

    def of_lanes(x: Tensor, weight: Tensor) -> Tensor:
        if edge == 0 and x.shape[3:] == weight.shape[3:]:  # to one pixel: a product
            return lane_matmul(x.flatten(2), weight.flatten(2).mT).unsqueeze(3).unsqueeze(4)
        return convolve(x, weight, step, edge)

    return _with_bias(apply, of_lanes, input, weight, bias)


def _conv_transpose2d(
    apply: Apply,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor | None:
    step, edge = _square(stride), _square(padding)
    if not _is_plain(input, weight, step, edge, dilation, groups) or _square(output_padding) != 0:
        return None

    def of_lanes(x: Tensor, weight: Tensor) -> Tensor:
        if edge == 0 and x.shape[3:] == (1, 1):  # from one pixel: a product
            return lane_matmul(x.flatten(2), weight.flatten(2)).unflatten(2, weight.shape[2:])
        return convolve_transposed(x, weight, step, edge)

    return _with_bias(apply, of_lanes, input, weight, bias)


def _with_bias(apply: Apply, of_lanes: OfLanes, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear function of all lanes, with a bias for each channel."""

    def function(x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
        made = of_lanes(x, weight)
        return made + _of_channels(bias[0], made) if bias else made

    return apply(function, input, weight, bias)


def _batch_norm(
    apply: Apply,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    """In training alone, in which steps are; the running moments are moved as torch moves them."""
    if not training or (weight is None) != (bias is None):
        return None

    def of_lanes(x: Tensor, *affine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        within = (1, *range(3, x.ndim))
        mean = x.mean(within, keepdim=True)
        variance = (x - mean).square().mean(within, keepdim=True)
        made = (x - mean) / (variance + eps).sqrt()
        if affine:
            made = made * _of_channels(affine[0], x) + _of_channels(affine[1], x)
        count = x[0, :, 0].numel()
        return made, mean.detach().flatten(1), (variance.detach() * (count / (count - 1))).flatten(1)

    made, mean, variance = apply(of_lanes, input, weight, bias)
    for running, new in ((running_mean, mean), (running_var, variance)):
        if running is not None:
            running.copy_(running * (1 - momentum) + new * momentum)
    return made


def _layer_norm(
    apply: Apply,
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor | None:
    last = len(normalized_shape)

    def of_lanes(x: Tensor, *affine: Tensor) -> Tensor:
        made = _normalised(x, tuple(range(x.ndim - last, x.ndim)), eps)
        for place, values in enumerate(affine):
            values = values.view(len(x), *[1] * (x.ndim - 1 - last), *values.shape[1:])
            made = made + values if place else made * values
        return made

    return apply(of_lanes, input, weight, bias) if (weight is not None) >= (bias is not None) else None


def _group_norm(
    apply: Apply,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor | None:
    def of_lanes(x: Tensor, *affine: Tensor) -> Tensor:
        parts = x.unflatten(2, (num_groups, -1))
        made = _normalised(parts, tuple(range(3, parts.ndim)), eps).flatten(2, 3)
        return made * _of_channels(affine[0], x) + _of_channels(affine[1], x) if affine else made

    return apply(of_lanes, input, weight, bias) if (weight is None) == (bias is None) else None


def _instance_norm(
    apply: Apply,
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    """By the moments of each map, a group of one channel; not where running ones are kept."""
    if not use_input_stats or running_mean is not None:
        return None
    return _group_norm(apply, input, input.shape[1], weight, bias, eps)


def _normalised(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    deviations = x - x.mean(axes, keepdim=True)
    return deviations / (deviations.square().mean(axes, keepdim=True) + eps).sqrt()


def _square(value: Any) -> int:
    """A number of pixels that is the same in both directions; -1 where it is not, or a word."""
    values = value if isinstance(value, tuple | list) else (value,)
    return values[0] if len(set(values)) == 1 and isinstance(values[0], int) else -1


def _is_plain(input: Tensor, weight: Tensor, step: int, edge: int, dilation: Any, groups: int) -> bool:
    """Whether `convolutions` has such a map."""
    known = step > 0 and edge >= 0 and _square(dilation) == 1 and groups == 1
    return known and input.ndim == 4 and weight.shape[2] == weight.shape[3]


def _of_channels(values: Tensor, like: Tensor) -> Tensor:
    """Numbers of channels [L, C], to be added to or multiplied with maps [L, N, C, ...]."""
    return values.view(len(values), 1, -1, *[1] * (like.ndim - 3))


# Function -> what computes it for all lanes, and the names of its arguments.
_CALLS: dict[Any, tuple[Callable[..., Any], tuple[str, ...]]] = {
    F.linear: (_linear, ("input", "weight", "bias")),
    F.conv2d: (_conv2d, ("input", "weight", "bias", "stride", "padding", "dilation", "groups")),
    F.conv_transpose2d: (
        _conv_transpose2d,
        ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
    ),
    F.batch_norm: (
        _batch_norm,
        ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    ),
}
_CALLS |= {
    F.layer_norm: (_layer_norm, ("input", "normalized_shape", "weight", "bias", "eps")),
    F.group_norm: (_group_norm, ("input", "num_groups", "weight", "bias", "eps")),
    F.instance_norm: (
        _instance_norm,
        ("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps"),
    ),
}
CONVOLUTIONS = (F.conv2d, F.conv_transpose2d)
