"""The mean gain of the long context in a window: LongFilter's ablation without probabilities."""

from typing import ClassVar

import numpy as np

from longspan.plugins.citations import LONGFILTER
from longspan.selection.gains import of_each_window, short_and_long
from longspan.selection.method import Needs, SelectionMethod


class NLLGain(SelectionMethod):
    """Mean gain of the long context, short minus long NLL: LongFilter without its probabilities."""

    name: ClassVar[str] = "nll_gain"
    label: ClassVar[str] = "gain of the long context (nats a token)"
    needs: ClassVar[Needs] = Needs(scorer="short_nll", columns=("short_nll", "long_nll"))
    citations: ClassVar[tuple[str, ...]] = (LONGFILTER,)

    def measure(self, shard, scores):
        """Mean gain of each window."""
        return {"gain": of_each_window(nll_gain, shard, scores)}

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
    short_nll_BT, long_nll_BT = short_and_long(short_nll_BT, long_nll_BT)
    return (short_nll_BT - long_nll_BT).mean(axis=1)
