"""What is watched in every lane while it trains: sums since they were last read; and marks on the way, for curves.

L lanes, R decisions.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gan_core.config.health import HealthConfig, death
from gan_core.config.input_error import InputError
from gan_core.config.reports import Death
from gan_core.lanes.axis import lane_matmul

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
MARKS_PER_DOUBLING = 8
CURVE_DIGITS = 6  # significant ones of a curve's numbers: more than a picture shows, in half of the bytes


def is_marked(blocks: int) -> bool:
    """Whether curves have a point after so many blocks of steps: after each of the first 16, then 8 times in each
    doubling. A function of a lane's own steps alone: the same points whatever the rungs are, however often it is
    stopped, and 16 + 8 log2(blocks / 16) of them in all.
    """
    spacing = 1 << max(0, blocks.bit_length() - MARKS_PER_DOUBLING.bit_length())
    return blocks % spacing == 0


class Watch:
    """Sums [L, len(SUMS)] in float64, a column a name. A lane adds to its own row, and only at its own steps.

    quiet_images: real images shown since G's gradient last had a norm of at least health.vanished_gradient;
    still_images: since G's samples last varied by at least health.collapsed_deviation of what real ones do.
    """

    def __init__(self, sums: Tensor, health: HealthConfig) -> None:
        self.sums, self.health = sums, health
        self._before = torch.zeros_like(sums, device="cpu")  # the sums where the first stretch of curves begins
        self._marks: list[tuple[int, Tensor]] = []  # images seen, and the sums then

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

    def mark(self, images: int) -> None:
        """A point of every lane's curve, after so many images in all. What is summed up does not change by it."""
        self._marks.append((images, self.sums.cpu().clone()))

    def curves(self, images: int | None = None) -> list[tuple[dict[str, float], ...]]:
        """Of each lane the points that were marked since the last reading: `images_seen`, and the means since the point
        before under a row's names, to CURVE_DIGITS. images: one more point is here, after so many images.
        """
        marks = self._marks if images is None else [*self._marks, (images, self.sums.cpu())]
        if not marks:
            return [()] * len(self.sums)
        places = [place for place, _ in marks]
        steps = torch.stack([self._before, *(sums for _, sums in marks)]).diff(dim=0)
        return [_curve(places, of_lane) for of_lane in steps.transpose(0, 1).tolist()]

    @property
    def last_mark(self) -> Tensor:
        """The sums at the last mark: what a checkpoint needs beside `sums`, so that the next point follows on it."""
        return self._marks[-1][1] if self._marks else self._before

    def go_on_from(self, mark: Tensor) -> None:
        """Takes over `last_mark` of a checkpoint, as its sums were. Raises InputError where it does not fit."""
        if (mark.shape, mark.dtype) != (self._before.shape, self._before.dtype):
            raise InputError("the checkpoint's 'marked' does not fit this configuration; it is another run's")
        self._before, self._marks = mark, []

    def read(self) -> list[dict[str, float]]:
        """`means`, and all but what is KEPT begins anew."""
        means = self.means()
        self._before, self._marks = torch.zeros_like(self._before), []
        kept = {name: self._column(name).clone() for name in KEPT}
        self.sums.zero_()
        for name, column in kept.items():
            self._column(name).copy_(column)
        return means

    def take(self, lanes: Sequence[int]) -> "Watch":
        """The rows of these lanes, in this order."""
        index = list(lanes)
        taken = Watch(self.sums[index], self.health)
        taken._before, taken._marks = self._before[index], [(images, sums[index]) for images, sums in self._marks]
        return taken


def _deviations(samples: Tensor) -> Tensor:
    """[L, N, ...] -> [L]. Sums are products with ones: a lane's are then the same bits whatever L is."""
    rows = samples.flatten(2)
    over_samples, over_numbers = rows.new_ones(len(rows), 1, rows.shape[1]), rows.new_ones(len(rows), rows.shape[2], 1)
    centred = rows - lane_matmul(over_samples, rows) / rows.shape[1]
    variances = lane_matmul(over_samples, centred * centred) / rows.shape[1]
    return lane_matmul(variances.sqrt(), over_numbers).flatten().double() / rows.shape[2]


def _curve(images: Sequence[int], steps: Sequence[Sequence[float]]) -> tuple[dict[str, float], ...]:
    """A lane's points from what each of its stretches added to the sums. A stretch without steps is none, and a mean
    that is not finite is left out.
    """
    points = []
    for seen, row in zip(images, steps, strict=True):
        added: dict[str, float] = dict(zip(SUMS, row, strict=True))
        if added["d_steps"]:
            means = {
                name: float(f"{mean:.{CURVE_DIGITS}g}") for name, mean in _means(added).items() if math.isfinite(mean)
            }
            losses = {name: means.pop(name) for name in ("d_loss", "g_loss") if name in means}
            points.append({"images_seen": seen, **losses, **{f"health.{name}": v for name, v in means.items()}})
    return tuple(points)


def _means(sums: dict[str, float]) -> dict[str, float]:
    counts = {"g_loss": "g_steps", "g_gradient": "g_steps", "sample_deviation": "looks"}
    named = [name for name in SUMS if name not in (*KEPT, "d_steps", "g_steps", "looks")]
    means = {name: sums[name] / (sums[counts.get(name, "d_steps")] or math.nan) for name in named}
    spread = means.pop("d_loss_square") - means["d_loss"] ** 2
    return {**means, "d_loss_deviation": math.sqrt(max(spread, 0.0))}  # rounding may leave it below 0; NaN stays NaN
