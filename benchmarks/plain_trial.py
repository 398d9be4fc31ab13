"""One trial of plain Ray Tune, as it runs in a worker: the stock GAN of a configuration, trained, scored and reported.

N latents, Z numbers of one.
"""

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

from ray import tune
from torch import Tensor

from benchmarks.stock import StockGan
from benchmarks.stock_networks import CONVOLUTIONAL
from gan_core.config.conditions import Conditions
from gan_core.data.dataset import Dataset
from gan_core.lanes.axis import lane_arithmetic, lane_empty
from gan_core.lanes.streams import Stream
from gan_core.networks.architectures import build_networks
from gan_core.networks.latents import Choice, fill_shared_latents, latent_numbers
from gan_core.training.checkpoint import save_tensors
from gan_core.training.lane_array import LaneArray
from gan_core.workshop.workshop import Workshop
from sweep.spec.sweep_spec import SweepSpec


@cache
def loaded(conditions: Conditions) -> Workshop:
    """The data set as one tensor, and the scorer, made once in each worker."""
    return Workshop(conditions, "cpu")


class OneTrial:
    """A stock GAN in the form in which our scorers ask an array of one lane."""

    lanes = 1

    def __init__(self, gan: StockGan, dataset: Dataset) -> None:
        self.gan, self.structure = gan, gan.structure
        self.networks = build_networks(gan.structure, dataset.sample_shape, dataset.classes)

    def generate(self, latents: Tensor) -> Tensor:
        """Latents [1, N, Z] -> samples [1, N, *sample_shape]."""
        return self.gan.draw(latents[0]).unsqueeze(0)

    def shared_latents(self, purpose: Stream, count: int, seed: int, choice: Choice = None) -> Tensor:
        """[1, count, Z], those that `LaneArray.shared_latents` gives."""
        latents = lane_empty(1, (count, latent_numbers(self.structure, self.networks)), self.gan.real)
        fill_shared_latents(latents, self.structure, self.networks, purpose, seed, choice)
        return latents


def run_trial(spec: SweepSpec, parameters: Mapping[str, Any], keep: Path | None = None) -> None:
    """Trains one configuration, and reports at each rung: `score`, the lowest so far (what a sweep minimises), and
    `images`. It ends where a score is not finite, as ours does. keep: a folder for the generator of the best score.
    """
    identity = str(tune.get_context().get_trial_id())
    number = int(identity, 16)
    with lane_arithmetic():
        workshop = loaded(spec.conditions())
        config = spec.space.configuration(parameters, seed=number)
        convolutional = config.structure.architecture in CONVOLUTIONAL  # where channels last is the faster layout
        rounded = spec.precision == "bfloat16"
        gan = StockGan(config, workshop.dataset, autocast=rounded, channels_last=convolutional)
        judged = cast(LaneArray, OneTrial(gan, workshop.dataset))
        best = math.inf
        for images in spec.ladder.rungs_images:
            gan.train_to(images)
            score = workshop.scorer.score(judged)[0].values[spec.objective]
            if math.isfinite(score) and score < best:
                best = score
                if keep is not None:
                    network = gan.generator if gan.average is None else gan.average
                    save_tensors(keep / f"{identity}.safetensors", dict(network.state_dict()))
            last = images == spec.ladder.rungs_images[-1] or not math.isfinite(score)
            tune.report({"score": best, "images": gan.images_seen, "completed": math.isfinite(score), "done": last})
            if last:
                return
