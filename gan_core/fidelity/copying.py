"""Detects copies of training samples by distances to nearest neighbours. All functions are pure and work lane by lane.

L lanes, M samples, R held-out samples, T training samples, D features.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_core.fidelity.discrepancy import PAIRS_AT_ONCE

GROUP = 16  # training samples per group; exact distances are computed only within the nearest group
REFERENCES_AT_ONCE = 1_024  # training samples per matrix product, a multiple of GROUP


@dataclass(frozen=True)
class TrainingIndex:
    """Training features, laid out so that matrix products find the nearest one. They are made once for all lanes.

    features: [T, D]; middle: float32 [D], their mean; blocks: float32 [B, D + 1, n], the centred features with their
    squared norms as the last row, which is infinite in the padding of the last block.
    """

    features: Tensor
    middle: Tensor
    blocks: Tensor

    def to(self, device: torch.device | str) -> "TrainingIndex":
        """A copy on another device, or this object if it is there already."""
        if self.features.device == torch.device(device):
            return self
        return TrainingIndex(self.features.to(device), self.middle.to(device), self.blocks.to(device))


def training_index(reference: Tensor) -> TrainingIndex:
    """The `TrainingIndex` of features [T, D]. They are centred, because a common offset would cost digits."""
    count, size = reference.shape
    middle = reference.float().mean(0)
    width = min(REFERENCES_AT_ONCE, -(-count // GROUP) * GROUP)
    rows = reference.new_zeros(-(-count // width) * width, size + 1, dtype=torch.float32)
    torch.sub(reference.float(), middle, out=rows[:count, :size])
    rows[:count, size] = rows[:count, :size].square().sum(1)
    rows[count:, size] = math.inf
    return TrainingIndex(reference, middle, rows.view(-1, width, size + 1).mT.contiguous())


def nearest_distance(features: Tensor, reference: Tensor | TrainingIndex) -> Tensor:
    """The distance of each sample [L, M, D] to its nearest neighbour in reference [T, D]: [L, M], float64.

    The nearest group of GROUP samples is found in float32. Distances within it are computed from differences in
    float64, so that of a copy is exactly 0. All distances of a lane that is not finite are NaN.
    """
    index = (training_index(reference) if isinstance(reference, Tensor) else reference).to(features.device)
    finite = features.isfinite().flatten(1).all(1)
    safe = torch.where(finite[:, None, None], features, 0.0)
    found = torch.stack([torch.cat([_nearest(part, index) for part in _parts(lane, index)]) for lane in safe])
    return torch.where(finite[:, None], found, math.nan)


def _parts(lane: Tensor, index: TrainingIndex) -> tuple[Tensor, ...]:
    """Splits a lane [M, D] into parts small enough for the candidates of all their samples to fit into memory."""
    return lane.split(max(1, PAIRS_AT_ONCE // (index.blocks.shape[2] * index.blocks.shape[1])))


def _nearest(samples: Tensor, index: TrainingIndex) -> Tensor:
    """The distance of each of [m, D] to the nearest training sample: float64 [m]."""
    width = index.blocks.shape[2]
    groups = width // GROUP
    centred = samples.float() - index.middle
    factors = torch.cat((-2 * centred, centred.new_ones(len(centred), 1)), 1)
    # The samples of a group are `groups` apart, so that its least distance is an elementwise minimum of long rows.
    buffer = centred.new_empty(len(centred), width)
    least = [torch.mm(factors, block, out=buffer).view(-1, GROUP, groups).amin(1) for block in index.blocks]
    group = torch.cat(least, 1).argmin(1, keepdim=True)  # [m, 1]
    first = group // groups * width + group % groups
    members = first + groups * torch.arange(GROUP, device=samples.device)  # [m, GROUP]
    candidates = index.features[members.clamp_max(len(index.features) - 1)].double()
    return candidates.sub_(samples.double().unsqueeze(1)).square_().sum(2).amin(1).sqrt()


def data_copying(nearest_fake_to_train: Tensor, nearest_held_out_to_train: Tensor) -> Tensor:
    """The probability that a sample lies closer to the training set than a held-out real sample does: [L] in [0, 1].

    It is computed from the distances to the nearest training sample, [L, M] and [R], as the Mann-Whitney U over MR,
    where a tie counts half; it is 1 minus the global statistic of Meehan et al. 2020. It is 1/2, within about
    `data_copying_error`, if nothing was memorised, and 1 if all samples are copies. Poor samples lie far from all data,
    so a value below 1/2 is not a merit and can hide copies. Both distances are to the training set, so its size
    cancels. Comparing a sample's distances to the training and to the held-out set would require T = R, because the
    nearer of the two is the training set with probability T/(T + R).
    """
    held_out = nearest_held_out_to_train.double().sort().values
    samples = nearest_fake_to_train.double().contiguous()
    below = torch.searchsorted(held_out, samples)  # [L, M] of R
    up_to = torch.searchsorted(held_out, samples, right=True)
    share = 1 - (below + up_to).double().mean(1) / (2 * len(held_out))
    return torch.where(samples.isfinite().all(1), share, math.nan)


def data_copying_error(samples: int, held_out: int) -> float:
    """The standard error of `data_copying` if nothing was memorised: sqrt((M + R + 1) / 12 M R).

    This is the standard error of U over MR without ties (Mann & Whitney 1947).
    """
    return math.sqrt((samples + held_out + 1) / (12 * samples * held_out))
