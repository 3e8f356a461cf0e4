"""Where the tokens of a document lie in its text."""

import numpy as np


def token_spans(char_deltas: np.ndarray, split_positions: np.ndarray) -> np.ndarray:
    """First character and end of each token, int64 [T, 2]; tokens that share a character both have it.

    Args:
        char_deltas, split_positions: as in `longspan.tokens.tokenization.TokenizedDocument`.
    """
    boundaries = np.cumsum(char_deltas, dtype=np.int64)
    stops = boundaries[1:].copy()
    stops[np.asarray(split_positions, np.int64) - 1] += 1
    return np.stack([boundaries[:-1], stops], axis=1)
