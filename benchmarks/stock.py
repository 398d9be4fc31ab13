"""What an expert writes today for one trial: torch.nn modules, autograd and torch.optim.Adam(fused=True), one GAN.

The rival that benchmarks compare the core with, written to be fast: the data set is one tensor and a batch an
index_select, real and fake samples go through D in one call where no batch norm ties them together, G's update computes
no gradient of D's weights, and no number leaves the device during a step.

All families, losses and orders; no gradient penalty and no instance noise, which no benchmark uses.
N batch, R decisions of D, K classes or codes, Z numbers of a latent.
"""

import copy
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from benchmarks.stock_networks import CONVOLUTIONAL, stock_networks
from gan_core.config.gan import GanConfig
from gan_core.data.dataset import Dataset

CLAMPED_LOGIT = math.log((1 - 1e-5) / 1e-5)  # where a probability is 1 - 1e-5
AVERAGED_SHARE = 0.1  # of the images seen: the longest half-life of an average, as in the core
DRAWN_AT_ONCE = 1000  # samples of one call of G: bounds memory

cross_entropy = F.binary_cross_entropy_with_logits
# Logits [R] of the fakes -> what G descends; of non_saturating, cross entropy with the label of real samples.
GENERATOR_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "minimax": lambda fake: -F.softplus(fake).mean(),
    "minimax_clamped": lambda fake: -F.softplus(fake.clamp(-CLAMPED_LOGIT, CLAMPED_LOGIT)).mean(),
    "least_squares": lambda fake: (fake - 1).square().mean() / 2,
    "hinge": lambda fake: -fake.mean(),
}


