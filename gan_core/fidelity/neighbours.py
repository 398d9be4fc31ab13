"""Scores made of pairs of features: kernel distance, and precision to coverage.

Pure functions, lane by lane; a lane that is not finite scores NaN and touches no other. Products of pairs are formed
once, about the mean of the real features, in the features' own type: float64, or float32. In float32 the kernel
distance is off by less than 1e-5 of the mean kernel, and a share by the few pairs that stand within 1e-5 of a ball's
radius: both far below the scores' own errors, and a test bounds them against float64.
L lanes, M samples, R real samples, D features, k neighbours.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gan_core.data.enough_images import NEIGHBOURS
from gan_core.fidelity.discrepancy import Discrepancy, PairSums, discrepancy, each_lane, rows_at_once, working_type
from gan_core.fidelity.pairs import PairReader, read_in_c

COPY_ROUNDINGS = 16  # of a squared norm: two samples that are no farther apart are copies


@dataclass(frozen=True)
class _Set:
    """Features [n, D] less the real mean; their squared norms [n]; and terms [n] with which the kernel's base
    x.y/D + 1 of uncentred features is the centred x.y/D + term_i + term_j.
    """

    features: Tensor
    squares: Tensor
    terms: Tensor

    @property
    def size(self) -> int:
        """D."""
        return self.features.shape[1]


def _set(features: Tensor, middle: Tensor, kind: torch.dtype) -> _Set:
    """Of features [n, D]; middle: float64 [D]."""
    centred = features.double() - middle
    terms = (centred @ middle + middle.square().sum() / 2) / features.shape[1] + 0.5
    return _Set(centred.to(kind), centred.square().sum(1).to(kind), terms.to(kind))


class _Reader(Protocol):
    """Reads the products of all pairs, a strip of rows at a time, in order."""

    def read(self, start: int, products: Tensor) -> None:
        """products: x.y of the rows from start on, [m, n]; it must stay as it is."""
        ...


def _form_products(one: _Set, other: _Set, readers: list[_Reader]) -> None:
    """Shows all readers the product of each pair of one's [M, D] and other's [n, D]."""
    buffer = _strip(one, other)
    for start in range(0, len(one.features), len(buffer)):
        part = one.features[start : start + len(buffer)]
        products = torch.mm(part, other.features.T, out=buffer[: len(part)])
        for reader in readers:
            reader.read(start, products)


def _strip(one: _Set, other: _Set) -> Tensor:
    """Room for as many rows as are formed at once."""
    count = len(other.features)
    return one.features.new_empty(min(rows_at_once(one.features, count), len(one.features)), count)


class _KernelSums:
    """Sums of the kernel (x.y/D + 1)^3; pairs of a sample with itself are left out where one is other."""

    def __init__(self, one: _Set, other: _Set) -> None:
        self._one, self._other, self._same = one, other, one is other
        self._strip = _strip(one, other)
        self._rows: list[Tensor] = []
        self._columns = torch.zeros(len(other.features), dtype=torch.float64, device=one.features.device)
        self._squares: list[Tensor] = []

    def read(self, start: int, products: Tensor) -> None:
        strip = self._strip[: len(products)]
        torch.add(self._other.terms, products, alpha=1 / self._one.size, out=strip)
        strip.add_(self._one.terms[start : start + len(strip), None]).pow_(3)
        if self._same:
            strip.diagonal(start).zero_()
        else:
            self._columns += strip.sum(0)
        self._rows.append(strip.sum(1).double())
        self._squares.append(strip.flatten().dot(strip.flatten()).double())

    def sums(self) -> PairSums:
        rows = torch.cat(self._rows)
        return PairSums(rows, rows if self._same else self._columns, torch.stack(self._squares).sum())


def _check_neighbours(own: _Set, k: int) -> None:
    if not 1 <= k < len(own.features):
        raise ValueError(f"a k-th neighbour needs 1 <= k < samples, got k {k} with {len(own.features)} samples")


class _Radii:
    """The squared distance of each sample to its k-th nearest other one; the nearest of all is itself."""

    def __init__(self, own: _Set, k: int) -> None:
        _check_neighbours(own, k)
        self._own, self._k, self._strip = own, k, _strip(own, own)
        self._nearest: list[Tensor] = []

    def read(self, start: int, products: Tensor) -> None:
        strip = self._strip[: len(products)]
        torch.add(self._own.squares, products, alpha=-2, out=strip)
        self._nearest.append(_kth_smallest(strip, self._k))

    def squared(self) -> Tensor:
        return torch.cat(self._nearest).add_(self._own.squares).clamp_min_(0)


def _kth_smallest(strip: Tensor, k: int, *, by_numpy: bool | None = None) -> Tensor:
    """The (k + 1)-th smallest number of each row of [m, n]: [m]. The strip is lost. by_numpy: by its partition, as on
    the CPU, in half the time of topk; None: as the strip's device has it.
    """
    if by_numpy is None:
        by_numpy = strip.device.type == "cpu"
    if not by_numpy:
        return strip.topk(k + 1, largest=False).values[:, k]
    strip.numpy().partition(k, axis=1)
    return strip[:, k].clone()


@dataclass(frozen=True)
class RealNeighbours:
    """Real features [R, D] with the squared radius [R] of each one's ball, which reaches to its k-th nearest other.

    middle: their mean, float64 [D]; within: sums of the kernel over their pairs; float64, or float32 as they were.
    """

    features: Tensor
    middle: Tensor
    squared_radii: Tensor
    within: PairSums
    k: int

    def to(self, device: torch.device | str) -> "RealNeighbours":
        """The same on another device; where they are there already, themselves."""
        if self.features.device == torch.device(device):
            return self
        within = PairSums(*(part.to(device) for part in (self.within.rows, self.within.columns, self.within.squares)))
        radii = self.squared_radii.to(device)
        return RealNeighbours(self.features.to(device), self.middle.to(device), radii, within, self.k)


def real_neighbours(real: Tensor, k: int = NEIGHBOURS) -> RealNeighbours:
    """The real side of `pair_scores`, computed once for all lanes and rungs. Raises ValueError unless 1 <= k < R.

    Where k or more others are copies of a sample, the ball to its k-th nearest would be empty, and nothing could ever
    cover it. It then reaches to the nearest that is no copy: the smallest ball that holds k others and has an inside.
    All samples keep their weight, for the distribution does draw copies so often; every other ball is as it was.
    """
    middle = real.double().mean(0)
    own = _set(real, middle, working_type(real))
    kernel, radii = _KernelSums(own, own), _Radii(own, k)
    _form_products(own, own, [kernel, radii])
    return RealNeighbours(real, middle, _beyond_copies(own, radii.squared()), kernel.sums(), k)


def _beyond_copies(own: _Set, squared: Tensor) -> Tensor:
    """Squared radii [n], where they are 0 up to rounding those to the nearest sample that is farther away than that."""
    rounding = COPY_ROUNDINGS * torch.finfo(squared.dtype).eps * own.squares
    for rows in (squared <= rounding).nonzero().flatten().split(rows_at_once(own.features, len(own.features))):
        distances = own.squares + own.squares[rows, None] - 2 * own.features[rows] @ own.features.T
        nearest = distances.masked_fill(distances <= rounding[rows, None], math.inf).amin(1)
        squared[rows] = torch.where(nearest.isfinite(), nearest, squared[rows])
    return squared


def kernel_distance(features: Tensor, real: Tensor) -> Discrepancy:
    """Kernel inception distance and its standard errors: unbiased MMD^2 with the kernel (x.y/D + 1)^3, each [L].

    features [L, M, D], real [R, D] (Binkowski et al. 2018, equation 4). All samples make one U-statistic, no
    subsets. Unbiased: its floor is 0 at any M and R, and it can be negative. The error is over fresh draws of both
    sets; between lanes that are compared with the same real set the latent error counts. Raises ValueError with fewer
    than 4 samples on a side.
    """
    middle, kind = real.double().mean(0), working_type(features)
    other = _set(real, middle, kind)
    within = _KernelSums(other, other)
    _form_products(other, other, [within])

    def score(lane: Tensor) -> Discrepancy:
        one = _set(lane, middle, kind)
        own, cross = _KernelSums(one, one), _KernelSums(one, other)
        _form_products(one, one, [own])
        _form_products(one, other, [cross])
        return discrepancy(own.sums(), cross.sums(), within.sums())

    return Discrepancy(*each_lane(score, features))


class _Balls:
    """Which samples are in real balls, and which real samples are in a sample's ball; radii: of the samples, [M]."""

    def __init__(self, one: _Set, radii: Tensor, other: _Set, real: RealNeighbours) -> None:
        self._one, self._other, self._radii = one, other, radii[:, None]
        self._real_radii, self._k = real.squared_radii.to(radii.dtype), real.k
        self._strips = _strip(one, other), _strip(one, other)
        self._inside: list[Tensor] = []  # for each sample, how many real balls it is in
        self._nearest = torch.full_like(other.squares, math.inf)
        self._deepest = torch.full_like(other.squares, math.inf)  # how far outside all samples' balls

    def read(self, start: int, products: Tensor) -> None:
        rows = slice(start, start + len(products))
        squared, inside = (strip[: len(products)] for strip in self._strips)
        torch.add(self._other.squares, products, alpha=-2, out=squared)
        squared.add_(self._one.squares[rows, None]).clamp_min_(0)
        # A comparison written as numbers and summed takes a sixth of the time of one that is counted.
        self._inside.append(torch.lt(squared, self._real_radii, out=inside).sum(1))
        self._nearest = torch.minimum(self._nearest, squared.amin(0))
        self._deepest = torch.minimum(self._deepest, squared.sub_(self._radii[rows]).amin(0))

    def scores(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Precision, recall, density and coverage."""
        return _shares(torch.cat(self._inside).double(), self._nearest < self._real_radii, self._deepest, self._k)


def _shares(inside: Tensor, covered: Tensor, depth: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Precision, recall, density and coverage. inside: for each sample, how many real balls it is in, float64; covered:
    for each real one, whether its ball has a sample in it; depth: how far outside all samples' balls it is.
    """
    precision, recall = (inside > 0).double().mean(), (depth < 0).double().mean()
    return precision, recall, inside.mean() / k, covered.double().mean()


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
    kind = working_type(features)
    other = _set(real.features, real.middle, kind)

    def score(lane: Tensor) -> tuple[Tensor, ...]:
        one = _set(lane, real.middle, kind)
        radii = _Radii(one, real.k)
        _form_products(one, one, [radii])
        balls = _Balls(one, radii.squared(), other, real)
        _form_products(one, other, [balls])
        return balls.scores()

    return NeighbourScores(*each_lane(score, features))


def pair_scores(features: Tensor, real: RealNeighbours) -> tuple[Discrepancy, NeighbourScores]:
    """`kernel_distance` and `prdc`, of the same products: each [L].

    features [L, M, D], on real's device. Raises ValueError unless k < M, and with fewer than 4 samples on a side.
    """
    kind = working_type(features)
    other = _set(real.features, real.middle, kind)
    in_c = read_in_c(other.features, real.k)

    def score(lane: Tensor) -> tuple[Tensor, ...]:
        one = _set(lane, real.middle, kind)
        if in_c:
            return _scores_in_c(one, other, real)
        own, cross, radii = _KernelSums(one, one), _KernelSums(one, other), _Radii(one, real.k)
        _form_products(one, one, [own, radii])
        balls = _Balls(one, radii.squared(), other, real)
        _form_products(one, other, [cross, balls])
        return *discrepancy(own.sums(), cross.sums(), real.within), *balls.scores()

    value, error, latent_error, *shares = each_lane(score, features)
    return Discrepancy(value, error, latent_error), NeighbourScores(*shares)


def _scores_in_c(one: _Set, other: _Set, real: RealNeighbours) -> tuple[Tensor, ...]:
    """`pair_scores` of one lane, read in C."""
    _check_neighbours(one, real.k)
    mine = {"terms": one.terms, "squares": one.squares}
    own = PairReader(real.k, one.size, {**mine, "other_terms": one.terms, "other_squares": one.squares}, own=True)
    _form_products(one, one, [own])
    radii = own["nearest"].add(one.squares).clamp_min_(0)
    theirs = {"other_terms": other.terms, "other_squares": other.squares}
    theirs["other_radii"] = real.squared_radii.to(radii.dtype)
    cross = PairReader(real.k, one.size, {**mine, **theirs, "radii": radii}, own=False)
    _form_products(one, other, [cross])
    kernel = discrepancy(own.sums(), cross.sums(), real.within)
    return *kernel, *_shares(cross["inside"], cross["closest"] < theirs["other_radii"], cross["depth"], real.k)


def coverage_null(samples: int, real_samples: int, k: int = NEIGHBOURS) -> float:
    """What coverage is expected to be when the samples are drawn from the real distribution itself.

    1 - prod_{j=1..k} (R - j)/(M + R - j), exactly: a ball stays empty when its centre's k nearest of the M samples and
    R - 1 other real ones are all real (Naeem et al. 2020 derive the same). Tends to 1 - 2^-k where M = R.
    """
    return 1 - math.prod((real_samples - j) / (samples + real_samples - j) for j in range(1, k + 1))
