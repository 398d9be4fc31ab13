"""What is watched in every lane while it trains: sums since they were last read. L lanes, R decisions."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gan_core.health import HealthConfig, death
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

    def columns(self) -> dict[str, Tensor]:
        """What a step adds to, by the names it knows them by: views of `sums`."""
        d, g = SUMS.index("d_steps"), SUMS.index("g_steps")
        return {"d_seen": self.sums[:, d:g], "g_seen": self.sums[:, g : g + 3], "quiet": self._column("quiet_images")}

    def see_samples(self, real: Tensor, fake: Tensor, images: int) -> None:
        """A look at a real and a generated batch [L, N, ...]; images: shown to D since the last look.

        Sample deviation is the mean over pixels of the deviation over the batch, as a share of the real batch's; 1
        where the real samples are alike (one sample is), which tells nothing.
        """
        fakes, reals = _deviations(fake), _deviations(real)
        share = torch.where(reals > 0, fakes / reals, 1.0)
        self._column("looks").add_(1)
        self._column("sample_deviation").add_(share)
        still = self._column("still_images")
        still.copy_(torch.where(share < self.health.collapsed_deviation, still + images, 0))

    def dead(self) -> list[Death | None]:
        """Why each lane cannot go on, or None: [L]."""
        if not bool(self._suspicious().any()):
            return [None] * len(self.sums)
        return [death(dict(zip(SUMS, row, strict=True)), self.health) for row in self.sums.tolist()]

    def _suspicious(self) -> Tensor:
        """[L]: whether a lane may be dead, asked of all at once."""
        quiet = self._column("quiet_images") >= self.health.vanished_images
        still = self._column("still_images") >= self.health.collapsed_images
        return quiet | still | ~self.sums.isfinite().all(1)

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


def add_discriminator_step(
    sums: Tensor,
    loss: Tensor,
    real: Tensor,
    fake: Tensor,
    penalty: Tensor | None,
    information: Tensor | None,
    gradient: Tensor,
) -> None:
    """Adds one D step of every lane to its sums [L, 7], in the order of SUMS: the game's loss [L], logits [L, R], what
    was added to the loss [L], the norm of the gradient of the mean loss [L].

    Accuracy is the share of real decisions that D puts above the fake one beside them: 1/2 is chance, in any game.
    """
    loss = loss.detach().double()
    seen = (
        torch.ones_like(loss),
        loss,
        loss.square(),
        (real > fake).double().mean(1),
        torch.zeros_like(loss) if penalty is None else penalty.detach().double(),
        torch.zeros_like(loss) if information is None else information.detach().double(),
        gradient.double(),
    )
    sums += torch.stack(seen, 1)


def add_generator_step(
    sums: Tensor, quiet: Tensor, loss: Tensor, gradient: Tensor, active: Tensor, images: Tensor, vanished: float
) -> None:
    """Adds one G step of the active lanes, bool [L], to their sums [L, 3]: steps, the game's loss and the norm of its
    gradient [L]; and to `quiet` [L] the images [L] D was shown since the last one, where the norm is below `vanished`.
    """
    norm = gradient.double()
    seen = torch.stack((torch.ones_like(norm), loss.detach().double(), norm), 1)
    sums += torch.where(active.unsqueeze(1), seen, 0)
    quiet.copy_(torch.where(active, torch.where(norm < vanished, quiet + images, 0), quiet))


def _deviations(samples: Tensor) -> Tensor:
    """[L, N, ...] -> [L], lane by lane: reduced together, a lane's last bit would depend on L."""
    found = []
    for lane in samples.flatten(2):
        centred = lane - lane.mean(0)
        found.append((centred * centred).mean(0).sqrt().mean())
    return torch.stack(found).double()


def _means(sums: dict[str, float]) -> dict[str, float]:
    counts = {"g_loss": "g_steps", "g_gradient": "g_steps", "sample_deviation": "looks"}
    named = [name for name in SUMS if name not in (*KEPT, "d_steps", "g_steps", "looks")]
    means = {name: sums[name] / (sums[counts.get(name, "d_steps")] or math.nan) for name in named}
    spread = means.pop("d_loss_square") - means["d_loss"] ** 2
    return {**means, "d_loss_deviation": math.sqrt(max(spread, 0.0))}  # rounding may leave it below 0; NaN stays NaN
