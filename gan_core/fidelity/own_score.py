"""A person's own score beside those of the data set: a function of samples and of held-out real ones.

    def my_score(samples, held_out): ...            # -> a number, lower is better
    def my_score(samples, held_out, labels): ...    # labels: the classes that samples were asked for, or None
    def my_score(samples): ...

Samples are float32 [n, C, H, W] in [-1, 1], or numbers [n, d], of one configuration, on the device that it trains on.
"""

import inspect
import math
from dataclasses import replace
from itertools import takewhile
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_core.config.input_error import InputError, shown
from gan_core.config.own_names import score_of
from gan_core.config.reports import FidelityReport
from gan_core.data.dataset import Dataset
from gan_core.fidelity.protocol import LATENT_SEED, Scorer, chosen
from gan_core.files.own_code import OwnCodeError, own_object, theirs
from gan_core.files.process_settings import settings_kept
from gan_core.lanes.streams import Stream
from gan_core.networks.own_calls import own_randomness
from gan_core.training.lane_array import LaneArray

ARGUMENTS = ("samples", "held_out", "labels")
TRIED_SAMPLES = 64  # held-out ones, of which a score is computed before anything is trained


class WithOwnScore:
    """The scorer of a data set that also reports a person's own score, under the name of its function."""

    def __init__(self, scorer: Scorer, objective: str, dataset: Dataset) -> None:
        """objective: a pinned reference. Raises OwnCodeError where its function raises, or returns no number, for
        held-out samples in the place of both, and InputError for one of other arguments and as `own_object` does.
        """
        self._scorer, self._name, self._objective = scorer, score_of(objective), objective
        # A person's own score is named by the objective, with the digest of its code, and is no part of the protocol.
        self.protocol, self.samples, self.data_digest = scorer.protocol, scorer.samples, scorer.data_digest
        self.features_digest, self.examination = scorer.features_digest, scorer.examination
        self._function = own_object(objective)
        self._held_out = chosen(dataset.held_out, scorer.samples, 1).float()
        self._takes = _arguments_taken(self._function, objective)
        tried = self._held_out[:TRIED_SAMPLES]
        self._value(tried, torch.zeros(len(tried), dtype=torch.int64) if dataset.classes else None)

    @property
    def in_c(self) -> bool:
        """As in `Scorer`."""
        return self._scorer.in_c

    def score(self, array: LaneArray) -> list[FidelityReport]:
        """The reports of the data set's scorer, each with the own score of the same samples."""
        found = self._scorer.score(array)
        asked: Any = getattr(self._scorer, "asked", None) if array.networks.conditional else None
        samples = array.generate(array.shared_latents(Stream.SCORE_LATENTS, self.samples, LATENT_SEED, asked)).float()
        self._held_out = self._held_out.to(samples.device)  # kept there
        values = [self._value(lane, asked) for lane in samples.unbind(0)]
        return [
            replace(report, values={**report.values, self._name: value})
            for report, value in zip(found, values, strict=True)
        ]

    def _value(self, samples: Tensor, labels: Tensor | None) -> float:
        """The score of one lane; NaN where its samples are not finite. Raises OwnCodeError."""
        if not bool(samples.isfinite().all()):
            return math.nan
        # Copies, since a function may change what it is given.
        given = [None if part is None else part.clone() for part in (samples, self._held_out, labels)]
        with theirs(f"objective {shown(self._objective)} cannot be computed"):
            with settings_kept(), torch.no_grad(), own_randomness(LATENT_SEED, samples.device):
                value = self._function(*given[: self._takes])
            if isinstance(value, Tensor | np.ndarray) and math.prod(value.shape) == 1:
                value = value.item()
            if isinstance(value, bool) or not isinstance(value, Real):
                raise OwnCodeError(f"objective {shown(self._objective)} must return one number, got {shown(value)}")
            return float(value)


def _arguments_taken(function: Any, objective: str) -> int:
    """How many of samples, held-out samples and labels a function is given: as many as it needs, or has the default
    None for. Raises InputError for one that needs none or more, and OwnCodeError for what cannot be called.
    """
    with theirs(f"objective {shown(objective)} cannot be called"):
        arguments = list(inspect.signature(function).parameters.values())
    kinds = inspect.Parameter
    if any(one.kind is kinds.VAR_POSITIONAL for one in arguments):
        return len(ARGUMENTS)
    places = [one for one in arguments if one.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    given = list(takewhile(lambda one: one.default is one.empty or one.default is None, places[: len(ARGUMENTS)]))
    others = [one for one in arguments[len(given) :] if one.kind is not kinds.VAR_KEYWORD]
    if not given or any(one.default is one.empty for one in others):
        names = ", ".join(one.name for one in arguments) or "none"
        raise InputError(
            f"objective {shown(objective)} must take {', '.join(ARGUMENTS)}, or the first of these, and takes {names}"
        )
    return len(given)
