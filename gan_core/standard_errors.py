"""Standard errors of scores: by how much a score would change with other latents, the model and the reference fixed.

By the delta method (von Mises 1947): a score's influence function at the samples, its deviation over sqrt(M). Near a
score's least value the first order vanishes, and what is left of it is the samples' own noise: `delta_error`.
Pure functions, lane by lane, in float64; NaN where the score is NaN. L lanes, M samples, D features, K classes.
"""

import math

import torch
from torch import Tensor

from gan_core.discrepancy import rising


def delta_error(first: Tensor, second: Tensor) -> Tensor:
    """sqrt(max(first - second, second)): the standard error of a smooth score, from the variances of two orders.

    first: the influence function's variance over M, with gradients taken at the samples; second: the variance of the
    score's quadratic term. The gradient's own noise puts twice the second into the first (for H half the Hessian's
    double and C the moments' covariance it is tr HCHC, and the quadratic term's variance half of that), so first -
    second is their sum without bias; where the first order vanishes, the second remains. Ours; tests simulate it.
    """
    return torch.maximum(first - second, second).clamp_min(0).sqrt()


def frechet_error(features: Tensor, mean: Tensor, covariance: Tensor, real_mean: Tensor, real_factor: Tensor) -> Tensor:
    """The standard error of `frechet_distance` for samples [L, M, D] of this mean [L, D] and covariance [L, D, D]: [L].

    real_mean [D]; real_factor [D, D]: F with F F^T = S_r. With C = F^T S F the optimal map between the two normals is
    T = F C^-1/2 F^T (Olkin & Pukelsheim 1982), pseudo-inverse where the lane is flat, and the influence of x is
    2 (m - m_r).(x - m) + |x - m|^2 - (x - m)^T T (x - m) less its mean. The second order, of normal features:
    [2 Tr S^2 + sum_i g_i^2/2 + sum_{i != j} (g_i g_j / (g_i + g_j))^2] / M^2, g the roots of C's eigenvalues. Ours.
    """
    finite = mean.isfinite().all(1) & covariance.isfinite().flatten(1).all(1)
    unit = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    safe = torch.where(finite[:, None, None], covariance, unit)
    values, vectors = torch.linalg.eigh(real_factor.mT @ safe @ real_factor)
    least = values[:, -1:].clamp_min(0) * values.shape[1] * torch.finfo(values.dtype).eps
    kept = values > least
    roots = torch.where(kept, values, 0.0).sqrt()  # [L, D]
    scales = torch.where(kept, values, 1.0).pow(-0.25) * kept
    maps = real_factor @ vectors * scales.unsqueeze(1)  # [L, D, D]: T is a map by its own transpose
    errors = [
        _frechet_error(lane.double() - lane_mean, lane_mean - real_mean, lane_map, lane_roots, lane_covariance)
        for lane, lane_mean, lane_map, lane_roots, lane_covariance in zip(
            features, mean, maps, roots, safe, strict=True
        )
    ]
    return torch.where(finite, torch.stack(errors), math.nan)


def _frechet_error(centred: Tensor, shift: Tensor, half_map: Tensor, roots: Tensor, covariance: Tensor) -> Tensor:
    """Of one lane: centred [M, D], shift [D], half_map [D, D], roots [D], covariance [D, D]."""
    count = len(centred)
    moved = centred @ half_map
    influence = 2 * centred @ shift + torch.linalg.vecdot(centred, centred) - torch.linalg.vecdot(moved, moved)
    pairs = roots[:, None] * roots / (roots[:, None] + roots).clamp_min(torch.finfo(roots.dtype).tiny)
    squares = 2 * covariance.square().sum() + pairs.square().sum() + roots.square().sum() / 4  # g_i g_i / 2 g_i = g_i/2
    return delta_error(influence.var() / count, squares / count**2)


