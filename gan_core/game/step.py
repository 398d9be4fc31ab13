"""The arithmetic of a training step, in which every D and every G is updated, as functions of named tensors.

D is updated first, on fakes that are made for it, and then G, on fresh latents (Goodfellow et al. 2014, algorithm 1).
With the update order `generator_first`, G is updated first and D then on the same fakes. Each function reads and writes
its tensors and nothing else, so that it can be traced, replayed or captured (`gan_core.execution.programs`).

K lanes, N batch, R decisions, F features. The tensors, by name:

    generator.<w>, discriminator.<w>    weights and buffers [K, ...];  <network>_gradient.<w> and <network>_gradient
    both [K, 2N, ...]                   real samples, then fakes;  real, fake: its halves
    latents, generator_latents          [K, N, Z] of the fakes that D is shown, and of those that G learns from
    condition [K, N, C]                 one-hot classes, where D is conditional
    noise [K, 2N, ...], generator_noise instance noise, where there is any;  mix [K, N] of a gradient penalty
    smoothing, penalty_weight, ...      one number for each lane [K]
    d_real, d_fake, d_norm, g_fake, ... what a step leaves to be watched (`gan_core.training.record`)
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from gan_core.config.structure import StructureConfig
from gan_core.game.losses import Loss, information_loss
from gan_core.game.own_losses import loss_of
from gan_core.game.penalties import PENALTIES
from gan_core.networks.build import AnyNetwork, Networks
from gan_core.networks.call import Call

Tensors = dict[str, Tensor]
PASS_NUMBERS = 4  # what the numbers of passes of two updates of G in one step differ by


class Pass(Enum):
    """One pass through a network within a step. Dropout draws its masks anew for each pass."""

    FAKES = "fakes"  # G makes fakes for D alone
    JUDGING = "judging"  # D judges real samples and fakes
    PENALTY = "penalty"  # D where its gradient is penalised
    MAKING = "making"  # G makes the fakes of its own update
    JUDGED = "judged"  # D judges these
    COMPARED = "compared"  # D judges the real samples that they are compared with, where the loss does so

    @property
    def through_generator(self) -> bool:
        """Whether the pass goes through G; else it goes through D."""
        return self in (Pass.FAKES, Pass.MAKING)

    def number(self, update: int) -> int:
        """The number of the pass within its step, which is part of the key of dropout's random stream. update: which of
        G's updates in the step it belongs to, from 0.
        """
        in_step = {Pass.FAKES: 0, Pass.JUDGING: 1, Pass.PENALTY: 2}
        in_update = {Pass.MAKING: 0, Pass.JUDGED: 1, Pass.COMPARED: 2}
        return in_step[self] if self in in_step else in_update[self] + PASS_NUMBERS * (update + 1)


class StepPart(Enum):
    """A part of a step that becomes one program. Its value is the name of its function in C."""

    FAKES = "fakes"  # G makes the fakes that D is shown
    DISCRIMINATOR = "discriminator"  # the gradients of D
    GENERATOR = "generator"  # the gradients of G
    GENERATOR_AND_FAKES = "generator_and_fakes"  # the same, and the fakes of this update are shown to D


CallOf = Callable[[Pass], Call]  # starts a pass


@dataclass(frozen=True)
class Game:
    """What is the same in all steps of a structure."""

    structure: StructureConfig
    networks: Networks

    @property
    def loss(self) -> Loss:
        return loss_of(self.structure.loss)

    @property
    def judged_apart(self) -> bool:
        """Whether real samples and fakes go through D in two calls, real ones first: where batch norm normalises each
        by their moments, or a person's own D may do such things.
        """
        own = self.networks.own
        return self.structure.norm == "batch" if own is None else not own.rowwise

    @property
    def decisions(self) -> int:
        """How many decisions D makes on N samples, R: one on each of them, or one on the minibatch."""
        return self.structure.batch_size if self.networks.sees_samples else 1

    @property
    def scale(self) -> int:
        """The factor of the total loss that is differentiated: R where losses are summed over decisions, else 1."""
        return self.decisions if self.structure.loss_reduction == "sum" else 1


def passes_of(part: StepPart, structure: StructureConfig) -> tuple[Pass, ...]:
    """The passes through the networks that a part of a step makes."""
    if part is StepPart.FAKES:
        return (_fakes_pass(structure),)
    if part is StepPart.DISCRIMINATOR:
        return Pass.JUDGING, Pass.PENALTY
    return Pass.MAKING, Pass.JUDGED, *((Pass.COMPARED,) if loss_of(structure.loss).sees_real else ())


def carry_out(part: StepPart, game: Game, call_of: CallOf, tensors: Tensors) -> None:
    """Computes a part of a step: reads its inputs from `tensors` and writes its results into them."""
    if part is StepPart.FAKES:
        make_fakes(game, call_of, tensors)
    elif part is StepPart.DISCRIMINATOR:
        discriminator_gradients(game, call_of, tensors)
    else:
        generator_gradients(game, call_of, tensors, keep_fakes=part is StepPart.GENERATOR_AND_FAKES)


def _fakes_pass(structure: StructureConfig) -> Pass:
    return Pass.MAKING if structure.update_order == "generator_first" else Pass.FAKES


def make_fakes(game: Game, call_of: CallOf, tensors: Tensors) -> None:
    """Makes the fakes that D is shown from `latents`, without gradients. Where G is updated first, this is for the
    lanes without an update of G in the step, which would make them.
    """
    call = call_of(_fakes_pass(game.structure))
    with torch.no_grad():
        weights = _weights(tensors, "generator", game.networks.generator)
        tensors["fake"].copy_(game.networks.generator(weights, tensors["latents"], call))


def discriminator_gradients(game: Game, call_of: CallOf, tensors: Tensors) -> None:
    """The gradients of every D's total loss on the samples `both`."""
    weights, leaves = _leaves(tensors, "discriminator", game.networks.discriminator)
    both = tensors["both"] + tensors["noise"] if "noise" in tensors else tensors["both"]
    answers = _answers(game, weights, both, tensors.get("condition"), call_of(Pass.JUDGING))
    real, fake = (_logits(answer) for answer in answers)
    total = game.loss.discriminator(real, fake, tensors["smoothing"])
    penalty = _penalty(game, call_of, weights, both, tensors)
    information = _information(game, answers[1], tensors["latents"], tensors)
    left = {"d_real": real, "d_fake": fake}
    if penalty is not None:
        total = total + tensors["penalty_weight"] * penalty
        left["d_penalty"] = penalty
    if information is not None:
        total = total + tensors["information_weight"] * information
        left["d_information"] = information
    left["d_norm"] = _descend(tensors, "discriminator", leaves, game.scale * total)
    _leave(tensors, left)


