"""The training loop of tutorials around two modules of a person's own: torch.optim.Adam, binary cross-entropy, float64.

What it is fed is drawn again from its keys, as in `plain_torch`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from plain_torch import BLOCK_STEPS, LATENTS_OF_D, LATENTS_OF_G, ORDER, normals
from published_networks import KeyedDropout, Pass, keyed
from torch import Tensor, nn

from gan_core.config.gan import GanConfig
from gan_core.data.dataset import Dataset


class PlainLoop:
    """One GAN. labels: whether its networks take labels, and return logits."""

    def __init__(
        self, config: GanConfig, dataset: Dataset, generator: nn.Module, discriminator: nn.Module, labels: bool
    ) -> None:
        self.config, self.dataset, self.labels = config, dataset, labels
        self.generator, self.discriminator = generator.double(), discriminator.double()
        self.now = Pass(seed=config.seed)
        for network in (generator, discriminator):
            _key_dropout(network, self.now)
        lane, betas = config.lane, (config.lane.beta1, config.lane.beta2)
        self.adam_g = torch.optim.Adam(generator.parameters(), lr=lane.generator_lr, betas=betas)
        self.adam_d = torch.optim.Adam(discriminator.parameters(), lr=lane.discriminator_lr, betas=betas)
        self.steps = 0

    def train(self, steps: int) -> None:
        for _ in range(steps):
            self.step()
            self.steps += 1

    def step(self) -> None:
        if self.config.structure.update_order == "generator_first":
            real, labels = self.shown()
            fake = self.made(LATENTS_OF_G, 4, labels)
            self.update_generator(fake, labels)
            self.update_discriminator(real, fake.detach(), labels)
        else:
            real, labels = self.shown()
            with torch.no_grad():
                fake = self.made(LATENTS_OF_D, 0, labels)
            self.update_discriminator(real, fake, labels)
            self.update_generator(self.made(LATENTS_OF_G, 4, labels), labels)

    def update_discriminator(self, real: Tensor, fake: Tensor, labels: Tensor | None) -> None:
        self.enter(1)
        self.adam_d.zero_grad()
        loss = self.loss(self.judged(real, labels), 1.0) + self.loss(self.judged(fake, labels), 0.0)
        loss.backward()
        self.adam_d.step()

    def update_generator(self, fake: Tensor, labels: Tensor | None) -> None:
        self.enter(5)
        self.adam_g.zero_grad()
        self.loss(self.judged(fake, labels), 1.0).backward()
        self.adam_g.step()

    def judged(self, samples: Tensor, labels: Tensor | None) -> Tensor:
        return self.discriminator(*self.given(samples.view(-1, 1, 8, 8), labels))

    def made(self, purpose: int, number: int, labels: Tensor | None) -> Tensor:
        s, place = self.config.structure, self.steps % BLOCK_STEPS
        seen, count = (self.steps - place) * s.batch_size, BLOCK_STEPS * s.batch_size
        noise = normals(self.config.seed, purpose, (seen, 0), (count, s.latent_size))
        noise = noise[place * s.batch_size : (place + 1) * s.batch_size]
        self.enter(number)
        first = next(layer for layer in self.generator.modules() if not list(layer.children()))
        noise = noise.view(*noise.shape, 1, 1) if isinstance(first, nn.ConvTranspose2d) else noise
        return self.generator(*self.given(noise, labels))

    def given(self, first: Tensor, labels: Tensor | None) -> tuple[Any, ...]:
        return (first,) if labels is None else (first, labels)

    def loss(self, answers: Tensor, target: float) -> Tensor:
        answers = answers.view(-1)
        if self.labels:  # whose D returns logits
            return F.binary_cross_entropy_with_logits(answers, torch.full_like(answers, target))
        return nn.BCELoss()(answers, torch.full_like(answers, target))

    def shown(self) -> tuple[Tensor, Tensor | None]:
        size, batch = len(self.dataset.train), self.config.structure.batch_size
        chosen = []
        for position in range(self.steps * batch, (self.steps + 1) * batch):
            epoch, place = divmod(position, size)
            chosen.append(keyed(self.config.data_seed, ORDER, epoch).permutation(size)[place])
        known = self.dataset.train_labels if self.labels else None
        return self.dataset.train[chosen].double(), None if known is None else known[chosen]

    def enter(self, number: int) -> None:
        self.now.images_seen, self.now.number = self.steps * self.config.structure.batch_size, number
        self.now.dropouts = 0


def _key_dropout(network: nn.Module, now: Pass) -> None:
    """Puts dropout whose masks can be drawn again in the place of nn.Dropout."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                dropout = KeyedDropout()
                dropout.share, dropout.now = child.p, now
                setattr(module, name, dropout)
