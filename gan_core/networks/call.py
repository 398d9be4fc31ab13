"""One pass through a network. L lanes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gan_core.config.conditions import Precision
from gan_core.lanes.axis import column, lane_empty
from gan_core.lanes.streams import Stream, stream

BATCH_NORM = ("batch_norm_eps", "batch_norm_momentum")  # sequences of a call that layers may need as tensors


@dataclass
class Call:
    """One pass through a network: what its layers need beside weights and input. All sequences are [L].

    training: whether batch norm uses the batch's moments and dropout drops; otherwise running moments are used.
    precision: of products and convolutions (`gan_core.lanes.precision`).
    active: the lanes whose buffers change; None: all of them.
    seeds, seen: the key of dropout; seen is (images seen, which pass of the step). Without seeds, as in sampling, where
    only a person's own layers may drop, all lanes have 0.
    masks: dropout's masks, by the number of the dropout layer; a missing one is drawn and kept here.
    shares: what a person's own dropout layers drop, by the same number, which is not the lane's `dropout`.
    columns: some of the sequences as tensors, which are likewise made once.
    """

    batch_norm_eps: Sequence[float]
    batch_norm_momentum: Sequence[float] = ()
    dropout: Sequence[float] = ()
    training: bool = False
    precision: Precision = "float32"
    active: Sequence[bool] | None = None
    seeds: Sequence[int] = ()
    seen: tuple[int, int] = (0, 0)
    masks: dict[int, Tensor] = field(default_factory=dict)
    shares: dict[int, float] = field(default_factory=dict)
    columns: dict[str, Tensor] = field(default_factory=dict)
    dropouts_passed: int = 0
    own_calls: int = 0  # of a person's own modules, in this pass

    def moves(self, lane: int) -> bool:
        """Whether this pass changes the buffers of a lane."""
        return self.training and (self.active is None or self.active[lane])

    def move(self, buffer: Tensor, value: Tensor) -> None:
        """Writes the new value [L, ...] of a buffer in the lanes whose buffers change."""
        # Buffers share a tensor with parameters that autograd has saved; `data` hides from it this change, which does
        # not concern the parameters.
        places, values = buffer.data, value.detach()
        moving = [lane for lane in range(len(buffer)) if self.moves(lane)]
        if len(moving) == len(buffer):
            places.copy_(values)
        else:
            for lane in moving:
                places[lane].copy_(values[lane])

    def column(self, name: str, like: Tensor) -> Tensor:
        """One of the sequences as a tensor [L] of the type of `like`. It is made once, because nothing may be copied to
        a GPU during a capture.
        """
        if name not in self.columns:
            self.columns[name] = column(getattr(self, name), like)
        return self.columns[name]

    def mask(self, x: Tensor, share: float | None = None, shape: Sequence[int] = ()) -> Tensor:
        """The mask [L, ...] that the next dropout layer of this pass multiplies x [L, ...] by. share: what a person's
        own layer drops, with a mask of this shape in a lane.
        """
        self.dropouts_passed += 1
        place, shares = self.dropouts_passed, self.dropout
        if share is not None:
            self.shares[place], shares = share, [share] * len(x)
        if place not in self.masks:
            drawn = lane_empty(len(x), x.shape[1:] if share is None else shape, x)
            fill_mask(drawn, shares, self.seeds or [0] * len(x), self.seen, place)
            self.masks[place] = drawn
        return self.masks[place]


def fill_mask(out: Tensor, shares: Sequence[float], seeds: Sequence[int], seen: tuple[int, int], place: int) -> Tensor:
    """Fills out [L, ...] with 0 where a number is dropped and 1 / (1 - share) where it stays. Lane i is keyed by
    (seeds[i], seen, place): `seen` as in Call, and `place` the number of the dropout layer. Returns out.
    """
    for kept, seed, share in zip(out.unbind(0), seeds, shares, strict=True):
        if share:
            drawn = stream(seed, Stream.DROPOUT, *seen, place).random(tuple(kept.shape), dtype=np.float32)
            kept.copy_(torch.from_numpy(drawn >= share)).div_(1 - share)
        else:
            kept.fill_(1.0)
    return out
