"""The signs that a lane is dead."""

import math

from torch import Tensor


def divergence(d_loss: float | None, g_loss: float | None, weights: Tensor, score: float) -> str | None:
    """Why a lane has diverged, or None: a loss, a weight (of `weights` [P]) or the score that is not finite.

    A loss is None where no step was taken since it was last read: that proves nothing.
    """
    if d_loss is not None and not math.isfinite(d_loss):
        return f"discriminator loss is {d_loss:g}"
    if g_loss is not None and not math.isfinite(g_loss):
        return f"generator loss is {g_loss:g}"
    if not bool(weights.isfinite().all()):
        return "weights are not finite"
    if not math.isfinite(score):
        return f"score is {score:g}"
    return None
