"""What samples make of the modes of a mixture whose truth is known. L lanes, M samples, K modes, d numbers a sample."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_core.data.values import Mixture
from gan_core.fidelity.standard_errors import mode_divergence_error

HIGH_QUALITY_DEVIATIONS = 3.0  # a sample farther than this from every mode belongs to none


@dataclass(frozen=True)
class ModeScores:
    """What samples make of a mixture's modes; each field [L], float64, NaN where a lane's samples are not finite.

    modes_covered: modes with at least one high-quality sample, 0..K. high_quality_share: share of the samples within
    3 deviations of their nearest mode, 0..1 (real 1-D samples: 0.9973; 2-D: 1 - exp(-4.5) = 0.9889). mode_jsd:
    Jensen-Shannon divergence, in nats, of the high-quality samples' modes to uniform; ln 2, its bound, without any.
    mode_jsd_error: its standard error, for as many high-quality samples.
    """

    modes_covered: Tensor
    high_quality_share: Tensor
    mode_jsd: Tensor
    mode_jsd_error: Tensor


def mode_scores(samples: Tensor, mixture: Mixture) -> ModeScores:
    """Samples [L, M, d] against the modes of their truth, as PacGAN measures it (Lin et al. 2018, after VEEGAN).

    Their code's convention: a sample belongs to the mode nearest in units of that mode's deviation; it is of high
    quality within 3 of them; the histogram counts high-quality samples only, so a point far from all covers nothing.
    """
    counts = torch.stack([_high_quality_counts(lane.double(), mixture) for lane in samples])  # [L, K]
    finite = samples.isfinite().flatten(1).all(1)
    good = counts.sum(1)
    shares = counts / good.clamp_min(1)[:, None]
    uniform = torch.full_like(shares, 1 / mixture.modes)
    middle = (shares + uniform) / 2
    to_shares = torch.xlogy(shares, shares / middle).sum(1)
    to_uniform = torch.xlogy(uniform, uniform / middle).sum(1)
    divergence = torch.where(good > 0, (to_shares + to_uniform) / 2, math.log(2)).clamp_min(0)
    scores = ((counts > 0).sum(1).double(), good / samples.shape[1], divergence, mode_divergence_error(counts))
    return ModeScores(*(torch.where(finite, score, math.nan) for score in scores))


def _high_quality_counts(samples: Tensor, mixture: Mixture) -> Tensor:
    """Samples [M, d] -> high-quality samples of each mode [K]. One lane at a time: [M, K, d] fits where [L, ...] would
    not, and differences, unlike a Gram matrix, keep deviations of 0.01 exact.
    """
    means, deviations = mixture.means.to(samples.device), mixture.deviations.to(samples.device)
    distances = (samples[:, None] - means).square().sum(-1).sqrt() / deviations  # [M, K]
    nearest, mode = distances.min(1)
    return torch.bincount(mode[nearest < HIGH_QUALITY_DEVIATIONS], minlength=mixture.modes).double()
