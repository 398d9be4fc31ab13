"""One step after another: what lanes are fed, the programs of the step, what is watched, Adam, and averages.

K lanes.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from gan_core.game.step import StepPart
from gan_core.training.chunk import Chunk
from gan_core.training.compiled.watching import NativeWatch
from gan_core.training.record import StepRecord
from gan_core.training.step_functions import Active

# Computes a part of the step of this number for all lanes, and an update of G at least for the active ones. The third
# argument is which of G's updates in the step it belongs to, from 0.
RunPart = Callable[[StepPart, int, int, Active], None]


class StepLoop:
    """The steps of a chunk whose parts are separate programs, which `run` runs; `watching` adds up what they leave."""

    def __init__(self, chunk: Chunk, run: RunPart, watching: StepRecord | NativeWatch) -> None:
        self._chunk, self._run, self._watching = chunk, run, watching
        self._no_images = [0] * chunk.lanes
        self._average_weights: tuple[list[list[float]], Tensor] = ([], chunk.generator.flat.new_empty(0))

    def train(self, first: int, count: int) -> None:
        """`count` steps, the first of this number; after the last of a whole block a look at how much samples vary."""
        for step in range(first, first + count):
            self._step(step)
        self._watching.settle()
        if look_images := self._chunk.look_images(first + count):
            self._watching.look(look_images)

    def _step(self, step: int) -> None:
        chunk = self._chunk
        chunk.draws.begin_step(step)
        if chunk.course.rates_fall:
            shares = chunk.course.lr_shares(step)
            chunk.generator_adam.set_lr_shares(shares)
            chunk.discriminator_adam.set_lr_shares(shares)
        if chunk.generator_first:
            self._update_generator(step)
        else:
            self._run(StepPart.FAKES, step, 0, None)
        self._run(StepPart.DISCRIMINATOR, step, 0, None)
        self._watching.discriminator()
        chunk.discriminator_adam.step()
        if not chunk.generator_first:
            self._update_generator(step)
        if chunk.average is not None:
            self._move_average(chunk.average, step)

    def _update_generator(self, step: int) -> None:
        """G's updates in the lanes whose turn it is, each on fresh latents."""
        chunk = self._chunk
        updates = chunk.course.updates(step)
        if chunk.generator_first and not updates:
            self._run(StepPart.FAKES, step, 0, None)
        for update, active in enumerate(updates):
            chunk.draws.begin_turn(step, update)
            shows_fakes = chunk.generator_first and update == 0
            part = StepPart.GENERATOR_AND_FAKES if shows_fakes else StepPart.GENERATOR
            self._run(part, step, update, active)
            self._watching.generator(active, chunk.course.since_last_images if update == 0 else self._no_images)
            chunk.generator_adam.step(active)

    def _move_average(self, average: Tensor, step: int) -> None:
        weights = self._chunk.course.average_weights(step)
        if weights != self._average_weights[0]:
            columns = torch.tensor(weights, dtype=average.dtype, device=average.device)
            self._average_weights = (weights, columns.unsqueeze(2))
        average.lerp_(self._chunk.generator.flat.unsqueeze(1), self._average_weights[1])
