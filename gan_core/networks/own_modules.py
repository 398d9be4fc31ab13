"""Two classes of a person's own, plain `nn.Module`s, as the networks of an array.

    class Generator(nn.Module):
        def __init__(self, width=64, latent_size=100, image_shape=(1, 28, 28)): ...
        def forward(self, z): ...       # [N, latent_size] -> [N, *image_shape]; or forward(z, y)

    class Discriminator(nn.Module):
        def __init__(self, width=64, image_shape=(1, 28, 28)): ...
        def forward(self, x): ...       # -> logits [N] or [N, 1], or probabilities where it ends in a sigmoid

y are the labels of the samples, int64 [N], as `nn.Embedding` takes them. A module that refuses latents [N, Z], as a
transposed convolution does, is given [N, Z, 1, 1]; a D that refuses images is given [N, numbers of an image], and a G
may return images in that form. Weights begin as the constructor leaves them.

N rows of a batch, Z numbers of a latent.
"""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from gan_core.config.input_error import InputError, shown
from gan_core.config.structure import StructureConfig
from gan_core.files.own_arguments import signature_of
from gan_core.files.own_code import theirs
from gan_core.files.process_settings import settings_kept
from gan_core.networks.build import Networks, OwnTraits, conditional_view, samples_view
from gan_core.networks.own_calls import own_randomness
from gan_core.networks.own_lanes import Form, OwnNetwork
from gan_core.networks.own_probe import examined, takes_labels

GENERATOR, DISCRIMINATOR = "Generator", "Discriminator"  # how messages name them
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
Constructor = Callable[..., nn.Module]


@lru_cache(maxsize=64)
@settings_kept()
def own_networks(
    generator: Constructor,
    discriminator: Constructor,
    structure: StructureConfig,
    sample_shape: tuple[int, ...],
    classes: int = 0,
) -> Networks:
    """The networks of two classes of a person's own, for samples of shape [C, H, W] or [d] and a data set of so many
    classes, 0 where it has no labels. They are examined once in a process, by calling them.

    Raises InputError where arguments are missing or unknown, where what the modules take or return does not fit, where
    parameters are shared or lie on another device, and OwnCodeError for what the modules themselves raise.
    """
    given = {GENERATOR: generator, DISCRIMINATOR: discriminator}
    makes = {name: _maker(name, cls, structure, sample_shape, classes) for name, cls in given.items()}
    modules = {}
    for name, make in makes.items():
        with own_randomness(0):
            modules[name] = _checked(name, make())
    _check_apart(modules)
    if structure.penalty != "none":
        _check_penalised(modules[DISCRIMINATOR], structure.penalty)
    labels = classes if _conditional(modules, classes) else 0
    forms = {
        GENERATOR: (sample_shape, [(structure.latent_size,), (structure.latent_size, 1, 1)]),
        DISCRIMINATOR: ((1,), [sample_shape, (math.prod(sample_shape),)]),
    }
    networks = [
        examined(name, module, makes[name], structure, result=forms[name][0], forms=forms[name][1], classes=labels)
        for name, module in modules.items()
    ]
    traits = [network.traits for network in networks]
    return Networks(
        networks[0],
        networks[1],
        view=conditional_view if labels else samples_view,
        choices=labels,
        conditional=labels > 0,
        own=OwnTraits(
            vmapped=all(each.vmapped for each in traits),
            traced=all(each.traced for each in traits),
            drops=any(each.dropouts for each in traits),
            rowwise=traits[1].rowwise,
        ),
    )


@settings_kept()
def unexamined_networks(
    generator: Constructor,
    discriminator: Constructor,
    structure: StructureConfig,
    sample_shape: tuple[int, ...],
    classes: int = 0,
) -> tuple[OwnNetwork, OwnNetwork]:
    """The same networks, to count their weights: they are made on the device `meta`, without memory, and not called.
    Raises InputError where arguments are missing or unknown, and OwnCodeError for what the constructors raise.
    """
    made = []
    for name, cls in ((GENERATOR, generator), (DISCRIMINATOR, discriminator)):
        make = _maker(name, cls, structure, sample_shape, classes)
        with own_randomness(0), torch.device("meta"):
            made.append(OwnNetwork(make(), make, Form(0, (), classes, ())))
    return made[0], made[1]


