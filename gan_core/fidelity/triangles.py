"""Precision, recall and distance of generated triangles, which need no network because their true manifold is known.

A triangle of `gan_core.data.polygons` is defined by three angles, and these are recovered from an image. n images,
P pixels; L lanes, M samples, R held-out images.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gan_core.data.polygons import (
    CENTRE_PIXELS,
    RADIUS_PIXELS,
    ROTATION,
    SEGMENT_ENDS,
    SEGMENT_STARTS,
    SIZE_PIXELS,
    SUBSAMPLES,
    covered_points,
    triangle_vertices,
)
from gan_core.fidelity.standard_errors import median_error

DELTA = 0.75  # the L2 distance of images in [0, 1] up to which a sample counts as a triangle (Lucic et al.)
NEIGHBOURS = 5  # k of Naeem et al. 2020
GRID_ANGLES = 8  # angles per corner in the grid of triangles from which a fit starts
BLURS_PIXELS = (2.0, 1.5, 1.0, 1.0)  # of the drawn edges, one Gauss-Newton step each; a wide blur finds a distant edge
LONGEST_STEP = math.radians(15.0)
DAMPING = 1e-3  # added to the normal equations, which are of the order of 100 per radian^2
IMAGES_AT_ONCE = 100


@dataclass(frozen=True)
class TriangleReference:
    """Held-out triangles. angles: [R, 3], radians; radii: [R], the distance of each to its NEIGHBOURS-th neighbour."""

    angles: Tensor
    radii: Tensor


def triangle_reference(held_out: Tensor) -> TriangleReference:
    """The reference of held-out images [R, 1, 28, 28] in [-1, 1], R > NEIGHBOURS, made once for all lanes and rungs.

    Raises ValueError if there are too few, or if more than 1% of them are not triangles of the recipe.
    """
    if len(held_out) <= NEIGHBOURS:
        raise ValueError(f"held_out must have more than {NEIGHBOURS} triangles, got {len(held_out)}")
    angles, distances = fit_triangles(held_out)
    strangers = float((distances > DELTA).double().mean())
    if strangers > 0.01:
        raise ValueError(f"held_out must be triangles of the recipe, but {strangers:.0%} are not")
    radii = [_distances(part, angles).kthvalue(NEIGHBOURS + 1).values for part in angles.split(IMAGES_AT_ONCE)]
    return TriangleReference(angles, torch.cat(radii))


def _distances(one: Tensor, other: Tensor) -> Tensor:
    # Matrix products would lose the digits of small distances.
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")


@dataclass(frozen=True)
class TriangleScores:
    """Scores of triangles: each float64 [L], NaN for lanes whose samples are not finite.

    precision and recall lie in [0, 1], and more is better. distance is the median L2 distance of a sample to a
    triangle, for images in [0, 1], and less is better; distance_error is its standard error.
    """

    precision: Tensor
    recall: Tensor
    distance: Tensor
    distance_error: Tensor


def triangle_scores(samples: Tensor, reference: TriangleReference, delta: float = DELTA) -> TriangleScores:
    """Compares samples [L, M, 1, 28, 28] in [-1, 1] with the triangles of the recipe.

    Precision is that of Lucic et al. 2018: the share of samples within delta of the manifold of triangles; it is a
    lower bound, because the nearest triangle is found by a fit. Their recall searches the generator's latents by
    gradient descent. Recall here is the coverage of Naeem et al. 2020 in the space of the three angles: the share of
    held-out triangles with an accepted sample nearer than their fifth neighbour. It grows with M, and `recall_ceiling`
    is its expectation for exact samples. Small networks stay at distances of 1 to 5 for half a million images, where
    precision and recall are 0 at the published delta; only the distance then tells them apart.
    """
    scores = [_lane_scores(lane, reference, delta) for lane in samples.detach().cpu().unbind(0)]
    return TriangleScores(*torch.tensor(scores, dtype=torch.float64).unbind(1))


def _lane_scores(samples: Tensor, reference: TriangleReference, delta: float) -> tuple[float, ...]:
    if not samples.isfinite().all():
        return math.nan, math.nan, math.nan, math.nan
    angles, distances = fit_triangles(samples)
    accepted = angles[distances <= delta]
    distance, error = float(distances.quantile(0.5)), float(median_error(distances))
    if len(accepted) == 0:
        return 0.0, 0.0, distance, error
    nearest = torch.cat([_distances(part, accepted).amin(1) for part in reference.angles.split(IMAGES_AT_ONCE)])
    return len(accepted) / len(samples), float((nearest < reference.radii).double().mean()), distance, error


def recall_ceiling(samples: int, held_out: int) -> float:
    """The expected recall of exact samples of any distribution: 1 - (R-1)...(R-k) / (R+M-1)...(R+M-k).

    This is the probability that the k nearest neighbours of a held-out triangle, among R-1 held-out ones and M samples,
    are not all held-out (Naeem et al. 2020): 0.969 for R = M = 2,000 and k = 5.
    """
    return 1 - math.comb(held_out - 1, NEIGHBOURS) / math.comb(held_out + samples - 1, NEIGHBOURS)


def fit_triangles(images: Tensor) -> tuple[Tensor, Tensor]:
    """Fits a triangle of the recipe to each image [n, 1, 28, 28] in [-1, 1]: angles [n, 3] and distances [n].

    angles: float64, in radians, always some that the recipe can draw. distances: L2 between the image and the triangle,
    both in [0, 1]. The method is ours: the most similar triangle of a grid, then Gauss-Newton steps with less and less
    blurred edges. On 24,000 real triangles nine of ten angles are within 0.5 degrees, and 0.04% of the triangles, thin
    slivers, are farther than DELTA.
    """
    ink = (1 - images.detach().cpu().double().flatten(1)) / 2
    seen = ink.clamp(0, 1)  # a value far out of range would outweigh all edges
    parts = zip(seen.split(IMAGES_AT_ONCE), _most_similar_of_grid(seen).split(IMAGES_AT_ONCE), strict=True)
    angles = torch.cat([_refined(*part) for part in parts])
    return angles, (ink - _drawn(angles)).square().sum(1).sqrt()


def _drawn(angles: Tensor) -> Tensor:
    """The exact ink [n, P], in [0, 1], of triangles with angles [n, 3]."""
    points = covered_points(triangle_vertices(angles.numpy()))
    return torch.from_numpy(points).flatten(1).double() / SUBSAMPLES**2


def _most_similar_of_grid(ink: Tensor) -> Tensor:
    """The angles [n, 3] of the triangle of a grid that is nearest to each image with ink [n, P]."""
    shares = (np.arange(GRID_ANGLES) + 0.5) / GRID_ANGLES
    starts = SEGMENT_STARTS - ROTATION
    corners = starts[:, None] + shares * (SEGMENT_ENDS - starts)[:, None]
    grid = torch.from_numpy(np.stack(np.meshgrid(*corners), -1).reshape(-1, 3))
    drawn = _drawn(grid).float()
    products = torch.cat([part.float() @ drawn.T for part in ink.split(IMAGES_AT_ONCE)])
    return grid[(2 * products - drawn.square().sum(1)).argmax(1)]


def _refined(ink: Tensor, angles: Tensor) -> Tensor:
    """Improves the angles [n, 3] by Gauss-Newton steps towards the images with this ink [n, P]."""
    places = torch.arange(SIZE_PIXELS, dtype=torch.float64) + CENTRE_PIXELS
    rows, columns = torch.meshgrid(places, places, indexing="ij")
    points = torch.stack((rows, columns, torch.ones_like(rows))).flatten(1)  # [3, P]
    for blur in BLURS_PIXELS:
        covered, gradient = _soft_triangles(angles, points, blur)
        normal = gradient @ gradient.mT + DAMPING * torch.eye(3, dtype=torch.float64)
        step = torch.linalg.solve(normal, gradient @ (ink - covered).unsqueeze(-1)).squeeze(-1)
        angles = _possible(angles + step.clamp(-LONGEST_STEP, LONGEST_STEP))
    return angles


def _soft_triangles(angles: Tensor, points: Tensor, blur_pixels: float) -> tuple[Tensor, Tensor]:
    """The ink [n, P] of triangles [n, 3] with edges blurred over blur_pixels, and its gradient by the angles [n, 3, P].

    The ink is max(0, sum of the three edges' ramps - 2), which is exact if at most one edge blurs a pixel, and for thin
    slivers.
    """
    corners = torch.from_numpy(triangle_vertices(angles.numpy()))
    edges = corners.roll(-1, 1) - corners  # [n, 3, 2]
    length = edges.norm(dim=-1, keepdim=True)
    along = edges / length
    inwards = torch.stack((-along[..., 1], along[..., 0]), -1)
    depth = torch.cat((inwards, -(inwards * corners).sum(-1, keepdim=True)), -1) @ points  # [n, 3, P], in pixels
    share = torch.cat((along, -(along * corners).sum(-1, keepdim=True)), -1) / length @ points  # 0 at its first corner
    ramps = (depth / blur_pixels + 0.5).clamp(0, 1)
    ink = (ramps.sum(1) - 2).clamp_min(0)
    on_edge = ((ramps > 0) & (ramps < 1) & (ink > 0).unsqueeze(1)).double() / blur_pixels

    speed = RADIUS_PIXELS * torch.stack((-angles.sin(), angles.cos()), -1)  # [n, 3, 2], of a corner by its own angle
    speed = (torch.eye(3, dtype=torch.float64) - 1 / 3)[..., None] * speed.unsqueeze(1)  # [n, corner, angle, 2]
    first = -(speed * inwards.unsqueeze(2)).sum(-1)  # [n, edge, angle]: the derivative of the depth at either end
    last = -(speed.roll(-1, 1) * inwards.unsqueeze(2)).sum(-1)
    maps = torch.cat((on_edge, on_edge * share.clamp(0, 1)), 1)  # [n, 6, P]
    return ink, torch.cat((first, last - first), 1).mT @ maps


def _possible(angles: Tensor) -> Tensor:
    """The angles [n, 3], clipped to some that the recipe can draw: each in its segment, up to a common rotation."""
    starts, ends = torch.from_numpy(SEGMENT_STARTS), torch.from_numpy(SEGMENT_ENDS)
    middle = ((starts - angles).amax(1) + (ends - angles).amin(1)) / 2  # of the rotations that need no clipping
    rotation = middle.clamp(0, ROTATION).unsqueeze(1)
    return (angles + rotation).clamp(starts, ends) - rotation
