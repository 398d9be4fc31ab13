"""One training step of an array: one update of every D, and of the G whose turn it is.

D is updated first, on fakes it made for it, and G follows on fresh latents (Goodfellow et al. 2014, algorithm 1); or,
where the structure says `generator_first`, G is updated and D follows on the fakes G learnt from. k and the number of
G's steps differ by lane inside an array, by masking: all lanes see the same number of images.

L lanes, N batch, R decisions, F features.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gan_core.lanes import Stream, fill_latents, lane_empty
from gan_core.losses import information_loss
from gan_core.penalties import PENALTIES
from gan_core.watch import WATCH_EVERY_STEPS

if TYPE_CHECKING:
    from gan_core.training import LaneArray

GENERATOR_PASS, DISCRIMINATOR_PASS, PENALTY_PASS, PASSES = 0, 1, 2, 4  # of a D step; G's steps count on by PASSES


def train_step(array: "LaneArray") -> None:
    """One D update of every lane on N real images; a turn of G in the lanes whose k-th D update it is."""
    state, generator_first = array.state, array.structure.update_order == "generator_first"
    real, condition = array.real_batch(state.images_seen)
    if generator_first:
        turn = [state.discriminator_steps % k == 0 for k in array.k]
        with torch.set_grad_enabled(any(turn)):
            latents, fake = generator_pass(array, condition, 0)
        update_generator(array, turn, condition, made=(latents, fake))
        fake = fake.detach()
    else:
        latents = array.latents(Stream.DISCRIMINATOR_LATENTS, condition, state.images_seen)
        fake = _fakes(array, latents)
    update_discriminator(array, real, fake, latents, condition)
    state.discriminator_steps += 1
    if not generator_first:
        update_generator(array, [state.discriminator_steps % k == 0 for k in array.k], condition)
    state.images_seen += array.structure.batch_size
    if array.averages:
        state.average.lerp_(state.generator.flat, array.average_weights(state.images_seen))
    if array.watches():
        state.watch.see_samples(real, fake, WATCH_EVERY_STEPS * array.structure.batch_size)


def _fakes(array: "LaneArray", latents: Tensor) -> Tensor:
    with torch.no_grad():
        return array.networks.generator(array.state.generator.views, latents, array.generator_call(GENERATOR_PASS))


def update_discriminator(
    array: "LaneArray", real: Tensor, fake: Tensor, latents: Tensor, condition: Tensor | None
) -> None:
    """One Adam step of every D. real, fake: [L, N, ...]; latents: what the fakes were made of; condition: one-hot
    classes [L, N, K] of the real batch, which conditional fakes share.
    """
    state, networks = array.state, array.networks
    weights, call = state.discriminator.weights, array.discriminator_call(DISCRIMINATOR_PASS)
    real, fake = noised(array, real, 0), noised(array, fake, 1)
    views = [networks.view(samples, condition) for samples in (real, fake)]
    if array.structure.norm == "batch":  # each batch is normalised by its own moments
        answers = [networks.discriminator(weights, view, call) for view in views]
    else:
        answers = networks.discriminator(weights, torch.cat(views, 1), call).chunk(2, 1)
    real_logits, fake_logits = (answer[:, :, 0] for answer in answers)
    loss = array.loss.discriminator(real_logits, fake_logits, array.smoothing)
    penalty, information = _penalty(array, real, fake, condition), _information(array, answers[1], latents)
    scale = reduction(array, real_logits)
    total = loss
    for term, weight in ((penalty, array.penalty_weight), (information, array.information_weight)):
        total = total if term is None else total + weight * term
    state.discriminator.store_gradients(scale * total)
    norm = gradient_norm(state.discriminator.grad) / scale
    state.watch.see_discriminator(loss, real_logits, fake_logits, penalty, information, norm)
    state.discriminator_adam.step(array.all_lanes)


def _penalty(array: "LaneArray", real: Tensor, fake: Tensor, condition: Tensor | None) -> Tensor | None:
    """[L], before its weight; None where the structure has none."""
    if array.structure.penalty == "none":
        return None
    weights, networks, seen = array.state.discriminator.weights, array.networks, array.state.images_seen
    nobody = [False] * array.lanes

    def logits_of(samples: Tensor) -> Tensor:
        call = array.discriminator_call(PENALTY_PASS, nobody)
        return networks.discriminator(weights, networks.view(samples, condition), call)[:, :, 0]

    mix = fill_latents(lane_empty(array.lanes, real.shape[1:2], real), "uniform", array.seeds, Stream.PENALTY_MIX, seen)
    return PENALTIES[array.structure.penalty](logits_of, real, fake, mix)


def _information(array: "LaneArray", answers: Tensor, latents: Tensor) -> Tensor | None:
    """[L], before its weight; None where D has no heads. answers [L, N, 1 + heads] to the fakes of these latents."""
    if answers.shape[2] == 1:
        return None
    codes = latents[:, :, array.structure.latent_size :]
    return information_loss(answers[:, :, 1:], codes, array.networks.choices, array.continuous_code_weight)


def generator_pass(
    array: "LaneArray", condition: Tensor | None, j: int, active: list[bool] | None = None
) -> tuple[Tensor, Tensor]:
    """Latents [L, N, Z] of G's j-th step from here and the fakes [L, N, ...] made of them, to be differentiated."""
    latents = array.latents(Stream.GENERATOR_LATENTS, condition, array.state.images_seen, j)
    call = array.generator_call(PASSES * (j + 1) + GENERATOR_PASS, active)
    return latents, array.networks.generator(array.state.generator.weights, latents, call)


