"""Standard errors of scores: how much a score would vary with other latents, the model and the reference being fixed.

They follow from the delta method (von Mises 1947): the deviation of the score's influence function over the samples,
divided by sqrt(M). Near the minimum of a score the first order vanishes and its estimate is noise; see `delta_error`.
All functions are pure and work lane by lane in float64; an error is NaN where the score is NaN.
L lanes, M samples, D features, K classes, S strata.
"""

import math

import torch
from torch import Tensor

from gan_core.fidelity.discrepancy import rising
from gan_core.lanes.axis import alone


def delta_error(first: Tensor, second: Tensor) -> Tensor:
    """sqrt(max(first - second, second)): the standard error of a smooth score, from the variances of two orders.

    first: the variance of the influence function over M, with gradients taken at the samples; second: the variance of
    the quadratic term of the score. The noise of the gradient adds twice the second to the first (with the Hessian H
    and the covariance C of the moments it adds tr HCHC, and the variance of the quadratic term is half of that), so
    first - second estimates the sum of both without bias. If the first order vanishes, the second remains. This rule is
    ours; tests check it by simulation.
    """
    return torch.maximum(first - second, second).clamp_min(0).sqrt()


def spread_within(influence: Tensor, strata: Tensor) -> Tensor:
    """The variance [] of influences [M] within strata, one-hot [M, S]. S = 1 gives the usual variance.

    Each class of a conditional generator is drawn a fixed number of times, so there is no variance between classes. The
    result is 0 if each stratum holds one sample.
    """
    sizes = strata.sum(0)
    means = (strata.mT @ influence) / sizes.clamp_min(1)
    freedom = len(influence) - (sizes > 0).sum()
    return (influence - strata @ means).square().sum() / freedom.clamp_min(1)


def frechet_error(
    features: Tensor, mean: Tensor, covariance: Tensor, real_mean: Tensor, real_factor: Tensor, strata: Tensor
) -> Tensor:
    """The standard error of `frechet_distance` for samples [L, M, D] of this mean [L, D] and covariance [L, D, D]: [L].

    real_mean [D]; real_factor [D, D]: F with F F^T = S_r; strata: as in `spread_within`. With C = F^T S F the optimal
    transport map between the two normal distributions is T = F C^-1/2 F^T (Olkin & Pukelsheim 1982), with a
    pseudo-inverse if C is singular, and the influence of x is 2 (m - m_r).(x - m) + |x - m|^2 - (x - m)^T T (x - m)
    minus its mean. The second order, for normal features, is
    [2 Tr S^2 + sum_i g_i^2/2 + sum_{i != j} (g_i g_j / (g_i + g_j))^2] / M^2, g the roots of the eigenvalues of C. Both
    are our derivation. T is fitted to the M samples: for a lane with half the deviations of the data the error is 2%
    too small at M = 30 D, 8% at 10 D and a third at 1.6 D. With Inception's 2,048 features it is a lower bound.
    """
    finite = mean.isfinite().all(1) & covariance.isfinite().flatten(1).all(1)
    unit = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    safe = torch.where(finite[:, None, None], covariance, unit)
    eigen = [torch.linalg.eigh(real_factor.mT @ lane @ real_factor) for lane in alone(safe)]
    values, vectors = torch.cat([found[0] for found in eigen]), [found[1] for found in eigen]
    kept = values > values[:, -1:].clamp_min(0) * values.shape[1] * torch.finfo(values.dtype).eps
    roots = torch.where(kept, values, 0.0).sqrt()  # [L, D]
    scales = torch.where(kept, roots, math.inf).sqrt().reciprocal()
    half_maps = torch.cat([real_factor @ lane for lane in vectors]) * scales.unsqueeze(1)  # [L, D, D]: T = H H^T
    errors = []
    for i, lane in enumerate(features):
        centred = lane.double() - mean[i]
        first = spread_within(_frechet_influence(centred, mean[i] - real_mean, half_maps[i]), strata) / len(lane)
        errors.append(delta_error(first, _frechet_second_order(roots[i], safe[i]) / len(lane) ** 2))
    return torch.where(finite, torch.stack(errors), math.nan)


def _frechet_influence(centred: Tensor, shift: Tensor, half_map: Tensor) -> Tensor:
    """The influence [M] of samples minus their mean [M, D]. shift: [D], m - m_r; half_map: [D, D], H with T = H H^T."""
    moved = centred @ half_map
    return 2 * centred @ shift + torch.linalg.vecdot(centred, centred) - torch.linalg.vecdot(moved, moved)


def _frechet_second_order(roots: Tensor, covariance: Tensor) -> Tensor:
    """The variance of the quadratic term of the distance, times M^2. roots: [D], g; covariance: [D, D], S."""
    pairs = roots[:, None] * roots / (roots[:, None] + roots).clamp_min(torch.finfo(roots.dtype).tiny)
    return 2 * covariance.square().sum() + pairs.square().sum() + roots.square().sum() / 4  # pairs have g_i/2 for i = j


