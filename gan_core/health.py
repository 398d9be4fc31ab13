"""The signs that a lane is dead."""

import math

from torch import Tensor


def divergence(d_loss: float, g_loss: float, weights: Tensor, score: float) -> str | None:
    """Why a lane has diverged, or None: a loss, a weight (of `weights` [P]) or the score that is not finite.

    A lane that has taken no G step yet reports NaN for g_loss without being dead; its weights tell.
    """
    if not math.isfinite(d_loss):
        return f"discriminator loss is {d_loss:g}"
    if math.isinf(g_loss):
        return f"generator loss is {g_loss:g}"
    if not bool(weights.isfinite().all()):
        return "weights are not finite"
    if not math.isfinite(score):
        return f"score is {score:g}"
    return None
