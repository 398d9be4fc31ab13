"""Draws samples from the weights of a generator that was trained and saved."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_core.config.conditions import Precision
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.lanes.precision import library_precision
from gan_core.lanes.streams import Stream
from gan_core.networks.architectures import build_networks, rows_at_once
from gan_core.networks.build import AnyNetwork
from gan_core.networks.call import Call
from gan_core.networks.latents import shared_latents


@dataclass(frozen=True)
class SampleKind:
    """The shape of a generator's samples, [C, H, W] or [d], and the number of classes of its data set."""

    shape: tuple[int, ...]
    classes: int


def sample_generator(
    config: GanConfig,
    kind: SampleKind,
    weights: Mapping[str, Tensor],
    count: int,
    seed: int,
    choice: int | None = None,
    *,
    precision: Precision = "float32",
) -> Tensor:
    """Samples [count, *shape] of a saved generator, the same as `LaneArray.sample` draws from it.

    precision: that of its training. Raises InputError as `sample_in_parts` does.
    """
    return torch.cat(list(sample_in_parts(config, kind, weights, count, seed, choice, precision=precision)))


def sample_in_parts(
    config: GanConfig,
    kind: SampleKind,
    weights: Mapping[str, Tensor],
    count: int,
    seed: int,
    choice: int | None = None,
    *,
    precision: Precision = "float32",
) -> Iterator[Tensor]:
    """The samples of `sample_generator`, one call of the generator after the other: [at most 1000, *shape] each.

    choice: the class or categorical code to draw; None: all in turn. Raises InputError if the weights do not fit the
    structure or are not float32, and if there is no such class.
    """
    structure = config.structure
    networks = build_networks(structure, kind.shape, kind.classes)
    generator = networks.generator
    check_weights(generator, weights)
    stacked = {name: tensor.unsqueeze(0) for name, tensor in weights.items()}
    call, rows = Call([config.lane.batch_norm_eps], precision=precision), rows_at_once(structure)
    for latents in shared_latents(count, rows, structure, networks, Stream.SAMPLE_LATENTS, seed, choice):
        with torch.no_grad(), library_precision(precision):  # left before `yield`, so it does not affect the caller
            samples = generator(stacked, latents, call)[0]
        yield samples


def check_weights(generator: AnyNetwork, weights: Mapping[str, Tensor]) -> None:
    """Raises InputError if one lane's weights are not those of a generator, or not float32."""
    wanted = {name: (shape, torch.float32) for name, shape in {**generator.shapes(), **generator.buffers()}.items()}
    if {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in weights.items()} != wanted:
        raise InputError("the generator's weights do not fit the configuration beside them; one of them was changed")
