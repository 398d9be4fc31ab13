"""Distances between generated and real samples: pure functions of features or samples, lane by lane, in float64.

L lanes, M samples, D features, K classes. Features are computed elsewhere, in `gan_core.fidelity.features`. Scores that
are made of pairs of samples are in `neighbours.py`, `discrepancy.py` and `copying.py`.
"""

import math

import torch
from torch import Tensor

from gan_core.fidelity.discrepancy import rising
from gan_core.lanes.axis import alone

CLASS_KL_LIMIT = 0.1  # nats; above it some of the classes are missing
COVERAGE_LIMIT = 0.5  # as a fraction of the coverage of real samples
MOST_EXCESS = 5.0  # so that no violation reaches what the samplers are told of trials that died


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [L, D] and unbiased covariance [L, D, D] of features [L, M, D]."""
    features = features.double()
    mean = features.mean(1)
    centred = features - mean.unsqueeze(1)
    return mean, torch.cat([lane.mT @ lane for lane in alone(centred)]) / (features.shape[1] - 1)


def covariance_factor(covariance: Tensor) -> Tensor:
    """F [D, D] with F F^T = a positive semi-definite covariance [D, D]. By eigh, because it may be singular."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(0).sqrt()


def frechet_distance(
    mean: Tensor, covariance: Tensor, real_mean: Tensor, real_covariance: Tensor, real_factor: Tensor | None = None
) -> Tensor:
    """The squared Fréchet distance |m - m_r|^2 + Tr(S + S_r - 2 (S_r^1/2 S S_r^1/2)^1/2): [L], at least 0.

    Heusel et al. 2017, equation 6. mean [L, D], covariance [L, D, D], real_mean [D], real_covariance [D, D];
    real_factor: the `covariance_factor` of real_covariance, if it is known. The trace of the matrix root is the sum of
    the roots of the eigenvalues of F^T S F for any factor F of S_r, which are real by construction. A lane whose
    moments are not finite scores NaN and affects no other.
    """
    finite = mean.isfinite().all(1) & covariance.isfinite().flatten(1).all(1)
    unit = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    safe = torch.where(finite[:, None, None], covariance, unit)
    factor = covariance_factor(real_covariance) if real_factor is None else real_factor
    seen = [torch.linalg.eigvalsh(factor.mT @ lane @ factor) for lane in alone(safe)]
    eigenvalues = torch.cat(seen).clamp_min(0)
    traces = covariance.diagonal(dim1=1, dim2=2).sum(1) + real_covariance.diagonal().sum()
    distance = (mean - real_mean).square().sum(1) + traces - 2 * eigenvalues.sqrt().sum(1)
    return torch.where(finite, distance.clamp_min(0), math.nan)


def frechet_floor(real_covariance: Tensor, samples: int, real_samples: int) -> float:
    """The expected `frechet_distance` between two sets drawn from the same Gaussian: its noise floor.

    (1/2M + 1/2R) [3 sum_i l_i + sum_{i != j} l_i l_j / (l_i + l_j)], l the eigenvalues of the covariance, M and R the
    two sample counts. This is our second-order expansion of the Bures distance; a test checks it by simulation.
    """
    values = torch.linalg.eigvalsh(real_covariance.double()).clamp_min(1e-12)
    pairs = values[:, None] * values / (values[:, None] + values)
    bracket = 3 * values.sum() + pairs.sum() - pairs.diagonal().sum()
    return float(bracket) * (0.5 / samples + 0.5 / real_samples)


def class_divergence(shares: Tensor, real_shares: Tensor) -> Tensor:
    """KL(p || p_real) in nats between class shares [L, K] and [K]: [L].

    0 if the shares are equal; ln K if all samples are of one class and the real classes are balanced.
    """
    terms = torch.where(shares > 0, shares * (shares.clamp_min(1e-300) / real_shares).log(), 0.0)
    return terms.sum(1)


def wasserstein_1d(samples: Tensor, quantiles: Tensor) -> Tensor:
    """The Wasserstein-1 distance of samples [L, M] to a distribution given by its quantiles (i - 1/2)/M, [M]: [L]."""
    return (rising(samples.double()) - quantiles).abs().mean(1)


