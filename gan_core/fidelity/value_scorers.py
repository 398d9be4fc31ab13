"""Scorers of data sets of numbers, whose distribution is known, in one and two dimensions. L lanes, M samples."""

import math
from dataclasses import asdict

import torch

from gan_core.config.conditions import ScoringConfig
from gan_core.config.reports import FidelityReport
from gan_core.data.dataset import Dataset
from gan_core.data.values import Mixture
from gan_core.fidelity.discrepancy import energy_distance, energy_reference
from gan_core.fidelity.distances import limit_violations, wasserstein_1d, wasserstein_floor_of_cdf
from gan_core.fidelity.examination import Examination
from gan_core.fidelity.modes import mode_scores
from gan_core.fidelity.protocol import (
    LATENT_SEED,
    Scores,
    check_samples,
    drawn_samples,
    limits,
    reference_part,
    reports,
)
from gan_core.fidelity.standard_errors import mean_and_deviation_errors, wasserstein_error
from gan_core.lanes.streams import Stream
from gan_core.training.lane_array import LaneArray

VALUE_SAMPLES = 10_000
PLANE_SAMPLES = 2_500  # as in PacGAN and VEEGAN; the cost grows with the square, for all pairs are formed
FEWEST_SAMPLES = 4  # the fewest from which `discrepancy` can estimate its error


def on_host(scores: Scores) -> Scores:
    """Moves scores [L], on any devices, to the CPU as float64, all in one copy."""
    columns = list(scores.values())
    if columns[0].device.type == "cpu":
        return scores
    together = torch.stack([column.to(columns[0].device, torch.float64) for column in columns]).cpu()
    return dict(zip(scores, together, strict=True))


class ValueScorer:
    """Scores numbers [n, 1] against their exact distribution.

    `fidelity` is `wasserstein`, the Wasserstein-1 distance to the exact quantiles, minus `wasserstein_floor`, its
    expectation for exact samples. For a mixture, `violation` is by how much fewer modes are covered than the limit
    asks. Other scores are `energy`, `mean_error` and `deviation_error`, and for a mixture those of `ModeScores`. Each
    score that can be minimised has an `_error`, its spread over latents; that of `energy` is `energy_latent_error`,
    while `energy_error` includes the draw of the real samples.
    """

    in_c, features_digest = False, ""
    examination: Examination | None = None  # numbers have no feature extractor to examine

    def __init__(self, dataset: Dataset, scoring: ScoringConfig, truth: Mixture) -> None:
        self.scoring, self.truth = scoring, truth
        self.samples = scoring.samples or VALUE_SAMPLES
        check_samples(self.samples, FEWEST_SAMPLES)
        self.data_digest = dataset.digest
        self.quantiles = truth.quantiles(self.samples)
        # Quantiles do not vary as draws do. The unbiased energy would be off by its standard error with as many
        # quantiles as samples, and is off by a tenth of it with ten times as many.
        self._scale = 2 * float(truth.deviation)
        self._fine = energy_reference(truth.quantiles(10 * self.samples).unsqueeze(1))
        spread = 9 * float(truth.deviations.max())
        grid = torch.linspace(float(truth.means.min()) - spread, float(truth.means.max()) + spread, 200_001).double()
        self.constants = {"wasserstein_floor": wasserstein_floor_of_cdf(grid, truth.cdf(grid), self.samples)}
        if truth.modes > 1:
            self.constants["modes"] = float(truth.modes)
        self.protocol = f"wasserstein/exact-quantiles/{dataset.name}/{drawn_samples(self.samples)}/{limits(scoring)}"

    def score(self, array: LaneArray) -> list[FidelityReport]:
        drawn = array.generate(array.shared_latents(Stream.SCORE_LATENTS, self.samples, LATENT_SEED))
        self.quantiles, self._fine = self.quantiles.to(drawn.device), self._fine.to(drawn.device)  # kept there
        values = drawn.flatten(1).double()  # [L, M]
        values = torch.where(values.isfinite().all(1, keepdim=True), values, math.nan)
        distance = wasserstein_1d(values, self.quantiles)
        energy = energy_distance(values.unsqueeze(2), self._fine)
        deviations = torch.stack([lane.std() for lane in values])  # the rounding of std(1) depends on the lane count
        distance_error = wasserstein_error(values, self.quantiles)
        mean_error, deviation_error = mean_and_deviation_errors(values)
        scores = {
            "wasserstein": distance,
            "wasserstein_error": distance_error,
            "energy": energy.value,
            "energy_error": energy.error,
            "energy_latent_error": energy.latent_error,
            "mean_error": (values.mean(1) - float(self.truth.mean)).abs(),
            "mean_error_error": mean_error,
            "deviation_error": (deviations - float(self.truth.deviation)).abs(),
            "deviation_error_error": deviation_error,
        }
        covered = None
        if self.truth.modes > 1:
            found = mode_scores(values.unsqueeze(2), self.truth)
            scores |= asdict(found)
            covered = found.modes_covered / self.truth.modes
        fidelity, limit = distance - self.constants["wasserstein_floor"], self.scoring.coverage_limit
        limited = limit_violations(fidelity, None, covered, scale=self._scale, coverage_limit=limit)
        limited["violation_error"] = torch.where(limited["violation"] == 0, 0.0, distance_error / self._scale)
        found = {"fidelity": fidelity, "fidelity_error": distance_error, **limited, **scores}
        return reports(on_host(found), self.constants, self, array.lanes)


class PlaneScorer:
    """Scores points [n, 2] against held-out draws of a mixture.

    `fidelity` is `energy`, the unbiased squared energy distance, whose floor is 0; `violation` is by how much fewer
    modes are covered than the limit asks. `energy_error` is its standard error, and `energy_latent_error`, its spread
    over latents, is also `fidelity_error`. The other scores are those of `gan_core.fidelity.modes.ModeScores`.
    """

    in_c, features_digest = False, ""
    examination: Examination | None = None  # numbers have no feature extractor to examine

    def __init__(self, dataset: Dataset, scoring: ScoringConfig, truth: Mixture) -> None:
        self.scoring, self.truth = scoring, truth
        self.samples = scoring.samples or PLANE_SAMPLES
        check_samples(self.samples, FEWEST_SAMPLES)
        self.data_digest = dataset.digest
        real = dataset.held_out[: self.samples].double()
        self._real = energy_reference(real)
        self._scale = 4 * float(real.var(0).sum().sqrt())
        self.constants = {"modes": float(truth.modes)}
        self.protocol = f"energy/{reference_part(dataset, len(real))}/{drawn_samples(self.samples)}/{limits(scoring)}"

    def score(self, array: LaneArray) -> list[FidelityReport]:
        drawn = array.generate(array.shared_latents(Stream.SCORE_LATENTS, self.samples, LATENT_SEED))
        self._real = self._real.to(drawn.device)  # kept there
        energy = energy_distance(drawn, self._real)  # of [L, M, 2]
        found = mode_scores(drawn, self.truth)
        covered, limit = found.modes_covered / self.truth.modes, self.scoring.coverage_limit
        limited = limit_violations(energy.value, None, covered, scale=self._scale, coverage_limit=limit)
        limited["violation_error"] = torch.where(limited["violation"] == 0, 0.0, energy.latent_error / self._scale)
        scores = {
            "fidelity": energy.value,
            "fidelity_error": energy.latent_error,
            **limited,
            "energy": energy.value,
            "energy_error": energy.error,
            "energy_latent_error": energy.latent_error,
        }
        return reports(on_host({**scores, **asdict(found)}), self.constants, self, array.lanes)
