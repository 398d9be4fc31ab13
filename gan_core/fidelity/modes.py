"""How well samples cover the modes of a known mixture. L lanes, M samples, K modes, d numbers per sample."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_core.data.values import Mixture
from gan_core.fidelity.standard_errors import mode_divergence_error

HIGH_QUALITY_DEVIATIONS = 3.0  # a sample farther than this from every mode belongs to none


@dataclass(frozen=True)
class ModeScores:
    """Scores of the modes of a mixture: each float64 [L], NaN for lanes whose samples are not finite.

    modes_covered: the number of modes with a high-quality sample, 0..K. high_quality_share: the share of samples within
    3 deviations of their nearest mode, 0..1 (exact samples: 0.9973 in 1-D, 1 - exp(-4.5) = 0.9889 in 2-D). mode_jsd:
    the Jensen-Shannon divergence, in nats, between the modes of the high-quality samples and uniform; its bound ln 2 if
    there are no such samples. mode_jsd_error: its standard error, given the number of high-quality samples.
    """

    modes_covered: Tensor
    high_quality_share: Tensor
    mode_jsd: Tensor
    mode_jsd_error: Tensor


def mode_scores(samples: Tensor, mixture: Mixture) -> ModeScores:
    """Compares samples [L, M, d] with the modes of their mixture, as PacGAN does (Lin et al. 2018, after VEEGAN).

    As in their code, a sample belongs to the mode that is nearest in units of that mode's deviation, it is of high
    quality within 3 of these units, and the histogram counts high-quality samples only, so a sample far from all modes
    covers none.
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
    """The number of high-quality samples of each mode [K], for the samples [M, d] of one lane.

    One lane at a time, because [L, M, K, d] may not fit into memory. Differences, unlike a Gram matrix, stay accurate
    for deviations of 0.01.
    """
    means, deviations = mixture.means.to(samples.device), mixture.deviations.to(samples.device)
    distances = (samples[:, None] - means).square().sum(-1).sqrt() / deviations  # [M, K]
    nearest, mode = distances.min(1)
    return torch.bincount(mode[nearest < HIGH_QUALITY_DEVIATIONS], minlength=mixture.modes).double()
