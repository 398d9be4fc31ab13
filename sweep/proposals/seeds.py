"""Seeds that are derived from a sweep's seed: for each trial, each proposal, each replicate of a finalist."""

import hashlib


def derived_seed(seed: int, purpose: str, number: int) -> int:
    """31 bits that depend on a sweep's seed, on what they are for, and on a number, and on nothing else."""
    digest = hashlib.blake2b(f"{seed}:{purpose}:{number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1
