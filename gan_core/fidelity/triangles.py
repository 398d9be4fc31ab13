"""Whether samples are triangles of the published recipe, and which: the two scores that its truth allows.

A triangle of `gan_core.data.polygons` is three angles, and an image gives them back: no network is needed. n images,
V corners, P pixels; L lanes, M samples, R held-out images.
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

DELTA = 0.75  # the L2 distance of images in [0, 1] below which a sample counts as a triangle (Lucic et al.)
NEIGHBOURS = 5  # k of Naeem et al. 2020
GRID_ANGLES = 8  # of each corner, for the triangles that a fit may start from
BLURS_PIXELS = (2.0, 1.5, 1.0, 1.0)  # of the drawn edges, one Gauss-Newton step each: wide ones see an edge from afar
LONGEST_STEP = math.radians(15.0)
DAMPING = 1e-3  # added to the normal equations, which are of the order of 100 a radian^2
IMAGES_AT_ONCE = 100


@dataclass(frozen=True)
class TriangleReference:
    """Held-out triangles as recall sees them. angles [R, 3] in radians; radii [R]: how far each one's NEIGHBOURS-th
    nearest of the others is.
    """

    angles: Tensor
    radii: Tensor


def triangle_reference(held_out: Tensor) -> TriangleReference:
    """The reference of held-out images [R, 1, 28, 28] in [-1, 1], R > NEIGHBOURS: make it once, score many times.

    Raises ValueError where more than 1% of them are no triangles of the recipe, or there are too few.
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
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")  # products lose the small ones


@dataclass(frozen=True)
class TriangleScores:
    """One number a lane, [L], float64, NaN where a sample of the lane is not finite. precision and recall: 0 to 1, more
    is better; distance: the median of the samples' L2 distances to a triangle, images in [0, 1], less is better;
    distance_error: its standard error.
    """

    precision: Tensor
    recall: Tensor
    distance: Tensor
    distance_error: Tensor


def triangle_scores(samples: Tensor, reference: TriangleReference, delta: float = DELTA) -> TriangleScores:
    """The scores of samples [L, M, 1, 28, 28] in [-1, 1] that the truth about triangles allows.

    Precision, of Lucic et al. 2018: the share of samples closer than delta to the manifold of the recipe's triangles;
    a lower bound, for the closest triangle is fitted. Recall is not theirs, which searches G's latents by gradient
    descent: it is the coverage of Naeem et al. 2020 in the space of the three angles, the share of
    held-out triangles with an accepted sample nearer than their own fifth neighbour. It grows with M;
    `recall_ceiling` says what exact samples reach. Small networks stay at distances of 1 to 5 for half a million
    images: there precision and recall are 0 at the published delta, and distance is what tells them apart.
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
    """The recall expected of exact samples, whatever the distribution: 1 - (R-1)...(R-k) / (R+M-1)...(R+M-k).

    The chance that a held-out triangle's k nearest, among R-1 held-out ones and M samples, are not all held-out
    (Naeem et al. 2020): 0.969 for R = M = 2,000 and k = 5.
    """
    return 1 - math.comb(held_out - 1, NEIGHBOURS) / math.comb(held_out + samples - 1, NEIGHBOURS)


def fit_triangles(images: Tensor) -> tuple[Tensor, Tensor]:
    """The recipe's triangle that fits each image [n, 1, 28, 28] in [-1, 1] best: angles [n, 3] and distances [n].

    angles: radians, float64, always ones that the recipe can draw. distances: L2 between the image and that triangle,
    both in [0, 1]. Ours: the likest of a grid of triangles, then Gauss-Newton steps on edges less and less blurred.
    Measured on 24,000 real ones: nine of ten angles within 0.5 degrees; 0.04% of them, slivers, farther than DELTA.
    """
    ink = (1 - images.detach().cpu().double().flatten(1)) / 2
    seen = ink.clamp(0, 1)  # one value far out of range would outweigh all edges
    parts = zip(seen.split(IMAGES_AT_ONCE), _likest_of_grid(seen).split(IMAGES_AT_ONCE), strict=True)
    angles = torch.cat([_refined(*part) for part in parts])
    return angles, (ink - _drawn(angles)).square().sum(1).sqrt()


def _drawn(angles: Tensor) -> Tensor:
    """Exactly drawn triangles [n, 3] -> ink [n, P] in [0, 1]."""
    points = covered_points(triangle_vertices(angles.numpy()))
    return torch.from_numpy(points).flatten(1).double() / SUBSAMPLES**2


def _likest_of_grid(ink: Tensor) -> Tensor:
    shares = (np.arange(GRID_ANGLES) + 0.5) / GRID_ANGLES
    starts = SEGMENT_STARTS - ROTATION
    corners = starts[:, None] + shares * (SEGMENT_ENDS - starts)[:, None]
    grid = torch.from_numpy(np.stack(np.meshgrid(*corners), -1).reshape(-1, 3))
    drawn = _drawn(grid).float()
    likeness = torch.cat([part.float() @ drawn.T for part in ink.split(IMAGES_AT_ONCE)])
    return grid[(2 * likeness - drawn.square().sum(1)).argmax(1)]


def _refined(ink: Tensor, angles: Tensor) -> Tensor:
    """Gauss-Newton on the angles [n, 3], towards the image with this ink [n, P]."""
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
    """Ink [n, P] of triangles [n, 3] with edges ramped over blur_pixels, and its gradient by the angles [n, 3, P].

    Ink is max(0, sum of the three edges' ramps - 2): exact where at most one edge blurs a pixel, and in thin slivers.
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
    first = -(speed * inwards.unsqueeze(2)).sum(-1)  # [n, edge, angle]: what a turn adds to the depth at either end
    last = -(speed.roll(-1, 1) * inwards.unsqueeze(2)).sum(-1)
    maps = torch.cat((on_edge, on_edge * share.clamp(0, 1)), 1)  # [n, 6, P]
    return ink, torch.cat((first, last - first), 1).mT @ maps


def _possible(angles: Tensor) -> Tensor:
    """The angles [n, 3], moved where need be to ones that the recipe draws: in their segments, after one rotation."""
    starts, ends = torch.from_numpy(SEGMENT_STARTS), torch.from_numpy(SEGMENT_ENDS)
    middle = ((starts - angles).amax(1) + (ends - angles).amin(1)) / 2  # of the rotations that leave them in place
    rotation = middle.clamp(0, ROTATION).unsqueeze(1)
    return (angles + rotation).clamp(starts, ends) - rotation
