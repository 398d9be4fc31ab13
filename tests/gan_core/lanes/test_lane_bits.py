"""Every layer and network on the CPU: a lane's bits know nothing of its neighbours, its place or their number.

Measured with MKL, oneDNN and AVX-512 to hold bit for bit for all of them, convolutions and batch norm included.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core.config.structure import StructureConfig
from gan_core.networks.architectures import build_networks
from gan_core.networks.build import Branches, Network
from gan_core.networks.call import Call
from gan_core.networks.layers import BatchNorm, Convolution, Layer, Linear, SpectralNorm
from gan_core.networks.weightless_layers import Dropout, Maxout, elu, leaky_relu, tanh

pytestmark = pytest.mark.usefixtures("arithmetic")
# Odd sizes, whose lanes start between boundaries, and some at which a library takes another path.
LAYERS: dict[str, tuple[Layer, tuple[int, ...]]] = {
    "linear": (Linear(7, 50), (13, 7)),
    "linear_to_1": (Linear(64, 1), (16, 64)),
    "convolution": (Convolution(3, 5, 4, 2, 1), (13, 3, 14, 14)),
    "convolution_with_bias": (Convolution(1, 3, 4, 2, 1, bias=True), (5, 1, 8, 8)),
    "convolution_of_32": (Convolution(16, 32, 4, 2, 1), (16, 16, 14, 14)),
    "transposed": (Convolution(5, 3, 4, 2, 1, transposed=True), (13, 5, 7, 7)),
    "transposed_with_bias": (Convolution(3, 1, 4, 2, 1, transposed=True, bias=True), (7, 3, 4, 4)),
    "transposed_of_32": (Convolution(32, 16, 4, 2, 1, transposed=True), (16, 32, 7, 7)),
    "batch_norm": (BatchNorm(7), (13, 7)),
    "batch_norm_of_256": (BatchNorm(256), (64, 256)),
    "batch_norm_of_maps": (BatchNorm(5), (13, 5, 7, 7)),
    "batch_norm_of_16_maps": (BatchNorm(16), (16, 16, 14, 14)),
    "spectral_linear": (SpectralNorm(Linear(7, 50)), (13, 7)),
    "spectral_linear_to_1": (SpectralNorm(Linear(64, 1)), (13, 64)),
    "spectral_convolution": (SpectralNorm(Convolution(3, 5, 4, 2, 1, bias=True)), (13, 3, 14, 14)),
    "spectral_convolution_of_128": (SpectralNorm(Convolution(64, 128, 4, 2, 1)), (2, 64, 4, 4)),
    "dropout": (Dropout(), (13, 7)),
    "maxout": (Maxout(5), (13, 35)),
    "leaky_relu": (leaky_relu(0.2), (13, 7)),
    "elu": (elu, (13, 7)),
    "branches": (Branches((Network((Linear(4, 5), BatchNorm(5), tanh)), Network((Linear(3, 7),))), (4, 3)), (13, 7)),
}
SIDE_PIXELS, CLASSES, BATCH = 8, 3, 5


def networks() -> dict[str, tuple[Layer, tuple[int, ...]]]:
    """G and D of the families that are not made of linear layers alone."""
    made: dict[str, tuple[Layer, tuple[int, ...]]] = {}
    for name, norm in (("mlp_bn", "spectral"), ("cgan", "none"), ("dcgan", "batch"), ("infogan", "spectral")):
        codes: dict[str, Any] = {"categorical_codes": CLASSES, "continuous_codes": 2} if name == "infogan" else {}
        structure = StructureConfig(
            architecture=name,  # pyright: ignore[reportArgumentType]
            dataset="digits",
            generator_width=3,
            discriminator_width=5,
            latent_size=4,
            discriminator_norm=norm,  # pyright: ignore[reportArgumentType]
            **codes,
        )
        built = build_networks(structure, (1, SIDE_PIXELS, SIDE_PIXELS), CLASSES)
        image = (1, SIDE_PIXELS, SIDE_PIXELS) if name in ("dcgan", "infogan") else (SIDE_PIXELS**2,)
        shown = (SIDE_PIXELS**2 + CLASSES,) if name == "cgan" else image
        made[f"{name}_generator"] = built.generator, (BATCH, 4 + built.choices + built.continuous)
        made[f"{name}_discriminator"] = built.discriminator, (BATCH, *shown)
    return made


CASES = {**LAYERS, **networks()}


def passed(case: str, seeds: Sequence[int], dtype: torch.dtype, training: bool, poisoned: int | None) -> list[Tensor]:
    """The output, its gradients and the buffers after a pass, each [L, ...]; all of a lane follows from its seed."""
    layer, shape = CASES[case]
    initial = [layer.initial(np.random.default_rng([1, seed])) for seed in seeds]
    weights = {name: torch.from_numpy(np.stack([lane[name] for lane in initial])).to(dtype) for name in initial[0]}
    x = torch.from_numpy(np.stack([np.random.default_rng([2, seed]).standard_normal(shape) for seed in seeds])).to(
        dtype
    )
    if poisoned is not None:
        x[poisoned] = math.nan
    leaves = [x.requires_grad_(), *(weights[name].requires_grad_() for name in layer.shapes())]
    eps, momentum, shares = zip(*((1e-5 * (1 + s), 0.1 + 0.01 * s, 0.2 * (s % 3)) for s in seeds), strict=True)
    output = layer(weights, x, Call(eps, momentum, shares, training=training, seeds=seeds))
    factors = [np.random.default_rng([3, seed]).standard_normal(output.shape[1:]) for seed in seeds]
    loss = (output * torch.from_numpy(np.stack(factors)).to(dtype)).sum()
    gradients = torch.autograd.grad(loss, leaves)
    return [output.detach(), *gradients, *(weights[name] for name in layer.buffers())]


def lane_bits(tensors: list[Tensor], lane: int) -> list[bytes]:
    return [tensor[lane].contiguous().numpy().tobytes() for tensor in tensors]


@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_a_lane_has_the_same_bits_alone_among_any_number_in_any_place_and_beside_nan(case, dtype, training):
    alone = {seed: lane_bits(passed(case, [seed], dtype, training, None), 0) for seed in range(8)}
    assert len({bits[0] for bits in alone.values()}) == len(alone)
    places = [(list(range(lanes)), None) for lanes in (2, 3, 5, 8)]
    places += [([7, 3, 0, 6, 1], None), ([4, 2, 1], 0), ([0, 5, 2], 2)]
    for seeds, poisoned in places:
        together = passed(case, seeds, dtype, training, poisoned)
        for lane, seed in enumerate(seeds):
            if lane != poisoned:
                assert lane_bits(together, lane) == alone[seed]
            else:
                assert bool(together[0][lane].isnan().any())
