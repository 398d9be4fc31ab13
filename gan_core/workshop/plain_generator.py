"""A trained generator as a module of plain PyTorch, with the text of the program that defines it.

N samples, Z numbers of noise, K classes or codes, C continuous codes.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from gan_core.config.gan import GanConfig
from gan_core.files.own_code import FOLDER, module_and_files, own_object, theirs
from gan_core.networks.architectures import build_networks
from gan_core.networks.build import Network, Networks
from gan_core.networks.latents import latent_parts
from gan_core.networks.own_lanes import OwnNetwork
from gan_core.networks.own_modules import GENERATOR, constructor_arguments
from gan_core.networks.plain_layers import plain_network
from gan_core.workshop.generator_text import Given, family_text, inputs_of, noun_of, own_text
from gan_core.workshop.saved_generator import SampleKind, check_weights

PROGRAM, WEIGHTS = "generator.py", "generator.safetensors"


@dataclass(frozen=True)
class PlainGenerator:
    """A generator that needs nothing of ours: `module` takes the inputs in order and returns samples [N, *shape].

    The module is in evaluation mode and frozen, in float32. texts: of the files that define it, by their paths in one
    folder; `load` of the last makes the module from the weights beside it. networks: those of ours that it was made of.
    """

    module: nn.Module
    texts: Mapping[str, str]
    inputs: tuple[Given, ...]
    shape: tuple[int, ...]
    networks: Networks
    config: GanConfig

    @property
    def is_own(self) -> bool:
        """Whether it is of a person's own class."""
        return isinstance(self.networks.generator, OwnNetwork)

    def arguments(self, latents: Tensor) -> tuple[Tensor, ...]:
        """Latents [N, Z + K + C] of our networks as the module's arguments."""
        noise, one_hot, continuous = latent_parts(latents, self.config.structure, self.networks)
        parts = {"noise": noise, "continuous": continuous}
        return tuple(one_hot.argmax(1) if given.choices else parts[given.name] for given in self.inputs)

    def examples(self) -> tuple[Tensor, ...]:
        """Inputs of the right shapes and types for two samples."""
        return tuple(
            torch.zeros(2, dtype=torch.int64) if given.choices else torch.zeros(2, given.size) for given in self.inputs
        )

    def weights(self) -> dict[str, Tensor]:
        """All parameters and buffers, those of a person's own class by their names in it. What has several names has
        the first of them.
        """
        part = self.module.get_submodule("generator") if self.is_own else self.module
        return {**dict(part.named_parameters()), **dict(part.named_buffers())}

    def described(self) -> dict[str, Any]:
        """Inputs and output as plain values."""
        output = {"name": noun_of(self.shape), "shape": ["N", *self.shape], "dtype": "float32"}
        in_range = len(self.shape) == 3 and not self.is_own  # which is tanh's in all of ours
        return {
            "inputs": [given.described() for given in self.inputs],
            "output": {**output, **({"range": [-1, 1]} if in_range else {})},
        }


def plain_generator(config: GanConfig, kind: SampleKind, weights: Mapping[str, Tensor]) -> PlainGenerator:
    """The generator of a configuration with these weights (name -> one lane's tensor, float32), in plain PyTorch.

    Raises InputError if the weights do not fit the structure, and as `plain_network` and `loaded` do.
    """
    networks, structure = build_networks(config.structure, kind.shape, kind.classes), config.structure
    check_weights(networks.generator, weights)
    inputs = inputs_of(structure.latent_distribution, structure.latent_size, networks)
    if isinstance(networks.generator, Network):
        layers, state = plain_network(networks.generator, weights, config.lane.batch_norm_eps)
        texts = {PROGRAM: family_text(structure.architecture, kind.shape, inputs, layers)}
        state = {f"layers.{name}": tensor for name, tensor in state.items()}
    else:
        assert isinstance(networks.generator, OwnNetwork)
        texts, state = _own_texts(config, kind, networks.generator, inputs), _typed(networks.generator.module, weights)
    module = loaded(texts, stored(state))
    return PlainGenerator(module, texts, inputs, kind.shape, networks, config)


def _own_texts(config: GanConfig, kind: SampleKind, network: OwnNetwork, inputs: tuple[Given, ...]) -> dict[str, str]:
    """The texts for a person's own class: of their files, and of the program that loads it."""
    module, files = module_and_files(config.structure.networks)
    made = own_object(config.structure.networks, GENERATOR)
    arguments = constructor_arguments(GENERATOR, made, config.structure, kind.shape, kind.classes)
    beside = {Path(path).parts[0].removesuffix(".py") for path, _ in files}
    program = PROGRAM if PROGRAM.removesuffix(".py") not in beside else f"load_{PROGRAM}"
    return {**dict(files), program: own_text(module, beside, network.form, inputs, arguments)}


def _typed(module: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights, of which those that are whole numbers in the module are rounded, as in sampling."""
    held = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: t if held[name].is_floating_point() else t.round() for name, t in weights.items()}


def stored(weights: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """The content of a file of safetensors. Each tensor has its own memory in it, as tensors of a person's may not."""
    return save({name: tensor.detach().clone().contiguous() for name, tensor in weights.items()}, dict(metadata or {}))


def loaded(texts: Mapping[str, str], weights: bytes) -> nn.Module:
    """What `load` of the last of these texts returns, in a folder of their own: what is checked is thus what is
    written. Raises OwnCodeError for what a person's own code among them raises.
    """
    path = list(sys.path)
    with TemporaryDirectory() as temporary, theirs("the generator cannot be loaded"):
        folder = Path(temporary, FOLDER)  # by whose name a traceback knows a person's files
        for name, text in texts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        (folder / WEIGHTS).write_bytes(weights)
        name = list(texts)[-1]
        program = ModuleType(name.removesuffix(".py"))
        program.__file__ = str(folder / name)
        try:
            exec(compile(texts[name], program.__file__, "exec"), program.__dict__)
            return program.load()
        finally:
            sys.path[:] = path
