"""LongFilter: windows whose tokens the long context makes likely (arXiv 2510.25804)."""

from typing import ClassVar

import numpy as np

from longspan.plugins.citations import LONGFILTER
from longspan.selection.finite import require_finite
from longspan.selection.gains import of_each_window, short_and_long
from longspan.selection.method import Needs, SelectionMethod


class LongFilter(SelectionMethod):
    """LongFilter's score: the gain of the long context, weighted by each token's long-context probability."""

    name: ClassVar[str] = "longfilter"
    label: ClassVar[str] = "information gain of the long context (nats a token)"
    needs: ClassVar[Needs] = Needs(scorer="short_nll", columns=("short_nll", "long_nll"))
    citations: ClassVar[tuple[str, ...]] = (LONGFILTER,)

    def measure(self, shard, scores):
        """Information gain of each window."""
        return {"information_gain": of_each_window(information_gain, shard, scores)}

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
    short_nll_BT, long_nll_BT = short_and_long(short_nll_BT, long_nll_BT)
    return (np.exp(-long_nll_BT) * (short_nll_BT - long_nll_BT)).mean(axis=1)
