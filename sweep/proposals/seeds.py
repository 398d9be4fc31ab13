"""Seeds that are derived from a sweep's: of each trial, of each proposal, of each finalist's confirmations."""

import hashlib


def derived_seed(seed: int, purpose: str, number: int) -> int:
    """31 bits that depend on a sweep's seed, on what they are for, and on a number, and on nothing else."""
    digest = hashlib.blake2b(f"{seed}:{purpose}:{number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1
