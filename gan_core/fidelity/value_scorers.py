"""The scores of data sets of numbers, whose distribution is known: in one dimension, and in the plane.

L lanes, M samples.
"""

import math
from dataclasses import asdict

import torch

from gan_core.config.conditions import ScoringConfig
from gan_core.config.reports import FidelityReport
from gan_core.data.dataset import Dataset
from gan_core.data.values import Mixture
from gan_core.fidelity.discrepancy import energy_distance, energy_reference
from gan_core.fidelity.distances import constrained_fidelity, wasserstein_1d, wasserstein_floor_of_cdf
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
PLANE_SAMPLES = 2_500  # as PacGAN and VEEGAN score rings and grids; all pairs are formed
FEWEST_SAMPLES = 4  # of which a discrepancy has an error


def on_host(scores: Scores) -> Scores:
    """Scores [L] from any devices -> float64 on the CPU, all in one copy."""
    columns = list(scores.values())
    if columns[0].device.type == "cpu":
        return scores
    together = torch.stack([column.to(columns[0].device, torch.float64) for column in columns]).cpu()
    return dict(zip(scores, together, strict=True))


class ValueScorer:
    """Numbers [n, 1] against the distribution they should have, exactly known.

    `fidelity`: `wasserstein`, the Wasserstein-1 distance to the exact quantiles, less `wasserstein_floor`, what exact
    samples would have; of a mixture, far more where fewer modes are covered than the limit. `energy` with
    `energy_error`; `mean_error`, `deviation_error`; of a mixture `modes_covered`, `high_quality_share`, `mode_jsd`.
    Each of them that can be minimised has its `_error`: what other latents would change; `energy_latent_error` is that.
    """

    in_c, features_digest = False, ""
    examination: Examination | None = None  # numbers have no features that could miss something

    def __init__(self, dataset: Dataset, scoring: ScoringConfig, truth: Mixture) -> None:
        self.scoring, self.truth = scoring, truth
        self.samples = scoring.samples or VALUE_SAMPLES
        check_samples(self.samples, FEWEST_SAMPLES)
        self.data_digest = dataset.digest
        self.quantiles = truth.quantiles(self.samples)
        # Quantiles are no draws: the unbiased energy would be off by its error at as many, and by a tenth of it at ten
        # times as many.
        self._fine = energy_reference(truth.quantiles(10 * self.samples).unsqueeze(1))
        spread = 9 * float(truth.deviations.max())
        grid = torch.linspace(float(truth.means.min()) - spread, float(truth.means.max()) + spread, 200_001).double()
        self.constants = {"wasserstein_floor": wasserstein_floor_of_cdf(grid, truth.cdf(grid), self.samples)}
        self.protocol = f"wasserstein/exact-quantiles/{dataset.name}/{drawn_samples(self.samples)}/{limits(scoring)}"

    def score(self, array: LaneArray) -> list[FidelityReport]:
        drawn = array.generate(array.shared_latents(Stream.SCORE_LATENTS, self.samples, LATENT_SEED))
        self.quantiles, self._fine = self.quantiles.to(drawn.device), self._fine.to(drawn.device)  # and kept there
        values = drawn.flatten(1).double()  # [L, M]
        values = torch.where(values.isfinite().all(1, keepdim=True), values, math.nan)
        distance = wasserstein_1d(values, self.quantiles)
        energy = energy_distance(values.unsqueeze(2), self._fine)
        deviations = torch.stack([lane.std() for lane in values])  # std(1) rounds by how many lanes there are
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
        scale = 2 * float(self.truth.deviation)
        limit = self.scoring.coverage_limit
        floor = self.constants["wasserstein_floor"]
        fidelity, violation = constrained_fidelity(distance, floor, None, covered, scale=scale, coverage_limit=limit)
        scores = on_host({"fidelity": fidelity, "fidelity_error": distance_error, "violation": violation, **scores})
        return reports(scores, self.constants, self, array.lanes)


class PlaneScorer:
    """Points [n, 2] against held-out draws of a mixture.

    `fidelity`: `energy`, the squared energy distance without bias (so its floor is 0; `energy_error` is its standard
    error, and `energy_latent_error`, what other latents would change, is `fidelity_error`), and far more where fewer
    modes are covered than the limit. `modes_covered`, `high_quality_share` and `mode_jsd` as in `gan_core.data.values`.
    """

    in_c, features_digest = False, ""
    examination: Examination | None = None  # numbers have no features that could miss something

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
        self._real = self._real.to(drawn.device)  # and kept there
        energy = energy_distance(drawn, self._real)  # of [L, M, 2]
        found = mode_scores(drawn, self.truth)
        covered, limit = found.modes_covered / self.truth.modes, self.scoring.coverage_limit
        fidelity, violation = constrained_fidelity(
            energy.value, 0.0, None, covered, scale=self._scale, coverage_limit=limit
        )
        scores = {
            "fidelity": fidelity,
            "fidelity_error": energy.latent_error,
            "violation": violation,
            "energy": energy.value,
            "energy_error": energy.error,
            "energy_latent_error": energy.latent_error,
        }
        return reports(on_host({**scores, **asdict(found)}), self.constants, self, array.lanes)