def update_generator(
    array: "LaneArray", turn: list[bool], condition: Tensor | None, made: tuple[Tensor, Tensor] | None = None
) -> None:
    """G's Adam steps in the lanes whose turn it is, each on fresh latents. made: the first pass, where there was one
    for all lanes.
    """
    for j in range(max((g for g, goes in zip(array.g, turn, strict=True) if goes), default=0)):
        active = [goes and j < g for goes, g in zip(turn, array.g, strict=True)]
        latents, fake = made if made and j == 0 else generator_pass(array, condition, j, active)
        _step_generator(array, latents, fake, condition, active, j)


def _step_generator(
    array: "LaneArray", latents: Tensor, fake: Tensor, condition: Tensor | None, active: list[bool], j: int
) -> None:
    state, networks = array.state, array.networks
    call = array.discriminator_call(PASSES * (j + 1) + DISCRIMINATOR_PASS, active)
    view = networks.view(noised(array, fake, 2 + j), condition)
    answers = networks.discriminator(state.discriminator.views, view, call)
    logits = answers[:, :, 0]
    loss, information = array.loss.generator(logits), _information(array, answers, latents)
    scale = reduction(array, logits)
    total = loss if information is None else loss + array.information_weight * information
    state.generator.store_gradients(scale * total)
    norm = gradient_norm(state.generator.grad) / scale
    since_last = [0 if j else array.structure.batch_size * k for k in array.k]
    state.watch.see_generator(loss, norm, active, since_last)
    state.generator_adam.step(active)


def reduction(array: "LaneArray", logits: Tensor) -> int:
    """By what the loss, a mean over decisions, is multiplied before it is descended, with all that is added to it."""
    return logits.shape[1] if array.structure.loss_reduction == "sum" else 1


def gradient_norm(grad: Tensor) -> Tensor:
    """The Euclidean norm of each lane's gradient: [L, P] -> [L]."""
    return torch.linalg.vector_norm(grad, dim=1)


def noised(array: "LaneArray", samples: Tensor, which: int) -> Tensor:
    """Samples [L, N, ...] with each lane's instance noise (Sonderby et al. 2017, section 4), which falls to 0 with the
    images seen where the lane says so. which: of the step's draws.
    """
    levels = array.instance_noise(array.state.images_seen)
    if not any(levels):
        return samples
    noise = lane_empty(array.lanes, samples.shape[1:], samples).zero_()
    for lane, level in enumerate(levels):
        if level:
            seed, seen = [array.seeds[lane]], (array.state.images_seen, which)
            fill_latents(noise[lane : lane + 1], "normal", seed, Stream.INSTANCE_NOISE, *seen).mul_(level)
    return samples + noise
