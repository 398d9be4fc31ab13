"""Sums over the steps of every lane, such as of losses and norms of gradients, and copies of these sums at marked
steps, from which the points of curves are computed.

L lanes, R decisions, S steps of D, T updates of G.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from gan_core.config.health import HealthConfig, death
from gan_core.config.input_error import DamagedFile, InputError
from gan_core.config.reports import Death
from gan_core.lanes.products import lane_matmul

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
KEPT = ("quiet_images", "still_images")  # not set to zero when the sums are read
MARKS_PER_DOUBLING = 8
CURVE_DIGITS = 6  # significant digits in curves: more than a plot shows, in half of the bytes


def is_marked(blocks: int) -> bool:
    """Whether curves have a point after so many blocks of steps: after each of the first 16, then 8 times in each
    doubling, which are 16 + 8 log2(blocks / 16) in all. Because it depends on the number of steps alone, the points do
    not change with the rungs or with how often training stops.
    """
    spacing = 1 << max(0, blocks.bit_length() - MARKS_PER_DOUBLING.bit_length())
    return blocks % spacing == 0


class Watch:
    """Sums [L, len(SUMS)] in float64, with a column for each name of SUMS. A lane adds to its row only in steps in
    which it takes part.

    quiet_images: real images shown since the norm of G's gradient was last at least health.vanished_gradient;
    still_images: those shown since G's samples last varied by at least the share health.collapsed_deviation of what
    real samples do.
    """

    def __init__(self, sums: Tensor, health: HealthConfig) -> None:
        self.sums, self.health = sums, health
        self._before = torch.zeros_like(sums, device="cpu")  # the sums before the first point of the curves
        self._marks: list[tuple[int, Tensor]] = []  # images seen, and the sums then

    @classmethod
    def begin(cls, lanes: int, like: Tensor, health: HealthConfig) -> "Watch":
        """A watch that has seen nothing yet."""
        return cls(like.new_zeros(lanes, len(SUMS), dtype=torch.float64), health)

    def _column(self, name: str) -> Tensor:
        return self.sums[:, SUMS.index(name)]

    def add_discriminator_steps(
        self, loss: Tensor, real: Tensor, fake: Tensor, penalty: Tensor, information: Tensor, gradient: Tensor
    ) -> None:
        """Adds S steps of every D: the loss [S, L], logits [S, L, R], what was added to the loss [S, L], and the norm
        of the gradient of the mean loss [S, L].

        Accuracy is the share of pairs of a real and a fake decision in which the real one has the larger logit: 1/2 is
        chance, for any loss.
        """
        loss = loss.double()
        accuracy = (real > fake).double().mean(2)
        seen = (torch.ones_like(loss), loss, loss.square(), accuracy, penalty, information, gradient)
        self._add("d_steps", torch.stack(seen, 2))

    def add_generator_steps(
        self, loss: Tensor, gradient: Tensor, active: Sequence[Sequence[bool]], images: Sequence[Sequence[int]]
    ) -> None:
        """Adds T updates of G in the active lanes, [T, L]: the loss and the norm of its gradient [T, L]. images [T, L]:
        shown to D since the update before; they count as quiet where the norm is below `vanished_gradient`.
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
        """Counts the images since the last update of a lane that was not quiet."""
        counted = self._column("quiet_images")
        if bool((goes & ~quiet).any(0).all()) and not bool(quiet.any()):
            counted.zero_()
            return
        since_loud = (goes & ~quiet).flip(0).cumsum(0).flip(0) == 0
        shown = torch.tensor(list(images), device=counted.device) * (goes & since_loud)
        counted.copy_(torch.where(since_loud[0], counted, 0) + shown.sum(0))

    def _add(self, first: str, seen: Tensor) -> None:
        """Adds [S, L, n] to n columns from the first on, one step after another, so that the bits of the sums do not
        depend on how steps are grouped into calls.
        """
        columns = self.sums[:, SUMS.index(first) :][:, : seen.shape[2]]
        columns.copy_(torch.cat((columns.unsqueeze(0), seen.double())).cumsum(0)[-1])

    def see_samples(self, real: Tensor, fake: Tensor, images: int) -> None:
        """Adds a look at a batch of real and one of generated samples [L, N, ...]. images: shown to D since the last
        look.

        The sample deviation is the mean over pixels of the standard deviation over the batch, divided by that of the
        real batch; it is 1 where all real samples are alike (such as a single one), and nothing can be said.
        """
        fakes, reals = _deviations(torch.cat((fake, real))).chunk(2)
        share = torch.where(reals > 0, fakes / reals, 1.0)
        self._column("looks").add_(1)
        self._column("sample_deviation").add_(share)
        still = self._column("still_images")
        still.copy_(torch.where(share < self.health.collapsed_deviation, still + images, 0))

    def dead(self) -> list[Death | None]:
        """For each lane why it cannot go on, or None: [L]."""
        if not self._suspicious():
            return [None] * len(self.sums)
        return [death(dict(zip(SUMS, row, strict=True)), self.health) for row in self.sums.tolist()]

    def _suspicious(self) -> bool:
        """Whether any lane may be dead. With numpy this takes a quarter of the time that torch takes."""
        sums, health = self.sums.cpu().numpy(), self.health
        quiet = sums[:, SUMS.index("quiet_images")].max(initial=0) >= health.vanished_images
        still = sums[:, SUMS.index("still_images")].max(initial=0) >= health.collapsed_images
        return bool(quiet or still or not np.isfinite(sums).all())

    @property
    def unread(self) -> bool:
        """Whether anything was added since the sums were last read."""
        return bool(self._column("d_steps").any())

    def means(self) -> list[dict[str, float]]:
        """For each lane the means over the steps since the sums were last read, by name; NaN where there was no step.
        `d_loss_deviation` is the standard deviation of D's loss over steps.
        """
        return [_means(dict(zip(SUMS, row, strict=True))) for row in self.sums.tolist()]

    def mark(self, images: int) -> None:
        """Marks a point in the curves of all lanes, after so many images. The sums do not change."""
        self._marks.append((images, self.sums.cpu().clone()))

    def curves(self, images: int | None = None) -> list[tuple[dict[str, float], ...]]:
        """For each lane the points that were marked since the sums were last read: `images_seen`, and the means since
        the point before under the names that rows of results have, rounded to CURVE_DIGITS. images: adds the present
        sums as a last point, after so many images.
        """
        marks = self._marks if images is None else [*self._marks, (images, self.sums.cpu())]
        if not marks:
            return [()] * len(self.sums)
        places = [place for place, _ in marks]
        steps = torch.stack([self._before, *(sums for _, sums in marks)]).diff(dim=0)
        return [_curve(places, of_lane) for of_lane in steps.transpose(0, 1).tolist()]

    @property
    def last_mark(self) -> Tensor:
        """The sums at the last mark, which a checkpoint must hold too: the next point is computed from them."""
        return self._marks[-1][1] if self._marks else self._before

    def go_on_from(self, mark: Tensor) -> None:
        """Sets `last_mark` to that of a checkpoint. Raises InputError where its shape or type is another."""
        if (mark.shape, mark.dtype) != (self._before.shape, self._before.dtype):
            raise InputError("the checkpoint's 'marked' does not fit this configuration; it is another run's")
        self._before, self._marks = mark, []

    def marks(self) -> dict[str, Tensor]:
        """All that `curves` needs beside the sums: the sums before the first point [L, S], those at each of M marks
        [M, L, S], and the images seen there [M].
        """
        at_marks = [sums for _, sums in self._marks]
        return {
            "curve_before": self._before.clone(),  # a file of tensors takes none that share memory
            "curve_marks": torch.stack(at_marks) if at_marks else self._before.new_zeros(0, *self._before.shape),
            "curve_images": torch.tensor([images for images, _ in self._marks], dtype=torch.int64),
        }

    def set_marks(self, marks: Mapping[str, Tensor]) -> None:
        """Takes back what `marks` returned. Raises DamagedFile where it is missing, or is of other lanes."""
        before, at_marks, images = (marks.get(f"curve_{name}") for name in ("before", "marks", "images"))
        if before is None or at_marks is None or images is None:
            raise DamagedFile("the checkpoint lacks the marks of its curves")
        if (before.shape, at_marks.shape) != (self._before.shape, (len(images), *self._before.shape)):
            raise DamagedFile("the marks of the checkpoint's curves are of other lanes")
        self._before, self._marks = before, list(zip(images.tolist(), at_marks.unbind(0), strict=True))

    def read(self) -> list[dict[str, float]]:
        """Returns `means`, and sets all sums but those of KEPT to zero."""
        means = self.means()
        self._before, self._marks = torch.zeros_like(self._before), []
        kept = {name: self._column(name).clone() for name in KEPT}
        self.sums.zero_()
        for name, column in kept.items():
            self._column(name).copy_(column)
        return means

    def take(self, lanes: Sequence[int]) -> "Watch":
        """A watch with copies of the rows of these lanes, in this order."""
        index = list(lanes)
        taken = Watch(self.sums[index], self.health)
        taken._before, taken._marks = self._before[index], [(images, sums[index]) for images, sums in self._marks]
        return taken


def _deviations(samples: Tensor) -> Tensor:
    """The mean over numbers of the standard deviation over samples, [L, N, ...] -> [L]. Sums are computed as products
    with ones, by which a lane's bits do not depend on L.
    """
    rows = samples.flatten(2)
    over_samples, over_numbers = rows.new_ones(len(rows), 1, rows.shape[1]), rows.new_ones(len(rows), rows.shape[2], 1)
    centred = rows - lane_matmul(over_samples, rows) / rows.shape[1]
    variances = lane_matmul(over_samples, centred * centred) / rows.shape[1]
    return lane_matmul(variances.sqrt(), over_numbers).flatten().double() / rows.shape[2]


def _curve(images: Sequence[int], steps: Sequence[Sequence[float]]) -> tuple[dict[str, float], ...]:
    """The points of a lane's curves, from what was added to the sums before each point. There is no point without
    steps, and means that are not finite are left out.
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
    return {**means, "d_loss_deviation": math.sqrt(max(spread, 0.0))}  # rounding may make it negative; NaN stays NaN