def class_divergence_error(predicted: Tensor, real_shares: Tensor, strata: Tensor) -> Tensor:
    """The standard error of `class_divergence` between predicted classes [L, M] and real shares [K]: [L].

    It is 0 if all samples are of one class and NaN if the divergence is infinite. strata: as in `spread_within`. The
    influence of a class is ln(p/p_real) and the Hessian is 1/p; with one stratum the second order is (K - 1)/2M^2,
    where K counts the classes drawn, as in Wilks 1938.
    """
    return torch.stack([_class_divergence_error(lane, real_shares, strata) for lane in predicted])


def _class_divergence_error(predicted: Tensor, real_shares: Tensor, strata: Tensor) -> Tensor:
    drawn = torch.nn.functional.one_hot(predicted, len(real_shares)).double()
    table, sizes = strata.mT @ drawn, strata.sum(0).clamp_min(1)  # [S, K] and [S]
    counts = table.sum(0)
    covariance = (counts.diag() - (table / sizes[:, None]).mT @ table) / len(predicted) ** 2  # of the shares
    present, shares = counts > 0, counts / len(predicted)
    ratios = torch.where(present, (shares.clamp_min(1e-300) / real_shares).log(), 0.0)
    curved = covariance / torch.where(present, shares, math.inf)
    return delta_error(ratios @ covariance @ ratios, (curved * curved.mT).sum() / 2)


def violation_error(
    distance_error: Tensor,
    class_kl: tuple[Tensor, Tensor] | None,
    coverage: tuple[Tensor, Tensor],
    class_kl_limit: float,
    coverage_limit: float,
) -> Tensor:
    """The standard error [L] of `violation` in `limit_violations`, 0 where no limit is broken. distance_error: of
    excess/scale; class_kl, which is above its floor, and coverage: pairs (score, its standard error).

    It follows from the slopes where a limit is broken, and treats the two scores as independent. It does not include
    that a lane near a limit might fall on the other side of it.
    """
    share, share_error = coverage
    kept = share >= coverage_limit
    squares = torch.where(kept, 0.0, share_error / coverage_limit).square()
    if class_kl is not None:
        divergence, error = class_kl
        slope = torch.where(divergence > class_kl_limit, class_kl_limit / divergence.square(), 0.0)
        squares = squares + torch.where(slope > 0, slope * error, 0.0).square()  # an infinite divergence has slope 0
        kept = kept & (divergence <= class_kl_limit)
    return torch.where(kept, 0.0, squares + distance_error.square()).sqrt()


def wasserstein_error(samples: Tensor, quantiles: Tensor) -> Tensor:
    """The standard error of `wasserstein_1d` for samples [L, M] against quantiles (i - 1/2)/M, [M]: [L].

    The influence of x is the integral of sign(F_M - F) over all values above x. Where F_M and F differ by noise alone
    the sign is random and the error is too large: by a factor of at most (1 - 2/pi)^-1/2 = 1.66, and of 1.4 to 1.5 for
    normal samples.
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
    """The standard errors of the mean and of the deviation s of samples [L, M]: [L] and [L].

    They are s/sqrt(M) and, by the fourth moment, sqrt((m_4 - s^4) / 4 s^2 M). The first is also that of |mean - truth|,
    up to 1.66 times too large if this is near 0.
    """
    errors = [_mean_and_deviation_errors(lane) for lane in samples.double()]
    return torch.stack([error[0] for error in errors]), torch.stack([error[1] for error in errors])


def _mean_and_deviation_errors(samples: Tensor) -> tuple[Tensor, Tensor]:
    deviation, root = samples.std(), math.sqrt(len(samples))
    squares = (samples - samples.mean()).square()
    return deviation / root, squares.std() / (2 * root * deviation.clamp_min(torch.finfo(torch.float64).tiny))


def mode_divergence_error(counts: Tensor) -> Tensor:
    """The standard error of the Jensen-Shannon divergence of counts [L, K] to uniform: [L]. 0 for one mode or none.

    With shares h of the N counted samples, u = 1/K and m = (h + u)/2, the influence of a mode is ln(h/m)/2. The second
    order, over the modes drawn, is [sum a^2 (1 - 2h) + (sum a h)^2] / 2N^2 with a = u/4m, or (K - 1)/32N^2 if h = u.
    The error is too small if many modes have only a sample or two, or none by chance.
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
    """The standard error [] of the median of values [M]; with fewer than 4 values it is a quarter of their range.

    It is a quarter of the distance between the quantiles 1/2 -+ 1/sqrt(M), two binomial deviations on each side (McKean
    & Schrader 1984), so the density need not be known.
    """
    away = min(0.5, 1 / math.sqrt(len(values)))
    low, high = values.quantile(0.5 - away), values.quantile(0.5 + away)
    return (high - low) / 4
