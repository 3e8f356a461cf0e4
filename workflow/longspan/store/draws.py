"""Reproducible draws keyed by an id.

A draw depends on the seed and the id alone: not on the order of the ids, on which others are there,
on timing, or on the number of workers.
"""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np


def uniform_by_id(ids: Iterable[str], seed: int) -> np.ndarray:
    """One uniform number in [0, 1) for each id, float64 [N], from a keyed hash of the id.

    Raises:
        ValueError: a seed that does not fit in 64 bits.
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed must lie in [0, 2**64), got {seed}")
    key = seed.to_bytes(8, "little")
    # 53 bits are what a float64 holds, so that no draw rounds up to 1
    return (
        np.array(
            [
                int.from_bytes(blake2b(i.encode(), key=key, digest_size=8).digest(), "little") >> 11
                for i in ids
            ],
            dtype=np.float64,
        )
        * 2.0**-53
    )


def sample_ids(ids: Iterable[str], count: int, seed: int) -> list[str]:
    """The ``count`` ids with the smallest draws, in the order given (all of them if fewer).

    Adding an id can push out at most one other, so a sample of a growing store stays mostly the same.

    Raises:
        ValueError: a negative count.
    """
    if count < 0:
        raise ValueError(f"count must be at least 0, got {count}")
    ids = list(ids)
    draws = uniform_by_id(ids, seed)
    chosen = set(sorted(range(len(ids)), key=lambda row: (draws[row], ids[row]))[:count])
    return [value for row, value in enumerate(ids) if row in chosen]
