"""The generators and discriminators of all families. A new family is a function here and a line in ARCHITECTURES.

The published widths are the bases of the shipped spaces. `gan_core.networks.build` documents the shapes.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch import Tensor

from gan_core.config.combinations import check_classes
from gan_core.config.input_error import InputError
from gan_core.config.own_names import IN_PYTHON
from gan_core.config.structure import Architecture, DiscriminatorInput, StructureConfig, dcgan_start_pixels
from gan_core.files.own_code import OwnCodeError, own_object, theirs
from gan_core.networks.build import (
    AnyNetwork,
    Branches,
    Network,
    Networks,
    conditional_view,
    flat_view,
    minibatch_view,
    moments_view,
)
from gan_core.networks.layers import BatchNorm, Convolution, Layer, Linear, SpectralNorm
from gan_core.networks.weightless_layers import (
    Dropout,
    Elementwise,
    Maxout,
    Reshape,
    elu,
    leaky_relu,
    relu,
    sigmoid,
    tanh,
)

SAMPLES_AT_ONCE = 1000  # in one call of the generator when many are drawn, to bound memory
IMAGES_AT_ONCE = 100  # the same for convolutional generators


def _weighted(structure: StructureConfig, layer: Linear | Convolution) -> Layer:
    """A layer of D with weights, with spectral normalisation where the structure asks for it."""
    return SpectralNorm(layer) if structure.norm == "spectral" else layer


def _judging(structure: StructureConfig, sizes: tuple[int, ...], activation: Elementwise) -> Network:
    """A dense D: sizes are those of the input and of the hidden layers, which are followed by one logit. Batch norm,
    where the structure asks for it, is in every hidden layer but the first (Radford et al. 2016, section 3).
    """
    layers: list[Layer] = []
    for place, (inputs, outputs) in enumerate(zip(sizes, sizes[1:], strict=False)):
        layers.append(_weighted(structure, Linear(inputs, outputs)))
        if structure.norm == "batch" and place > 0:
            layers.append(BatchNorm(outputs))
        layers += [activation, Dropout()]
    return Network((*layers, _weighted(structure, Linear(sizes[-1], 1))))


def _painting(inputs: int, sample_shape: tuple[int, ...]) -> tuple[Layer, ...]:
    """The last layers of a dense G: a linear layer to the pixels, in (-1, 1)."""
    return Linear(inputs, math.prod(sample_shape)), tanh, Reshape(sample_shape)


def gaussian(structure: StructureConfig, sample_shape: tuple[int, ...], classes: int) -> Networks:
    """The GAN for numbers [d] whose D may see a whole minibatch as one input (N. Nag's
    `pytorch-generative-adversarial-networks`, 2017, for d = 1).
    """
    width, hidden, numbers = structure.generator_width, structure.discriminator_width, sample_shape[0]
    views: dict[DiscriminatorInput, tuple[Callable[[Tensor, Tensor | None], Tensor], int]] = {
        "sample": (flat_view, numbers),
        "minibatch": (minibatch_view, 2 * structure.batch_size * numbers),
        "moments": (moments_view, 4 * numbers),
    }
    view, features = views[structure.discriminator_input]
    generator = (Linear(structure.latent_size, width), elu, Linear(width, width), sigmoid, Linear(width, numbers))
    return Networks(Network(generator), _judging(structure, (features, hidden, hidden), elu), view)


def mlp(structure: StructureConfig, sample_shape: tuple[int, ...], classes: int) -> Networks:
    """A dense GAN with two hidden layers in G and in D."""
    width, hidden, pixels = structure.generator_width, structure.discriminator_width, math.prod(sample_shape)
    hidden_layers = (Linear(structure.latent_size, width), relu, Linear(width, width), relu)
    generator = Network((*hidden_layers, *_painting(width, sample_shape)))
    return Networks(generator, _judging(structure, (pixels, hidden, hidden), leaky_relu(0.2)), flat_view)


def mlp_minimax(structure: StructureConfig, sample_shape: tuple[int, ...], classes: int) -> Networks:
    """A dense GAN with one hidden layer in G and in D (J. Tomczak's "Deep Generative Modeling", 2022, chapter 7)."""
    width, hidden, pixels = structure.generator_width, structure.discriminator_width, math.prod(sample_shape)
    generator = Network((Linear(structure.latent_size, width), relu, *_painting(width, sample_shape)))
    return Networks(generator, _judging(structure, (pixels, hidden), relu), flat_view)


def _doubling(structure: StructureConfig, between: Callable[[int], tuple[Layer, ...]]) -> tuple[Layer, ...]:
    """G's hidden layers of 1, 2, 4 and 8 widths. The first is followed by LeakyReLU; `between` gives the layers that
    follow each of the others, from its number of features.
    """
    width = structure.generator_width
    layers: list[Layer] = [Linear(structure.latent_size, width), leaky_relu(0.2)]
    for inputs in (width, 2 * width, 4 * width):
        layers += [Linear(inputs, 2 * inputs), *between(2 * inputs)]
    return tuple(layers)


def _halving(structure: StructureConfig, sample_shape: tuple[int, ...]) -> Network:
    """A dense D with hidden layers of 2 and 1 widths."""
    hidden = structure.discriminator_width
    return _judging(structure, (math.prod(sample_shape), 2 * hidden, hidden), leaky_relu(0.2))


def mlp_bn(structure: StructureConfig, sample_shape: tuple[int, ...], classes: int) -> Networks:
    """Four hidden layers in G, the last three with batch norm, with an eps of 0.8 (E. Linder-Noren's `PyTorch-GAN`,
    2018). The published code meant 0.8 as the momentum but passes it as the eps, which changes the network a lot.
    """
    hidden = _doubling(structure, lambda features: (BatchNorm(features), leaky_relu(0.2)))
    generator = Network((*hidden, *_painting(8 * structure.generator_width, sample_shape)))
    return Networks(generator, _halving(structure, sample_shape), flat_view)


def mlp_dropout(structure: StructureConfig, sample_shape: tuple[int, ...], classes: int) -> Networks:
    """As `mlp_bn` with dropout in G in place of batch norm; scores and samples are made without dropout."""
    hidden = _doubling(structure, lambda features: (leaky_relu(0.2), Dropout()))
    generator = Network((*hidden, *_painting(8 * structure.generator_width, sample_shape)))
    return Networks(generator, _halving(structure, sample_shape), flat_view)


def cgan(structure: StructureConfig, sample_shape: tuple[int, ...], classes: int) -> Networks:
    """Conditional GAN (Mirza & Osindero 2014, section 4.1): noise and class are joined after one hidden layer each, and
    D has maxout layers. The published widths are 200 and 240; units scale with them, maxout pieces do not.
    """
    check_classes(structure, classes)
    width, units, pixels = structure.generator_width, structure.discriminator_width, math.prod(sample_shape)

    def normed(inputs: int, outputs: int) -> tuple[Layer, ...]:
        return Linear(inputs, outputs), BatchNorm(outputs), relu

    joined = Branches(
        (Network(normed(structure.latent_size, width)), Network(normed(classes, 5 * width))),
        (structure.latent_size, classes),
    )
    label_units = max(1, round(units * 50 / 240))

    def maxout(inputs: int, outputs: int, pieces: int, *norm: Layer) -> tuple[Layer, ...]:
        return _weighted(structure, Linear(inputs, outputs * pieces)), *norm, Maxout(pieces), Dropout()

    seen = Branches((Network(maxout(pixels, units, 5)), Network(maxout(classes, label_units, 5))), (pixels, classes))
    norm = (BatchNorm(4 * units),) if structure.norm == "batch" else ()
    last = _weighted(structure, Linear(units, 1))
    return Networks(
        Network((joined, *normed(6 * width, 6 * width), *_painting(6 * width, sample_shape))),
        Network((seen, *maxout(units + label_units, units, 4, *norm), last)),
        conditional_view,
        choices=classes,
        conditional=True,
    )


def _upwards(channels: tuple[int, ...]) -> tuple[Layer, ...]:
    """Doubles the side of the maps with each layer, from channels[0] on: transposed convolutions with batch norm and
    ReLU, the last one without batch norm to an image in (-1, 1).
    """
    layers: list[Layer] = []
    for inputs, outputs in zip(channels[:-2], channels[1:-1], strict=True):
        layers += [Convolution(inputs, outputs, 4, 2, 1, transposed=True), BatchNorm(outputs), relu]
    return (*layers, Convolution(channels[-2], channels[-1], 4, 2, 1, transposed=True, bias=True), tanh)


def _downwards(structure: StructureConfig, channels: tuple[int, ...], slope: float) -> tuple[Layer, ...]:
    """Halves the side of the maps with each layer, from channels[0] on: convolutions with LeakyReLU, and batch norm in
    all but the first.
    """
    layers: list[Layer] = []
    for place, (inputs, outputs) in enumerate(zip(channels, channels[1:], strict=False)):
        normed = structure.norm == "batch" and place > 0
        layers.append(_weighted(structure, Convolution(inputs, outputs, 4, 2, 1, bias=not normed)))
        layers += [BatchNorm(outputs)] if normed else []
        layers += [leaky_relu(slope), Dropout()]
    return tuple(layers)


def _unfolded(inputs: int, channels: int, side_pixels: int) -> tuple[Layer, ...]:
    """A transposed convolution from one pixel to side x side pixels, as a linear layer, which is faster."""
    area = side_pixels**2
    first = Linear(inputs, channels * area, bias=False, initial_inputs=channels * area)
    return first, Reshape((channels, side_pixels, side_pixels)), BatchNorm(channels), relu


def dcgan(structure: StructureConfig, sample_shape: tuple[int, ...], classes: int) -> Networks:
    """DCGAN (Radford et al. 2016): 32x32 images start at 4x4 with 4, 2 and 1 widths of channels, with batch norm before
    the activation. The image is halved down to a side of 4 to 7 (28x28 starts at 7x7; 64x64 with 8 widths).
    """
    channels, size, _ = sample_shape
    start = dcgan_start_pixels(size)
    factors = [2**i for i in range(round(math.log2(size // start)))]
    up = [structure.generator_width * factor for factor in reversed(factors)]
    down = [structure.discriminator_width * factor for factor in factors]
    last = down[-1] * start**2
    return Networks(
        Network((*_unfolded(structure.latent_size, up[0], start), *_upwards((*up, channels)))),
        Network(
            (
                *_downwards(structure, (channels, *down), 0.2),
                Reshape((last,)),
                _weighted(structure, Linear(last, 1)),
            )
        ),
    )


def infogan(structure: StructureConfig, sample_shape: tuple[int, ...], classes: int) -> Networks:
    """InfoGAN (Chen et al. 2016, appendix C.1): G has layers of 16, 2 and 1 widths. D has a trunk of 1, 2 and 16
    widths, shared by the real/fake logit and a head of 2 widths for each kind of code; their outputs are concatenated.
    """
    channels, size, _ = sample_shape
    width, hidden, side = structure.generator_width, structure.discriminator_width, size // 4
    latent = structure.latent_size + structure.categorical_codes + structure.continuous_codes
    slope = leaky_relu(0.1)
    first = Linear(latent, 16 * width, bias=False, initial_inputs=16 * width)  # a transposed convolution to one pixel
    generator = (first, BatchNorm(16 * width), relu)

    def dense(inputs: int, outputs: int) -> tuple[Layer, ...]:
        normed = structure.norm == "batch"
        norm: tuple[Layer, ...] = (BatchNorm(outputs),) if normed else ()
        return _weighted(structure, Linear(inputs, outputs, bias=not normed)), *norm, slope

    def head(values: int) -> Network:
        return Network((*dense(16 * hidden, 2 * hidden), _weighted(structure, Linear(2 * hidden, values))))

    last = 2 * hidden * side**2
    heads = [head(values) for values in (structure.categorical_codes, structure.continuous_codes) if values]
    decision = Network((_weighted(structure, Linear(16 * hidden, 1)),))
    trunk = (*_downwards(structure, (channels, hidden, 2 * hidden), 0.1), Reshape((last,)), *dense(last, 16 * hidden))
    return Networks(
        Network((*generator, *_unfolded(16 * width, 2 * width, side), *_upwards((2 * width, width, channels)))),
        Network((*trunk, Dropout(), Branches((decision, *heads)))),
        choices=structure.categorical_codes,
        continuous=structure.continuous_codes,
    )


def own(structure: StructureConfig, sample_shape: tuple[int, ...], classes: int) -> Networks:
    """A person's own classes `Generator` and `Discriminator`, of the file or module `structure.networks`. Raises
    InputError where they are given in Python, and so can be made by `LaneArray(networks=...)` alone.
    """
    from gan_core.networks.own_modules import own_networks  # imported here because no other architecture needs it

    generator, discriminator = _own_classes(structure)
    with theirs(f"the networks of {structure.networks.partition('#')[0]} cannot be made"):
        return own_networks(generator, discriminator, structure, sample_shape, classes)


def _own_classes(structure: StructureConfig) -> tuple[Any, Any]:
    """Generator and Discriminator. Raises InputError where they were given in Python and have no name here."""
    if structure.networks == IN_PYTHON:
        raise InputError(
            "these are networks of your own; give their classes, LaneArray(..., networks=(Generator, Discriminator)), "
            "or name their file in structure.networks"
        )
    return own_object(structure.networks, "Generator"), own_object(structure.networks, "Discriminator")


ARCHITECTURES: dict[Architecture, Callable[[StructureConfig, tuple[int, ...], int], Networks]] = {
    "gaussian": gaussian,
    "mlp": mlp,
    "mlp_bn": mlp_bn,
    "mlp_minimax": mlp_minimax,
    "mlp_dropout": mlp_dropout,
    "cgan": cgan,
    "dcgan": dcgan,
    "infogan": infogan,
    "own": own,
}


def build_networks(structure: StructureConfig, sample_shape: tuple[int, ...], classes: int = 0) -> Networks:
    """The networks of a structure, for samples of shape [C, H, W] or [d] and a data set of so many classes.

    Raises InputError when a conditional architecture meets data without classes.
    """
    return ARCHITECTURES[structure.architecture](structure, sample_shape, classes)


def sized_networks(
    structure: StructureConfig, sample_shape: tuple[int, ...], classes: int = 0
) -> tuple[AnyNetwork, AnyNetwork]:
    """The generator and the discriminator of a structure, to count their weights. A person's own are made without
    memory for these where that is possible, and are not called. Raises InputError as `build_networks` does.
    """
    if structure.is_own:
        from gan_core.networks.own_modules import unexamined_networks

        with suppress(OwnCodeError):  # of a constructor that needs the numbers
            return unexamined_networks(*_own_classes(structure), structure, sample_shape, classes)
    networks = build_networks(structure, sample_shape, classes)
    return networks.generator, networks.discriminator


def rows_at_once(structure: StructureConfig) -> int:
    """How many samples the generator makes in one call when many are drawn."""
    return IMAGES_AT_ONCE if structure.architecture in ("dcgan", "infogan", "own") else SAMPLES_AT_ONCE
