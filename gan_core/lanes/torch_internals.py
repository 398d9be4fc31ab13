"""Every name of torch used by the core that torch may remove without notice, with what replaces it when it is gone.

- `torch._fused_adamw_`: AdamW in one pass over memory; the public class with this kernel keeps a state that has no lane
  axis. Without it `training.optim` computes AdamW in elementwise operations.
- `TorchDispatchMode` and `OpOverload._schema`: a trace of a step, its backward pass included. Both are documented,
  under names that begin with an underscore. Without them steps are run eagerly, and `workshop.memory` counts no memory.
- `fp32_precision` in `torch.backends`: documented, the only setting for each library and kind of operation, and unknown
  to torch's own types. Without it the older flags `allow_tf32` are set.

Two private names need no replacement: `aten._to_copy` and `aten._log_softmax` are operators of which the public
functions `Tensor.to` and `log_softmax` consist, in a trace of them. `execution.formulas` and `execution.function_calls`
only compare them with the calls of a trace. If torch gave the calls other names, their steps would be replayed.

Each function below looks for its name when it is called or imported, so a version of torch without it needs no change.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx.node import map_aggregate

FP32_SETTING = "fp32_precision"

if TYPE_CHECKING:
    from torch._ops import OpOverload
else:
    OpOverload = type(torch.ops.aten.add.Tensor)

try:
    from torch.utils._python_dispatch import TorchDispatchMode  # pyright: ignore
except ImportError:

    class TorchDispatchMode:  # pyright: ignore
        """A context in which nothing is seen."""

        def __enter__(self) -> "TorchDispatchMode":
            return self

        def __exit__(self, *error: object) -> None:
            pass

    SEES_CALLS = False
else:
    SEES_CALLS = hasattr(torch.ops.aten.add.Tensor, "_schema")  # whether a dispatch mode sees and understands calls


def arguments_of(operator: Any) -> list[Any]:
    """The arguments of an operator's schema: each has a name, a type, and where it may share memory an alias_info."""
    return operator._schema.arguments


def is_mutable(operator: Any) -> bool:
    """Whether an operator writes into one of its arguments."""
    return operator._schema.is_mutable


def fused_adamw() -> Callable[..., None] | None:
    """Torch's AdamW in one pass over memory: changes lists of parameters, moments and steps in place."""
    return getattr(torch, "_fused_adamw_", None)


def tensors_in(values: Any) -> list[Tensor]:
    """The tensors in nested lists, tuples and dicts."""
    found: list[Tensor] = []
    map_aggregate(values, lambda value: found.append(value) if isinstance(value, Tensor) else None)
    return found


@contextmanager
def precision_settings(gpu: str, cpu: str) -> Iterator[None]:
    """Within this context float32 products and convolutions are computed on a GPU in `gpu`, "ieee" or "tf32", and on
    the CPU products in `cpu`, "ieee" or "bf16", and convolutions in "ieee". The previous settings are restored at the
    end, also after an error.
    """
    wanted = _fp32_settings(gpu, cpu) or _older_settings(gpu)
    before = [getattr(place, name) for place, name, _ in wanted]
    for place, name, value in wanted:
        setattr(place, name, value)
    try:
        yield
    finally:
        for (place, name, _), value in zip(wanted, before, strict=True):
            setattr(place, name, value)


def _fp32_settings(gpu: str, cpu: str) -> list[tuple[Any, str, Any]]:
    """For each library and kind of operation: the place of its setting, the setting's name and its value; empty if this
    torch lacks any of them.
    """
    backends: Any = torch.backends
    places = (backends.cuda.matmul, gpu), (backends.cudnn.conv, gpu), (backends.mkldnn.matmul, cpu)
    settings = [(place, FP32_SETTING, value) for place, value in (*places, (backends.mkldnn.conv, "ieee"))]
    return settings if all(hasattr(place, name) for place, name, _ in settings) else []


def _older_settings(gpu: str) -> list[tuple[Any, str, Any]]:
    """The settings for a GPU by the older flags, which every torch has. The CPU needs none: by torch's default its
    products are not rounded.
    """
    return [(place, "allow_tf32", gpu == "tf32") for place in (torch.backends.cuda.matmul, torch.backends.cudnn)]
