"""Generators of all families with drawn weights, as a training leaves them, and folders of models that hold them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from gan_core.config.gan import GanConfig
from gan_core.networks.architectures import build_networks
from gan_core.training.checkpoint import save_tensors
from gan_core.workshop.saved_generator import SampleKind

CLASSES = 10
SMALL: dict[str, Any] = {"structure.generator_width": 4, "structure.latent_size": 5}
CODES = {"structure.categorical_codes": 10, "structure.continuous_codes": 2}
# Name -> what differs from SMALL, and the shape of a sample.
GENERATORS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "gaussian": ({"structure.architecture": "gaussian", "structure.dataset": "ring"}, (2,)),
    "mlp": ({"structure.architecture": "mlp", "structure.latent_distribution": "uniform"}, (1, 28, 28)),
    "mlp_bn": ({"structure.architecture": "mlp_bn", "lane.batch_norm_eps": 0.8}, (1, 8, 8)),
    "mlp_minimax": ({"structure.architecture": "mlp_minimax"}, (3, 8, 8)),
    "mlp_dropout": ({"structure.architecture": "mlp_dropout", "lane.generator_dropout": 0.5}, (1, 8, 8)),
    "cgan": ({"structure.architecture": "cgan"}, (1, 8, 8)),
    "dcgan": ({"structure.architecture": "dcgan", "structure.dataset": "mnist"}, (1, 28, 28)),
    "dcgan of colours": ({"structure.architecture": "dcgan", "structure.dataset": "cifar10"}, (3, 32, 32)),
    "infogan": ({"structure.architecture": "infogan", **CODES}, (1, 8, 8)),
    "infogan of no classes": (
        {
            "structure.architecture": "infogan",
            "structure.continuous_codes": 2,
            "structure.latent_distribution": "symmetric_uniform",
        },
        (1, 8, 8),
    ),
}


def tiny(name: str, **more: Any) -> tuple[GanConfig, SampleKind, dict[str, Tensor]]:
    """A configuration of GENERATORS, the kind of its samples, and one lane's weights, all different and of size 1."""
    values, shape = GENERATORS[name]
    config = GanConfig.unflatten({**SMALL, **values, **more})
    kind = SampleKind(shape, 0 if len(shape) == 1 else CLASSES)
    network = build_networks(config.structure, shape, CLASSES).generator
    source = np.random.default_rng(len(name))
    drawn = {key: 2 * value for key, value in network.initial(source).items()}
    moved = {**{key: 0.3 for key in network.shapes()}, **{key: 0.9 for key in network.buffers()}}
    weights = {key: value + moved[key] * source.uniform(-0.5, 0.5, value.shape) for key, value in drawn.items()}
    return config, kind, {key: torch.from_numpy(value).float() for key, value in weights.items()}


def model_folder(path: Path, name: str, **more: Any) -> Path:
    """The folder of a model with these weights, as `gan-sweep train` leaves one."""
    config, kind, weights = tiny(name, **more)
    path.mkdir(parents=True)
    save_tensors(path / "generator.safetensors", weights)
    values: Mapping[str, Any] = {
        "configuration": config.flatten(),
        "model": {"sample_shape": list(kind.shape), "classes": kind.classes},
    }
    (path / "config.yaml").write_text(yaml.safe_dump(values))
    return path