def generator_gradients(game: Game, call_of: CallOf, tensors: Tensors, *, keep_fakes: bool) -> None:
    """The gradients of every G's total loss, on `generator_latents`. keep_fakes: on `latents` instead, and the fakes
    are kept for D.
    """
    networks, latents = game.networks, tensors["latents" if keep_fakes else "generator_latents"]
    weights, leaves = _leaves(tensors, "generator", networks.generator)
    fake = networks.generator(weights, latents, call_of(Pass.MAKING))
    if keep_fakes:
        tensors["fake"].copy_(fake.detach())
    if "generator_noise" in tensors:
        fake = fake + tensors["generator_noise"]
    judge = _weights(tensors, "discriminator", networks.discriminator)
    compared = _compared(game, judge, tensors, call_of) if game.loss.sees_real else ()
    answers = networks.discriminator(judge, networks.view(fake, tensors.get("condition")), call_of(Pass.JUDGED))
    logits, information = _logits(answers), _information(game, answers, latents, tensors)
    total = game.loss.generator(logits, *compared)
    if information is not None:
        total = total + tensors["information_weight"] * information
    norm = _descend(tensors, "generator", leaves, game.scale * total)
    _leave(tensors, {"g_fake": logits, "g_norm": norm, **({"g_real": compared[0]} if compared else {})})


