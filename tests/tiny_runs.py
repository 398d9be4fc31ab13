"""The smallest sweep that is one, as the command line takes it, and a row of results."""

from typing import NamedTuple

from gan_core.native.isa import this_isa
from results.rows import Outcome, ResultRow

TINY = (
    "structure.generator_width=16",
    "structure.discriminator_width=16",
    "structure.latent_size=4",
    "lane.ema_half_life_images=500",
    "scoring.samples=200",
    "ladder.rungs_images=[256, 512]",
    "ladder.keep_fraction=0.5",
    "trials=4",
    "lanes_per_cohort=2",
)
ROW = ResultRow(
    trial=3,
    cohort=1,
    lane=2,
    rung=1,
    images_seen=512,
    outcome=Outcome.PRUNED,
    reason="rank 3 of 4",
    d_loss=1.25,
    g_loss=0.1 + 0.2,
    score=2.5,
    best_score=2.0,
    seconds=0.5,
    device="cpu",
    objective="fidelity",
    protocol="p",
    data_digest="d",
    code_version="v",
    signs="oscillation low_coverage",
    fidelity={"fidelity": 2.4, "fid": 2.5, "fid_floor": 0.1},
    health={"d_gradient": 0.25, "sample_deviation": 0.5},
    hyperparameters={"lane.beta1": 0.5, "structure.loss": "hinge", "seed": 2**31 - 1},
)


class Answer(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str


def settings(*assignments: str) -> list[str]:
    """Assignments as the command line takes them."""
    return [part for assignment in assignments for part in ("--set", assignment)]


def isa_here() -> str:
    """The instruction set that kernels in C are made for on this machine, as rows name it; empty for none."""
    isa = this_isa()
    return isa.name if isa else ""
