"""Scores made of pairs of samples: kernel and energy distance, precision to coverage, copies of training samples.

Pure functions, lane by lane, in float64; a lane that is not finite scores NaN and touches no other.
L lanes, M samples, R real samples, T training samples, D features, d numbers a sample, k neighbours.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

NEIGHBOURS = 5  # k of Naeem et al. 2020
ROWS_AT_ONCE = 32  # of a matrix of all pairs: a strip of it stays in the cache
REFERENCES_AT_ONCE = 2_000  # the same, where nearest neighbours are looked up


def _each_lane(score: Callable[[Tensor], tuple[Tensor, ...]], features: Tensor, scores: int) -> Tensor:
    """The score of each finite lane [M, D] in float64, NaN of the others: [scores, L]."""
    out = torch.full((scores, len(features)), math.nan, dtype=torch.float64, device=features.device)
    for i, lane in enumerate(features):
        if lane.isfinite().all():
            out[:, i] = torch.stack(score(lane.double()))
    return out


@dataclass(frozen=True)
class _PairSums:
    """Sums of a kernel over pairs of M and R samples: of each row [M], of each column [R], and of all its squares."""

    rows: Tensor
    columns: Tensor
    squares: Tensor


def _pair_sums(kernel: Callable[[Tensor, Tensor], Tensor], one: Tensor, other: Tensor) -> _PairSums:
    """Of kernel(one [M, D], other [R, D]) -> [M, R]; pairs of a sample with itself are left out where one is other."""
    rows, columns, squares = [], one.new_zeros(len(other)), one.new_zeros(())
    for start in range(0, len(one), ROWS_AT_ONCE):
        strip = kernel(one[start : start + ROWS_AT_ONCE], other)
        if one is other:
            strip.diagonal(start).zero_()
        rows.append(strip.sum(1))
        columns += strip.sum(0)
        squares += strip.flatten().dot(strip.flatten())
    return _PairSums(torch.cat(rows), columns, squares)


def _discrepancy(own: _PairSums, cross: _PairSums, real: _PairSums) -> tuple[Tensor, Tensor]:
    """The unbiased squared discrepancy E k(x, x') + E k(y, y') - 2 E k(x, y), and its standard error.

    The variance is that of Hoeffding's decomposition, whose parts are uncorrelated: with the witness
    f(x) = E k(x, x') - E k(x, y) and h a kernel centred along both sides,
    4 Var f(x)/M + 4 Var f(y)/R + 2 E h_xx^2/M(M-1) + 2 E h_yy^2/R(R-1) + 4 E h_xy^2/MR. Each part is estimated without
    bias (h within a set by U-centring, Szekely & Rizzo 2014). The first two, differences of estimates, are taken as 0
    where they come out below: the error is right to 15% where the sets differ, and where they are alike on average too
    large: by 6% in 64 independent features, by up to 50% in 1-D.
    """
    m, r = len(cross.rows), len(cross.columns)
    if min(m, r) < 4:
        raise ValueError(f"a discrepancy and its error need at least 4 samples on each side, got {m} and {r}")
    total = cross.rows.sum()
    value = own.rows.sum() / (m * (m - 1)) + real.rows.sum() / (r * (r - 1)) - 2 * total / (m * r)
    centred = cross.squares - cross.rows.square().sum() / r - cross.columns.square().sum() / m + total**2 / (m * r)
    spread = centred / ((m - 1) * (r - 1))
    own_spread, real_spread = _spread_within(own), _spread_within(real)
    witness = (own.rows / (m - 2) - cross.rows / r).var() - own_spread / (m - 2) - spread / r
    real_witness = (real.rows / (r - 2) - cross.columns / m).var() - real_spread / (r - 2) - spread / m
    first = (4 * witness / m + 4 * real_witness / r).clamp_min(0)
    second = 2 * own_spread / (m * (m - 1)) + 2 * real_spread / (r * (r - 1)) + 4 * spread / (m * r)
    return value, (first + second).clamp_min(0).sqrt()


def _spread_within(sums: _PairSums) -> Tensor:
    """The mean square of a kernel within one set, centred along both sides, without bias."""
    m, total = len(sums.rows), sums.rows.sum()
    centred = sums.squares - 2 / (m - 2) * sums.rows.square().sum() + total**2 / ((m - 1) * (m - 2))
    return centred / (m * (m - 3))


def _cubic(one: Tensor, other: Tensor) -> Tensor:
    """(x.y/D + 1)^3 of all pairs: [M, D], [R, D] -> [M, R]."""
    return torch.addmm(one.new_ones(1), one, other.T, alpha=1 / one.shape[1]).pow_(3)


def kernel_distance(features: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Kernel inception distance and its standard error: unbiased MMD^2 with the kernel (x.y/D + 1)^3, [L] and [L].

    features [L, M, D], real [R, D] (Binkowski et al. 2018, equation 4). All samples make one U-statistic, no
    subsets. Unbiased: its floor is 0 at any M and R, and it can be negative. The error is over fresh draws of both
    sets; between lanes that are compared with the same real set it is too large rather than too small.
    """
    real = real.double()
    within_real = _pair_sums(_cubic, real, real)

    def score(lane: Tensor) -> tuple[Tensor, Tensor]:
        return _discrepancy(_pair_sums(_cubic, lane, lane), _pair_sums(_cubic, lane, real), within_real)

    value, error = _each_lane(score, features, 2)
    return value, error


def energy_distance(samples: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Squared energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'| and its standard error: [L] and [L].

    samples [L, M, d], real [R, d], d of a few numbers (Szekely & Rizzo 2013); in the samples' own unit.
    The unbiased U-statistic: its floor is 0 and it can be negative. In 1-D it is 2 * integral (F - G)^2 and costs a
    sort; else all pairs. The error is as that of `kernel_distance`. real are draws: quantiles in their place, which do
    not vary, lower the value by E|Y - Y'|/R and enlarge the error, so take at least ten times as many as samples.
    """
    middle = real.double().mean(0)
    centred = real.double() - middle  # keeps the sums of squares small
    sums = _sorted_sums if real.shape[1] == 1 else _all_distances
    within_real = sums(centred, centred)

    def score(lane: Tensor) -> tuple[Tensor, Tensor]:
        lane = lane - middle
        return _discrepancy(sums(lane, lane), sums(lane, centred), within_real)

    value, error = _each_lane(score, samples, 2)
    return value, error


def _all_distances(one: Tensor, other: Tensor) -> _PairSums:
    return _pair_sums(_minus_distance, one, other)


def _minus_distance(one: Tensor, other: Tensor) -> Tensor:
    """-|x - y| of all pairs, [M, d], [R, d] -> [M, R]; axis by axis: four times as fast as torch.cdist for d = 2."""
    squares = one.new_zeros(len(one), len(other))
    for i in range(one.shape[1]):
        squares += (one[:, i, None] - other[:, i]).square_()
    return squares.sqrt_().neg_()


def _sorted_sums(one: Tensor, other: Tensor) -> _PairSums:
    """The sums of -|x - y| over all pairs of values [M, 1] and [R, 1], without forming the pairs."""
    squares = len(other) * one.square().sum() + len(one) * other.square().sum() - 2 * one.sum() * other.sum()
    return _PairSums(_sorted_rows(one[:, 0], other[:, 0]), _sorted_rows(other[:, 0], one[:, 0]), squares)


def _sorted_rows(values: Tensor, others: Tensor) -> Tensor:
    """-sum_j |x_i - y_j| for each of values [M] over all of others [R]: [M]."""
    others = others.sort().values
    totals = torch.cat((others.new_zeros(1), others.cumsum(0)))  # [R + 1]
    smaller = torch.searchsorted(others, values.contiguous())
    return values * (len(others) - 2 * smaller) + 2 * totals[smaller] - totals[-1]


def _squared_distances(one: Tensor, other: Tensor, other_squares: Tensor) -> Tensor:
    """|x - y|^2 of all pairs by one product: [M, D], [R, D], [R] -> [M, R], >= 0."""
    return torch.addmm(other_squares, one, other.T, alpha=-2).add_(one.square().sum(1, keepdim=True)).clamp_min_(0)


def _squared_radii(features: Tensor, k: int) -> Tensor:
    """The squared distance of each of [M, D] to its k-th nearest other one: [M]."""
    if not 1 <= k < len(features):
        raise ValueError(f"a k-th neighbour needs 1 <= k < samples, got k {k} with {len(features)} samples")
    squares = features.square().sum(1)
    strips = (_squared_distances(part, features, squares) for part in features.split(ROWS_AT_ONCE))
    return torch.cat([strip.topk(k + 1, largest=False).values[:, k] for strip in strips])  # itself is the first


@dataclass(frozen=True)
class RealNeighbours:
    """Real features [R, D] with the squared radius [R] of each one's ball, which reaches to its k-th nearest other."""

    features: Tensor
    squares: Tensor
    squared_radii: Tensor
    k: int


def real_neighbours(real: Tensor, k: int = NEIGHBOURS) -> RealNeighbours:
    """The real side of `prdc`, computed once for all lanes and rungs. Raises ValueError unless 1 <= k < R."""
    real = real.double()
    return RealNeighbours(real, real.square().sum(1), _squared_radii(real, k), k)


@dataclass(frozen=True)
class NeighbourScores:
    """What `prdc` returns, each [L]; 1 is as good as real for density, in [0, R/k], and the best for the rest."""

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor


def prdc(features: Tensor, real: RealNeighbours) -> NeighbourScores:
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020) of features [L, M, D].

    A ball around each sample reaches to its k-th nearest other sample of its own set. Precision: the share of samples
    inside any real ball; recall: of real samples inside any ball of a sample; density: real balls a sample is in,
    over k; coverage: the share of real balls with a sample in them. Density and coverage of real samples are known
    beforehand (1, and `coverage_null`); precision and recall have no such value. Raises ValueError unless k < M.
    """

    def score(lane: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        radii = _squared_radii(lane, real.k)
        balls = []  # for each sample, the real balls it is in
        nearest = torch.full_like(real.squares, math.inf)
        recalled = torch.zeros_like(real.squares, dtype=torch.bool)
        for part, radius in zip(lane.split(ROWS_AT_ONCE), radii.split(ROWS_AT_ONCE), strict=True):
            squared = _squared_distances(part, real.features, real.squares)  # [rows, R]
            balls.append((squared < real.squared_radii).sum(1))
            nearest = torch.minimum(nearest, squared.amin(0))
            recalled |= (squared < radius[:, None]).any(0)
        inside = torch.cat(balls).double()
        coverage = (nearest < real.squared_radii).double().mean()
        return (inside > 0).double().mean(), recalled.double().mean(), inside.mean() / real.k, coverage

    return NeighbourScores(*_each_lane(score, features, 4))


def coverage_null(samples: int, real_samples: int, k: int = NEIGHBOURS) -> float:
    """What coverage is expected to be when the samples are drawn from the real distribution itself.

    1 - prod_{j=1..k} (R - j)/(M + R - j), exactly: a ball stays empty when its centre's k nearest of the M samples and
    R - 1 other real ones are all real (Naeem et al. 2020 derive the same). Tends to 1 - 2^-k where M = R.
    """
    return 1 - math.prod((real_samples - j) / (samples + real_samples - j) for j in range(1, k + 1))


def nearest_distance(features: Tensor, reference: Tensor) -> Tensor:
    """The distance of each sample [L, M, D] to its nearest neighbour in reference [T, D]: [L, M], float64.

    The neighbour is looked up in float32; the distance to it is computed from the difference, so a copy's is 0.
    """
    middle = reference.float().mean(0)
    centred = reference.float() - middle  # an offset common to all would cost digits
    squares = centred.square().sum(1)
    out = torch.full(features.shape[:2], math.nan, dtype=torch.float64, device=features.device)
    for i, lane in enumerate(features):
        if lane.isfinite().all():
            nearest = _nearest(lane.float() - middle, centred, squares)
            out[i] = (lane.double() - reference[nearest].double()).square().sum(1).sqrt()
    return out


def _nearest(lane: Tensor, reference: Tensor, squares: Tensor) -> Tensor:
    """The index of the nearest of reference [T, D] to each of lane [M, D]: [M]."""
    best = torch.full((len(lane),), math.inf, device=lane.device)
    index = torch.zeros(len(lane), dtype=torch.int64, device=lane.device)
    for start in range(0, len(reference), REFERENCES_AT_ONCE):
        part = slice(start, start + REFERENCES_AT_ONCE)
        values, places = torch.addmm(squares[part], lane, reference[part].T, alpha=-2).min(1)
        index = torch.where(values < best, places + start, index)
        best = torch.minimum(best, values)
    return index


def data_copying(nearest_fake_to_train: Tensor, nearest_held_out_to_train: Tensor) -> Tensor:
    """The probability that a sample lies closer to the training set than a held-out real one does: [L] in [0, 1].

    Of distances to the nearest training sample, [L, M] of samples and [R] of held-out ones: the Mann-Whitney U over MR,
    a tie counts half; 1 minus the global statistic of Meehan et al. 2020. 1/2 where
    nothing was memorised, give or take `data_copying_error`; 1 where all samples are copies. Poor samples lie far from
    everything, so less than 1/2 is no virtue, and can hide copies. Both distances are to one set, so that its size
    cancels; distances of one sample to a training and to a held-out set compare only where T = R, as the nearer set of
    two is the training set with probability T/(T + R).
    """
    held_out = nearest_held_out_to_train.double().sort().values
    samples = nearest_fake_to_train.double().contiguous()
    below = torch.searchsorted(held_out, samples)  # [L, M] of R
    up_to = torch.searchsorted(held_out, samples, right=True)
    share = 1 - (below + up_to).double().mean(1) / (2 * len(held_out))
    return torch.where(samples.isfinite().all(1), share, math.nan)


def data_copying_error(samples: int, held_out: int) -> float:
    """The standard error of `data_copying` where nothing was memorised: sqrt((M + R + 1) / 12 M R).

    That of U over MR (Mann & Whitney 1947), without ties.
    """
    return math.sqrt((samples + held_out + 1) / (12 * samples * held_out))
