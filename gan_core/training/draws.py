"""What the lanes of a chunk are fed: real samples, latents, and noise.

All random numbers are a pure function of (seed, purpose, images seen). Latents are keyed by the block of steps that
they are for, so that many are drawn at once; what is drawn for a single step is keyed by the images seen before that
step.

K lanes, S steps of a block, N batch, Z numbers in a latent.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.config.gan import GanConfig
from gan_core.data.dataset import DataOrder, Dataset, host_or_device, scale_bytes
from gan_core.lanes.axis import column, lane_empty
from gan_core.lanes.normals import fill_latents
from gan_core.lanes.streams import Stream
from gan_core.networks.build import Networks
from gan_core.networks.call import BATCH_NORM
from gan_core.networks.latents import fill_step_latents, latent_numbers

BLOCK_STEPS = 32  # steps of D in a block: its latents are drawn together, and dead lanes are looked for at its end
AVERAGED_SHARE = 0.1  # the longest half-life of a moving average, as a share of the images seen


def stays_on_host(dataset: Dataset, device: torch.device) -> bool:
    """Whether samples stay in host memory because they would take more than half of what this process may have of the
    device's.
    """
    if device.type != "cuda":
        return False
    share = torch.cuda.get_per_process_memory_fraction(device)
    memory = int(share * torch.cuda.get_device_properties(device).total_memory)
    return host_or_device(dataset.train_samples.nbytes, memory) == "host"


class ShownSamples:
    """The training split of a data set as rows [n, F] on the device of training, and the orders in which it is shown.

    on_host: the rows stay in host memory, and each batch is sent to the device. Images whose numbers are bytes are kept
    as bytes: a batch lies scattered over the memory, of which a quarter is read then.
    """

    def __init__(self, dataset: Dataset, like: Tensor, *, on_host: bool) -> None:
        self.are_bytes = dataset.train_samples.dtype == torch.uint8
        rows = dataset.train_samples.flatten(1)
        rows = rows if self.are_bytes else rows.to(like.dtype)
        self.rows = rows if on_host else rows.to(like.device)
        self.labels = None if dataset.train_labels is None else dataset.train_labels.to(self.rows.device)
        self.shape, self.classes, self._like = dataset.sample_shape, dataset.classes, like
        self._orders: dict[int, DataOrder] = {}

    def show(self, index: Tensor, out: Tensor) -> None:
        """Writes the samples with the indices [N] into out [N, ...]."""
        chosen = self.rows.index_select(0, index).view(out.shape)
        if self.are_bytes and out.dtype == torch.float32:
            scale_bytes(out.copy_(chosen))
        elif self.are_bytes:
            out.copy_(scale_bytes(chosen.float()))
        else:
            out.copy_(chosen)

    def index(self, data_seed: int, images_seen: int, count: int) -> Tensor:
        """The indices [count] of the samples that are shown after so many images."""
        order = self._orders.setdefault(data_seed, DataOrder(data_seed, len(self.rows)))
        return torch.from_numpy(order.indices(images_seen, count)).to(self.rows.device)


def instance_noise(config: GanConfig, images_seen: int) -> float:
    """The standard deviation of a lane's instance noise after so many images (Sonderby et al. 2017, section 4)."""
    lasts = config.lane.instance_noise_images
    return config.lane.instance_noise * (max(0.0, 1 - images_seen / lasts) if lasts else 1.0)


def effective_half_life(half_life_images: float, images_seen: int) -> float:
    """The half-life of a moving average after so many images: at most AVERAGED_SHARE of them. Otherwise the average
    would be dominated by the first weights for long, and not be worth scoring at an early rung (Karras et al. 2020,
    "ADA": `ema_rampup`). Averages with equal effective half-lives have always had equal ones, so they are equal.
    """
    return min(half_life_images, AVERAGED_SHARE * images_seen)


def average_weight(half_life_images: float, batch_size: int, images_seen: int) -> float:
    """How much the weights after so many images count in a moving average: 1 where its half-life is 0."""
    half_life = effective_half_life(half_life_images, images_seen)
    return 1 - 0.5 ** (batch_size / half_life) if half_life else 1.0


