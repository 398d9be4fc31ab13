"""A trained generator as a module of plain PyTorch, with the text of the program that defines it.

N samples, Z numbers of noise, C continuous codes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import indent
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gan_core.config.gan import GanConfig
from gan_core.config.structure import LatentDistribution
from gan_core.config.version import code_version
from gan_core.files.own_code import files_beside
from gan_core.networks.architectures import build_networks
from gan_core.networks.build import Network, Networks
from gan_core.networks.latents import latent_parts
from gan_core.networks.plain_layers import BRANCHES, plain_network
from gan_core.workshop.own_generator import OwnGenerator, own_module_with, own_source
from gan_core.workshop.saved_generator import SampleKind, check_weights

SOURCE_NAME, WEIGHTS_NAME = "generator.py", "generator.safetensors"
DRAWN = {  # latent distribution -> how it is written, and what draws it
    "normal": ("N(0, 1)", "torch.randn({count}, {size})"),
    "uniform": ("U(0, 1)", "torch.rand({count}, {size})"),
    "symmetric_uniform": ("U(-1, 1)", "2 * torch.rand({count}, {size}) - 1"),
}


@dataclass(frozen=True)
class Given:
    """An argument of a generator's `forward`: numbers [N, size], or whole numbers [N] below `choices`.

    distribution: how it was drawn in training; drawing: the expression in PyTorch that draws `{count}` of them.
    """

    name: Literal["noise", "labels", "codes", "continuous"]
    distribution: str
    drawing: str
    size: int = 0
    choices: int = 0

    def described(self) -> dict[str, Any]:
        """Its name, shape, type and distribution as plain values."""
        shape, dtype = (["N"], "int64") if self.choices else (["N", self.size], "float32")
        return {"name": self.name, "shape": shape, "dtype": dtype, "distribution": self.distribution}


@dataclass(frozen=True)
class PlainGenerator:
    """A generator that needs nothing of ours: `module` takes the inputs in order and returns samples [N, *shape].

    The module is in evaluation mode and frozen, in float32; `source` is the text of the file that defines it. code: of
    a person's own generator, the files (path, text) that `source` imports. classes: of the data.
    """

    module: nn.Module
    source: str
    inputs: tuple[Given, ...]
    shape: tuple[int, ...]
    networks: Networks
    config: GanConfig
    code: tuple[tuple[str, str], ...] = ()
    classes: int = 0

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

    def state(self) -> dict[str, Tensor]:
        """The weights by their names in the class that `source` defines or imports."""
        part = self.module.generator if isinstance(self.module, OwnGenerator) else self.module
        return part.state_dict()

    def again(self, state: Mapping[str, Tensor]) -> nn.Module:
        """The module made anew, with these weights."""
        if isinstance(self.module, OwnGenerator):
            return own_module_with(self.config, self.shape, self.classes, state)
        return module_of(self.source, state)

    def described(self) -> dict[str, Any]:
        """Inputs and output as plain values."""
        images = len(self.shape) == 3
        output = {"name": _noun(self.shape), "shape": ["N", *self.shape], "dtype": "float32"}
        in_range = images and not isinstance(self.module, OwnGenerator)  # which is tanh's in all of ours
        return {
            "inputs": [given.described() for given in self.inputs],
            "output": {**output, **({"range": [-1, 1]} if in_range else {})},
        }


def plain_generator(config: GanConfig, kind: SampleKind, weights: Mapping[str, Tensor]) -> PlainGenerator:
    """The generator of a configuration with these weights (name -> one lane's tensor, float32), in plain PyTorch.

    Raises InputError if the weights do not fit the structure, and as `plain_network` does.
    """
    networks = build_networks(config.structure, kind.shape, kind.classes)
    check_weights(networks.generator, weights)
    if not isinstance(networks.generator, Network):
        return _own(config, kind, networks, weights)
    layers, state = plain_network(networks.generator, weights, config.lane.batch_norm_eps)
    inputs = _inputs(config.structure.latent_distribution, config.structure.latent_size, networks)
    source = _source(config, kind.shape, inputs, layers)
    module = module_of(source, {f"layers.{name}": tensor for name, tensor in state.items()})
    return PlainGenerator(module, source, inputs, kind.shape, networks, config, classes=kind.classes)


def _own(config: GanConfig, kind: SampleKind, networks: Networks, weights: Mapping[str, Tensor]) -> PlainGenerator:
    """The same of a person's own generator."""
    inputs = _inputs(config.structure.latent_distribution, config.structure.latent_size, networks)
    module = own_module_with(config, kind.shape, kind.classes, weights)
    source = own_source(config, kind.shape, kind.classes, [given.drawing.format(count=16) for given in inputs])
    code = files_beside(config.structure.networks)
    return PlainGenerator(module, source, inputs, kind.shape, networks, config, code, kind.classes)


def module_of(source: str, state: Mapping[str, Tensor]) -> nn.Module:
    """The generator that a text defines, with these weights: what is checked is thus the text that is written."""
    program = ModuleType(SOURCE_NAME.removesuffix(".py"))
    program.__file__ = SOURCE_NAME  # what the file reads about itself when it is run
    exec(compile(source, SOURCE_NAME, "exec"), program.__dict__)
    module: nn.Module = program.Generator()
    module.load_state_dict(state)
    return module.eval().requires_grad_(False)


def _inputs(distribution: LatentDistribution, size: int, networks: Networks) -> tuple[Given, ...]:
    """The arguments of `forward`: noise, then the class or categorical code, then continuous codes."""
    written, drawing = DRAWN[distribution]
    inputs = [Given("noise", written, drawing.format(size=size, count="{count}"), size)]
    if networks.choices:
        name, last = "labels" if networks.conditional else "codes", networks.choices - 1
        drawing = f"torch.arange({{count}}) % {networks.choices}"
        inputs.append(Given(name, f"whole numbers from 0 to {last}", drawing, choices=networks.choices))
    if networks.continuous:
        written, drawing = DRAWN["symmetric_uniform"]
        size = networks.continuous
        inputs.append(Given("continuous", written, drawing.format(size=size, count="{count}"), size))
    return tuple(inputs)


def _noun(shape: tuple[int, ...]) -> str:
    """What samples of this shape are called."""
    return "images" if len(shape) == 3 else "numbers"


def _source(config: GanConfig, shape: tuple[int, ...], inputs: tuple[Given, ...], layers: str) -> str:
    """The text of `generator.py`."""
    made = f"{_noun(shape)} [N, {', '.join(map(str, shape))}]{' in [-1, 1]' if len(shape) == 3 else ''}"
    sizes = ["[N]" if given.choices else f"[N, {given.size}]" for given in inputs]
    taken = [f"{given.name} {size}: {given.distribution}" for given, size in zip(inputs, sizes, strict=True)]
    parts = [
        f"functional.one_hot({given.name}, {given.choices}).to(noise.dtype)" if given.choices else given.name
        for given in inputs
    ]
    latents = "noise" if len(parts) == 1 else f"torch.cat(({', '.join(parts)}), 1)"
    return _TEMPLATE.format(
        architecture=config.structure.architecture,
        version=code_version(),
        functional="from torch.nn import functional\n" if any(given.choices for given in inputs) else "",
        branches=f"{BRANCHES}\n\n" if "Branches(" in layers else "",
        taken="\n    ".join(taken),
        made=made,
        layers=indent(layers, "        ").strip(),
        signature=", ".join(f"{given.name}: Tensor" for given in inputs),
        latents=latents,
        drawn="\n".join(f"    {given.name} = {given.drawing.format(count=16)}" for given in inputs),
        names=", ".join(given.name for given in inputs),
        noun=_noun(shape),
    )


_TEMPLATE = '''"""The generator of a trained GAN of the family {architecture}. It needs torch and safetensors.

Written by gan-sweep {version}. The weights are in generator.safetensors beside this file.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
{functional}

{branches}class Generator(nn.Module):
    """Makes {made}.

    {taken}
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = {layers}

    def forward(self, {signature}) -> Tensor:
        return self.layers({latents})


def load(weights: Path = Path(__file__).with_name("generator.safetensors")) -> Generator:
    """The trained generator, ready to draw from."""
    generator = Generator()
    generator.load_state_dict(load_file(weights))
    return generator.eval().requires_grad_(False)


if __name__ == "__main__":
    generator = load()
{drawn}
    {noun} = generator({names})
    print(f"{noun} {{tuple({noun}.shape)}}, from {{{noun}.min():.3f}} to {{{noun}.max():.3f}}")
'''
