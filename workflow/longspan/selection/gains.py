"""Scores of windows by the gain of the long context, from a store with short and long NLL."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from longspan.scoring.index import nll_batches
from longspan.selection.method import aligned

if TYPE_CHECKING:
    from longspan.store.tables import RowReader
    from longspan.windows.shard import Shard


def of_each_window(
    score: Callable[[np.ndarray, np.ndarray], np.ndarray], shard: "Shard", scores: "RowReader"
) -> np.ndarray:
    """Scores of a shard's windows, float64 [N] in their order; NaN of a window that the store lacks.

    Args:
        score: gives the scores [B] of some windows from their short and long NLL, float64 [B, T-1].
        shard: the windows.
        scores: table of both NLL.
    """
    ids, values = [], []
    for data_ids, nll in nll_batches(scores):
        ids += data_ids
        values.extend(score(nll["short_nll"], nll["long_nll"]))
    return aligned(shard.data_ids, ids, np.array(values, np.float64))


def short_and_long(short_nll_BT: np.ndarray, long_nll_BT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Short and long NLL (nats) of some windows in float64, both [B, T-1].

    Raises:
        ValueError: unequal shapes.
    """
    short_nll_BT = np.asarray(short_nll_BT, dtype=np.float64)
    long_nll_BT = np.asarray(long_nll_BT, dtype=np.float64)
    if short_nll_BT.shape != long_nll_BT.shape or short_nll_BT.ndim != 2:
        raise ValueError(
            f"short and long NLL must both be [B, T-1], got {short_nll_BT.shape} and {long_nll_BT.shape}"
        )
    return short_nll_BT, long_nll_BT
