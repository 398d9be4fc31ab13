"""What is watched in every lane while it trains: sums since they were last read. L lanes, R decisions."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gan_core.health import HealthConfig, death
from gan_core.lanes import lane_matmul
from gan_core.reports import Death

SUMS = (
    "d_steps",
    "d_loss",
    "d_loss_square",
    "discriminator_accuracy",
    "penalty",
    "d_information",
    "d_gradient",
    "g_steps",
    "g_loss",
    "g_gradient",
    "looks",
    "sample_deviation",
    "quiet_images",
    "still_images",
)
KEPT = ("quiet_images", "still_images")  # counts on when the others are read and begin anew


class Watch:
    """Sums [L, len(SUMS)] in float64, a column a name. A lane adds to its own row, and only at its own steps.

    quiet_images: real images shown since G's gradient last had a norm of at least health.vanished_gradient;
    still_images: since G's samples last varied by at least health.collapsed_deviation of what real ones do.
    """

    def __init__(self, sums: Tensor, health: HealthConfig) -> None:
        self.sums, self.health = sums, health

    @classmethod
    def begin(cls, lanes: int, like: Tensor, health: HealthConfig) -> "Watch":
        """Nothing seen yet."""
        return cls(like.new_zeros(lanes, len(SUMS), dtype=torch.float64), health)

    def _column(self, name: str) -> Tensor:
        return self.sums[:, SUMS.index(name)]

    def add_discriminator_steps(
        self, loss: Tensor, real: Tensor, fake: Tensor, penalty: Tensor, information: Tensor, gradient: Tensor
    ) -> None:
        """Adds S steps of every D: the game's loss [S, L], logits [S, L, R], what was added to the loss [S, L], the
        norm of the gradient of the mean loss [S, L].

        Accuracy is the share of real decisions that D puts above the fake one beside them: 1/2 is chance, in any game.
        """
        loss = loss.double()
        accuracy = (real > fake).double().mean(2)
        seen = (torch.ones_like(loss), loss, loss.square(), accuracy, penalty, information, gradient)
        self._add("d_steps", torch.stack(seen, 2))

    def add_generator_steps(
        self, loss: Tensor, gradient: Tensor, active: Sequence[Sequence[bool]], images: Sequence[Sequence[int]]
    ) -> None:
        """Adds T updates of G in the active lanes, [T, L]: the game's loss and the norm of its gradient [T, L].
        images [T, L]: shown to D since the one before; they are quiet where the norm is below `vanished_gradient`.
        """
        seen, quiet = torch.stack((torch.ones_like(loss), loss, gradient), 2), gradient < self.health.vanished_gradient
        if all(map(all, active)):
            goes = torch.ones_like(quiet)
        else:
            goes = torch.tensor(list(active), device=loss.device)
            seen = torch.where(goes.unsqueeze(2), seen, 0)
        self._add("g_steps", seen)
        self._add_quiet(quiet, goes, images)

    def _add_quiet(self, quiet: Tensor, goes: Tensor, images: Sequence[Sequence[int]]) -> None:
        """Counts the images since a lane's last update that was not quiet."""
        counted = self._column("quiet_images")
        if bool((goes & ~quiet).any(0).all()) and not bool(quiet.any()):
            counted.zero_()
            return
        since_loud = (goes & ~quiet).flip(0).cumsum(0).flip(0) == 0
        shown = torch.tensor(list(images), device=counted.device) * (goes & since_loud)
        counted.copy_(torch.where(since_loud[0], counted, 0) + shown.sum(0))

    def _add(self, first: str, seen: Tensor) -> None:
        """Adds [S, L, n] to the n columns from the first on, step after step: how they are grouped changes no bit."""
        columns = self.sums[:, SUMS.index(first) :][:, : seen.shape[2]]
        columns.copy_(torch.cat((columns.unsqueeze(0), seen.double())).cumsum(0)[-1])

    def see_samples(self, real: Tensor, fake: Tensor, images: int) -> None:
        """A look at a real and a generated batch [L, N, ...]; images: shown to D since the last look.

        Sample deviation is the mean over pixels of the deviation over the batch, as a share of the real batch's; 1
        where the real samples are alike (one sample is), which tells nothing.
        """
        fakes, reals = _deviations(torch.cat((fake, real))).chunk(2)
        share = torch.where(reals > 0, fakes / reals, 1.0)
        self._column("looks").add_(1)
        self._column("sample_deviation").add_(share)
        still = self._column("still_images")
        still.copy_(torch.where(share < self.health.collapsed_deviation, still + images, 0))

    def dead(self) -> list[Death | None]:
        """Why each lane cannot go on, or None: [L]."""
        if not self._suspicious():
            return [None] * len(self.sums)
        return [death(dict(zip(SUMS, row, strict=True)), self.health) for row in self.sums.tolist()]

    def _suspicious(self) -> bool:
        """Whether a lane may be dead, asked of all at once; by numpy, at a quarter of torch's time."""
        sums, health = self.sums.cpu().numpy(), self.health
        quiet = sums[:, SUMS.index("quiet_images")].max(initial=0) >= health.vanished_images
        still = sums[:, SUMS.index("still_images")].max(initial=0) >= health.collapsed_images
        return bool(quiet or still or not np.isfinite(sums).all())

    @property
    def unread(self) -> bool:
        """Whether anything was seen since the last reading."""
        return bool(self._column("d_steps").any())

    def means(self) -> list[dict[str, float]]:
        """Mean of each sum over its steps since the last reading, a dict a lane; NaN where there was no step. D's loss
        also as a deviation over its steps, `d_loss_deviation`.
        """
        return [_means(dict(zip(SUMS, row, strict=True))) for row in self.sums.tolist()]

    def read(self) -> list[dict[str, float]]:
        """`means`, and all but what is KEPT begins anew."""
        means = self.means()
        kept = {name: self._column(name).clone() for name in KEPT}
        self.sums.zero_()
        for name, column in kept.items():
            self._column(name).copy_(column)
        return means

    def take(self, lanes: Sequence[int]) -> "Watch":
        """The rows of these lanes, in this order."""
        return Watch(self.sums[list(lanes)], self.health)


def _deviations(samples: Tensor) -> Tensor:
    """[L, N, ...] -> [L]. Sums are products with ones: a lane's are then the same bits whatever L is."""
    rows = samples.flatten(2)
    over_samples, over_numbers = rows.new_ones(len(rows), 1, rows.shape[1]), rows.new_ones(len(rows), rows.shape[2], 1)
    centred = rows - lane_matmul(over_samples, rows) / rows.shape[1]
    variances = lane_matmul(over_samples, centred * centred) / rows.shape[1]
    return lane_matmul(variances.sqrt(), over_numbers).flatten().double() / rows.shape[2]


def _means(sums: dict[str, float]) -> dict[str, float]:
    counts = {"g_loss": "g_steps", "g_gradient": "g_steps", "sample_deviation": "looks"}
    named = [name for name in SUMS if name not in (*KEPT, "d_steps", "g_steps", "looks")]
    means = {name: sums[name] / (sums[counts.get(name, "d_steps")] or math.nan) for name in named}
    spread = means.pop("d_loss_square") - means["d_loss"] ** 2
    return {**means, "d_loss_deviation": math.sqrt(max(spread, 0.0))}  # rounding may leave it below 0; NaN stays NaN
