"""Counts of a shard that add up over shards, so that the page's data is as small for a million windows.

All edges of the histograms are fixed beforehand; what lies outside of them counts in the outermost bins.

Shape suffixes: B windows, N = T - 1 entries of a window of T tokens.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np

# Edges of the histograms: NLL and gain in nats, weights in powers of 2 (their first bin holds zeros).
NLL_EDGES = np.linspace(0.0, 16.0, 65)
GAIN_EDGES = np.linspace(-6.0625, 6.0625, 98)  # one bin around 0
WEIGHT_EXPONENTS = np.linspace(-8.0, 8.0, 65)
POSITION_BINS = 32
# Token types of a shard that go on; of all shards together, as many are the heaviest but for ties.
TYPES_KEPT = 200


def histogram(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Counts int64 [len(edges) - 1]; values outside count in the outermost bins."""
    clipped = np.clip(values, edges[0], edges[-1])
    return np.histogram(clipped, edges)[0]


def weight_histogram(weights: np.ndarray) -> np.ndarray:
    """Counts of weights, int64 [1 + bins]: zeros first, then by the power of 2."""
    positive = weights[weights > 0]
    zeros = weights.size - positive.size
    return np.append(zeros, histogram(np.log2(positive), WEIGHT_EXPONENTS))


def position_edges(entries: int) -> np.ndarray:
    """Edges of the bins of positions, int64; a window of few entries has fewer bins."""
    return np.unique(np.linspace(0, entries, min(POSITION_BINS, entries) + 1).astype(np.int64))


def position_sums(values_BN: np.ndarray) -> np.ndarray:
    """Sums over windows and over the positions of a bin, float64 [bins]."""
    edges = position_edges(values_BN.shape[1])
    return np.add.reduceat(values_BN.sum(axis=0), edges[:-1])


class TypeSums:
    """Sums by token type, for any vocabulary."""

    def __init__(self, *names: str):
        self._sums = {name: np.zeros(0) for name in names}

    def add(self, ids: np.ndarray, **values: np.ndarray) -> None:
        """Add values [n] of tokens [n]."""
        size = max(int(ids.max()) + 1, len(next(iter(self._sums.values())))) if len(ids) else 0
        for name, value in values.items():
            found = np.bincount(ids, value, minlength=size)
            if len(found) > len(self._sums[name]):
                self._sums[name] = np.pad(self._sums[name], (0, len(found) - len(self._sums[name])))
            self._sums[name][: len(found)] += found

    def largest(self, name: str, number: int) -> dict[int, dict[str, float]]:
        """Sums of the types with the largest sum of a name, by id; ties by id."""
        order = np.argsort(-self._sums[name], kind="stable")[:number]
        return {
            int(kind): {other: float(sums[kind]) for other, sums in self._sums.items()}
            for kind in order
            if self._sums[name][kind] > 0
        }


def merged(parts: list) -> object:
    """Sum of the counts of several shards: mappings by key, lists by place, numbers.

    Raises:
        ValueError: lists of unequal lengths, of windows of different lengths say.
    """
    first = parts[0]
    if isinstance(first, Mapping):
        keys = dict.fromkeys(key for part in parts for key in part)
        return {key: merged([part[key] for part in parts if key in part]) for key in keys}
    if isinstance(first, list):
        if len({len(part) for part in parts}) > 1:
            raise ValueError(f"counts of {len(first)} bins cannot be added to counts of other bins")
        return np.sum(parts, axis=0).tolist()
    return sum(parts)


def total(counts: Mapping[str, Mapping[str, float]]) -> Counter:
    """Sum over the outer keys."""
    found: Counter = Counter()
    for part in counts.values():
        found.update(part)
    return found
