"""The smallest sweep that is one, as the command line takes it."""

from typing import NamedTuple

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


class Answer(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str


def settings(*assignments: str) -> list[str]:
    """Assignments as the command line takes them."""
    return [part for assignment in assignments for part in ("--set", assignment)]
