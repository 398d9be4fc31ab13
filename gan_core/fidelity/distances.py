"""How close generated samples are to real ones: pure functions of features or samples, lane by lane, in float64.

L lanes, M samples, D features, K classes. Computing features and computing a distance never meet. Scores made of pairs
of samples are in `neighbours.py`, `discrepancy.py` and `copying.py`.
"""

import math

import torch
from torch import Tensor

from gan_core.fidelity.discrepancy import rising
from gan_core.lanes.axis import alone

CLASS_KL_LIMIT = 0.1  # nats: a part of the classes is missing
COVERAGE_LIMIT = 0.5  # of the coverage that real samples have


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [L, D] and unbiased covariance [L, D, D] of features [L, M, D]."""
    features = features.double()
    mean = features.mean(1)
    centred = features - mean.unsqueeze(1)
    return mean, torch.cat([lane.mT @ lane for lane in alone(centred)]) / (features.shape[1] - 1)


def covariance_factor(covariance: Tensor) -> Tensor:
    """F with F F^T = a positive semi-definite covariance [D, D]: [D, D]. By eigh, for it may be singular."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(0).sqrt()


def frechet_distance(
    mean: Tensor, covariance: Tensor, real_mean: Tensor, real_covariance: Tensor, real_factor: Tensor | None = None
) -> Tensor:
    """|m - m_r|^2 + Tr(S + S_r - 2 (S_r^1/2 S S_r^1/2)^1/2) (Heusel et al. 2017, equation 6): [L], >= 0.

    mean [L, D], covariance [L, D, D]; the real ones [D], [D, D]; real_factor: its `covariance_factor`, where it is at
    hand. The trace of the root is the sum of the roots of the eigenvalues of F^T S F, F any factor of S_r: real by
    construction. A lane whose statistics are not finite scores NaN and touches no other.
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
    return (rising(samples.double()) - quantiles).abs().mean(1)


def wasserstein_floor(deviation: float, samples: int) -> float:
    """What `wasserstein_1d` is expected to be for `samples` exact samples of a normal distribution."""
    x = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    return deviation * wasserstein_floor_of_cdf(x, 0.5 * (1 + torch.erf(x / math.sqrt(2))), samples)


def wasserstein_floor_of_cdf(grid: Tensor, below: Tensor, samples: int) -> float:
    """What `wasserstein_1d` is expected to be for `samples` exact samples of any 1-D distribution, in its own unit.

    grid [Q]: rising values, from under the whole distribution to above it, fine where its cdf F bends; below [Q]: F
    there. sqrt(2/pi M) times the integral of sqrt(F (1 - F)): the integral of E|F_M - F| in the normal limit of the
    binomial (del Barrio, Gine & Matran 1999), by the trapezoid rule. Modes far apart make it large: their shares vary.
    """
    below = below.double()
    integral = torch.trapezoid((below * (1 - below)).clamp_min(0).sqrt(), grid.double())
    return math.sqrt(2 / (math.pi * samples)) * float(integral)


def class_accuracy(predicted: Tensor, asked: Tensor, classes: int) -> Tensor:
    """The share of samples of each class asked for that were taken for it: [L, K], NaN for classes never asked for.

    predicted [L, M] and asked [M] or [L, M], whole numbers. Raises ValueError where asked is not in [0, K).
    """
    wanted = _one_hot(asked.expand_as(predicted), classes)  # [L, M, K]
    right = (predicted == asked).double().unsqueeze(-1)
    return (wanted * right).sum(1) / wanted.sum(1)


def code_agreement(codes: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """The share of samples whose categorical code and class agree, codes renamed to classes as fits best: [L].

    codes [L, M] and predicted [L, M], whole numbers in [0, K); raises ValueError on others. The renaming is one to one,
    as in the clustering accuracy of Xie et al. 2016. In [1/K, 1]: about 1/K where codes say nothing, also where all
    samples are of one class.
    """
    from scipy.optimize import linear_sum_assignment  # imported here: it is slow, and only codes need it

    table = (_one_hot(codes, classes).mT @ _one_hot(predicted, classes)).cpu().numpy()  # [L, K, K] counts
    agreeing = [float(counts[linear_sum_assignment(counts, maximize=True)].sum()) for counts in table]
    return torch.tensor(agreeing, dtype=torch.float64, device=codes.device) / codes.shape[1]


def _one_hot(numbers: Tensor, classes: int) -> Tensor:
    """Whole numbers in [0, K), [...] -> [..., K], float64. Raises ValueError on a number outside."""
    if numbers.numel() and not 0 <= int(numbers.min()) <= int(numbers.max()) < classes:
        raise ValueError(f"classes must be in [0, {classes}), got {int(numbers.min())} to {int(numbers.max())}")
    return torch.nn.functional.one_hot(numbers.long(), classes).double()


def point_mass_distance(real_covariance: Tensor) -> float:
    """The mean `frechet_distance` of a generator that repeats one real sample: E|x - m|^2 + Tr S = 2 Tr S.

    The scale of total collapse, against which `constrained_fidelity` measures.
    """
    return 2 * float(real_covariance.double().trace())


def constrained_fidelity(
    fid: Tensor,
    floor: float,
    class_kl: Tensor | None,
    coverage: Tensor | None,
    *,
    scale: float,
    class_kl_limit: float = CLASS_KL_LIMIT,
    coverage_limit: float = COVERAGE_LIMIT,
) -> tuple[Tensor, Tensor]:
    """What a sweep minimises where a collapsed lane must not win, and by how much a lane breaks the limits: [L], [L].

    fid - floor where both limits hold; else that + scale * (1 + violation), and scale is `point_mass_distance`.
    class_kl [L] in nats; coverage [L] as a share of `coverage_null`; None: no such limit. violation, in [0, 2], is
    max(0, 1 - limit/class_kl) + max(0, 1 - coverage/limit), 0 where both hold. So no broken lane comes before one that
    holds with fid < scale, that is, one better than the repetition of one real sample; and broken lanes are ranked by
    fid and violation. Ours; the limits are signs of a partial collapse (in KL, twenty times the mean of 1,000
    balanced samples of ten classes, and five times that of 250). NaN where a score is NaN.
    """
    violation = torch.zeros_like(fid)
    if class_kl is not None:
        violation = violation + (1 - class_kl_limit / class_kl.clamp_min(class_kl_limit))
    if coverage is not None:
        violation = violation + (1 - coverage / coverage_limit).clamp_min(0)
    excess = fid - floor
    value = torch.where(violation == 0, excess, excess + scale * (1 + violation))
    return value, torch.where(fid.isnan(), math.nan, violation)