class StockGan:
    """One configuration trained alone, by the algorithm of gan_core/game/step.py with torch's own random numbers.

    generator, discriminator: nn.Module; average: the averaged generator, or None; images_seen: real images that D was
    shown. autocast: forward passes within torch.autocast to bfloat16, losses and steps in float32. channels_last: the
    layout of convolutional weights. capturable: for a step that is recorded as a CUDA graph.
    Seeds torch's global generator. Raises ValueError for a gradient penalty or instance noise.
    """

    def __init__(
        self,
        config: GanConfig,
        dataset: Dataset,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        autocast: bool = False,
        channels_last: bool = False,
        capturable: bool = False,
    ) -> None:
        self.config, self.structure = config, config.structure
        if self.structure.penalty != "none" or config.lane.instance_noise:
            raise ValueError(f"the stock trial has no gradient penalty and no instance noise, got {config}")
        torch.manual_seed(config.seed)
        self.device, self.dtype, self.autocast = torch.device(device), dtype, autocast
        generator, discriminator = stock_networks(config, dataset.sample_shape, dataset.classes)
        self.generator, self.discriminator = generator.to(self.device, dtype), discriminator.to(self.device, dtype)
        if channels_last:
            for network in (self.generator, self.discriminator):
                network.to(memory_format=torch.channels_last)
        self.real = dataset.train.to(self.device, dtype)
        if self.structure.architecture not in CONVOLUTIONAL:
            self.real = self.real.flatten(1)
        self.classes: Tensor | None = None
        if self.structure.architecture == "cgan":
            assert dataset.train_labels is not None
            self.classes = F.one_hot(dataset.train_labels, dataset.classes).to(self.device, dtype)
        self.codes = torch.eye(self.structure.categorical_codes, device=self.device, dtype=dtype)
        self._begin(capturable)

    def _begin(self, capturable: bool) -> None:
        lane = self.config.lane
        betas = (lane.beta1, lane.beta2)
        self.generator_weights = list(self.generator.parameters())
        self.discriminator_weights = list(self.discriminator.parameters())
        self.generator_adam, self.discriminator_adam = (
            torch.optim.Adam(network.parameters(), lr, betas, fused=True, capturable=capturable)
            for network, lr in ((self.generator, lane.generator_lr), (self.discriminator, lane.discriminator_lr))
        )
        self.average = copy.deepcopy(self.generator).eval() if lane.ema_half_life_images else None
        # Weights and running moments of the average and of G, which stay the same tensors.
        self._averaged, self._current = (_numbers(network) for network in (self.average, self.generator))
        self.images_seen, self.steps = 0, 0
        decisions = self.structure.batch_size if self.structure.discriminator_input == "sample" else 1
        self.scale = decisions if self.structure.loss_reduction == "sum" else 1
        self.target = torch.zeros(2 * decisions, device=self.device, dtype=self.dtype)  # of real, then of fake
        self.target[:decisions] = 1 - lane.label_smoothing
        self.ones = torch.ones_like(self.target[:decisions])

    def train_to(self, images: int) -> None:
        """Trains until D was shown at least so many real images, in whole batches."""
        while self.images_seen < images:
            self.step()

    def step(self) -> None:
        """One D update on N real samples, and a turn of G where it is due."""
        real, condition = self.real_batch()
        if self.structure.update_order == "generator_first":
            latents = self.latents(condition)
            fake = self.turn_of_generator(condition, latents) if self._due() else None
            self.discriminator_update(real, latents, condition, fake)
            self.steps += 1
        else:
            self.discriminator_update(real, self.latents(condition), condition)
            self.steps += 1
            if self._due():
                self.turn_of_generator(condition, self.latents(condition))
        self.images_seen += self.structure.batch_size
        if self.average is not None:
            self._move_average()

    def _due(self) -> bool:
        return self.steps % self.config.lane.discriminator_steps == 0

    def real_batch(self) -> tuple[Tensor, Tensor | None]:
        """N real samples, drawn with replacement, and for a conditional D their classes as one-hot vectors [N, K]."""
        index = torch.randint(len(self.real), (self.structure.batch_size,), device=self.device)
        classes = None if self.classes is None else self.classes.index_select(0, index)
        return self.real.index_select(0, index), classes

    def latents(self, condition: Tensor | None = None, count: int | None = None) -> Tensor:
        """Fresh latents [count, Z]; count: N if not given. condition [count, K]: the classes of a conditional G."""
        s, count = self.structure, count or self.structure.batch_size
        draw = torch.randn if s.latent_distribution == "normal" else torch.rand
        noise = draw(count, s.latent_size, device=self.device, dtype=self.dtype)
        if s.latent_distribution == "symmetric_uniform":
            noise = noise.mul_(2).sub_(1)
        parts = [noise] if condition is None else [noise, condition]
        if s.categorical_codes:
            parts.append(self.codes[torch.randint(s.categorical_codes, (count,), device=self.device)])
        if s.continuous_codes:
            parts.append(torch.rand(count, s.continuous_codes, device=self.device, dtype=self.dtype).mul_(2).sub_(1))
        return torch.cat(parts, 1) if len(parts) > 1 else noise

    def discriminator_update(
        self, real: Tensor, latents: Tensor, condition: Tensor | None = None, fake: Tensor | None = None
    ) -> None:
        """One Adam step of D on real [N, ...] and on the fakes of these latents [N, Z], or on fake [N, ...]."""
        with self._passes():
            if fake is None:
                with torch.no_grad():
                    made: Tensor = self.generator(latents)
            else:
                made = fake
            if self.structure.norm == "batch":  # each batch is normalised by its own moments
                on_real, on_fake = self.discriminator(real, condition), self.discriminator(made, condition)
                answers = torch.cat((on_real, on_fake))
            else:
                view = self.discriminator.view
                answers = self.discriminator.body(torch.cat((view(real, condition), view(made, condition))))
        answers = answers.to(self.dtype)
        total = self.discriminator_loss(answers[:, 0])
        if answers.shape[1] > 1:
            total = total + self.information(answers[len(answers) // 2 :], latents)
        self._descend(total, self.discriminator_weights, self.discriminator_adam)

    def turn_of_generator(self, condition: Tensor | None, latents: Tensor) -> Tensor:
        """G's steps of one turn, each on latents of its own; returns the fakes of the first."""
        first = self.generator_update(latents, condition)
        for _ in range(self.config.lane.generator_steps - 1):
            self.generator_update(self.latents(condition), condition)
        return first

    def generator_update(self, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        """One Adam step of G on latents [N, Z]; returns the fakes that it learnt from, without gradients."""
        with self._passes():
            fake = self.generator(latents)
            answers = self.discriminator(fake, condition).to(self.dtype)
        total = self.generator_loss(answers[:, 0])
        if answers.shape[1] > 1:
            total = total + self.information(answers, latents)
        self._descend(total, self.generator_weights, self.generator_adam)
        return fake.detach()

    def _passes(self) -> torch.autocast:
        """What forward passes run in. One for each: within it torch keeps the weights that it rounded."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast)

    def _descend(self, total: Tensor, weights: list[nn.Parameter], adam: torch.optim.Adam) -> None:
        """One Adam step; faster here than `backward` with requires_grad_ toggled (6% of a step of the 1-D family)."""
        gradients = torch.autograd.grad(total if self.scale == 1 else self.scale * total, weights)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        adam.step()

    def discriminator_loss(self, logits: Tensor) -> Tensor:
        """Logits [2R], of the real decisions and then of the fake ones -> what D descends: the sum of two means."""
        loss = self.structure.loss
        if loss == "minimax_clamped":
            logits = logits.clamp(-CLAMPED_LOGIT, CLAMPED_LOGIT)
        if loss in ("non_saturating", "minimax", "minimax_clamped"):
            return 2 * cross_entropy(logits, self.target)
        if loss == "least_squares":
            return (logits - self.target).square().mean()
        real, fake = logits.chunk(2)
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()  # hinge

    def generator_loss(self, fake: Tensor) -> Tensor:
        """Logits [R] of the fakes -> what G descends."""
        if self.structure.loss == "non_saturating":
            return cross_entropy(fake, self.ones)
        return GENERATOR_LOSSES[self.structure.loss](fake)

    def information(self, answers: Tensor, latents: Tensor) -> Tensor:
        """InfoGAN's term (Chen et al. 2016, equation 5) of answers [N, 1 + heads] to the fakes of these latents."""
        s, lane = self.structure, self.config.lane
        logits, values = answers[:, 1:].split((s.categorical_codes, s.continuous_codes), 1)
        one_hot, true_values = latents[:, s.latent_size :].split((s.categorical_codes, s.continuous_codes), 1)
        total = lane.continuous_code_weight * F.mse_loss(values, true_values) if s.continuous_codes else 0.0
        if s.categorical_codes:
            total = total + F.cross_entropy(logits, one_hot)
        return lane.information_weight * torch.as_tensor(total)

    def _move_average(self) -> None:
        """The average of G, running moments included, as `LaneArray.average_weights` defines it."""
        half_life = min(self.config.lane.ema_half_life_images, AVERAGED_SHARE * self.images_seen)
        move = get_ema_multi_avg_fn(0.5 ** (self.structure.batch_size / half_life))
        move(self._averaged, self._current, None)  # it does not use how many updates there were

    @torch.no_grad()
    def draw(self, latents: Tensor) -> Tensor:
        """Latents [M, Z] -> samples [M, *sample_shape] of the averaged generator where there is one, else of G: running
        moments, nothing dropped, no gradients.
        """
        network = self.generator.eval() if self.average is None else self.average
        samples = torch.cat([network(part) for part in latents.split(DRAWN_AT_ONCE)])
        self.generator.train()
        return samples


def _numbers(network: nn.Module | None) -> list[Tensor]:
    """All that an average of a network averages, without gradients."""
    tensors = [] if network is None else network.state_dict().values()
    return [tensor for tensor in tensors if tensor.is_floating_point()]
