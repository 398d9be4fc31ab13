"""Training L configurations of one structure side by side.

    dataset = load_dataset("digits")
    array = LaneArray([GanConfig()], dataset)
    array.train_to(images=64_000)
    samples = array.sample(count=64, seed=0)  # [L, 64, 1, 8, 8]

One configuration is an array of one lane; there is no other code path. L lanes, N batch, C, H, W an image.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gan_core.config import GanConfig, InputError
from gan_core.data import DataOrder, Dataset
from gan_core.lanes import Stream, column, fill_latents, lane_empty
from gan_core.losses import LOSSES
from gan_core.networks import build_networks
from gan_core.optim import Adam, Rows

SAMPLES_AT_ONCE = 1000  # rows of one generator call when many samples are drawn: bounds memory


@dataclass
class TrainState:
    """Everything that training changes. `average` is [L, P], the averaged weights of G. The sums are float64 [L], the
    counts whole numbers: losses since they were last read.
    """

    generator: Rows
    discriminator: Rows
    generator_adam: Adam
    discriminator_adam: Adam
    average: Tensor
    images_seen: int
    discriminator_steps: int
    d_loss_sum: Tensor
    g_loss_sum: Tensor
    d_loss_count: int
    g_loss_count: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """The state as named tensors, lanes first where there are lanes: what a checkpoint holds."""
        networks = (self.generator, self.discriminator)
        return {
            "generator": self.generator.flat,
            "discriminator": self.discriminator.flat,
            "generator_mean": self.generator_adam.mean,
            "generator_mean_square": self.generator_adam.mean_square,
            "generator_steps": self.generator_adam.steps,
            "discriminator_mean": self.discriminator_adam.mean,
            "discriminator_mean_square": self.discriminator_adam.mean_square,
            "discriminator_steps": self.discriminator_adam.steps,
            "average": self.average,
            "d_loss_sum": self.d_loss_sum,
            "g_loss_sum": self.g_loss_sum,
            "g_loss_count": self.g_loss_count,
            "layout": torch.tensor([n for rows in networks for shape in rows.shapes.values() for n in (0, *shape)]),
            "counters": torch.tensor([self.images_seen, self.discriminator_steps, self.d_loss_count]),
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over what `tensors` gave, in place. Raises InputError when the shapes are another state's."""
        mine = self.tensors()
        for name, own in mine.items():
            theirs = tensors.get(name)
            if theirs is None or theirs.shape != own.shape or (name == "layout" and not theirs.equal(own.cpu())):
                raise InputError(f"the checkpoint's {name!r} does not fit this configuration; it is another run's")
        for name, own in mine.items():
            own.copy_(tensors[name])
        self.images_seen, self.discriminator_steps, self.d_loss_count = tensors["counters"].tolist()


def train_step(array: "LaneArray") -> None:
    """One D update of every lane on N real images, then one G update of the lanes whose k-th D update it was.

    D goes first, on detached fakes; G follows on fresh latents, as in Goodfellow et al. 2014, algorithm 1. k differs by
    lane inside the array: all lanes see the same number of images, and a lane's G rests until its turn.
    """
    state, networks, loss = array.state, array.networks, array.loss
    real = array.real_batch(state.images_seen)
    latents = array.latents(Stream.DISCRIMINATOR_LATENTS, array.structure.batch_size, state.images_seen)
    with torch.no_grad():
        fake = networks.generator(state.generator.views, latents)
    decided = torch.cat((networks.view(real), networks.view(fake)), 1)  # [L, 2R, F]
    real_logits, fake_logits = networks.discriminator(state.discriminator.leaves, decided).squeeze(2).chunk(2, 1)
    d_loss = loss.discriminator(real_logits, fake_logits)  # [L]
    state.discriminator.store_gradients(d_loss)
    state.discriminator_adam.step(array.all_lanes)
    state.d_loss_sum += d_loss.detach()
    state.d_loss_count += 1
    state.discriminator_steps += 1

    turn = [state.discriminator_steps % k == 0 for k in array.k]
    if any(turn):
        latents = array.latents(Stream.GENERATOR_LATENTS, array.structure.batch_size, state.images_seen)
        fake = networks.generator(state.generator.leaves, latents)
        logits = networks.discriminator(state.discriminator.views, networks.view(fake)).squeeze(2)
        g_loss = loss.generator(logits)  # [L]
        state.generator.store_gradients(g_loss)
        state.generator_adam.step(turn)
        turns = torch.tensor(turn, device=g_loss.device)
        state.g_loss_sum += torch.where(turns, g_loss.detach(), 0)
        state.g_loss_count += turns
    if array.averages:
        state.average.lerp_(state.generator.flat, array.average_weight)
    state.images_seen += array.structure.batch_size


