"""Finds the idle hyperparameters of a trial: those in its configuration that have no effect on it."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from gan_core.config.own_names import is_reference

Effective = Callable[[pd.DataFrame], Any]  # rows -> bool [rows]

CROSS_ENTROPY = ("non_saturating", "minimax", "minimax_clamped")
NORMED_GENERATORS = ("mlp_bn", "cgan", "dcgan", "infogan")
NORMED_DISCRIMINATORS = ("dcgan", "infogan")


def _is_normed(frame: pd.DataFrame) -> Any:
    architecture, norm = frame["structure.architecture"], frame["structure.discriminator_norm"]
    own = (norm == "published") & architecture.isin(NORMED_DISCRIMINATORS)
    return architecture.isin(NORMED_GENERATORS) | (norm == "batch") | own


def _above_0(column: str) -> Effective:
    """Whether a column holds a number above 0; other values, as in an edited file, count as not."""
    return lambda frame: pd.Series(pd.to_numeric(frame[column], errors="coerce")) > 0


# Hyperparameter -> the columns that decide, and whether it has an effect in a row. A test holds this to gan_core.
_NORM = (("structure.architecture", "structure.discriminator_norm"), _is_normed)
EFFECTIVE: Mapping[str, tuple[tuple[str, ...], Effective]] = {
    "lane.penalty_weight": (
        ("structure.loss", "structure.gradient_penalty"),
        lambda f: (f["structure.loss"] == "wasserstein_gp") | (f["structure.gradient_penalty"] != "none"),
    ),
    "lane.label_smoothing": (
        ("structure.loss",),
        lambda f: f["structure.loss"].isin(CROSS_ENTROPY) | f["structure.loss"].map(is_reference),
    ),
    "lane.discriminator_dropout": (("structure.architecture",), lambda f: f["structure.architecture"] != "own"),
    "lane.generator_dropout": (
        ("structure.architecture",),
        lambda f: f["structure.architecture"] == "mlp_dropout",
    ),
    "lane.batch_norm_eps": _NORM,
    "lane.batch_norm_momentum": _NORM,
    "lane.information_weight": (("structure.architecture",), lambda f: f["structure.architecture"] == "infogan"),
    "lane.continuous_code_weight": (("structure.continuous_codes",), _above_0("structure.continuous_codes")),
    "lane.lr_schedule_images": (("lane.lr_schedule",), lambda f: f["lane.lr_schedule"] != "constant"),
    "lane.instance_noise_images": (("lane.instance_noise",), _above_0("lane.instance_noise")),
}


def without_idle(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows, in which a hyperparameter is missing where it has no effect.

    A column is left as it is if the table lacks the columns that decide.
    """
    found = {
        name: frame[name].where(has_effect(frame))
        for name, (deciding, has_effect) in EFFECTIVE.items()
        if name in frame.columns and set(deciding) <= set(frame.columns)
    }
    return frame.assign(**found)
