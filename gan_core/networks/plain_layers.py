"""A network as plain PyTorch: the expression that makes a torch.nn module of the same map, and its `state_dict`.

The map is that of sampling: dropout is left out, and batch norm, whose eps is given, uses the running moments.
"""

from collections.abc import Mapping
from textwrap import indent

import torch
from torch import Tensor

from gan_core.config.input_error import InputError
from gan_core.networks.build import Branches, Network
from gan_core.networks.layers import BatchNorm, Convolution, Layer, Linear
from gan_core.networks.weightless_layers import Dropout, Elementwise, Reshape

BRANCHES = '''class Branches(nn.Module):
    """Gives the first `sizes[0]` columns to the first network, and so on, and joins what they return."""

    def __init__(self, sizes: tuple[int, ...], *networks: nn.Module) -> None:
        super().__init__()
        self.sizes = sizes
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.split(self.sizes, 1)
        return torch.cat([network(part) for network, part in zip(self.networks, parts)], 1)
'''  # the class of which expressions of branches make a module
TORCH_EPS = 1e-5  # of torch.nn's batch norm, where an expression names none
Plain = tuple[str, dict[str, Tensor]]


def plain_network(network: Network, weights: Mapping[str, Tensor], batch_norm_eps: float) -> Plain:
    """The expression of an nn.Sequential with the map of a network, and the state_dict of that module.

    weights: one lane's parameters and buffers by name, without the lane axis; the tensors returned may share memory
    with them. Raises InputError for a layer that torch.nn does not have.
    """
    texts: list[str] = []
    state: dict[str, Tensor] = {}
    maps = False  # whether the layer's input is [N, C, H, W] rather than [N, F]
    for i, layer in enumerate(network.layers):
        if isinstance(layer, Dropout):
            continue
        if isinstance(layer, Reshape):
            maps = len(layer.shape) == 3
        text, tensors = _plain_layer(layer, _below(weights, i), batch_norm_eps, maps)
        state |= {f"{len(texts)}.{name}": tensor for name, tensor in tensors.items()}
        texts.append(text)
    return f"nn.Sequential({_listed(texts)})", state


def _plain_layer(layer: Layer, weights: Mapping[str, Tensor], eps: float, maps: bool) -> Plain:
    """The same for one layer of a network."""
    match layer:
        case Linear():
            bias = "" if layer.bias else ", bias=False"
            return f"nn.Linear({layer.inputs}, {layer.outputs}{bias})", {**weights, "weight": weights["weight"].mT}
        case Convolution():
            kind = "ConvTranspose2d" if layer.transposed else "Conv2d"
            sizes = f"{layer.inputs}, {layer.outputs}, {layer.kernel_pixels}, {layer.stride}, {layer.padding}"
            return f"nn.{kind}({sizes}{'' if layer.bias else ', bias=False'})", dict(weights)
        case BatchNorm():
            given = "" if eps == TORCH_EPS else f", eps={eps}"
            state = {**weights, "num_batches_tracked": torch.zeros((), dtype=torch.int64)}
            return f"nn.BatchNorm{2 if maps else 1}d({layer.features}{given})", state
        case Elementwise():
            return layer.plain, {}
        case Reshape():
            return f"nn.Unflatten(1, {layer.shape})" if maps else "nn.Flatten()", {}
        case Branches(inputs=sizes) if sizes:
            parts = [plain_network(part, _below(weights, i), eps) for i, part in enumerate(layer.networks)]
            state = {f"networks.{i}.{name}": t for i, (_, held) in enumerate(parts) for name, t in held.items()}
            return f"Branches({_listed([str(sizes), *(text for text, _ in parts)])})", state
        case _:
            home = f"{__name__.replace('.', '/')}.py"
            raise InputError(f"a {type(layer).__name__} layer cannot be written in torch.nn; add it to {home}")


def _below(weights: Mapping[str, Tensor], place: int) -> dict[str, Tensor]:
    """The weights of the layer at a place of a network, by their names in the layer."""
    start = f"{place}."
    return {name.removeprefix(start): tensor for name, tensor in weights.items() if name.startswith(start)}


def _listed(texts: list[str]) -> str:
    """Arguments of a call, each on a line of its own."""
    return "\n" + "".join(indent(f"{text},\n", "    ") for text in texts)
