"""What a person's own forward calls that is computed in another way: dropout, D's last sigmoid, and the lengths of
vectors in spectral normalisation.

A function mode sees each call of torch's functions before it is carried out, those of modules such as `nn.Dropout`
included. Calls within `F.multi_head_attention_forward` and within compiled code are not seen.

N rows of a batch, C channels.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gan_core.networks.own_lane_calls import Apply, labels_call, lane_call

SIGMOIDS = (torch.sigmoid, torch.sigmoid_, Tensor.sigmoid, Tensor.sigmoid_, torch.special.expit)
# Calls that take numbers out of a tensor unseen by a dispatch mode.
TAKEN_OUT = (Tensor.tolist, Tensor.numpy, Tensor.__array__)
ALPHA = 1.7580993408473766  # the negated limit of SELU, which alpha dropout sets numbers to (Klambauer et al. 2017)

MaskOf = Callable[[float, tuple[int, ...]], Tensor]  # of a share and a shape: 0 where dropped, else 1 / (1 - share)


class OwnCalls(TorchFunctionMode):
    """Within this context dropout takes its masks from `mask_of`, and the sigmoid call of this number, from 0, returns
    its input. Without `mask_of`, dropout is as in torch. apply: how calls are computed that our layers have too
    (`own_lane_calls`); None: as torch does.
    """

    def __init__(
        self, mask_of: MaskOf | None = None, skipped_sigmoid: int | None = None, *, apply: Apply | None = None
    ) -> None:
        super().__init__()
        self._mask_of, self._skipped, self._apply = mask_of, skipped_sigmoid, apply
        self.sigmoids = self.dropouts = 0  # how many calls were seen
        self.takes_out = False  # whether numbers were taken out of tensors
        self.labels: tuple[Tensor, Tensor] | None = None  # that the module is given, and the same as one-hot classes

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func in SIGMOIDS:
            self.sigmoids += 1
            if self.sigmoids - 1 == self._skipped:
                return args[0] if args else named["input"]
        elif func in _DROPOUTS:
            return self._dropped(func, args, named)
        elif func is F.normalize and named.get("out") is not None:
            # Spectral normalisation of torch writes its singular vectors so, for which vmap has no rule.
            return named.pop("out").copy_(func(*args, **named))
        elif func in TAKEN_OUT:
            self.takes_out = True
        elif self._apply is not None:
            made = labels_call(self._apply, self.labels, func, args, named) if self.labels else None
            made = lane_call(self._apply, func, args, named) if made is None else made
            if made is not None:
                return made
        return func(*args, **named)

    def _dropped(self, func: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        names, rows_of, alpha = _DROPOUTS[func]
        given = {"p": 0.5, "training": True, "inplace": func is torch.dropout_, **dict(zip(names, args, strict=False))}
        given |= {"training" if name == "train" else name: value for name, value in named.items()}
        x, share = given["input"], float(given["p"])
        if not given["training"] or not share:
            return x
        self.dropouts += 1
        if self._mask_of is None:
            return func(*args, **named)
        if not 0 < share < 1:
            return x.zero_() if given["inplace"] else x * 0
        mask = self._mask_of(share, rows_of(x))
        if not alpha:
            return x.mul_(mask) if given["inplace"] else x * mask
        scale = 1 / ((ALPHA**2 * share + 1) * (1 - share)) ** 0.5
        kept = mask * (1 - share)
        made = (x * kept + ALPHA * (kept - 1)) * scale + ALPHA * scale * share
        return x.copy_(made) if given["inplace"] else made


def _numbers(x: Tensor) -> tuple[int, ...]:
    """Each number is dropped by itself."""
    return tuple(x.shape)


def _channels(batched: int) -> Callable[[Tensor], tuple[int, ...]]:
    """Whole channels are dropped: the second axis of an x with a batch, which has at least so many axes."""

    def shape(x: Tensor) -> tuple[int, ...]:
        kept = 2 if x.ndim >= batched else 1
        return (*x.shape[:kept], *[1] * (x.ndim - kept))

    return shape


_NAMES = ("input", "p", "training", "inplace")
# Function -> the names of its arguments, the shape of its mask, and whether it is alpha dropout.
_DROPOUTS: dict[Any, tuple[tuple[str, ...], Callable[[Tensor], tuple[int, ...]], bool]] = {
    F.dropout: (_NAMES, _numbers, False),
    torch.dropout: (_NAMES, _numbers, False),
    torch.dropout_: (_NAMES, _numbers, False),
    F.dropout1d: (_NAMES, _channels(3), False),
    F.dropout2d: (_NAMES, _channels(2), False),
    F.dropout3d: (_NAMES, _channels(5), False),
    F.alpha_dropout: (_NAMES, _numbers, True),
    F.feature_alpha_dropout: (_NAMES, _channels(2), True),
}


@contextmanager
def own_randomness(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Within this context the global generators of torch, on the CPU and on the device, of numpy and of Python begin
    from this seed. They are as before at the end.
    """
    on_card = device is not None and device.type == "cuda"
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([device] if on_card else []):
        torch.default_generator.manual_seed(seed)
        if on_card:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
