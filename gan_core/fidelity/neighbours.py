"""Scores from pairs of features: kernel inception distance, precision, recall, density and coverage.

All functions are pure and work lane by lane: a lane that is not finite scores NaN and affects no other. The products of
all pairs are formed once, after the mean of the real features is subtracted, in the type of the features: float64 or
float32. In float32 the kernel distance is off by less than 1e-5 of the mean kernel, and the other scores by the few
pairs within 1e-5 of the radius of a ball. Both are far below the standard errors, and a test bounds them.
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

COPY_ROUNDINGS = 16  # rounding errors of a squared norm; two samples that are no farther apart count as copies


@dataclass(frozen=True)
class _Set:
    """A set of features [n, D] minus the real mean, with their squared norms [n] and terms [n].

    The kernel's base x.y/D + 1 of the uncentred features equals the centred x.y/D + term_i + term_j.
    """

    features: Tensor
    squares: Tensor
    terms: Tensor

    @property
    def size(self) -> int:
        """D, the number of features."""
        return self.features.shape[1]


def _set(features: Tensor, middle: Tensor, kind: torch.dtype) -> _Set:
    """The `_Set` of features [n, D]. middle: float64 [D], the mean of the real features."""
    centred = features.double() - middle
    terms = (centred @ middle + middle.square().sum() / 2) / features.shape[1] + 0.5
    return _Set(centred.to(kind), centred.square().sum(1).to(kind), terms.to(kind))


class _Reader(Protocol):
    """Something that reads the products of all pairs, a strip of rows at a time, in order."""

    def read(self, start: int, products: Tensor) -> None:
        """products: x.y of the m rows from start on, [m, n]. A reader must not modify it, for others read it too."""
        ...


def _form_products(one: _Set, other: _Set, readers: list[_Reader]) -> None:
    """Forms the product of each pair of `one` [M, D] and `other` [n, D] once and shows it to all readers."""
    buffer = _strip(one, other)
    for start in range(0, len(one.features), len(buffer)):
        part = one.features[start : start + len(buffer)]
        products = torch.mm(part, other.features.T, out=buffer[: len(part)])
        for reader in readers:
            reader.read(start, products)


def _strip(one: _Set, other: _Set) -> Tensor:
    """A buffer for the rows that are formed at once."""
    count = len(other.features)
    return one.features.new_empty(min(rows_at_once(one.features, count), len(one.features)), count)


class _KernelSums:
    """Sums of the kernel (x.y/D + 1)^3 over all pairs, without those of a sample with itself."""

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
    """The squared distance of each sample to its k-th nearest neighbour within its own set."""

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
    """The (k + 1)-th smallest number of each row of [m, n]: [m]. The first is the distance to the sample itself.

    by_numpy: use NumPy's partition, which reorders the strip and takes half the time of topk; None: only on the CPU.
    """
    if by_numpy is None:
        by_numpy = strip.device.type == "cpu"
    if not by_numpy:
        return strip.topk(k + 1, largest=False).values[:, k]
    strip.numpy().partition(k, axis=1)
    return strip[:, k].clone()


@dataclass(frozen=True)
class RealNeighbours:
    """Real features [R, D], and the squared radius [R] of the ball around each, which reaches to its k-th neighbour.

    middle: float64 [D], their mean; within: sums of the kernel over their pairs. The features and radii are in float64
    or float32, as the features were given.
    """

    features: Tensor
    middle: Tensor
    squared_radii: Tensor
    within: PairSums
    k: int

    def to(self, device: torch.device | str) -> "RealNeighbours":
        """A copy on another device, or this object if it is there already."""
        if self.features.device == torch.device(device):
            return self
        within = PairSums(*(part.to(device) for part in (self.within.rows, self.within.columns, self.within.squares)))
        radii = self.squared_radii.to(device)
        return RealNeighbours(self.features.to(device), self.middle.to(device), radii, within, self.k)


def real_neighbours(real: Tensor, k: int = NEIGHBOURS) -> RealNeighbours:
    """The real side of `pair_scores`, computed once for all lanes and rungs. Raises ValueError unless 1 <= k < R.

    If a sample has k or more copies, the ball to its k-th neighbour would have radius 0, and no sample could cover it.
    Its ball then reaches to the nearest sample that is not a copy: the smallest ball that holds k others and has an
    interior. Copies keep their weight, because the distribution does produce them that often.
    """
    middle = real.double().mean(0)
    own = _set(real, middle, working_type(real))
    kernel, radii = _KernelSums(own, own), _Radii(own, k)
    _form_products(own, own, [kernel, radii])
    return RealNeighbours(real, middle, _beyond_copies(own, radii.squared()), kernel.sums(), k)


def _beyond_copies(own: _Set, squared: Tensor) -> Tensor:
    """Squared radii [n]; those that are 0 up to rounding are replaced by the distance to the nearest non-copy."""
    rounding = COPY_ROUNDINGS * torch.finfo(squared.dtype).eps * own.squares
    for rows in (squared <= rounding).nonzero().flatten().split(rows_at_once(own.features, len(own.features))):
        distances = own.squares + own.squares[rows, None] - 2 * own.features[rows] @ own.features.T
        nearest = distances.masked_fill(distances <= rounding[rows, None], math.inf).amin(1)
        squared[rows] = torch.where(nearest.isfinite(), nearest, squared[rows])
    return squared


class _Balls:
    """Which samples are in balls of real samples, and which real samples in balls of samples; radii: [M], squared."""

    def __init__(self, one: _Set, radii: Tensor, other: _Set, real: RealNeighbours) -> None:
        self._one, self._other, self._radii = one, other, radii[:, None]
        self._real_radii, self._k = real.squared_radii.to(radii.dtype), real.k
        self._strips = _strip(one, other), _strip(one, other)
        self._inside: list[Tensor] = []  # for each sample the number of real balls that it is in
        self._nearest = torch.full_like(other.squares, math.inf)
        self._deepest = torch.full_like(other.squares, math.inf)  # negative for real samples in a ball of a sample

    def read(self, start: int, products: Tensor) -> None:
        rows = slice(start, start + len(products))
        squared, inside = (strip[: len(products)] for strip in self._strips)
        torch.add(self._other.squares, products, alpha=-2, out=squared)
        squared.add_(self._one.squares[rows, None]).clamp_min_(0)
        # Writing a comparison as numbers and summing them takes a sixth of the time of counting booleans.
        self._inside.append(torch.lt(squared, self._real_radii, out=inside).sum(1))
        self._nearest = torch.minimum(self._nearest, squared.amin(0))
        self._deepest = torch.minimum(self._deepest, squared.sub_(self._radii[rows]).amin(0))

    def scores(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Precision, recall, density and coverage."""
        return _shares(torch.cat(self._inside).double(), self._nearest < self._real_radii, self._deepest, self._k)


