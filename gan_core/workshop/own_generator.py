"""A trained generator of a person's own class, for others: the module itself, and the text of a program that loads it.

N samples, Z numbers of noise.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from gan_core.config.gan import GanConfig
from gan_core.config.own_names import parse_reference
from gan_core.config.version import code_version
from gan_core.files.own_code import own_object
from gan_core.networks.architectures import build_networks
from gan_core.networks.own_calls import own_randomness
from gan_core.networks.own_lanes import Form, OwnNetwork
from gan_core.networks.own_modules import GENERATOR, constructor_arguments


class OwnGenerator(nn.Module):
    """A person's own generator in evaluation mode, called as ours are: noise [N, Z] and, where it takes them, labels
    int64 [N] -> samples [N, *shape].
    """

    def __init__(self, generator: nn.Module, form: Form) -> None:
        super().__init__()
        self.generator, self._form = generator, form

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        given = noise.reshape(noise.shape[0], *self._form.shape)
        samples = self.generator(given) if labels is None else self.generator(given, labels)
        return samples.reshape(noise.shape[0], *self._form.result)


def own_module_with(
    config: GanConfig, shape: tuple[int, ...], classes: int, weights: Mapping[str, Tensor]
) -> OwnGenerator:
    """The generator of a configuration with own networks, frozen, with these weights (name -> one lane's tensor). What
    is not among them, such as how many batches batch norm has seen, is as the constructor leaves it.
    """
    network = build_networks(config.structure, shape, classes).generator
    assert isinstance(network, OwnNetwork)
    made, arguments = own_object(config.structure.networks, GENERATOR), _arguments(config, shape, classes)
    with own_randomness(0):
        module: nn.Module = made(**arguments)
    state = module.state_dict()
    module.load_state_dict(state | {name: weights[name].to(state[name].dtype) for name in weights if name in state})
    return OwnGenerator(module, network.form).eval().requires_grad_(False)


def own_source(config: GanConfig, shape: tuple[int, ...], classes: int, drawn: Sequence[str]) -> str:
    """The text of a program that loads the weights into the person's own class. drawn: expressions that draw its inputs
    for 16 samples, noise and, where it takes them, labels.
    """
    network = build_networks(config.structure, shape, classes).generator
    assert isinstance(network, OwnNetwork)
    place = parse_reference("structure.networks", config.structure.networks).place
    arguments = ", ".join(f"{name}={value!r}" for name, value in _arguments(config, shape, classes).items())
    noise, *labels = drawn
    reshaped = "" if len(network.form.shape) == 1 else f".reshape(16, {', '.join(map(str, network.form.shape))})"
    return _TEMPLATE.format(
        version=code_version(),
        module=place.rpartition("/")[2].removesuffix(".py"),
        arguments=arguments,
        inputs=", ".join([f"{noise}{reshaped}", *labels]),
    )


def _arguments(config: GanConfig, shape: tuple[int, ...], classes: int) -> dict[str, object]:
    generator = own_object(config.structure.networks, GENERATOR)
    return constructor_arguments(GENERATOR, generator, config.structure, shape, classes)


_TEMPLATE = '''"""A trained generator: the class Generator of {module} with its weights. It needs torch and safetensors.

Written by gan-sweep {version}. The weights are in generator.safetensors beside this file.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))  # where {module} lies

from {module} import Generator


def load(weights: Path = Path(__file__).with_name("generator.safetensors")) -> Generator:
    """The trained generator, ready to draw from: generator({inputs})."""
    generator = Generator({arguments})
    generator.load_state_dict(load_file(weights))
    return generator.eval().requires_grad_(False)


if __name__ == "__main__":
    generator = load()
    samples = generator({inputs})
    print(f"samples {{tuple(samples.shape)}}, from {{samples.min():.3f}} to {{samples.max():.3f}}")
'''
