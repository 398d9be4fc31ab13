"""One GAN of any family in plain torch, float64: autograd, torch.optim.Adam, and a step by the book.

Nothing here is the core's but the form of its normal numbers (`normals`, which has tests of its own): every random
number is drawn again from its key.
"""

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from published_networks import Pass, drop, keyed, published
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gan_core.config.gan import GanConfig
from gan_core.data.dataset import Dataset
from gan_core.lanes.normals import fill_latents
from gan_core.lanes.streams import Stream

LATENTS_OF_D, LATENTS_OF_G, ORDER, CODES, NOISE, MIX = 3, 4, 5, 12, 14, 15  # the core's streams by number
BLOCK_STEPS = 32  # whose latents are drawn at once


def normals(seed: int, purpose: int, seen: tuple[int, int], shape: tuple[int, ...]) -> Tensor:
    return fill_latents(torch.empty(1, *shape), "normal", [seed], Stream(purpose), *seen)[0].double()


@dataclass
class PlainGan:
    """One lane. Weights, and the eps and momentum of batch norms, are to be set before the first step."""

    config: GanConfig
    dataset: Dataset
    now: Pass = field(default_factory=Pass)
    images_seen: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        lane, self.s = self.config.lane, self.config.structure
        self.now.seed = self.config.seed
        shape = tuple(self.dataset.train.shape[1:])
        self.generator, self.discriminator = published(self.s, shape, self.dataset.classes)
        drop(self.generator, lane.generator_dropout, self.now)
        drop(self.discriminator, lane.discriminator_dropout, self.now)
        self.watched: dict[str, list[float]] = {
            name: [] for name in ("d_loss", "penalty", "d_information", "d_gradient", "g_loss", "g_gradient")
        }
        self.averaged: AveragedModel | None = None
        betas = (lane.beta1, lane.beta2)
        self.adam_g = torch.optim.AdamW(
            self.generator.parameters(),
            lr=lane.generator_lr,
            betas=betas,
            weight_decay=lane.generator_weight_decay,
            foreach=False,
        )
        own = lane.discriminator_beta1, lane.discriminator_beta2
        self.adam_d = torch.optim.AdamW(
            self.discriminator.parameters(),
            lr=lane.discriminator_lr,
            betas=(betas[0] if own[0] is None else own[0], betas[1] if own[1] is None else own[1]),
            weight_decay=lane.discriminator_weight_decay,
            foreach=False,
        )
        self.schedules = [self.schedule(adam) for adam in (self.adam_g, self.adam_d)]

    def schedule(self, adam: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """Told of every step of D."""
        lane = self.config.lane
        steps = round(lane.lr_schedule_images / self.s.batch_size)
        if lane.lr_schedule == "linear":
            return torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, total_iters=steps)
        if lane.lr_schedule == "cosine":
            return torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps, eta_min=0.0)
        return torch.optim.lr_scheduler.ConstantLR(adam, 1.0)

    def begin_average(self) -> None:
        """Averages from the weights of now on, where the lane has an average."""
        half_life = self.config.lane.ema_half_life_images
        if half_life:

            def rule(averaged: Any, current: Any, count: Any) -> None:
                decay = 0.5 ** (self.s.batch_size / min(half_life, self.images_seen / 10))
                get_ema_multi_avg_fn(decay)(averaged, current, count)

            self.averaged = AveragedModel(self.generator, multi_avg_fn=rule, use_buffers=True)
            self.averaged.update_parameters(self.generator)  # the first time it copies

    def train(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        lane = self.config.lane
        real, classes = self.real()
        if self.s.update_order == "generator_first":
            latents, fake = self.faked(LATENTS_OF_G, 0, 4, classes)
            if self.steps % lane.discriminator_steps == 0:
                self.turn_of_generator(classes, (latents, fake))
            self.step_discriminator(real, fake.detach(), latents, classes)
            self.steps += 1
        else:
            with torch.no_grad():
                latents, fake = self.faked(LATENTS_OF_D, 0, 0, classes)
            self.step_discriminator(real, fake, latents, classes)
            self.steps += 1
            if self.steps % lane.discriminator_steps == 0:
                self.turn_of_generator(classes, None)
        self.images_seen += self.s.batch_size
        with warnings.catch_warnings(action="ignore"):  # torch's, where G has not had a turn yet
            for schedule in self.schedules:
                schedule.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.generator)

    def real(self) -> tuple[Tensor, Tensor | None]:
        size, shown, permutation = len(self.dataset.train), [], []
        for position in range(self.images_seen, self.images_seen + self.s.batch_size):
            epoch, place = divmod(position, size)
            if not shown or place == 0:
                permutation = keyed(self.config.data_seed, ORDER, epoch).permutation(size).tolist()
            shown.append(permutation[place])
        one_hot = None
        if self.s.architecture == "cgan":
            assert self.dataset.train_labels is not None
            one_hot = torch.eye(self.dataset.classes).double()[self.dataset.train_labels[shown]]
        return self.dataset.train[shown].double(), one_hot

    def faked(self, purpose: int, j: int, number: int, classes: Tensor | None) -> tuple[Tensor, Tensor]:
        s, seed, step = self.s, self.config.seed, self.images_seen // self.s.batch_size
        rows = slice(step % BLOCK_STEPS * s.batch_size, (step % BLOCK_STEPS + 1) * s.batch_size)
        seen, count = (step - step % BLOCK_STEPS) * s.batch_size, BLOCK_STEPS * s.batch_size
        if s.latent_distribution == "normal":
            noise = normals(seed, purpose, (seen, j), (count, s.latent_size))
        else:
            low = -1 if s.latent_distribution == "symmetric_uniform" else 0
            drawn = keyed(seed, purpose, seen, j).random((count, s.latent_size), np.float32)
            noise = torch.from_numpy(drawn * np.float32(1 - low) + np.float32(low)).double()
        parts = [noise[rows]]
        parts += [] if classes is None else [classes]
        if s.architecture == "infogan":
            codes = keyed(seed, CODES, seen, j, purpose)
            if s.categorical_codes:
                drawn = codes.integers(0, s.categorical_codes, count)
                parts.append(torch.eye(s.categorical_codes).double()[torch.from_numpy(drawn)][rows])
            uniform = codes.random((count, s.continuous_codes), np.float32)
            parts.append(torch.from_numpy(2 * uniform - 1).double()[rows])
        latents = torch.cat(parts, 1)
        self._enter(number)
        return latents, self.generator(latents)

    def _enter(self, number: int) -> None:
        self.now.images_seen, self.now.number, self.now.dropouts = self.images_seen, number, 0

    def noised(self, samples: Tensor, which: int) -> Tensor:
        lane = self.config.lane
        level, lasts = lane.instance_noise, lane.instance_noise_images
        if lasts:
            level *= max(0.0, 1 - self.images_seen / lasts)
        return samples + level * normals(self.config.seed, NOISE, (self.images_seen, which), tuple(samples.shape))

    def step_discriminator(self, real: Tensor, fake: Tensor, latents: Tensor, classes: Tensor | None) -> None:
        lane = self.config.lane
        seen = [self.noised(real, 0), self.noised(fake, 1)]
        self._enter(1)
        if self.s.norm == "batch":
            answers = [self.discriminator(samples, classes) for samples in seen]
        else:
            views = [self.discriminator.view(samples, classes) for samples in seen]
            answers = self.discriminator.body(torch.cat(views)).chunk(2)
        loss = self.loss_of_discriminator(answers[0][:, 0], answers[1][:, 0])
        scale = len(answers[0]) if self.s.loss_reduction == "sum" else 1
        penalty = self.penalty(seen[0], seen[1], classes)
        information = self.information(answers[1], latents)
        total = scale * (loss + lane.penalty_weight * penalty + lane.information_weight * information)
        self._descend(total, self.discriminator, self.adam_d)
        self._note("d", loss, self.discriminator, scale)
        self.watched["penalty"].append(penalty.item())
        self.watched["d_information"].append(information.item())

    def turn_of_generator(self, classes: Tensor | None, made: tuple[Tensor, Tensor] | None) -> None:
        for j in range(self.config.lane.generator_steps):
            first = made if j == 0 else None
            latents, fake = first or self.faked(LATENTS_OF_G, j, 4 * (j + 1), classes)
            self._enter(4 * (j + 1) + 1)
            answers = self.discriminator(self.noised(fake, 2 + j), classes)
            loss = self.loss_of_generator(answers[:, 0])
            scale = len(answers) if self.s.loss_reduction == "sum" else 1
            total = scale * (loss + self.config.lane.information_weight * self.information(answers, latents))
            self._descend(total, self.generator, self.adam_g)
            self._note("g", loss, self.generator, scale)

    def _descend(self, total: Tensor, network: nn.Module, adam: torch.optim.Adam) -> None:
        self.discriminator.zero_grad()
        self.generator.zero_grad()
        total.backward()
        adam.step()

    def _note(self, which: str, loss: Tensor, network: nn.Module, scale: int) -> None:
        self.watched[f"{which}_loss"].append(loss.item())
        gradients = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        self.watched[f"{which}_gradient"].append(torch.cat(gradients).norm().item() / scale)

    def loss_of_discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        if self.s.loss == "least_squares":
            return ((real - 1) ** 2).mean() / 2 + (fake**2).mean() / 2
        if self.s.loss == "hinge":
            return (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()
        if self.s.loss == "wasserstein_gp":
            return fake.mean() - real.mean()
        target = torch.full_like(real, 1 - self.config.lane.label_smoothing)
        if self.s.loss == "minimax_clamped":
            on_real, on_fake = (logits.sigmoid().clamp(1e-5, 1 - 1e-5) for logits in (real, fake))
            return F.binary_cross_entropy(on_real, target) - (1 - on_fake).log().mean()
        with_logits = F.binary_cross_entropy_with_logits
        return with_logits(real, target) + with_logits(fake, torch.zeros_like(fake))

    def loss_of_generator(self, fake: Tensor) -> Tensor:
        if self.s.loss == "least_squares":
            return ((fake - 1) ** 2).mean() / 2
        if self.s.loss in ("hinge", "wasserstein_gp"):
            return -fake.mean()
        if self.s.loss == "minimax":
            return (1 - fake.sigmoid()).log().mean()
        if self.s.loss == "minimax_clamped":
            return (1 - fake.sigmoid().clamp(1e-5, 1 - 1e-5)).log().mean()
        return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))

    def penalty(self, real: Tensor, fake: Tensor, classes: Tensor | None) -> Tensor:
        """The norm of each sample's gradient; the whole minibatch's where D decides on that. Moves no buffer of D."""
        if self.s.penalty == "none":
            return torch.zeros(()).double()
        kept = {name: buffer.clone() for name, buffer in self.discriminator.named_buffers()}
        at = real
        if self.s.penalty == "wgan_gp":
            drawn = keyed(self.config.seed, MIX, self.images_seen).random(len(real), np.float32)
            share = torch.from_numpy(drawn).double().view(-1, *[1] * (real.ndim - 1))
            at = share * real + (1 - share) * fake
        at = at.detach().requires_grad_()
        self._enter(2)
        logits = self.discriminator(at, classes)[:, 0]
        (gradient,) = torch.autograd.grad(logits.sum(), at, create_graph=True)
        square = gradient.reshape(len(logits), -1).pow(2).sum(1)
        for name, buffer in self.discriminator.named_buffers():
            buffer.data = kept[name]
        return square.mean() / 2 if self.s.penalty == "r1" else ((square.sqrt() - 1) ** 2).mean()

    def information(self, answers: Tensor, latents: Tensor) -> Tensor:
        s, lane = self.s, self.config.lane
        if s.architecture != "infogan":
            return torch.zeros(()).double()
        logits, values = answers[:, 1:].split([s.categorical_codes, s.continuous_codes], 1)
        one_hot, codes = latents[:, s.latent_size :].split([s.categorical_codes, s.continuous_codes], 1)
        total = lane.continuous_code_weight * F.mse_loss(values, codes)
        return total + F.cross_entropy(logits, one_hot.argmax(1)) if s.categorical_codes else total
