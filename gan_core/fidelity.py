"""How close generated samples are to real ones: pure functions of features or samples, lane by lane, in float64.

L lanes, M samples, D features, K classes. Computing features and computing a distance never meet.
"""

import math

import torch
from torch import Tensor


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [L, D] and unbiased covariance [L, D, D] of features [L, M, D]."""
    features = features.double()
    mean = features.mean(1)
    centred = features - mean.unsqueeze(1)
    return mean, centred.mT @ centred / (features.shape[1] - 1)


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a positive semi-definite matrix [..., D, D]."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp_min(0).sqrt().unsqueeze(-2) @ vectors.mT


def frechet_distance(mean: Tensor, covariance: Tensor, real_mean: Tensor, real_covariance: Tensor) -> Tensor:
    """|m - m_r|^2 + Tr(S + S_r - 2 (S_r^1/2 S S_r^1/2)^1/2) (Heusel et al. 2017, equation 6): [L], >= 0.

    mean [L, D], covariance [L, D, D]; the real ones [D], [D, D]. The trace of the root comes from eigenvalues, which is
    real by construction. A lane whose statistics are not finite scores NaN and touches no other.
    """
    finite = mean.isfinite().all(1) & covariance.isfinite().flatten(1).all(1)
    safe = torch.where(finite[:, None, None], covariance, torch.eye(covariance.shape[-1], dtype=covariance.dtype))
    root = _root(real_covariance)
    eigenvalues = torch.linalg.eigvalsh(root @ safe @ root).clamp_min(0)
    traces = covariance.diagonal(dim1=1, dim2=2).sum(1) + real_covariance.diagonal().sum()
    distance = (mean - real_mean).square().sum(1) + traces - 2 * eigenvalues.sqrt().sum(1)
    return torch.where(finite, distance.clamp_min(0), math.nan)


def frechet_floor(real_covariance: Tensor, samples: int, real_samples: int) -> float:
    """What `frechet_distance` is expected to be between two samples of one and the same Gaussian: its noise floor.

    (1/2M + 1/2R) [3 sum_i l_i + sum_{i != j} l_i l_j / (l_i + l_j)], l the eigenvalues of the covariance, M and R the
    two sample counts. Ours: the second-order expansion of the Bures distance; a test simulates it.
    """
    values = torch.linalg.eigvalsh(real_covariance.double()).clamp_min(1e-12)
    pairs = values[:, None] * values / (values[:, None] + values)
    bracket = 3 * values.sum() + pairs.sum() - pairs.diagonal().sum()
    return float(bracket) * (0.5 / samples + 0.5 / real_samples)


def class_divergence(shares: Tensor, real_shares: Tensor) -> Tensor:
    """KL(p || p_real) in nats between class shares [L, K] and [K]: [L]. 0 is balanced, ln K one class only."""
    terms = torch.where(shares > 0, shares * (shares.clamp_min(1e-300) / real_shares).log(), 0.0)
    return terms.sum(1)


def wasserstein_1d(samples: Tensor, quantiles: Tensor) -> Tensor:
    """Wasserstein-1 distance of samples [L, M] to a distribution given by its quantiles (i - 1/2)/M, [M]: [L]."""
    return (samples.double().sort(1).values - quantiles).abs().mean(1)


def wasserstein_floor(deviation: float, samples: int) -> float:
    """What `wasserstein_1d` is expected to be for `samples` exact samples of a normal distribution.

    deviation * integral of E|F_M - F| = deviation * sqrt(2/pi) * integral sqrt(Phi(1 - Phi)) / sqrt(M), by the normal
    limit of the binomial (del Barrio, Gine & Matran 1999); the integral over the standard normal is taken numerically.
    """
    x = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    below = 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    integral = torch.trapezoid((below * (1 - below)).clamp_min(0).sqrt(), x)
    return deviation * math.sqrt(2 / math.pi) * float(integral) / math.sqrt(samples)
