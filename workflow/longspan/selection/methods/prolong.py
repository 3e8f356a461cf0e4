"""ProLong: windows whose segments depend on few segments far before them (arXiv 2405.17915)."""

from typing import ClassVar

import numpy as np

from longspan.plugins.citations import PROLONG
from longspan.plugins.options import Number, option
from longspan.selection.finite import require_finite
from longspan.selection.method import Needs, SelectionMethod, aligned

_COLUMNS = ("segment_nll", "later", "earlier", "pair_nll")


class ProLong(SelectionMethod):
    """ProLong's long-dependency score, from pairs of segments."""

    name: ClassVar[str] = "prolong"
    label: ClassVar[str] = "long-dependency score of segment pairs"
    needs: ClassVar[Needs] = Needs(scorer="prolong", columns=_COLUMNS)
    window_seconds: ClassVar[float] = 2e-3
    citations: ClassVar[tuple[str, ...]] = (PROLONG,)

    threshold: Number = option(0.1, "Dependency strength (DST) above which a pair counts.", ge=0, lt=1)
    strength_weight: Number = option(1, "Weight of a pair's dependency strength (DST).", ge=0)
    distance_weight: Number = option(1, "Weight of a pair's dependency distance (DDI).", ge=0)
    specificity: bool = option(
        True, "Multiply by the dependency specificity (DSP), small where all segments help alike."
    )

    def measure(self, shard, scores):
        """Long-dependency score of each window."""
        ids, found = [], []
        for batch in scores.row_batches(64, ["data_id", *_COLUMNS]):
            ids += batch["data_id"].to_pylist()
            rows = zip(*(batch[name].to_pylist() for name in _COLUMNS), strict=True)
            found += [
                segment_pair_score(
                    *(np.array(values) for values in row),
                    threshold=self.threshold,
                    strength_weight=self.strength_weight,
                    distance_weight=self.distance_weight,
                    specificity=self.specificity,
                )
                for row in rows
            ]
        return {"long_dependency": aligned(shard.data_ids, ids, np.array(found, np.float64))}

    def score(self, windows, *, seed):
        """The long-dependency score itself."""
        scores = windows["long_dependency"].to_numpy(np.float64)
        require_finite("long_dependency", scores, windows["data_id"].to_numpy())
        return scores


def segment_pair_score(
    segment_nll_N: np.ndarray,
    later_P: np.ndarray,
    earlier_P: np.ndarray,
    pair_nll_P: np.ndarray,
    *,
    threshold: float = 0.1,
    strength_weight: float = 1,
    distance_weight: float = 1,
    specificity: bool = True,
) -> float:
    """ProLong's long-dependency score (LDS) of a window (arXiv 2405.17915).

    With PPL the exponential of a mean NLL, for a segment i and an earlier one j::

        DST_ij = (PPL(i) - PPL(i | j)) / PPL(i)
        DDI_ij = (i - j) / (N - 1)
        DSP_i = (log n - H(softmax_j(PPL(i) - PPL(i | j)))) / log n    # over i's n pairs; of one pair, 1
        LDS = sum of (DST_ij + DDI_ij) * DSP_i over the pairs with DST_ij > threshold

    Args:
        segment_nll_N: mean NLL of each segment alone (nats).
        later_P: segment i of each pair.
        earlier_P: segment j of each pair.
        pair_nll_P: mean NLL of segment i after segment j (nats).
        threshold: dependency strength above which a pair counts.
        strength_weight: factor on DST.
        distance_weight: factor on DDI.
        specificity: whether DSP counts; without it, it is 1.

    Raises:
        ValueError: pairs of unequal lengths, or of segments that are not there.
    """
    number = len(segment_nll_N)
    if not len(later_P) == len(earlier_P) == len(pair_nll_P):
        raise ValueError(
            f"pairs have {len(later_P)} later and {len(earlier_P)} earlier segments, and "
            f"{len(pair_nll_P)} NLLs"
        )
    if not len(later_P):
        return 0.0
    if not (np.min(earlier_P) >= 0 and np.all(earlier_P < later_P) and np.max(later_P) < number):
        raise ValueError(f"pairs must be of a segment and an earlier one, among {number} segments")
    ppl_P = np.exp(np.asarray(segment_nll_N, np.float64))[later_P]
    gain_P = ppl_P - np.exp(np.asarray(pair_nll_P, np.float64))
    strength_P = gain_P / ppl_P
    distance_P = (later_P - earlier_P) / (number - 1)
    specificity_P = np.ones(len(later_P))
    if specificity:
        for segment in np.unique(later_P):
            own_P = later_P == segment
            specificity_P[own_P] = _specificity(gain_P[own_P])
    counts_P = strength_P > threshold
    score_P = (strength_weight * strength_P + distance_weight * distance_P) * specificity_P
    return float(score_P[counts_P].sum())


def _specificity(gain_P: np.ndarray) -> float:
    """How far the softmax of gains is from equal shares, 0 ... 1."""
    if len(gain_P) == 1:
        return 1.0
    log_share_P = gain_P - gain_P.max()
    log_share_P -= np.log(np.exp(log_share_P).sum())
    entropy = -(np.exp(log_share_P) * log_share_P).sum()
    return float(np.clip(1 - entropy / np.log(len(gain_P)), 0, 1))
