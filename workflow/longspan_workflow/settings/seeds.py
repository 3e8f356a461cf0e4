"""Seeds of stages, each derived from the root seed and a name."""

import hashlib


def derive_seed(root_seed: int, stage: str, name: str) -> int:
    """Seed of a stage's named part, in [0, 2**31).

    It depends on the three alone, so that a new stage or name leaves the other seeds as they are.
    """
    # The separator cannot occur in a name, so that ("a", "bc") and ("ab", "c") differ.
    key = "\0".join([str(root_seed), stage, name]).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=4).digest(), "big") >> 1