def _maker(
    name: str, cls: Constructor, structure: StructureConfig, sample_shape: tuple[int, ...], classes: int
) -> Callable[[], nn.Module]:
    """Makes a module of a class from torch's global generator."""
    return partial(_made, name, cls, constructor_arguments(name, cls, structure, sample_shape, classes))


def constructor_arguments(
    name: str, cls: Constructor, structure: StructureConfig, sample_shape: tuple[int, ...], classes: int
) -> dict[str, Any]:
    """What a constructor is called with: the values of the structure, and of what the sweep knows the arguments that it
    has. name: `Generator` or `Discriminator`. Raises InputError for arguments that are missing, unknown or of another
    type.
    """
    passed = {
        "latent_size": structure.latent_size,
        **dict.fromkeys(("image_shape", "sample_shape"), sample_shape),
        **dict.fromkeys(("classes", "num_classes"), classes),
    }
    signature = signature_of(name, cls)
    own = structure.generator if name == GENERATOR else structure.discriminator
    signature.check_complete(own)
    given = {key: signature.argument(key).value(f"{signature.group}.{key}", value) for key, value in own.items()}
    return {**{key: passed[key] for key in signature.passed}, **given}


def _made(name: str, cls: Constructor, arguments: Mapping[str, Any]) -> nn.Module:
    """A module with its own initial weights."""
    with theirs(f"{name} cannot be made"), settings_kept():
        module = cls(**arguments)
    if not isinstance(module, nn.Module):
        raise InputError(f"{name} must be an nn.Module, got {shown(type(module).__name__)}")
    for part in module.modules():
        if isinstance(part, BATCH_NORMS) and part.momentum is not None:
            part.num_batches_tracked = None  # which nothing reads then
    return module


def _checked(name: str, module: nn.Module) -> nn.Module:
    """The module. Raises InputError where its weights are not such as can be trained here."""
    for weight, tensor in (*module.named_parameters(), *module.named_buffers()):
        if isinstance(tensor, UninitializedBuffer | UninitializedParameter):
            raise InputError(
                f"{name} must know its sizes when it is made, got the lazy {weight}; give its layers theirs"
            )
        if tensor.device.type != "cpu":
            raise InputError(
                f"{name} must be made on the CPU, got {weight} on {tensor.device}; leave .to and .cuda out, training "
                "moves it"
            )
    for weight, tensor in module.named_parameters():
        if tensor.dtype != torch.float32:
            raise InputError(
                f"{name} must have parameters of torch.float32, got {weight} in {tensor.dtype}; take .half, .bfloat16, "
                ".double and set_default_dtype out"
            )
    if not any(tensor.requires_grad for tensor in module.parameters()):
        raise InputError(f"{name} has no parameters that require gradients, so it cannot be trained")
    return module


def _check_apart(modules: Mapping[str, nn.Module]) -> None:
    """Raises InputError where the two networks share parameters."""
    of_generator = {id(parameter) for parameter in modules[GENERATOR].parameters()}
    for weight, parameter in modules[DISCRIMINATOR].named_parameters():
        if id(parameter) in of_generator:
            raise InputError(
                f"Generator and Discriminator must not share parameters, got {weight} in both; make one in each "
                "constructor"
            )


def _check_penalised(discriminator: nn.Module, penalty: str) -> None:
    for place, part in discriminator.named_modules():
        if isinstance(part, BATCH_NORMS):
            raise InputError(
                f"a gradient penalty ({penalty}) acts on each sample alone, and batch norm in D ties samples together "
                f"(Gulrajani et al. 2017, section 4), got {type(part).__name__} {shown(place)}; take it out of "
                "Discriminator"
            )


def _conditional(modules: Mapping[str, nn.Module], classes: int) -> bool:
    """Whether the networks take labels. Raises InputError where one does and the other does not, or data have none."""
    takes = {name: takes_labels(module, classes) for name, module in modules.items()}
    if len(set(takes.values())) == 2:
        one, other = sorted(takes, key=lambda name: not takes[name])
        raise InputError(
            f"both networks must take labels, or neither, got {one}.forward with labels and {other}.forward without; "
            f"give {other}.forward a second argument, or {one}.forward one alone"
        )
    conditional = any(takes.values())
    if conditional and classes < 2:
        raise InputError(
            f"networks whose forward takes labels need data with at least 2 classes, got {classes}; use class "
            "subfolders, or a forward of one argument"
        )
    return conditional
