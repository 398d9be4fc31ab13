"""The input of generators: noise, then a one-hot class or categorical code, then continuous codes in (-1, 1).

L lanes, M latents, Z numbers in one.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.config.input_error import InputError
from gan_core.config.structure import StructureConfig
from gan_core.lanes.normals import fill_latents
from gan_core.lanes.streams import Stream, stream
from gan_core.networks.build import Networks

Choice = int | Tensor | None  # the class or code of all latents, or of each; None: by turns


def latent_numbers(structure: StructureConfig, networks: Networks) -> int:
    """The count of numbers in one latent, Z."""
    return structure.latent_size + networks.choices + networks.continuous


def latent_parts(latents: Tensor, structure: StructureConfig, networks: Networks) -> tuple[Tensor, ...]:
    """Latents [..., Z] as noise, one-hot classes or codes, and continuous codes; the last two may be of size 0."""
    return latents.split((structure.latent_size, networks.choices, networks.continuous), dim=-1)


def fill_step_latents(
    out: Tensor,
    structure: StructureConfig,
    networks: Networks,
    seeds: Sequence[int],
    purpose: Stream,
    seen: tuple[int, int],
) -> None:
    """Fills out [L, M, Z], lane i keyed by (seeds[i], purpose, seen), where seen is (images seen, which update of G).

    Codes are drawn uniformly; the classes of a conditional architecture are left unchanged.
    """
    noise, choice, continuous = latent_parts(out, structure, networks)
    fill_latents(noise, structure.latent_distribution, seeds, purpose, *seen)
    if not networks.conditional and (networks.choices or networks.continuous):
        for lane, seed in enumerate(seeds):
            _draw_codes(choice[lane], continuous[lane], stream(seed, Stream.CODES, *seen, int(purpose)))


def _draw_codes(choice: Tensor, continuous: Tensor, source: np.random.Generator) -> None:
    """Fills one lane's one-hot codes [M, K] and continuous codes [M, C]."""
    count, choices = choice.shape
    if choices:
        choice.copy_(F.one_hot(torch.from_numpy(source.integers(0, choices, count)), choices))
    continuous.copy_(torch.from_numpy(2 * source.random(tuple(continuous.shape), np.float32) - 1))


def fill_shared_latents(
    out: Tensor, structure: StructureConfig, networks: Networks, purpose: Stream, seed: int, choice: Choice = None
) -> None:
    """Fills out [1, M, Z] with latents for any lane: a pure function of (seed, purpose, choice).

    choice: the class or categorical code of all of them, or of each [M]; without it, classes take turns.
    Raises InputError when there is no such class or code.
    """
    (latents,) = shared_latents(out.shape[1], out.shape[1], structure, networks, purpose, seed, choice)
    out.copy_(latents)


def shared_latents(
    count: int,
    rows: int,
    structure: StructureConfig,
    networks: Networks,
    purpose: Stream,
    seed: int,
    choice: Choice = None,
) -> Iterator[Tensor]:
    """The `count` latents of `fill_shared_latents` in parts [1, at most rows, Z], so that any number fits into memory.
    Raises InputError as that function does, before the first part.
    """
    asked = None if choice is None else torch.as_tensor(choice).view(-1)
    if asked is not None and not 0 <= int(asked.min()) <= int(asked.max()) < networks.choices:
        known = f"0 to {networks.choices - 1}" if networks.choices else "none: it is not conditional"
        raise InputError(f"this generator has no class or code {choice}; known: {known}")
    codes = stream(seed, Stream.CODES, 0, 0, int(purpose))
    if networks.continuous:  # in the stream they follow categorical codes, which are not used here
        for start in range(0, count if networks.choices else 0, rows):
            codes.integers(0, networks.choices, min(rows, count - start))
    for start in range(0, count, rows):
        out = torch.empty(1, min(rows, count - start), latent_numbers(structure, networks))
        noise, one_hot, continuous = latent_parts(out, structure, networks)
        fill_latents(noise, structure.latent_distribution, [seed], purpose, after=start)
        continuous[0] = torch.from_numpy(2 * codes.random(tuple(continuous.shape[1:]), np.float32) - 1)
        if networks.choices:
            places = torch.arange(start, start + out.shape[1])
            these = places % networks.choices if asked is None else asked.expand(count)[places]
            one_hot[0] = F.one_hot(these, networks.choices).to(out)
        yield out


def shared_choices(count: int, choices: int) -> Tensor:
    """The classes or codes [count] of shared latents when none is asked for: by turns."""
    return torch.arange(count) % choices
