"""The streams that all random numbers come from, keyed by (seed, purpose, what was seen). Loads without torch."""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """The purpose of random numbers; streams of one seed with different purposes are independent."""

    GENERATOR_WEIGHTS = 1
    DISCRIMINATOR_WEIGHTS = 2
    DISCRIMINATOR_LATENTS = 3
    GENERATOR_LATENTS = 4
    DATA_ORDER = 5
    DATA_SAMPLES = 6
    DATA_SPLIT = 7
    SCORE_LATENTS = 8
    SAMPLE_LATENTS = 9
    FEATURE_WEIGHTS = 10
    FEATURE_ORDER = 11
    CODES = 12
    DROPOUT = 13
    INSTANCE_NOISE = 14
    PENALTY_MIX = 15
    EXAMINATION = 16
    OWN_RANDOMNESS = 17
    OWN_TRAINER = 18


def stream(seed: int, purpose: Stream, *seen: int, block: int = 0) -> np.random.Generator:
    """The random numbers of (seed, purpose, seen): Philox 4x64-10 (Salmon et al. 2011). seen: up to three integers.
    block: how many blocks of four 64-bit words are skipped at the start.
    """
    key, counters = words(seed, purpose, *seen)
    return np.random.Generator(
        np.random.Philox(key=key, counter=[block, *counters])
    )  # the first counter counts the blocks drawn


def words(seed: int, purpose: Stream, *seen: int) -> tuple[list[int], list[int]]:
    """The generator's key [2], and its counters [3] above the one that counts blocks."""
    return [seed, int(purpose)], [*seen, *([0] * (3 - len(seen)))]
