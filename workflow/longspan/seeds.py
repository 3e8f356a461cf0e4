"""Seeds and draws that depend on names alone: not on order, timing or the number of workers."""

import hashlib


def derive_seed(root_seed: int, stage: str, name: str) -> int:
    """Seed of a stage's named part, in [0, 2**31)."""
    return int.from_bytes(_hash(root_seed, stage, name)[:4], "big") >> 1


def keyed_draw(seed: int, *key: str) -> int:
    """A number in [0, 2**64) fixed by the seed and the key, to order or to sample things by."""
    return int.from_bytes(_hash(seed, *key)[:8], "big")


def _hash(seed: int, *key: str) -> bytes:
    # The separator cannot occur in a name, so that ("a", "bc") and ("ab", "c") differ.
    return hashlib.blake2b("\0".join([str(seed), *key]).encode(), digest_size=8).digest()
