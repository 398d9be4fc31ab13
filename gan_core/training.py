"""Training L configurations of one structure side by side.

    dataset = load_dataset("digits")
    array = LaneArray([GanConfig()], dataset)
    array.train_to(images=64_000)
    samples = array.sample(count=64, seed=0)  # [L, 64, 1, 8, 8]

One configuration is an array of one lane; there is no other code path. L lanes, N batch, C, H, W an image.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.architectures import build_networks
from gan_core.config import GanConfig, StructureConfig
from gan_core.data import DataOrder, Dataset, host_or_device
from gan_core.health import HealthConfig
from gan_core.input_error import InputError
from gan_core.lanes import Stream, column, lane_empty
from gan_core.latents import Choice, fill_shared_latents, fill_step_latents, latent_numbers
from gan_core.layers import Call
from gan_core.losses import LOSSES
from gan_core.optim import Adam, Rows
from gan_core.reports import Death
from gan_core.state import TrainState
from gan_core.step import train_step
from gan_core.watch import WATCH_EVERY_STEPS, Watch

SAMPLES_AT_ONCE = 1000  # rows of one generator call when many samples are drawn: bounds memory
IMAGES_AT_ONCE = 100  # the same where there are convolutions
AVERAGED_SHARE = 0.1  # of the images seen: the longest half-life of an average


def rows_at_once(structure: StructureConfig) -> int:
    """How many samples one call of the generator makes where many are drawn."""
    return IMAGES_AT_ONCE if structure.architecture in ("dcgan", "infogan") else SAMPLES_AT_ONCE


class LaneArray:
    """L configurations of equal structure, trained in lockstep: after any call all lanes have seen the same images.

    Raises InputError when the structures differ, or a configuration is for another data set or size of its images.
    """

    def __init__(
        self,
        configs: Sequence[GanConfig],
        dataset: Dataset,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        health: HealthConfig | None = None,
    ) -> None:
        structures = {config.structure for config in configs}
        if len(structures) != 1:
            raise InputError(f"an array needs lanes of one structure, got {len(structures)} in {len(configs)} lanes")
        self.structure = structures.pop()
        if self.structure.dataset != dataset.name:
            raise InputError(f"the configuration is for data set {self.structure.dataset!r}, got {dataset.name!r}")
        size, side = self.structure.image_size_pixels, dataset.sample_shape[-1]
        if size not in (0, side):
            raise InputError(f"structure.image_size_pixels is {size}, got images of {side}; load them at {size}")
        self.dataset = dataset
        self.networks = build_networks(self.structure, dataset.sample_shape, dataset.classes)
        self.loss = LOSSES[self.structure.loss]
        self._like = torch.empty(0, dtype=dtype, device=device)
        self._real = self._place(dataset.train.flatten(1).to(dtype))
        self._adopt(configs)
        self.state = self._initial_state(health or HealthConfig())

    def _place(self, samples: Tensor) -> Tensor:
        """On the device, or in host memory where they would take more than half of the device's."""
        device = self._like.device
        memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
        stays = host_or_device(samples.nbytes, memory) == "host"
        return samples if stays else samples.to(device)

    def _adopt(self, configs: Sequence[GanConfig]) -> None:
        self.configs = list(configs)
        lane = [config.lane for config in configs]
        self.all_lanes = [True] * len(configs)
        self.k, self.g = [x.discriminator_steps for x in lane], [x.generator_steps for x in lane]
        self.seeds = [config.seed for config in configs]
        self._orders = {seed: DataOrder(seed, len(self._real)) for seed in {c.data_seed for c in configs}}
        self.averages = any(x.ema_half_life_images for x in lane)
        self.smoothing = column([x.label_smoothing for x in lane], self._like)
        self.penalty_weight = column([x.penalty_weight for x in lane], self._like)
        self.information_weight = column([x.information_weight for x in lane], self._like)
        self.continuous_code_weight = column([x.continuous_code_weight for x in lane], self._like)
        self._norm_eps = [x.batch_norm_eps for x in lane]
        self._norm_momentum = [x.batch_norm_momentum for x in lane]
        self._dropout = [x.generator_dropout for x in lane], [x.discriminator_dropout for x in lane]

    def _initial_state(self, health: HealthConfig) -> TrainState:
        lane = [config.lane for config in self.configs]
        beta1, beta2 = [x.beta1 for x in lane], [x.beta2 for x in lane]
        generator, discriminator = (
            Rows.stack(
                network.shapes(),
                network.buffers(),
                [network.keyed_initial(seed, purpose) for seed in self.seeds],
                self._like,
            )
            for network, purpose in (
                (self.networks.generator, Stream.GENERATOR_WEIGHTS),
                (self.networks.discriminator, Stream.DISCRIMINATOR_WEIGHTS),
            )
        )
        return TrainState(
            generator=generator,
            discriminator=discriminator,
            generator_adam=Adam(generator, [x.generator_lr for x in lane], beta1, beta2),
            discriminator_adam=Adam(discriminator, [x.discriminator_lr for x in lane], beta1, beta2),
            average=generator.flat.clone(),
            watch=Watch.begin(len(lane), self._like, health),
            images_seen=0,
            discriminator_steps=0,
        )

    @property
    def lanes(self) -> int:
        """L."""
        return len(self.configs)

    def images_at(self, images: int) -> int:
        """The first whole batch at or after this many images: where `train_to(images)` stops."""
        return math.ceil(images / self.structure.batch_size) * self.structure.batch_size

    def train_to(self, images: int, on_step: Callable[[int], None] | None = None) -> bool:
        """Trains until every lane's D has been shown at least `images` real images (whole batches). on_step is given
        the images seen after each step. Stops early, and answers False, where a lane may be dead: asked every
        WATCH_EVERY_STEPS steps, `dead` says which.
        """
        while self.state.images_seen < images:
            train_step(self)
            if on_step is not None:
                on_step(self.state.images_seen)
            if self.watches() and any(self.dead()):
                return False
        return not any(self.dead())

    def watches(self) -> bool:
        """Whether lanes are looked at after so many steps."""
        return self.state.discriminator_steps % WATCH_EVERY_STEPS == 0

    def dead(self) -> list[Death | None]:
        """Why each lane cannot go on, or None: [L]."""
        return self.state.watch.dead()

    def real_batch(self, images_seen: int) -> tuple[Tensor, Tensor | None]:
        """The next N real samples of each lane, [L, N, *sample_shape], and for a conditional architecture their classes
        as one-hot vectors [L, N, K].
        """
        batch = self.structure.batch_size
        order = {seed: order.indices(images_seen, batch) for seed, order in self._orders.items()}
        index = torch.from_numpy(np.concatenate([order[config.data_seed] for config in self.configs]))
        rows = self._real.index_select(0, index.to(self._real.device)).to(self._like.device)
        samples = rows.view(self.lanes, batch, *self.dataset.sample_shape)
        if not self.networks.conditional or self.dataset.train_labels is None:
            return samples, None
        return samples, self.one_hot(self.dataset.train_labels[index].view(self.lanes, batch))

    def one_hot(self, choices: Tensor) -> Tensor:
        """Classes or categorical codes [L, N] -> [L, N, K]."""
        return F.one_hot(choices, self.networks.choices).to(self._like)

    def latents(self, purpose: Stream, condition: Tensor | None, images_seen: int, j: int = 0) -> Tensor:
        """The N latents [L, N, Z] of a step, each lane's from its own seed. condition: the classes, where D is told."""
        out = lane_empty(self.lanes, (self.structure.batch_size, self._latent_numbers), self._like)
        seen = (images_seen, j)
        fill_step_latents(out, self.structure, self.networks, self.seeds, purpose, seen, condition)
        return out

    @property
    def _latent_numbers(self) -> int:
        return latent_numbers(self.structure, self.networks)

    def average_weights(self, images_seen: int) -> Tensor:
        """What the weights after so many images weigh in each lane's average, [L, 1]: 1 where there is no average.

        The half-life is the lane's own, but at most AVERAGED_SHARE of the images seen: so that the average of a young
        generator is not that of its beginnings, and is worth scoring at an early rung (Karras et al. 2020,
        "ADA": `ema_rampup`).
        """
        weights = []
        for lane in (config.lane for config in self.configs):
            half_life = min(lane.ema_half_life_images, AVERAGED_SHARE * images_seen)
            weights.append(1 - 0.5 ** (self.structure.batch_size / half_life) if half_life else 1.0)
        return column(weights, self._like).unsqueeze(1)

    def instance_noise(self, images_seen: int) -> list[float]:
        """The deviation of each lane's instance noise now."""
        levels = []
        for lane in (config.lane for config in self.configs):
            lasts = lane.instance_noise_images
            levels.append(lane.instance_noise * (max(0.0, 1 - images_seen / lasts) if lasts else 1.0))
        return levels

    def generator_call(self, number: int, active: Sequence[bool] | None = None) -> Call:
        """A training pass through G, the number-th of its step; active: the lanes whose buffers it moves."""
        return self._call(0, number, active)

    def discriminator_call(self, number: int, active: Sequence[bool] | None = None) -> Call:
        """A training pass through D, likewise."""
        return self._call(1, number, active)

    def _call(self, network: int, number: int, active: Sequence[bool] | None) -> Call:
        return Call(
            self._norm_eps,
            self._norm_momentum,
            self._dropout[network],
            training=True,
            active=active,
            seeds=self.seeds,
            seen=(self.state.images_seen, number),
        )

    def generate(self, latents: Tensor) -> Tensor:
        """Latents [L, M, Z] -> samples [L, M, *sample_shape] of the scored generator: the averaged weights where a lane
        has an average, its plain weights where it has none; running moments, and nothing dropped.
        """
        state, call = self.state, Call(self._norm_eps)
        weights = state.generator.with_flat(state.average) if self.averages else state.generator.views
        with torch.no_grad():
            parts = [
                self.networks.generator(weights, part, call)
                for part in latents.split(rows_at_once(self.structure), dim=1)
            ]
        return torch.cat(parts, 1)

    def sample(self, count: int, seed: int, choice: int | None = None) -> Tensor:
        """[L, count, *sample_shape]; the same `count` latents for every lane, drawn from `seed`. choice: of this class
        or categorical code; without it they take turns.
        """
        return self.generate(self.shared_latents(Stream.SAMPLE_LATENTS, count, seed, choice))

    def shared_latents(self, purpose: Stream, count: int, seed: int, choice: Choice = None) -> Tensor:
        """[L, count, Z], the same in every lane: a pure function of (seed, purpose, choice)."""
        one = lane_empty(1, (count, self._latent_numbers), self._like)
        fill_shared_latents(one, self.structure, self.networks, purpose, seed, choice)
        return lane_empty(self.lanes, one.shape[1:], self._like).copy_(one.expand(self.lanes, -1, -1))

    def keep(self, lanes: Sequence[int]) -> None:
        """Goes on with these lanes alone, in this order; their results do not change by it."""
        self.state = self.state.take(lanes)
        self._adopt([self.configs[i] for i in lanes])

    def generator_tensors(self, lane: int) -> dict[str, Tensor]:
        """One lane's scored generator by weight name, without the lane axis: what `models/x` holds."""
        state = self.state
        weights = state.generator.with_flat(state.average) if self.averages else state.generator.views
        return {name: tensor[lane].detach().clone().contiguous() for name, tensor in weights.items()}