def wasserstein_floor_of_cdf(grid: Tensor, below: Tensor, samples: int) -> float:
    """The expected `wasserstein_1d` of `samples` exact samples of any 1-D distribution, in the unit of its values.

    grid [Q]: ascending values that span the whole distribution, fine where its distribution function F bends; below
    [Q]: F at these values. The result is sqrt(2/pi M) times the integral of sqrt(F (1 - F)), by the trapezoid rule:
    the integral of E|F_M - F| in the normal limit of the binomial (del Barrio, Gine & Matran 1999). It is large for
    modes far apart, because the numbers of samples in them vary.
    """
    below = below.double()
    integral = torch.trapezoid((below * (1 - below)).clamp_min(0).sqrt(), grid.double())
    return math.sqrt(2 / (math.pi * samples)) * float(integral)


def class_accuracy(predicted: Tensor, asked: Tensor, classes: int) -> Tensor:
    """For each requested class the share of its samples that are classified as it: [L, K], NaN if never requested.

    predicted [L, M] and asked [M] or [L, M] are integers. Raises ValueError if asked is not in [0, K).
    """
    wanted = _one_hot(asked.expand_as(predicted), classes)  # [L, M, K]
    right = (predicted == asked).double().unsqueeze(-1)
    return (wanted * right).sum(1) / wanted.sum(1)


def code_agreement(codes: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """The share of samples whose class is the one matched to their categorical code: [L], in [1/K, 1].

    codes and predicted [L, M] are integers in [0, K); others raise ValueError. The matching of codes to classes is the
    best one-to-one matching, as in the clustering accuracy of Xie et al. 2016. The share is about 1/K if the codes say
    nothing about the classes, and also if all samples are of one class.
    """
    from scipy.optimize import linear_sum_assignment  # imported here because it is slow and only codes need it

    table = (_one_hot(codes, classes).mT @ _one_hot(predicted, classes)).cpu().numpy()  # [L, K, K] counts
    agreeing = [float(counts[linear_sum_assignment(counts, maximize=True)].sum()) for counts in table]
    return torch.tensor(agreeing, dtype=torch.float64, device=codes.device) / codes.shape[1]


def _one_hot(numbers: Tensor, classes: int) -> Tensor:
    """Encodes integers [...] in [0, K) as float64 [..., K]. Raises ValueError for integers outside this range."""
    if numbers.numel() and not 0 <= int(numbers.min()) <= int(numbers.max()) < classes:
        raise ValueError(f"classes must be in [0, {classes}), got {int(numbers.min())} to {int(numbers.max())}")
    return torch.nn.functional.one_hot(numbers.long(), classes).double()


def point_mass_distance(real_covariance: Tensor) -> float:
    """The mean `frechet_distance` of a generator that repeats one real sample: E|x - m|^2 + Tr S = 2 Tr S.

    It is the scale of total mode collapse, which `limit_violations` uses.
    """
    return 2 * float(real_covariance.double().trace())


def limit_violations(
    excess: Tensor,
    class_kl: Tensor | None,
    coverage: Tensor | None,
    *,
    scale: float,
    class_kl_floor: float = 0.0,
    class_kl_limit: float = CLASS_KL_LIMIT,
    coverage_limit: float = COVERAGE_LIMIT,
) -> dict[str, Tensor]:
    """By how much lanes break the limits: `class_balance_violation`, `coverage_violation`, and `violation`, by which
    `gan_core.config.limits` orders lanes that break any: each [L], 0 where the limits hold, NaN where the excess is.

    excess [L]: the distance above its floor. class_kl [L] in nats and coverage [L] as a fraction of `coverage_null`;
    None means no such limit. The first two are relative and in [0, 1]: max(0, 1 - limit/(class_kl - floor)) and
    max(0, 1 - coverage/limit). The floor is the mean KL of as many balanced real samples: chance alone gives 450
    classes 0.11 nats at 2,000 samples. The limits mark a partial collapse: that of KL is more than forty times the mean
    for 2,000 balanced samples of ten classes.

    `violation` is their sum plus, where that is above 0, excess/scale, at most MOST_EXCESS; scale is that of
    `point_mass_distance`. The sum alone would prefer noise to samples of few classes, and at early rungs, where nearly
    all lanes break limits by about as much, it would rank by noise. The rule is ours.
    """
    parts = {}
    if class_kl is not None:
        above = (class_kl - class_kl_floor).clamp_min(class_kl_limit)
        parts["class_balance_violation"] = 1 - class_kl_limit / above
    if coverage is not None:
        parts["coverage_violation"] = (1 - coverage / coverage_limit).clamp_min(0)
    total = sum(parts.values(), torch.zeros_like(excess))
    far = torch.where(total > 0, total + (excess / scale).clamp(0, MOST_EXCESS), 0.0)
    return {name: torch.where(excess.isnan(), math.nan, amount) for name, amount in {**parts, "violation": far}.items()}
