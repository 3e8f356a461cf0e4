"""LongFilter: windows whose tokens the long context makes likely (arXiv 2510.25804)."""

from typing import ClassVar

import numpy as np

from longspan.plugins.citations import LONGFILTER
from longspan.scoring.index import nll_batches
from longspan.selection.finite import require_finite
from longspan.selection.method import Needs, SelectionMethod, aligned


class LongFilter(SelectionMethod):
    """LongFilter's score: the gain of the long context, weighted by each token's long-context probability."""

    name: ClassVar[str] = "longfilter"
    label: ClassVar[str] = "information gain of the long context (nats a token)"
    needs: ClassVar[Needs] = Needs(scorer="short_nll", columns=("short_nll", "long_nll"))
    citations: ClassVar[tuple[str, ...]] = (LONGFILTER,)

    def measure(self, shard, scores):
        """Information gain of each window."""
        ids, gains = [], []
        for data_ids, nll in nll_batches(scores):
            ids += data_ids
            gains.extend(information_gain(nll["short_nll"], nll["long_nll"]))
        return {"information_gain": aligned(shard.data_ids, ids, np.array(gains, np.float64))}

    def score(self, windows, *, seed):
        """The information gain itself."""
        gains = windows["information_gain"].to_numpy()
        require_finite("information_gain", gains, windows["data_id"].to_numpy())
        return gains


def information_gain(short_nll_BT: np.ndarray, long_nll_BT: np.ndarray) -> np.ndarray:
    """LongFilter's score of each window, nats a token, float64 [B] (arXiv 2510.25804, Eq. 7).

    ``mean(exp(-long) * (short - long))``: the term of each true token in the Kullback-Leibler divergence of
    the long context's prediction from the short one's. The probability in front keeps what the long context
    makes plausible: from 15 nats to 12 is worth next to nothing.

    Args:
        short_nll_BT: negative log-likelihood (nats) of token t+1 in short context, [B, T-1].
        long_nll_BT: the same in long context.

    Raises:
        ValueError: unequal shapes.
    """
    short_nll_BT = np.asarray(short_nll_BT, dtype=np.float64)
    long_nll_BT = np.asarray(long_nll_BT, dtype=np.float64)
    if short_nll_BT.shape != long_nll_BT.shape or short_nll_BT.ndim != 2:
        raise ValueError(
            f"short and long NLL must both be [B, T-1], got {short_nll_BT.shape} and {long_nll_BT.shape}"
        )
    return (np.exp(-long_nll_BT) * (short_nll_BT - long_nll_BT)).mean(axis=1)