def class_divergence_error(shares: Tensor, real_shares: Tensor, samples: int) -> Tensor:
    """The standard error of `class_divergence` of M samples' shares [L, K] to [K]: [L]. 0 for one class only.

    The influence of a class is ln(p/p_real); the second order is that of the likelihood ratio (Wilks 1938),
    (K - 1)/2M^2 with K the classes that were drawn.
    """
    present = shares > 0
    ratios = torch.where(present, (shares.clamp_min(1e-300) / real_shares).log(), 0.0)
    mean = (shares * ratios).sum(1, keepdim=True)
    first = (shares * (ratios - mean).square()).sum(1) / samples
    return delta_error(first, (present.sum(1) - 1).double() / (2 * samples**2))


def wasserstein_error(samples: Tensor, quantiles: Tensor) -> Tensor:
    """The standard error of `wasserstein_1d` for samples [L, M] against quantiles (i - 1/2)/M, [M]: [L].

    The influence of x is the integral of sign(F_M - F) over what lies above x. Where F_M is F but for noise a sign may
    be either: there the error is too large, at most by (1 - 2/pi)^-1/2 = 1.66, for normal numbers by 1.4 to 1.5.
    """
    return torch.stack([_wasserstein_error(lane, quantiles) for lane in samples.double()])


def _wasserstein_error(samples: Tensor, quantiles: Tensor) -> Tensor:
    values = rising(samples)
    low, high = values[:-1], values[1:]
    # From the k-th value to the next F_M is k/M: above F up to the k-th quantile, below it from the next quantile on.
    above = torch.minimum(torch.maximum(quantiles[:-1], low), high) - low
    below = high - torch.minimum(torch.maximum(quantiles[1:], low), high)
    influence = torch.cat((values.new_zeros(1), (below - above).cumsum(0)))
    return (influence.var() / len(values)).sqrt()


def mean_and_deviation_errors(samples: Tensor) -> tuple[Tensor, Tensor]:
    """The standard errors of the mean and of the deviation s of samples [L, M]: s/sqrt(M), and by the fourth moment
    sqrt((m_4 - s^4) / 4 s^2 M): [L] and [L]. Of |mean - truth| too, up to 1.66 times too large where that is near 0.
    """
    errors = [_mean_and_deviation_errors(lane) for lane in samples.double()]
    return torch.stack([error[0] for error in errors]), torch.stack([error[1] for error in errors])


def _mean_and_deviation_errors(samples: Tensor) -> tuple[Tensor, Tensor]:
    deviation, root = samples.std(), math.sqrt(len(samples))
    squares = (samples - samples.mean()).square()
    return deviation / root, squares.std() / (2 * root * deviation.clamp_min(torch.finfo(torch.float64).tiny))


def mode_divergence_error(counts: Tensor) -> Tensor:
    """The standard error of the Jensen-Shannon divergence of counts [L, K] to uniform: [L]. 0 for one mode or none.

    With shares h of N counted samples, u = 1/K and m = (h + u)/2 the influence of a mode is ln(h/m)/2; the second
    order, over modes that were drawn, is [sum a^2 (1 - 2h) + (sum a h)^2] / 2N^2, a = u/4m: (K - 1)/32N^2 where h = u.
    """
    counted = counts.sum(1, keepdim=True).clamp_min(1)
    shares, present = counts / counted, counts > 0
    middle = (shares + 1 / counts.shape[1]) / 2
    ratios = torch.where(present, (shares.clamp_min(1e-300) / middle).log() / 2, 0.0)
    mean = (shares * ratios).sum(1, keepdim=True)
    first = (shares * (ratios - mean).square()).sum(1)
    slopes = present / (4 * counts.shape[1] * middle)
    squares = (slopes.square() * (1 - 2 * shares)).sum(1) + (slopes * shares).sum(1).square()
    counted = counted.squeeze(1)
    return delta_error(first / counted, squares / (2 * counted.square()))


def median_error(values: Tensor) -> Tensor:
    """The standard error of the median of values [M]: a number. With less than 4 a quarter of their range.

    A quarter of the distance between the quantiles 1/2 -+ 1/sqrt(M), two binomial deviations on each side (McKean &
    Schrader 1984): no density need be known.
    """
    away = min(0.5, 1 / math.sqrt(len(values)))
    low, high = values.quantile(0.5 - away), values.quantile(0.5 + away)
    return (high - low) / 4
