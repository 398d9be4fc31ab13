"""Keeps what the steps of a block leave to be watched, logits and norms, until the end of the block.

The programs of a step only write them into rows. Losses, accuracies and sums are computed from the kept rows of all
steps of a block at once, by a few calls on larger tensors instead of dozens on tiny ones in every step. Compiled steps
write the same rows, and are watched in C (`gan_core.training.compiled.watching`).

K lanes, N batch, R decisions, S D steps of a block, T updates of G in it.
"""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from gan_core.game.step import Game
from gan_core.lanes.axis import lane_empty
from gan_core.training.watch import Watch


class StepRecord:
    """The rows that a step writes, and copies of those of the steps before it, until `settle` adds them to a watch."""

    def __init__(self, watch: Watch, game: Game, inputs: Mapping[str, Tensor], steps: int, updates: int) -> None:
        """inputs: what lanes are fed, by name; steps, updates: the largest S and T."""
        self._watch, self._game, self._inputs, self._decisions = watch, game, inputs, game.decisions
        like, decisions = inputs["real"], game.decisions
        lanes = len(like)
        self._d_row, self._g_row = (
            lane_empty(lanes, (2 * decisions + 3,), like),
            lane_empty(lanes, ((2 if game.loss.sees_real else 1) * decisions + 1,), like),
        )
        self._d_kept, self._g_kept = (
            like.new_empty(n, *r.shape) for n, r in ((steps, self._d_row), (updates, self._g_row))
        )
        self._d_row.zero_()
        self._g_row.zero_()
        self._d_count = 0
        self._turns: list[tuple[Sequence[bool], Sequence[int]]] = []

    def tensors(self) -> dict[str, Tensor]:
        """What a step writes, by name: logits [K, R], everything else [K], and both rows. Norms are of the gradients
        that Adam is given. What a structure does not have stays 0.
        """
        real, fake, penalty, information, norm = self._discriminator_parts(self._d_row)
        return {
            **{"d_row": self._d_row, "g_row": self._g_row},
            **{"d_real": real, "d_fake": fake, "d_penalty": penalty, "d_information": information, "d_norm": norm},
            **{"g_fake": self._g_row[:, : self._decisions], "g_norm": self._g_row[:, self._decisions]},
            **({"g_real": self._g_row[:, self._decisions + 1 :]} if self._game.loss.sees_real else {}),
        }

    def _discriminator_parts(self, rows: Tensor) -> tuple[Tensor, ...]:
        logits = 2 * self._decisions
        return *rows[..., :logits].chunk(2, -1), *rows[..., logits:].unbind(-1)

    def discriminator(self) -> None:
        """Keeps what a step of D has written."""
        self._d_kept[self._d_count].copy_(self._d_row)
        self._d_count += 1

    def generator(self, active: Sequence[bool], images: Sequence[int]) -> None:
        """Keeps what an update of G in the active lanes wrote. images: shown to D since a lane's last turn [K]."""
        self._g_kept[len(self._turns)].copy_(self._g_row)
        self._turns.append((active, images))

    def look(self, images: int) -> None:
        """Watches how much the last step's samples vary. images: shown to D since the last look."""
        self._watch.see_samples(self._inputs["real"], self._inputs["fake"], images)

    def settle(self) -> None:
        """Adds all that is kept to the watch, and forgets it."""
        loss, smoothing, scale = self._game.loss, self._inputs["smoothing"], self._game.scale
        if self._d_count:
            kept = self._d_kept[: self._d_count]
            real, fake, penalty, information, norm = self._discriminator_parts(kept)
            losses = _per_step(lambda r, f: loss.discriminator(r, f, smoothing.repeat(len(kept))), real, fake)
            self._watch.add_discriminator_steps(losses, real, fake, penalty, information, norm / scale)
        if self._turns:
            kept = self._g_kept[: len(self._turns)]
            real = [kept[..., self._decisions + 1 :]] if loss.sees_real else []
            losses = _per_step(loss.generator, kept[..., : self._decisions], *real)
            self._watch.add_generator_steps(losses, kept[..., self._decisions] / scale, *zip(*self._turns, strict=True))
        self._d_count, self._turns = 0, []


def _per_step(function: Callable[..., Tensor], *logits: Tensor) -> Tensor:
    """Applies a loss of logits [L, R] -> [L] to logits [S, K, R] -> [S, K]."""
    return function(*(part.flatten(0, 1) for part in logits)).view(logits[0].shape[:2])