def _shares(inside: Tensor, covered: Tensor, depth: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Precision, recall, density and coverage.

    inside: float64 [M], the number of real balls that each sample is in; covered: [R], whether a real sample's ball
    holds a sample; depth: [R], negative if a real sample lies in a ball of a sample.
    """
    precision, recall = (inside > 0).double().mean(), (depth < 0).double().mean()
    return precision, recall, inside.mean() / k, covered.double().mean()


@dataclass(frozen=True)
class NeighbourScores:
    """The scores of `prdc`, each [L]. Density lies in [0, R/k] and is 1 for real samples; the rest lie in [0, 1]."""

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor


def prdc(features: Tensor, real: RealNeighbours) -> NeighbourScores:
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020) of features [L, M, D].

    The ball around each sample reaches to its k-th nearest neighbour within its own set. Precision is the share of
    samples inside any real ball; recall is the share of real samples inside any ball of a sample; density is the mean
    number of real balls that a sample is in, over k; coverage is the share of real balls that hold a sample. Density
    and coverage of real samples are known (1 and `coverage_null`); precision and recall have no such value. Raises
    ValueError unless k < M.
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
    """The kernel inception distance with its standard errors, and `prdc`, from the same products: each [L].

    features [L, M, D], on real's device. The distance is the unbiased MMD^2 with the kernel (x.y/D + 1)^3 (Binkowski et
    al. 2018, equation 4). All samples enter one U-statistic, without subsets. It is unbiased, so its floor is 0 at any
    M and R, and it can be negative. Between lanes that are compared with the same real set, the latent error of
    `Discrepancy` counts. Raises ValueError unless k < M, and with fewer than 4 samples on a side.
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
    """The scores of `pair_scores` for one lane, computed in C from the products."""
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
    """The expected coverage of samples that are drawn from the real distribution itself.

    Exactly 1 - prod_{j=1..k} (R - j)/(M + R - j): a ball stays empty if the k nearest neighbours of its centre, among
    M samples and R - 1 other real ones, are all real (Naeem et al. 2020 derive the same). It tends to 1 - 2^-k if
    M = R.
    """
    return 1 - math.prod((real_samples - j) / (samples + real_samples - j) for j in range(1, k + 1))
