"""Unbiased squared discrepancies of two sets of samples, from sums over pairs, and the energy distance.

All functions are pure and work lane by lane: a lane that is not finite scores NaN and affects no other. Nothing is
copied to the host. L lanes, M samples, R real samples, d numbers per sample.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

ROWS_AT_ONCE = 64  # rows of the matrix of all pairs on the CPU, so that a strip of it stays in the cache
PAIRS_AT_ONCE = 2**26  # pairs on a GPU, where as few calls as possible cost least


def rows_at_once(like: Tensor, columns: int) -> int:
    """The number of rows of the matrix of all pairs that are formed at once on the device of `like`."""
    return ROWS_AT_ONCE if like.device.type == "cpu" else max(1, PAIRS_AT_ONCE // columns)


def working_type(samples: Tensor) -> torch.dtype:
    """The type in which pairs are computed: float64 for float64 samples, else float32. Sums over rows are float64."""
    return torch.float64 if samples.dtype == torch.float64 else torch.float32


def each_lane(score: Callable[[Tensor], tuple[Tensor, ...]], samples: Tensor) -> tuple[Tensor, ...]:
    """Scores each lane [M, D] of samples [L, M, D]: each score is float64 [L], NaN for lanes that are not finite.

    Such a lane is replaced by zeros and scored too, so that nothing waits for a GPU to say which lanes are finite.
    """
    finite = samples.isfinite().flatten(1).all(1)
    safe = torch.where(finite[:, None, None], samples, 0.0)
    columns = zip(*(score(lane) for lane in safe), strict=True)
    return tuple(torch.where(finite, torch.stack(column).double(), math.nan) for column in columns)


@dataclass(frozen=True)
class PairSums:
    """float64 sums of a kernel over pairs of M and R samples: per row [M], per column [R], and of all squares []."""

    rows: Tensor
    columns: Tensor
    squares: Tensor


class Discrepancy(NamedTuple):
    """An unbiased squared discrepancy with two standard errors.

    error: if both sets were drawn anew. latent_error: if only the samples were, the real set being fixed; this is what
    other latents would change, and the error that counts when lanes are compared.
    """

    value: Tensor
    error: Tensor
    latent_error: Tensor


def discrepancy(own: PairSums, cross: PairSums, real: PairSums) -> Discrepancy:
    """The unbiased squared discrepancy E k(x, x') + E k(y, y') - 2 E k(x, y), and its standard errors.

    The variance is that of Hoeffding's decomposition, whose parts are uncorrelated: with the witness function
    f(x) = E k(x, x') - E k(x, y) and h the kernel centred in both arguments, it is
    4 Var f(x)/M + 4 Var f(y)/R + 2 E h_xx^2/M(M-1) + 2 E h_yy^2/R(R-1) + 4 E h_xy^2/MR. Each part is estimated without
    bias (h within a set by U-centring, Szekely & Rizzo 2014). The first two are differences of estimates and are taken
    as 0 if negative. The error is accurate to 15% if the sets differ. If they are alike it is too large on average: by
    6% in 64 independent features, by up to 50% in 1-D. With y fixed, only the two terms in x alone remain.
    Raises ValueError with fewer than 4 samples on a side.
    """
    m, r = len(cross.rows), len(cross.columns)
    if min(m, r) < 4:
        raise ValueError(f"a discrepancy and its error need at least 4 samples on each side, got {m} and {r}")
    total = cross.rows.sum()
    value = own.rows.sum() / (m * (m - 1)) + real.rows.sum() / (r * (r - 1)) - 2 * total / (m * r)
    centred = cross.squares - cross.rows.square().sum() / r - cross.columns.square().sum() / m + total**2 / (m * r)
    spread = centred / ((m - 1) * (r - 1))
    own_spread, real_spread = _spread_within(own), _spread_within(real)
    to_these = (own.rows / (m - 2) - cross.rows / r).var() - own_spread / (m - 2)
    witness = to_these - spread / r
    real_witness = (real.rows / (r - 2) - cross.columns / m).var() - real_spread / (r - 2) - spread / m
    first = (4 * witness / m + 4 * real_witness / r).clamp_min(0)
    second = 2 * own_spread / (m * (m - 1)) + 2 * real_spread / (r * (r - 1)) + 4 * spread / (m * r)
    latent = (4 * to_these / m).clamp_min(0) + 2 * own_spread / (m * (m - 1))
    return Discrepancy(value, (first + second).clamp_min(0).sqrt(), latent.clamp_min(0).sqrt())


def _spread_within(sums: PairSums) -> Tensor:
    """An unbiased estimate of the mean square of a kernel within one set, centred in both arguments."""
    m, total = len(sums.rows), sums.rows.sum()
    centred = sums.squares - 2 / (m - 2) * sums.rows.square().sum() + total**2 / ((m - 1) * (m - 2))
    return centred / (m * (m - 3))


@dataclass(frozen=True)
class EnergyReference:
    """The real side of `energy_distance`, computed once for all lanes and rungs, in float64.

    middle: [d], the mean; samples: [R, d] minus the mean, sorted in 1-D; totals: [R + 1], the cumulative sums of their
    first coordinates; within: the sums over pairs of real samples.
    """

    middle: Tensor
    samples: Tensor
    totals: Tensor
    within: PairSums

    def to(self, device: torch.device | str) -> "EnergyReference":
        """A copy on another device, or this object if it is there already."""
        if self.middle.device == torch.device(device):
            return self
        within = PairSums(*(part.to(device) for part in (self.within.rows, self.within.columns, self.within.squares)))
        return EnergyReference(self.middle.to(device), self.samples.to(device), self.totals.to(device), within)


def energy_reference(real: Tensor) -> EnergyReference:
    """The `EnergyReference` of real samples [R, d]. They are centred, which keeps the sums of squares small."""
    middle = real.double().mean(0)
    centred = real.double() - middle
    if real.shape[1] > 1:
        return EnergyReference(middle, centred, _running(centred[:, 0]), _distances_within(centred))
    values = rising(centred[:, 0])
    totals = _running(values)
    return EnergyReference(middle, values.unsqueeze(1), totals, _sums_within(values, totals))


def energy_distance(samples: Tensor, real: Tensor | EnergyReference) -> Discrepancy:
    """Squared energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'| and its standard errors: each [L], float64.

    samples [L, M, d], real [R, d], d small (Szekely & Rizzo 2013). The value has the unit of the samples. It is the
    unbiased U-statistic, so its floor is 0 and it can be negative. In 1-D it equals 2 * integral (F - G)^2 and costs a
    sort, in float64. Otherwise all pairs are formed, each distance in the type of the samples: with float32 samples the
    error of the value is below 1e-6 of the mean distance. The standard errors are those of `discrepancy`. real are
    taken to be draws: quantiles, which do not vary, lower the value by E|Y - Y'|/R and enlarge the standard error, so
    use at least ten times as many quantiles as samples. Raises ValueError with fewer than 4 samples on a side.
    """
    known = (energy_reference(real) if isinstance(real, Tensor) else real).to(samples.device)
    kind = working_type(samples)
    other = known.samples.to(kind)

    def score(lane: Tensor) -> Discrepancy:
        centred = lane.double() - known.middle
        if lane.shape[1] == 1:
            values = rising(centred[:, 0])
            totals = _running(values)
            return discrepancy(_sums_within(values, totals), _sums_between(values, totals, known), known.within)
        one = centred.to(kind)
        return discrepancy(_distances_within(one), _distances_between(one, other), known.within)

    return Discrepancy(*each_lane(score, samples))


def rising(values: Tensor) -> Tensor:
    """Values sorted along the last axis, NaN last. On the CPU NumPy's sort is ten times as fast as torch's."""
    if values.device.type != "cpu":
        return values.sort(-1).values
    return torch.from_numpy(np.sort(values.numpy(), axis=-1))


def _running(values: Tensor) -> Tensor:
    """The cumulative sums of values [R], starting with 0: [R + 1]."""
    return torch.cat((values.new_zeros(1), values.cumsum(0)))


def _sums_within(values: Tensor, totals: Tensor) -> PairSums:
    """The sums of -|x - x'| over all pairs of sorted values [M]; the i-th has i values below it."""
    count = len(values)
    below = torch.arange(count, device=values.device)
    rows = values * (count - 2 * below) + 2 * totals[:-1] - totals[-1]
    squares = 2 * count * values.square().sum() - 2 * totals[-1].square()
    return PairSums(rows, rows, squares)


def _sums_between(values: Tensor, totals: Tensor, real: EnergyReference) -> PairSums:
    """The sums of -|x - y| over pairs of sorted values [M] and the reference's [R], without forming the pairs."""
    others, other_totals = real.samples[:, 0], real.totals
    m, r = len(values), len(others)
    at_most = torch.searchsorted(others, values, right=True)  # the number of y that are at most x_i
    counted = torch.zeros(r + 1, dtype=torch.int64, device=values.device)
    below = counted.scatter_add_(0, at_most, torch.ones_like(at_most))[:-1].cumsum(0)  # the number of x below y_j
    rows, columns = _to_all(values, at_most, other_totals), _to_all(others, below, totals)
    squares = r * values.square().sum() + m * others.square().sum() - 2 * totals[-1] * other_totals[-1]
    return PairSums(rows, columns, squares)


def _to_all(values: Tensor, below: Tensor, totals: Tensor) -> Tensor:
    """For each x of values [M] the sum of -|x - y| over all n values y: x (n - 2 below) + 2 totals[below] - totals[n].

    below [M]: the number of y below x; totals [n + 1]: the cumulative sums of the sorted y. It is computed in place,
    which takes a ninth of the time for a hundred thousand numbers.
    """
    sums = below.double().mul_(-2).add_(len(totals) - 1).mul_(values)
    return sums.add_(totals.index_select(0, below), alpha=2).sub_(totals[-1])


def _distances_within(one: Tensor) -> PairSums:
    """The sums of -|x - x'| over all pairs of samples [M, d]; each distance is computed once."""
    count, step = len(one), rows_at_once(one, len(one))
    sums = torch.zeros(count, dtype=torch.float64, device=one.device)
    axes, strips = one.T.contiguous(), one.new_empty(2, min(step, count) * count)
    for start in range(0, count, step):
        strip = _distances(axes[:, start : start + step], axes[:, start:], strips)
        sums[start : start + step] -= strip.sum(1)
        sums[start + step :] -= strip[:, step:].sum(0)
    return PairSums(sums, sums, _sum_of_squares(one, one))


def _distances_between(one: Tensor, other: Tensor) -> PairSums:
    """The sums of -|x - y| over all pairs of samples [M, d] and [R, d]."""
    rows, columns = [], torch.zeros(len(other), dtype=torch.float64, device=one.device)
    step = rows_at_once(one, len(other))
    axes, strips = other.T.contiguous(), one.new_empty(2, min(step, len(one)) * len(other))
    for part in one.T.contiguous().split(step, dim=1):
        strip = _distances(part, axes, strips)
        rows.append(strip.sum(1).double().neg_())
        columns -= strip.sum(0)
    return PairSums(torch.cat(rows), columns, _sum_of_squares(one, other))


def _distances(one: Tensor, other: Tensor, strips: Tensor) -> Tensor:
    """|x - y| of all pairs of [d, m] and [d, R]: [m, R]. Axis by axis, four times as fast as torch.cdist for d = 2.

    strips: buffers for the result and for one axis, each of at least m R numbers.
    """
    shape = one.shape[1], other.shape[1]
    squares, apart = (strip[: math.prod(shape)].view(shape) for strip in strips)
    torch.sub(one[0, :, None], other[0], out=squares).square_()
    for x, y in zip(one[1:], other[1:], strict=True):
        torch.sub(x[:, None], y, out=apart)
        squares.addcmul_(apart, apart)
    return squares.sqrt_()


def _sum_of_squares(one: Tensor, other: Tensor) -> Tensor:
    """The sum of |x - y|^2 over all pairs of [M, d] and [R, d], in closed form and in float64."""
    one, other = one.double(), other.double()
    return len(other) * one.square().sum() + len(one) * other.square().sum() - 2 * one.sum(0).dot(other.sum(0))