def _compared(game: Game, judge: Tensors, tensors: Tensors, call_of: CallOf) -> tuple[Tensor]:
    """D's logits of the step's real samples [K, R], which G's loss compares with those of its fakes."""
    real = tensors["real"]
    if "noise" in tensors:
        real = real + tensors["noise"][:, : game.structure.batch_size]
    with torch.no_grad():
        view = game.networks.view(real, tensors.get("condition"))
        return (_logits(game.networks.discriminator(judge, view, call_of(Pass.COMPARED))),)


def _logits(answers: Tensor) -> Tensor:
    """[K, R, H] -> [K, R]. Where there is one head it is a view, which costs no call in the backward pass."""
    return answers.squeeze(2) if answers.shape[2] == 1 else answers[:, :, 0]


def _leave(tensors: Tensors, left: Tensors) -> None:
    for name, value in left.items():
        tensors[name].copy_(value.detach())


def _weights(tensors: Tensors, role: str, network: AnyNetwork) -> Tensors:
    return {name: tensors[f"{role}.{name}"] for name in (*network.shapes(), *network.buffers())}


def _leaves(tensors: Tensors, role: str, network: AnyNetwork) -> tuple[Tensors, Tensors]:
    """The weights and buffers of a network for a pass that is differentiated, and of these the parameters, which
    require gradients.
    """
    weights = _weights(tensors, role, network)
    leaves = {name: weights[name].detach().requires_grad_() for name in network.shapes()}
    return {**weights, **leaves}, leaves


def _descend(tensors: Tensors, role: str, leaves: Tensors, total: Tensor) -> Tensor:
    """Stores the gradient of each lane's total loss [K], which depends on that lane alone. Returns its Euclidean norm
    [K].
    """
    # A person's own module may have parameters that it does not use: their gradient is zero.
    gradients = torch.autograd.grad(total.sum(), list(leaves.values()), materialize_grads=True)
    for name, gradient in zip(leaves, gradients, strict=True):
        tensors[f"{role}_gradient.{name}"].copy_(gradient)
    return torch.linalg.vector_norm(tensors[f"{role}_gradient"], dim=1)


def _answers(
    game: Game, weights: Tensors, both: Tensor, condition: Tensor | None, call: Call
) -> tuple[Tensor, Tensor] | list[Tensor]:
    """D's answers to the real and to the fake samples, [K, R, H] each."""
    networks = game.networks
    real, fake = both.split(game.structure.batch_size, 1)
    if game.judged_apart:
        return [networks.discriminator(weights, networks.view(part, condition), call) for part in (real, fake)]
    if networks.sees_samples:
        view = networks.view(both, None if condition is None else torch.cat((condition, condition), 1))
    else:
        view = torch.cat([networks.view(part, condition) for part in (real, fake)], 1)
    real_answers, fake_answers = networks.discriminator(weights, view, call).chunk(2, 1)
    return real_answers, fake_answers


def _penalty(game: Game, call_of: CallOf, weights: Tensors, both: Tensor, tensors: Tensors) -> Tensor | None:
    """The gradient penalty [K] before it is weighted; None where the structure has none."""
    if game.structure.penalty == "none":
        return None
    networks, condition = game.networks, tensors.get("condition")
    real, fake = both.split(game.structure.batch_size, 1)

    def logits_of(samples: Tensor) -> Tensor:
        return _logits(networks.discriminator(weights, networks.view(samples, condition), call_of(Pass.PENALTY)))

    return PENALTIES[game.structure.penalty](logits_of, real, fake, tensors["mix"])


def _information(game: Game, answers: Tensor, latents: Tensor, tensors: Tensors) -> Tensor | None:
    """InfoGAN's information loss [K] before it is weighted; None where D predicts no codes. answers: to the fakes made
    of these latents [K, N, 1 + heads].
    """
    if answers.shape[2] == 1:
        return None
    codes = latents[:, :, game.structure.latent_size :]
    return information_loss(answers[:, :, 1:], codes, game.networks.choices, tensors["continuous_code_weight"])
