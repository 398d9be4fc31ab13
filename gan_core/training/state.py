"""The state of an array: everything that training changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_core.config.gan import GanConfig
from gan_core.config.health import HealthConfig
from gan_core.config.input_error import DamagedFile
from gan_core.lanes.streams import Stream
from gan_core.networks.build import Networks
from gan_core.training.optim import Adam, Rows
from gan_core.training.watch import Watch

OF_ALL_LANES = ("layout", "counters")  # the tensors of a state without a lane axis


@dataclass
class TrainState:
    """Everything that training changes. `average` [L, A, P + B] are A moving averages of each lane's G, of its P
    numbers of weights and B of running moments (as torch.optim.swa_utils.AveragedModel with use_buffers=True).
    """

    generator: Rows
    discriminator: Rows
    generator_adam: Adam
    discriminator_adam: Adam
    average: Tensor
    watch: Watch
    images_seen: int
    discriminator_steps: int

    def tensors(self) -> dict[str, Tensor]:
        """The state as named tensors with the lane axis first, which is what a checkpoint holds. OF_ALL_LANES have
        none.
        """
        shapes = [
            shape
            for rows in (self.generator, self.discriminator)
            for part in (rows.shapes, rows.buffers)
            for shape in part.values()
        ]
        return {
            "generator": self.generator.flat,
            "discriminator": self.discriminator.flat,
            "generator_mean": self.generator_adam.mean,
            "generator_mean_square": self.generator_adam.mean_square,
            "generator_steps": self.generator_adam.steps,
            "discriminator_mean": self.discriminator_adam.mean,
            "discriminator_mean_square": self.discriminator_adam.mean_square,
            "discriminator_steps": self.discriminator_adam.steps,
            "average": self.average.flatten(1),
            "watch": self.watch.sums,
            "layout": torch.tensor([n for shape in shapes for n in (0, *shape)]),
            "counters": torch.tensor([self.images_seen, self.discriminator_steps]),
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Copies the values that `tensors` returned. Raises DamagedFile when they have the shapes of another state."""
        self._copy(self.tensors(), tensors)

    def load_lanes(self, parts: Sequence[Mapping[str, Tensor]]) -> None:
        """Copies the values that `tensors` returned for states of one lane each, lane after lane. Raises DamagedFile
        when their shapes are those of another state, or the lanes have not seen equally many images.
        """
        mine = self.tensors()
        stood = [part["counters"].tolist() for part in parts if "counters" in part]
        if any(counters != stood[0] for counters in stood):
            images = ", ".join(f"{first:,}" for first, *_ in stood)
            raise DamagedFile(f"lanes of one array must have seen the same images, the checkpoints have {images}")
        for lane, part in enumerate(parts):
            places = {n: own if n in OF_ALL_LANES else own[lane : lane + 1] for n, own in mine.items()}
            self._copy(places, part)

    def _copy(self, mine: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
        for name, own in mine.items():
            theirs = tensors.get(name)
            if (
                theirs is None
                or (theirs.shape, theirs.dtype) != (own.shape, own.dtype)
                or (name == "layout" and not theirs.equal(own.cpu()))
            ):
                raise DamagedFile(f"the checkpoint's {name!r} does not fit this configuration; it is another run's")
        for name, own in mine.items():
            own.copy_(tensors[name])
        self.images_seen, self.discriminator_steps = tensors["counters"].tolist()

    def take(self, lanes: Sequence[int]) -> "TrainState":
        """A copy of the state of these lanes, in this order."""
        index = list(lanes)
        generator, discriminator = self.generator.take(index), self.discriminator.take(index)
        return TrainState(
            generator=generator,
            discriminator=discriminator,
            generator_adam=self.generator_adam.take(index, generator),
            discriminator_adam=self.discriminator_adam.take(index, discriminator),
            average=self.average[index],
            watch=self.watch.take(index),
            images_seen=self.images_seen,
            discriminator_steps=self.discriminator_steps,
        )


def initial_state(
    configs: Sequence[GanConfig], networks: Networks, like: Tensor, health: HealthConfig, *, averages: int
) -> TrainState:
    """The state before the first step, in like's type and on its device: weights drawn from each lane's own seed, and
    so many averages a lane, which begin as these weights.
    """
    lane = [config.lane for config in configs]
    generator, discriminator = (
        Rows.stack(
            network.shapes(),
            network.buffers(),
            [network.keyed_initial(config.seed, purpose) for config in configs],
            like,
        )
        for network, purpose in (
            (networks.generator, Stream.GENERATOR_WEIGHTS),
            (networks.discriminator, Stream.DISCRIMINATOR_WEIGHTS),
        )
    )
    return TrainState(
        generator=generator,
        discriminator=discriminator,
        generator_adam=Adam(generator, [x.generator_adam for x in lane]),
        discriminator_adam=Adam(discriminator, [x.discriminator_adam for x in lane]),
        average=generator.flat.unsqueeze(1).repeat(1, averages, 1),
        watch=Watch.begin(len(lane), like, health),
        images_seen=0,
        discriminator_steps=0,
    )
