"""Held-out loss by position in the window."""

import itertools
import math
from collections.abc import Iterable, Mapping

import numpy as np

from longspan.store.draws import sample_ids


def choose_windows(document_ids: Mapping[str, str], windows_per_document: int | None, seed: int) -> list[str]:
    """Windows to evaluate: as many of each document, drawn by a hash of their ids; None takes all.

    Args:
        document_ids: document of each window.
        windows_per_document: how many of each.
        seed: what the draw depends on, beside the ids.
    """
    if windows_per_document is None:
        return list(document_ids)
    by_document: dict[str, list[str]] = {}
    for data_id, document_id in document_ids.items():
        by_document.setdefault(document_id, []).append(data_id)
    return [
        data_id for ids in by_document.values() for data_id in sample_ids(ids, windows_per_document, seed)
    ]


def sums_by_position(nll_N: np.ndarray, position_bins: int) -> list[dict]:
    """Sum a window's NLL over parts of about equal length.

    Args:
        nll_N: float [T-1], nats; entry t belongs to token t+1.
        position_bins: number of parts; those that would be empty are left out.

    Returns:
        For each part its token positions (`position_start`, `position_stop`) and its `nll_sum`, float64.
    """
    edges = np.linspace(0, len(nll_N), position_bins + 1).round().astype(int)
    return [
        {
            "position_start": int(start) + 1,
            "position_stop": int(stop) + 1,
            "nll_sum": float(nll_N[start:stop].sum(dtype=np.float64)),
        }
        for start, stop in itertools.pairwise(edges)
        if stop > start
    ]


def mean_by_context(nll_BN: np.ndarray) -> list[dict]:
    """Mean NLL over sequences by the length of the context before a token, in bounds that double.

    Args:
        nll_BN: float [B, T-1], nats; entry t belongs to token t+1.

    Returns:
        For each part its token positions (`position_start`, `position_stop`) and its `nll_mean`, float64.
    """
    tokens = nll_BN.shape[1] + 1
    doubling = [2**power for power in range(5, 64) if 2**power < tokens]
    return [
        {
            "position_start": start,
            "position_stop": stop,
            "nll_mean": float(nll_BN[:, start - 1 : stop - 1].mean(dtype=np.float64)),
        }
        for start, stop in itertools.pairwise([1, *doubling, tokens])
    ]


def perplexity(rows: Iterable[Mapping]) -> float:
    """Perplexity over rows of the evaluation table: exp of the mean NLL a token."""
    rows = list(rows)
    tokens = sum(row["position_stop"] - row["position_start"] for row in rows)
    return math.exp(sum(row["nll_sum"] for row in rows) / tokens)