def _means(sums: Sequence[float], counts: Sequence[float]) -> list[float | None]:
    return [total / count if count else None for total, count in zip(sums, counts, strict=True)]


class LaneArray:
    """L configurations of equal structure, trained in lockstep: after any call all lanes have seen the same images.

    Raises InputError when the structures differ, or a configuration is for another data set.
    """

    def __init__(
        self,
        configs: Sequence[GanConfig],
        dataset: Dataset,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        structures = {config.structure for config in configs}
        if len(structures) != 1:
            raise InputError(f"an array needs lanes of one structure, got {len(structures)} in {len(configs)} lanes")
        self.structure = structures.pop()
        if self.structure.dataset != dataset.name:
            raise InputError(f"the configuration is for data set {self.structure.dataset!r}, got {dataset.name!r}")
        self.dataset = dataset
        self.networks = build_networks(self.structure, dataset.sample_shape)
        self.loss = LOSSES[self.structure.loss]
        self._like = torch.empty(0, dtype=dtype, device=device)
        self._real = dataset.train.flatten(1).to(device=device, dtype=dtype)
        self._adopt(configs)
        self.state = self._initial_state()

    def _adopt(self, configs: Sequence[GanConfig]) -> None:
        self.configs = list(configs)
        self.all_lanes = [True] * len(configs)
        self.k = [config.lane.discriminator_steps for config in configs]
        self.seeds = [config.seed for config in configs]
        self._orders = {seed: DataOrder(seed, len(self._real)) for seed in {c.data_seed for c in configs}}
        half_lives = [config.lane.ema_half_life_images for config in configs]
        self.averages = any(half_lives)
        weights = [1 - 0.5 ** (self.structure.batch_size / h) if h else 1.0 for h in half_lives]
        self.average_weight = column(weights, self._like).unsqueeze(1)

    def _initial_state(self) -> TrainState:
        lane = [config.lane for config in self.configs]
        beta1, beta2 = [x.beta1 for x in lane], [x.beta2 for x in lane]
        generator, discriminator = (
            Rows.stack(network.shapes(), [network.initial(seed, purpose) for seed in self.seeds], self._like)
            for network, purpose in (
                (self.networks.generator, Stream.GENERATOR_WEIGHTS),
                (self.networks.discriminator, Stream.DISCRIMINATOR_WEIGHTS),
            )
        )
        zeros = self._like.new_zeros(len(self.configs), dtype=torch.float64)
        return TrainState(
            generator=generator,
            discriminator=discriminator,
            generator_adam=Adam(generator, [x.generator_lr for x in lane], beta1, beta2),
            discriminator_adam=Adam(discriminator, [x.discriminator_lr for x in lane], beta1, beta2),
            average=generator.flat.clone(),
            images_seen=0,
            discriminator_steps=0,
            d_loss_sum=zeros.clone(),
            g_loss_sum=zeros.clone(),
            d_loss_count=0,
            g_loss_count=zeros.clone(),
        )

    @property
    def lanes(self) -> int:
        """L."""
        return len(self.configs)

    def images_at(self, images: int) -> int:
        """The first whole batch at or after this many images: where `train_to(images)` stops."""
        return math.ceil(images / self.structure.batch_size) * self.structure.batch_size

    def train_to(self, images: int, on_step: Callable[[int], None] | None = None) -> None:
        """Trains until every lane's D has been shown at least `images` real images (whole batches). on_step is given
        the images seen after each step.
        """
        while self.state.images_seen < images:
            train_step(self)
            if on_step is not None:
                on_step(self.state.images_seen)

    def real_batch(self, images_seen: int) -> Tensor:
        """The next N real samples of each lane: [L, N, *sample_shape]."""
        batch = self.structure.batch_size
        order = {seed: order.indices(images_seen, batch) for seed, order in self._orders.items()}
        index = torch.from_numpy(np.concatenate([order[config.data_seed] for config in self.configs]))
        rows = self._real.index_select(0, index.to(self._real.device))
        return rows.view(self.lanes, batch, *self.dataset.sample_shape)

    def latents(self, purpose: Stream, count: int, *seen: int) -> Tensor:
        """[L, count, Z], each lane's from its own seed."""
        out = lane_empty(self.lanes, (count, self.structure.latent_size), self._like)
        return fill_latents(out, self.structure.latent_distribution, self.seeds, purpose, *seen)

    def generate(self, latents: Tensor) -> Tensor:
        """Latents [L, M, Z] -> samples [L, M, *sample_shape] of the scored generator: the averaged weights where a lane
        has an average, its plain weights where it has none.
        """
        state = self.state
        weights = state.generator.with_flat(state.average) if self.averages else state.generator.views
        with torch.no_grad():
            parts = [self.networks.generator(weights, part) for part in latents.split(SAMPLES_AT_ONCE, dim=1)]
        return torch.cat(parts, 1)

    def sample(self, count: int, seed: int) -> Tensor:
        """[L, count, *sample_shape]; the same `count` latents for every lane, drawn from `seed`."""
        return self.generate(self.shared_latents(Stream.SAMPLE_LATENTS, count, seed))

    def shared_latents(self, purpose: Stream, count: int, seed: int) -> Tensor:
        """[L, count, Z], the same in every lane: a pure function of (seed, purpose)."""
        one = lane_empty(1, (count, self.structure.latent_size), self._like)
        fill_latents(one, self.structure.latent_distribution, [seed], purpose)
        return lane_empty(self.lanes, one.shape[1:], self._like).copy_(one.expand(self.lanes, -1, -1))

    def read_losses(self) -> tuple[list[float | None], list[float | None]]:
        """Mean D and G loss of each lane since they were last read, [L] each; None where there was no step."""
        state = self.state
        d_counts = [state.d_loss_count] * self.lanes
        d_loss = _means(state.d_loss_sum.tolist(), d_counts)
        g_loss = _means(state.g_loss_sum.tolist(), state.g_loss_count.tolist())
        state.d_loss_sum.zero_()
        state.g_loss_sum.zero_()
        state.g_loss_count.zero_()
        state.d_loss_count = 0
        return d_loss, g_loss

    def keep(self, lanes: Sequence[int]) -> None:
        """Goes on with these lanes alone, in this order; their results do not change by it."""
        old, index = self.state, list(lanes)
        generator, discriminator = old.generator.take(index), old.discriminator.take(index)
        self.state = TrainState(
            generator=generator,
            discriminator=discriminator,
            generator_adam=old.generator_adam.take(index, generator),
            discriminator_adam=old.discriminator_adam.take(index, discriminator),
            average=old.average[index],
            images_seen=old.images_seen,
            discriminator_steps=old.discriminator_steps,
            d_loss_sum=old.d_loss_sum[index],
            g_loss_sum=old.g_loss_sum[index],
            d_loss_count=old.d_loss_count,
            g_loss_count=old.g_loss_count[index],
        )
        self._adopt([self.configs[i] for i in index])

    def generator_tensors(self, lane: int) -> dict[str, Tensor]:
        """One lane's scored generator by parameter name, without the lane axis: what `models/x` holds."""
        state = self.state
        weights = state.generator.with_flat(state.average) if self.averages else state.generator.views
        return {name: tensor[lane].detach().clone().contiguous() for name, tensor in weights.items()}
