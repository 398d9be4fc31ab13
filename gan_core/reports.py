"""What is known of one lane at one rung, as plain numbers. Loads without torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FidelityReport:
    """The fidelity of one lane.

    values: score name -> number; the scores of one protocol are always the same ones.
    protocol: how they were computed (scores, extractor, reference split, sample count, latents); two scores are
    comparable only where it is equal. data_digest: of the real samples, `Dataset.digest`.
    """

    values: dict[str, float]
    protocol: str
    data_digest: str


@dataclass(frozen=True)
class LaneReport:
    """One lane when it reached a rung. Losses are means since the rung before; D's is the sum of its two parts.

    diverged: the reason why the lane is dead, or None. seconds: the lane's share of training and scoring since then.
    device: `cpu`, or the GPU's name.
    """

    images_seen: int
    d_loss: float
    g_loss: float
    fidelity: FidelityReport
    diverged: str | None
    seconds: float
    device: str
