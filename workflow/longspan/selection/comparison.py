"""How much two selections over the same windows agree."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Comparison:
    """How much two selections agree.

    Attributes:
        correlation: Spearman's rank correlation of the scores, over the windows to which both give one: the
            last stage of a cascade gives none to windows that an earlier one dropped.
        num_windows: their number.
        by_category: correlation and number of windows, by category.
        num_kept: numbers of windows that each keeps.
        num_common: number of windows that both keep.
    """

    correlation: float
    num_windows: int
    by_category: dict[str, tuple[float, int]]
    num_kept: tuple[int, int]
    num_common: int

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {_number(value)}" for name, (value, _) in self.by_category.items())
        kept = " and ".join(str(number) for number in dict.fromkeys(self.num_kept))
        return (
            f"{_number(self.correlation)} ({self.num_windows} windows; {parts}), "
            f"{self.num_common} of {kept} kept by both"
        )


def compare_selections(ours: pd.DataFrame, theirs: pd.DataFrame, name: str) -> Comparison:
    """Compare two selections.

    Args:
        ours: rows of one, as its table holds them.
        theirs: rows of the other.
        name: of the pair, for errors.

    Raises:
        ValueError: they are over other windows.
    """
    both = ours.merge(theirs, on="data_id")
    if not len(both) == len(ours) == len(theirs):
        raise ValueError(
            f"the selections {name} are over other windows ({len(both)} of {len(ours)} and {len(theirs)} are "
            "the same); delete the tables of both and run the same target again, which reruns select_windows"
        )
    scored = both[both["score_x"].notna() & both["score_y"].notna()]
    return Comparison(
        *rank_correlation(scored["score_x"], scored["score_y"]),
        by_category={
            name: rank_correlation(part["score_x"], part["score_y"])
            for name, part in scored.groupby("category_x")
        },
        num_kept=(int(ours["kept"].sum()), int(theirs["kept"].sum())),
        num_common=int((both["kept_x"] & both["kept_y"]).sum()),
    )


def rank_correlation(score_a: np.ndarray, score_b: np.ndarray) -> tuple[float, int]:
    """Spearman's rank correlation of two scorings of the same windows (ties get mean ranks), and n.

    NaN where either has no spread or fewer than two windows.
    """
    ranks_a, ranks_b = (np.asarray(pd.Series(score).rank()) for score in (score_a, score_b))
    if len(ranks_a) != len(ranks_b):
        raise ValueError(f"the scorings cover {len(ranks_a)} and {len(ranks_b)} windows")
    if len(set(ranks_a)) < 2 or len(set(ranks_b)) < 2:
        return math.nan, len(ranks_a)
    return float(np.corrcoef(ranks_a, ranks_b)[0, 1]), len(ranks_a)


def _number(correlation: float) -> str:
    return "undefined" if math.isnan(correlation) else f"{correlation:.2f}"
