"""How much two selections over the same windows agree."""

import numpy as np
import pandas as pd


def rank_correlation(score_a: np.ndarray, score_b: np.ndarray) -> tuple[float, int]:
    """Spearman's rank correlation of two scorings of the same windows (ties get mean ranks), and n.

    NaN where either has no spread or fewer than two windows.
    """
    ranks_a, ranks_b = pd.Series(score_a).rank(), pd.Series(score_b).rank()
    if len(ranks_a) != len(ranks_b):
        raise ValueError(f"the scorings cover {len(ranks_a)} and {len(ranks_b)} windows")
    if ranks_a.nunique() < 2 or ranks_b.nunique() < 2:
        return float("nan"), len(ranks_a)
    return float(np.corrcoef(ranks_a, ranks_b)[0, 1]), len(ranks_a)
