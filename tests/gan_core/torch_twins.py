"""One lane of ours as torch.nn modules of the same weights: what belongs to what, and copies."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gan_core.networks.build import Branches, Network
from gan_core.networks.call import Call
from gan_core.networks.layers import Layer, Linear, SpectralNorm

LANES = 3
EPS, MOMENTUM = (1e-5, 0.8, 0.1), (0.1, 0.5, 1.0)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, float64."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def call(training: bool = True, active: Sequence[bool] | None = None, **others: Any) -> Call:
    return Call(EPS, MOMENTUM, training=training, active=active, **others)


def lane_weights(layer: Layer, lanes: int = LANES, seed: int = 1) -> dict[str, Tensor]:
    """Name -> [L, ...], float64: initial values moved so that no lane has a number, a moment or a bias of another."""
    sources = [np.random.default_rng([seed, lane]) for lane in range(lanes)]
    initial = [layer.initial(source) for source in sources]
    weights = {}
    for name in initial[0]:
        lanes_of = [torch.from_numpy(np.asarray(lane[name])).double() for lane in initial]
        moved = name.rpartition(".")[2] not in ("u", "v")
        noise = [torch.from_numpy(source.uniform(0.05, 0.4, lanes_of[0].shape)) for source in sources]
        weights[name] = torch.stack(lanes_of) + (torch.stack(noise) if moved else 0)
    return weights


def weighted(layer: Layer, prefix: str = "") -> Iterator[tuple[str, Layer]]:
    """The layers with weights inside a layer, in order, each with the prefix of its weights' names."""
    if isinstance(layer, Network | Branches):
        for i, part in enumerate(layer.layers if isinstance(layer, Network) else layer.networks):
            yield from weighted(part, f"{prefix}{i}.")
    elif layer.shapes():
        yield prefix, layer


def _pairs(layer: Layer, values: Mapping[str, Tensor], module: Any) -> dict[str, tuple[Tensor, Tensor]]:
    """Our name -> a torch module's tensor, and one lane's value of ours in its layout."""
    normed = isinstance(layer, SpectralNorm)
    value, inner = values["weight"], layer.layer if normed else layer
    spectral: Any = module.parametrizations.weight if normed else None
    weight: Tensor = spectral.original if normed else module.weight
    if isinstance(inner, Linear) and not isinstance(module, nn.ConvTranspose2d):
        value = value.mT
    assert weight.numel() == value.numel()
    found = {"weight": (weight, value.reshape(weight.shape))}
    for name, value in values.items():
        if name != "weight":
            theirs = getattr(spectral[0], f"_{name}") if name in ("u", "v") else getattr(module, name)
            found[name] = theirs, value
    assert all(theirs.shape == ours.shape for theirs, ours in found.values())
    assert normed or ("bias" in values) == (module.bias is not None)
    return found


def named_pairs(
    layer: Layer, values: Mapping[str, Tensor], lane: int, modules: nn.Module
) -> dict[str, tuple[Tensor, Tensor]]:
    """The same for one lane of a layer that holds layers, and of values [L, ...], in the order of the modules."""
    has_weights = [
        m
        for m in modules.modules()
        if isinstance(m, nn.Linear | nn.modules.conv._ConvNd | nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    found = {}
    for (prefix, part), module in zip(weighted(layer), has_weights, strict=True):
        names = [name for name in (*part.shapes(), *part.buffers()) if prefix + name in values]
        mine = {name: values[prefix + name][lane] for name in names}
        found |= {prefix + name: pair for name, pair in _pairs(part, mine, module).items()}
    assert set(found) == set(values)
    return found


def all_pairs(layer: Layer, values: Mapping[str, Tensor], lane: int, modules: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """The pairs alone."""
    return list(named_pairs(layer, values, lane, modules).values())


def give(
    layer: Layer,
    weights: Mapping[str, Tensor],
    lane: int,
    modules: nn.Module,
    eps: Sequence[float] = EPS,
    momentum: Sequence[float] = MOMENTUM,
) -> None:
    """Copies one lane's weights, buffers included, into the modules; batch norms take the lane's eps and momentum."""
    copied = all_pairs(layer, weights, lane, modules)
    assert len(copied) == sum(not name.endswith("num_batches_tracked") for name in modules.state_dict())
    with torch.no_grad():
        for theirs, ours in copied:
            theirs.copy_(ours)
    for module in modules.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eps, module.momentum = eps[lane], momentum[lane]
