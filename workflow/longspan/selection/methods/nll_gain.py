"""The mean gain of the long context in a window: LongFilter's ablation without probabilities."""

from typing import ClassVar

import numpy as np

from longspan.plugins.citations import LONGFILTER
from longspan.scoring.index import nll_batches
from longspan.selection.method import Needs, SelectionMethod, aligned


class NLLGain(SelectionMethod):
    """Mean gain of the long context, short minus long NLL: LongFilter without its probabilities."""

    name: ClassVar[str] = "nll_gain"
    label: ClassVar[str] = "gain of the long context (nats a token)"
    needs: ClassVar[Needs] = Needs(scorer="short_nll", columns=("short_nll", "long_nll"))
    citations: ClassVar[tuple[str, ...]] = (LONGFILTER,)

    def measure(self, shard, scores):
        """Mean gain of each window."""
        ids, gains = [], []
        for data_ids, nll in nll_batches(scores):
            ids += data_ids
            gains.extend(nll_gain(nll["short_nll"], nll["long_nll"]))
        return {"gain": aligned(shard.data_ids, ids, np.array(gains, np.float64))}

    def score(self, windows, *, seed):
        """The gain itself."""
        return windows["gain"].to_numpy()


def nll_gain(short_nll_BT: np.ndarray, long_nll_BT: np.ndarray) -> np.ndarray:
    """Mean gain of the long context in each window: ``mean(short - long)``, nats a token, float64 [B].

    An ablation of LongFilter (arXiv 2510.25804): the same without the probability exp(-long) in front, so
    that a drop from 15 to 12 nats counts as much as one from 4 to 1. ``short_nll_BT`` and ``long_nll_BT`` are
    [B, T-1]: entry t is the negative log-likelihood (nats) of token t+1 given its context.

    Raises:
        ValueError: unequal shapes.
    """
    short_nll_BT = np.asarray(short_nll_BT, dtype=np.float64)
    long_nll_BT = np.asarray(long_nll_BT, dtype=np.float64)
    if short_nll_BT.shape != long_nll_BT.shape or short_nll_BT.ndim != 2:
        raise ValueError(
            f"short and long NLL must both be [B, T-1], got {short_nll_BT.shape} and {long_nll_BT.shape}"
        )
    return (short_nll_BT - long_nll_BT).mean(axis=1)
