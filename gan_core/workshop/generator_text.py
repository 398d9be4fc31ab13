"""The text of a program that loads a trained generator with nothing of ours: `load` returns a module of PyTorch.

N samples, Z numbers of noise, C continuous codes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import indent
from typing import Any, Literal

from gan_core.config.structure import LatentDistribution
from gan_core.config.version import code_version
from gan_core.networks.build import Networks
from gan_core.networks.own_lanes import Form
from gan_core.networks.plain_layers import BRANCHES

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


def inputs_of(distribution: LatentDistribution, size: int, networks: Networks) -> tuple[Given, ...]:
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


def noun_of(shape: tuple[int, ...]) -> str:
    """What samples of this shape are called."""
    return "images" if len(shape) == 3 else "numbers"


def family_text(architecture: str, shape: tuple[int, ...], inputs: tuple[Given, ...], layers: str) -> str:
    """The text for a generator of a family of ours. layers: the expression of its nn.Sequential."""
    parts = [
        f"functional.one_hot({given.name}, {given.choices}).to(noise.dtype)" if given.choices else given.name
        for given in inputs
    ]
    return _FAMILY.format(
        architecture=architecture,
        functional="from torch.nn import functional\n" if any(given.choices for given in inputs) else "",
        branches=f"{BRANCHES}\n\n" if "Branches(" in layers else "",
        in_range=" in [-1, 1]" if len(shape) == 3 else "",
        layers=indent(layers, "        ").strip(),
        latents="noise" if len(parts) == 1 else f"torch.cat(({', '.join(parts)}), 1)",
        **_common(shape, inputs),
    )


def own_text(
    module: str, beside: set[str], form: Form, inputs: tuple[Given, ...], arguments: Mapping[str, object]
) -> str:
    """The text for a person's own class `Generator` in a module. beside: the names of all modules that are written
    beside the text; form: how the class is called; arguments: of its constructor.
    """
    count = "noise.shape[0], "  # not len(noise), which a program cannot hold for any number
    noise = "noise" if len(form.shape) == 1 else f"noise.reshape({count}{', '.join(map(str, form.shape))})"
    return _OWN.format(
        module=module,
        beside="{" + ", ".join(f'"{name}"' for name in sorted(beside)) + "}" if beside else "set()",
        arguments=", ".join(f"{name}={value!r}" for name, value in arguments.items()),
        given=", ".join([noise, *(each.name for each in inputs[1:])]),
        result=f"{count}{', '.join(map(str, form.result))}",
        **_common(form.result, inputs),
    )


def _common(shape: tuple[int, ...], inputs: tuple[Given, ...]) -> dict[str, str]:
    """What both texts say: what goes in and what comes out."""
    sizes = ["[N]" if given.choices else f"[N, {given.size}]" for given in inputs]
    taken = [f"{given.name} {size}: {given.distribution}" for given, size in zip(inputs, sizes, strict=True)]
    return {
        "version": code_version(),
        "made": f"{noun_of(shape)} [N, {', '.join(map(str, shape))}]",
        "taken": "\n    ".join(taken),
        "signature": ", ".join(f"{given.name}: Tensor" for given in inputs),
        "drawn": "\n".join(f"    {given.name} = {given.drawing.format(count=16)}" for given in inputs),
        "names": ", ".join(given.name for given in inputs),
        "noun": noun_of(shape),
    }


_FAMILY = '''"""The generator of a trained GAN of the family {architecture}. It needs torch and safetensors.

Written by gan-sweep {version}. The weights are in generator.safetensors beside this file.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
{functional}

{branches}class Generator(nn.Module):
    """Makes {made}{in_range}.

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
_OWN = '''"""A trained generator: the class Generator of {module} with its weights. It needs torch and safetensors.

Written by gan-sweep {version}. The weights are in generator.safetensors beside this file.
"""

import importlib
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

FOLDER = Path(__file__).resolve().parent
BESIDE = {beside}  # the modules beside this file, which others of the same names must not replace

others = {{name: module for name, module in sys.modules.items() if name.partition(".")[0] in BESIDE}}
for name in others:
    del sys.modules[name]
sys.path.insert(0, str(FOLDER))
try:
    Generator = importlib.import_module("{module}").Generator
finally:
    sys.path.remove(str(FOLDER))
    sys.path.append(str(FOLDER))  # last, for what is imported only when it is called
    sys.modules.update(others)


class TrainedGenerator(nn.Module):
    """Makes {made}; `generator` is the Generator itself.

    {taken}
    """

    def __init__(self) -> None:
        super().__init__()
        self.generator = Generator({arguments})

    def forward(self, {signature}) -> Tensor:
        return self.generator({given}).reshape({result})


def load(weights: Path = FOLDER / "generator.safetensors") -> TrainedGenerator:
    """The trained generator, ready to draw from."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)  # as in training, for what a constructor draws and keeps out of its parameters and buffers
        trained = TrainedGenerator()
    tensors = dict([*trained.generator.named_parameters(), *trained.generator.named_buffers()])
    with torch.no_grad():
        for name, tensor in load_file(weights).items():
            tensors[name].copy_(tensor)
    return trained.eval().requires_grad_(False)


if __name__ == "__main__":
    generator = load()
{drawn}
    {noun} = generator({names})
    print(f"{noun} {{tuple({noun}.shape)}}, from {{{noun}.min():.3f}} to {{{noun}.max():.3f}}")
'''