def takes_turn(config: GanConfig, step: int) -> bool:
    """Whether G is updated in the step of this number, from 0: after each k-th step of D, or with `generator_first`
    before the first of each k.
    """
    if config.structure.update_order == "generator_first":
        return step % config.lane.discriminator_steps == 0
    return (step + 1) % config.lane.discriminator_steps == 0


class Draws:
    """Writes the inputs of K lanes into `tensors` (see `gan_core.game.step`), step by step."""

    def __init__(self, configs: Sequence[GanConfig], networks: Networks, samples: ShownSamples, like: Tensor) -> None:
        self.configs, self.networks, self.samples, self._like = list(configs), networks, samples, like
        self.structure = configs[0].structure
        self._seeds = [config.seed for config in configs]
        self._batch = self.structure.batch_size
        lanes, numbers = len(configs), latent_numbers(self.structure, networks)
        self.turns_of_a_step = max(config.lane.generator_steps for config in configs)
        # A GPU trains faster than one core draws. A lane's numbers do not depend on the thread that draws them.
        self._thread_count = os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(self._thread_count) if like.device.type == "cuda" else None
        self._banked, self._ordered = -1, -1  # the blocks that `banks` and `indices` are for
        self.indices: dict[int, Tensor] = {}  # data seed -> the samples [S N] that the block shows
        self._same_order: dict[int, list[int]] = {}  # data seed -> the lanes that have it
        for lane, config in enumerate(self.configs):
            self._same_order.setdefault(config.data_seed, []).append(lane)
        self.tensors = self._inputs(lanes, numbers)

    def _inputs(self, lanes: int, numbers: int) -> dict[str, Tensor]:
        batch, shape, like = self._batch, self.samples.shape, self._like
        both = lane_empty(lanes, (2 * batch, *shape), like)
        tensors = {"both": both, "real": both[:, :batch], "fake": both[:, batch:]}
        tensors |= {name: lane_empty(lanes, (batch, numbers), like) for name in ("latents", "generator_latents")}
        if self.networks.conditional:
            tensors["condition"] = lane_empty(lanes, (batch, self.networks.choices), like)
        if any(config.lane.instance_noise for config in self.configs):
            tensors["noise"] = lane_empty(lanes, (2 * batch, *shape), like)
            tensors["generator_noise"] = lane_empty(lanes, (batch, *shape), like)
        if self.structure.penalty != "none":
            tensors["mix"] = lane_empty(lanes, (batch,), like)
        names = ["smoothing", "penalty_weight", "information_weight", "continuous_code_weight"]
        for name in names + [*BATCH_NORM] * self.structure.has_batch_norm:
            field = "label_smoothing" if name == "smoothing" else name
            tensors[name] = column([getattr(config.lane, field) for config in self.configs], like)
        return tensors

    @cached_property
    def banks(self) -> dict[tuple[Stream, int], Tensor]:
        """The latents of all steps of a block [K, S N, Z], by their purpose and by the update of a step."""
        shape = BLOCK_STEPS * self._batch, latent_numbers(self.structure, self.networks)
        purposes = (Stream.DISCRIMINATOR_LATENTS, 1), (Stream.GENERATOR_LATENTS, self.turns_of_a_step)
        return {
            (purpose, j): lane_empty(len(self.configs), shape, self._like)
            for purpose, count in purposes
            for j in range(count)
        }

    @property
    def bank(self) -> Tensor:
        """The latents of the fakes that D is shown."""
        return self.banks[self.of_fakes, 0]

    @property
    def generator_banks(self) -> list[Tensor]:
        """The latents of G's updates, a tensor for each update in a step."""
        return [bank for (purpose, _), bank in self.banks.items() if purpose == Stream.GENERATOR_LATENTS]

    @property
    def of_fakes(self) -> Stream:
        """The random stream of the latents of the fakes that D is shown."""
        first = self.structure.update_order == "generator_first"
        return Stream.GENERATOR_LATENTS if first else Stream.DISCRIMINATOR_LATENTS

    @property
    def in_blocks(self) -> bool:
        """Whether lanes are fed samples and latents alone, which are drawn for whole blocks of steps."""
        dropout = any(c.lane.generator_dropout or c.lane.discriminator_dropout for c in self.configs)
        dropout = dropout or (self.networks.own is not None and self.networks.own.drops)
        return not dropout and not self.tensors.keys() & {"noise", "mix", "condition"}

    def begin_block(self, step: int, *, banks: bool = True) -> int:
        """Draws what the block of this step needs, unless it has been drawn. Returns the step's place in the block.
        banks: whether to draw latents too, which compiled blocks draw themselves.
        """
        block, place = divmod(step, BLOCK_STEPS)
        images, count = block * BLOCK_STEPS * self._batch, BLOCK_STEPS * self._batch
        if block != self._ordered:
            self._ordered = block
            self.indices = {seed: self.samples.index(seed, images, count) for seed in self._same_order}
        if banks and block != self._banked:
            self._banked = block
            self._draw_banks(images)
        return place

    def begin_step(self, step: int) -> None:
        """Draws all that the step of this number needs but for the updates of G, which `begin_turn` draws for."""
        place = self.begin_block(step)
        images_seen = step * self._batch
        self._show(place)
        self._feed(self.of_fakes, 0, "latents", place)
        if "noise" in self.tensors:
            real, fake = self.tensors["noise"].split(self._batch, 1)
            self._add_noise(real, images_seen, 0)
            self._add_noise(fake, images_seen, 1)
        if "mix" in self.tensors:
            fill_latents(self.tensors["mix"], "uniform", self._seeds, Stream.PENALTY_MIX, images_seen)

    def begin_turn(self, step: int, j: int) -> None:
        """Draws what the j-th update of G in this step needs, from 0."""
        self._feed(Stream.GENERATOR_LATENTS, j, "generator_latents", step % BLOCK_STEPS)
        if "generator_noise" in self.tensors:
            self._add_noise(self.tensors["generator_noise"], step * self._batch, 2 + j)

    def _draw_banks(self, images: int) -> None:
        for (purpose, j), bank in self.banks.items():
            fill = partial(self._fill, bank, purpose, (images, j))
            lanes = range(len(self.configs))
            if self._threads is None:
                fill(lanes)
            else:
                list(self._threads.map(fill, [lanes[i :: self._thread_count] for i in range(self._thread_count)]))

    def _fill(self, bank: Tensor, purpose: Stream, seen: tuple[int, int], lanes: Sequence[int]) -> None:
        for part in [lanes] if self._threads is None else [[lane] for lane in lanes]:
            if part:
                seeds, first, last = [self._seeds[lane] for lane in part], part[0], part[-1]
                fill_step_latents(bank[first : last + 1], self.structure, self.networks, seeds, purpose, seen)

    def _show(self, place: int) -> None:
        """The real samples of a step for each lane. Lanes with the same data seed are shown the same ones."""
        real, condition = self.tensors["real"], self.tensors.get("condition")
        for data_seed, lanes in self._same_order.items():
            index = self.indices[data_seed][place * self._batch : (place + 1) * self._batch]
            first, *others = lanes
            self.samples.show(index, real[first])
            shown = [real]
            if condition is not None and self.samples.labels is not None:
                condition[first].copy_(F.one_hot(self.samples.labels[index], self.samples.classes))
                shown.append(condition)
            for tensor in shown:
                if len(lanes) == len(self.configs):
                    tensor[1:].copy_(tensor[first].expand_as(tensor[1:]))
                else:
                    for lane in others:
                        tensor[lane].copy_(tensor[first])

    def _feed(self, purpose: Stream, j: int, name: str, place: int) -> None:
        """Copies the latents of one step from those of its block."""
        latents = self.tensors[name]
        latents.copy_(self.banks[purpose, j][:, place * self._batch : (place + 1) * self._batch])
        if self.networks.conditional:
            end = self.structure.latent_size + self.networks.choices
            latents[:, :, self.structure.latent_size : end].copy_(self.tensors["condition"])

    def _add_noise(self, out: Tensor, images_seen: int, which: int) -> None:
        for lane, config in zip(out.unbind(0), self.configs, strict=True):
            level = instance_noise(config, images_seen)
            if level:
                part, seen = lane_empty(1, lane.shape, lane), (images_seen, which)
                lane.copy_(fill_latents(part, "normal", [config.seed], Stream.INSTANCE_NOISE, *seen)[0].mul_(level))
            else:
                lane.zero_()
