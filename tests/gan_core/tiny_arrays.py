"""Tiny arrays of every family with every option, and all that is known of a lane after training, as bits."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gan_core.config.conditions import Execution
from gan_core.config.gan import GanConfig
from gan_core.config.lane import LaneConfig
from gan_core.config.reports import LaneReport
from gan_core.config.structure import StructureConfig
from gan_core.data.dataset import Dataset
from gan_core.training.lane_array import LaneArray

# Lane parameters of four lanes that differ in everything; what a case adds to them is under OPTIONS.
LANES: dict[str, tuple[Any, ...]] = {
    "generator_lr": (1e-3, 5e-3, 2e-3, 1e-2),
    "discriminator_lr": (2e-3, 1e-3, 5e-3, 1e-4),
    "beta1": (0.9, 0.5, 0.0, 0.9),
    "beta2": (0.999, 0.999, 0.9, 0.99),
    "discriminator_beta1": (None, 0.1, 0.7, None),
    "discriminator_beta2": (None, None, 0.99, 0.5),
    "generator_weight_decay": (0.0, 0.3, 2.0, 0.01),
    "discriminator_weight_decay": (0.0, 1.0, 0.0, 5.0),
    "lr_schedule": ("constant", "linear", "cosine", "linear"),
    "discriminator_steps": (1, 2, 3, 1),
    "generator_steps": (1, 2, 1, 3),
    "ema_half_life_images": (0.0, 300.0, 0.0, 2000.0),
}
FALL_STEPS = (0, 9, 12, 40)  # D steps over which learning rates fall: the second lane's have fallen before the tenth
OPTIONS: dict[str, dict[str, tuple[float, ...]]] = {
    "smoothing": {"label_smoothing": (0.0, 0.1, 0.3, 0.0)},
    "noise": {"instance_noise": (0.0, 0.1, 0.5, 0.2), "instance_noise_images": (0.0, 0.0, 40.0, 1000.0)},
    "dropout": {"discriminator_dropout": (0.0, 0.3, 0.5, 0.0)},
    "generator dropout": {"generator_dropout": (0.25, 0.0, 0.5, 0.0)},
    "penalty": {"penalty_weight": (10.0, 1.0, 0.1, 0.0)},
    "norm": {"batch_norm_eps": (1e-5, 0.8, 1e-3, 1e-5), "batch_norm_momentum": (0.1, 0.5, 1.0, 0.0)},
    "information": {"information_weight": (1.0, 0.0, 0.5, 2.0), "continuous_code_weight": (0.1, 1.0, 0.0, 0.1)},
}
_DENSE = {"generator_width": 7, "discriminator_width": 9, "latent_size": 5, "batch_size": 13}
GAUSSIAN: dict[str, Any] = {**_DENSE, "architecture": "gaussian", "dataset": "gaussian"}
_DCGAN = {**_DENSE, "architecture": "dcgan", "generator_width": 3, "discriminator_width": 5, "batch_size": 6}
_INFOGAN = {**_DCGAN, "architecture": "infogan", "categorical_codes": 10, "continuous_codes": 2}
# Name -> fields of the structure, and the options that its lanes have.
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "gaussian": (GAUSSIAN | {"latent_distribution": "uniform", "batch_size": 100, "generator_width": 50}, ("noise",)),
    "gaussian minibatch r1": (
        GAUSSIAN
        | {"discriminator_input": "minibatch", "gradient_penalty": "r1", "latent_distribution": "symmetric_uniform"},
        ("penalty", "smoothing"),
    ),
    "gaussian moments least_squares": (GAUSSIAN | {"discriminator_input": "moments", "loss": "least_squares"}, ()),
    "ring spectral hinge": (
        GAUSSIAN | {"dataset": "ring", "discriminator_norm": "spectral", "loss": "hinge"},
        ("noise", "dropout"),
    ),
    "mlp": (_DENSE | {"architecture": "mlp"}, ("smoothing", "dropout")),
    "mlp wide minimax": (
        {"architecture": "mlp", "discriminator_width": 257, "generator_width": 8, "batch_size": 33, "loss": "minimax"},
        (),
    ),
    "mlp spectral r1 sum": (  # whole 128 bytes everywhere: where lanes lie aligned as they are, and nothing is copied
        _DENSE
        | {
            "architecture": "mlp",
            "discriminator_width": 64,
            "batch_size": 32,
            "discriminator_norm": "spectral",
            "gradient_penalty": "r1",
            "loss_reduction": "sum",
        },
        ("penalty",),
    ),
    "mlp wasserstein_gp": (_DENSE | {"architecture": "mlp", "loss": "wasserstein_gp"}, ("penalty", "noise")),
    "mlp batch": (_DENSE | {"architecture": "mlp", "discriminator_norm": "batch"}, ("norm", "dropout")),
    "mlp_minimax generator_first sum": (
        _DENSE
        | {
            "architecture": "mlp_minimax",
            "loss": "minimax_clamped",
            "loss_reduction": "sum",
            "update_order": "generator_first",
        },
        ("smoothing",),
    ),
    "mlp_dropout sum": (
        _DENSE | {"architecture": "mlp_dropout", "loss_reduction": "sum"},
        ("generator dropout", "dropout"),
    ),
    "mlp_dropout generator_first": (
        _DENSE | {"architecture": "mlp_dropout", "update_order": "generator_first", "loss": "hinge"},
        ("generator dropout",),
    ),
    "mlp_bn generator_first": (
        _DENSE | {"architecture": "mlp_bn", "update_order": "generator_first"},
        ("norm", "noise"),
    ),
    "mlp_bn": (_DENSE | {"architecture": "mlp_bn", "loss": "least_squares"}, ("norm",)),
    "cgan": (_DENSE | {"architecture": "cgan"}, ("norm", "dropout", "smoothing")),
    "cgan spectral wgan_gp": (
        _DENSE
        | {"architecture": "cgan", "discriminator_norm": "spectral", "gradient_penalty": "wgan_gp", "loss": "hinge"},
        ("norm", "penalty"),
    ),
    "dcgan": (_DCGAN, ("norm", "noise", "dropout")),
    "dcgan spectral wasserstein_gp": (
        _DCGAN | {"discriminator_norm": "spectral", "loss": "wasserstein_gp"},
        ("penalty",),
    ),
    "infogan": (_INFOGAN | {"batch_size": 32}, ("norm", "information")),
    "infogan none r1 generator_first": (
        _INFOGAN
        | {
            "categorical_codes": 0,
            "discriminator_norm": "none",
            "gradient_penalty": "r1",
            "update_order": "generator_first",
        },
        ("information", "penalty", "dropout"),
    ),
}

LIKE_OTHERS = ("mlp_bn", "cgan")  # whose parts other cases have too, so that they are slow tests
MOST_CASES = [pytest.param(name, marks=pytest.mark.slow) if name in LIKE_OTHERS else name for name in CASES]


def structure_of(case: str) -> StructureConfig:
    return StructureConfig(**CASES[case][0])


def configs_of(case: str) -> list[GanConfig]:
    """Four lanes that differ in everything; two of them share a data order."""
    columns = dict(LANES)
    for option in CASES[case][1]:
        columns |= OPTIONS[option]
    structure = structure_of(case)
    columns["lr_schedule_images"] = tuple(float(structure.batch_size * steps) for steps in FALL_STEPS)
    lanes = [LaneConfig(**{name: values[i] for name, values in columns.items()}) for i in range(4)]
    return [GanConfig(structure=structure, lane=lane, seed=10 + i, data_seed=i % 3) for i, lane in enumerate(lanes)]


def trained(
    configs: Sequence[GanConfig],
    dataset: Dataset,
    dtype: torch.dtype,
    steps: int,
    *,
    execution: Execution = "eager",
    lanes_per_call: int | None = None,
) -> LaneArray:
    """Eager, which is quick to begin and gives the bits of a replay (`test_steps.py`)."""
    array = LaneArray(configs, dataset, dtype=dtype, execution=execution, lanes_per_call=lanes_per_call)
    train(array, steps)
    return array


def train(array: LaneArray, steps: int) -> None:
    """Trains on, also where a lane is dead."""
    end = array.state.images_seen + steps * array.structure.batch_size
    while array.state.images_seen < end:
        array.train_to(end)


def bits(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().numpy().tobytes()


def lane_results(array: LaneArray) -> list[dict[str, bytes]]:
    """Everything that is known of each lane. The average is compared as what is scored: a lane without one has none to
    compare when it is alone.
    """
    state, samples = array.state.tensors(), array.sample(count=11, seed=3)
    named = {name: state[name] for name in state if name not in ("average", "counters", "layout")}
    return [
        {
            **{name: bits(tensor[i]) for name, tensor in named.items()},
            **{f"scored {name}": bits(tensor) for name, tensor in array.generator_tensors(i).items()},
            "samples": bits(samples[i]),
            "counters": bits(state["counters"]),
        }
        for i in range(array.lanes)
    ]


def assert_same(mine: dict[str, bytes], theirs: dict[str, bytes]) -> None:
    assert set(mine) == set(theirs)
    assert [name for name in mine if mine[name] != theirs[name]] == []


def assert_all_same(array: LaneArray, expected: Sequence[dict[str, bytes]]) -> None:
    """Each lane of the array has the bits of its like."""
    for mine, theirs in zip(lane_results(array), expected, strict=True):
        assert_same(mine, theirs)


def timeless(reports: Sequence[LaneReport]) -> list[str]:
    """Reports as text, in which NaN equals NaN, without the seconds and the number of lanes a call."""
    return [repr(replace(report, seconds=0.0, device="")) for report in reports]
