"""Whether samples are copies of training samples: nearest distances, and what they say. Pure functions, lane by lane.

L lanes, M samples, R held-out samples, T training samples, D features.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_core.fidelity.discrepancy import PAIRS_AT_ONCE

GROUP = 16  # training samples that are told apart only where one of them may be the nearest
REFERENCES_AT_ONCE = 1_024  # of one product: a multiple of GROUP


@dataclass(frozen=True)
class TrainingPlaces:
    """Training features laid out so that the nearest of them is looked up by products; made once for all lanes.

    features: [T, D]; middle: float32 [D], their mean; blocks: float32 [B, D + 1, n] of centred features with their
    squared norms as the last row, infinite where there is no more sample.
    """

    features: Tensor
    middle: Tensor
    blocks: Tensor

    def to(self, device: torch.device | str) -> "TrainingPlaces":
        """The same on another device; where they are there already, themselves."""
        if self.features.device == torch.device(device):
            return self
        return TrainingPlaces(self.features.to(device), self.middle.to(device), self.blocks.to(device))


def training_places(reference: Tensor) -> TrainingPlaces:
    """Of training features [T, D]. They are centred: an offset common to all would cost digits."""
    count, size = reference.shape
    middle = reference.float().mean(0)
    width = min(REFERENCES_AT_ONCE, -(-count // GROUP) * GROUP)
    rows = reference.new_zeros(-(-count // width) * width, size + 1, dtype=torch.float32)
    torch.sub(reference.float(), middle, out=rows[:count, :size])
    rows[:count, size] = rows[:count, :size].square().sum(1)
    rows[count:, size] = math.inf
    return TrainingPlaces(reference, middle, rows.view(-1, width, size + 1).mT.contiguous())


def nearest_distance(features: Tensor, reference: Tensor | TrainingPlaces) -> Tensor:
    """The distance of each sample [L, M, D] to its nearest neighbour in reference [T, D]: [L, M], float64.

    The neighbourhood (GROUP samples) is looked up in float32; the distances in it are computed from the differences in
    float64, so a copy's is 0. A lane that is not finite has NaN alone.
    """
    places = (training_places(reference) if isinstance(reference, Tensor) else reference).to(features.device)
    finite = features.isfinite().flatten(1).all(1)
    safe = torch.where(finite[:, None, None], features, 0.0)
    found = torch.stack([torch.cat([_nearest(part, places) for part in _parts(lane, places)]) for lane in safe])
    return torch.where(finite[:, None], found, math.nan)


def _parts(lane: Tensor, places: TrainingPlaces) -> tuple[Tensor, ...]:
    """A lane [M, D] in pieces whose groups of candidates fit into memory."""
    return lane.split(max(1, PAIRS_AT_ONCE // (places.blocks.shape[2] * places.blocks.shape[1])))


def _nearest(samples: Tensor, places: TrainingPlaces) -> Tensor:
    """The distance of each of [m, D] to the nearest training sample: float64 [m]."""
    width = places.blocks.shape[2]
    groups = width // GROUP
    centred = samples.float() - places.middle
    factors = torch.cat((-2 * centred, centred.new_ones(len(centred), 1)), 1)
    # A group is of samples `groups` apart, so that its least distance is an elementwise minimum of long rows.
    buffer = centred.new_empty(len(centred), width)
    least = [torch.mm(factors, block, out=buffer).view(-1, GROUP, groups).amin(1) for block in places.blocks]
    group = torch.cat(least, 1).argmin(1, keepdim=True)  # [m, 1]
    first = group // groups * width + group % groups
    members = first + groups * torch.arange(GROUP, device=samples.device)  # [m, GROUP]
    candidates = places.features[members.clamp_max(len(places.features) - 1)].double()
    return candidates.sub_(samples.double().unsqueeze(1)).square_().sum(2).amin(1).sqrt()


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
