"""How good each window is: LongAttn's score, and other methods by name.

A score is better when higher. Statistics are over all windows of all shards at once: scores that were
normalized per shard could not be compared across shards.
"""

import math
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from longspan.scoring.index import build_index, nll_batches
from longspan.selection.table import require_finite
from longspan.store.draws import uniform_by_id
from longspan.store.tables import read_table, require_same
from longspan.windows.texts import window_texts

# Of each method that chooses by stored scores: their kind.
_SCORES_OF_METHOD = {"longattn": "attention_scores", "nll_gain": "nll_scores"}
METHODS = (*_SCORES_OF_METHOD, "gzip", "random")


def lds_scores(
    strength: np.ndarray,
    variance: np.ndarray,
    *,
    alpha: float = 0.5,
    mode: str = "paper",
    category: Sequence[str] | None = None,
) -> np.ndarray:
    """LongAttn's long-dependency score (LDS) of each window, float64 [N] (arXiv 2502.16860).

    ``paper``: ``Z(strength) + alpha * Z(-variance)``, Z the z-score (ddof 0) over all windows of one
    category; ``variance`` is then the lower-left block's. A category with one window, or with no
    spread in a statistic, gets Z = 0 there, with a warning.
    ``released``: ``minmax(strength) - alpha * minmax(variance)`` over all windows, whatever their
    category; ``variance`` is then the whole matrix's. No spread gives 0.5.

    Args:
        strength: dependency strength (DS) of each window, [N].
        variance: attention variance of each window, [N]; distribution uniformity (DU) is its negative.
        alpha: weight of uniformity against strength.
        mode: ``paper`` or ``released``.
        category: category of each window, [N]; None is one category. ``released`` ignores it.

    Raises:
        ValueError: unequal lengths, a value that is not finite (named by row), an unknown mode.
    """
    strength = np.asarray(strength, dtype=np.float64)
    variance = np.asarray(variance, dtype=np.float64)
    if strength.ndim != 1 or strength.shape != variance.shape:
        raise ValueError(
            f"strength and variance must be 1-D and equally long, got {strength.shape} and {variance.shape}"
        )
    for name, values in (("strength", strength), ("variance", variance)):
        require_finite(name, values, np.arange(len(values)))
    if not math.isfinite(alpha):
        raise ValueError(f"alpha must be finite, got {alpha}")
    if mode == "released":
        return _min_max(strength) - alpha * _min_max(variance)
    if mode != "paper":
        raise ValueError(f"mode must be 'paper' or 'released', got {mode!r}")

    labels = np.zeros(len(strength), dtype=int) if category is None else np.asarray(category, dtype=object)
    if labels.shape != strength.shape:
        raise ValueError(f"category has {len(labels)} entries for {len(strength)} windows")
    scores = np.empty_like(strength)
    for label in dict.fromkeys(labels.tolist()):
        rows = np.flatnonzero(labels == label)
        where = "all windows" if category is None else f"category {label!r}"
        scores[rows] = _z_scores(strength[rows], "strength", where) + alpha * _z_scores(
            -variance[rows], "variance", where
        )
    return scores


def nll_gain(short_nll_BT: np.ndarray, long_nll_BT: np.ndarray) -> np.ndarray:
    """Mean gain of the long context in each window: ``mean(short - long)``, nats a token, float64 [B].

    LongFilter's idea (arXiv 2510.25804) on the NLL store. ``short_nll_BT`` and ``long_nll_BT`` are
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


def compressibility(texts: Iterable[str]) -> np.ndarray:
    """How much smaller DEFLATE makes each text: ``1 - compressed bytes / bytes``, float64 [N].

    The ``gzip`` baseline: high for text that repeats itself within 32 kB (DEFLATE's window). gzip's
    header holds a time and is left out. An empty text has 0.
    """
    shares = []
    for text in texts:
        raw = text.encode()
        shares.append(1 - len(zlib.compress(raw, 9)) / len(raw) if raw else 0.0)
    return np.array(shares, np.float64)


def method_scores(
    method: str,
    windows: Mapping[str, Path],
    *,
    scores: Mapping[str, Path] | None = None,
    documents: Mapping[str, Path] | None = None,
    alpha: float = 0.5,
    mode: str = "paper",
    seed: int = 0,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Score all windows by a method's name.

    Args:
        method: ``longattn``, ``nll_gain``, ``gzip`` (see `lds_scores`, `nll_gain`, `compressibility`), or
            ``random``: uniform in [0, 1).
        windows: windows file by shard.
        scores: for ``longattn`` and ``nll_gain``: file of attention statistics, or of short and long NLL,
            by shard.
        documents: for ``gzip``: documents file by shard.
        alpha: for ``longattn``: weight of uniformity.
        mode: for ``longattn``: ``paper`` or ``released``.
        seed: for ``random``: the draw is a keyed hash of data_id.

    Returns:
        One row a window, with data_id, category and score (float64), and the digests of what went in, as
        `windows/{shard}` and `scores/{shard}` or `documents/{shard}`.

    Raises:
        ValueError: an unknown method or mode; no window; scores that are missing, doubled, foreign, stale or
            not finite; a store without long NLL; documents that the windows were not cut from.
    """
    if method not in METHODS:
        raise ValueError(f"unknown selection method {method!r}; there are {', '.join(METHODS)}")
    inputs = {}
    if method in _SCORES_OF_METHOD:
        # The same completeness that training asks of a store.
        _, inputs = build_index(windows, scores, kind=_SCORES_OF_METHOD[method])
    parts = []
    for shard, path in windows.items():
        table, manifest = read_table(path, "windows")
        inputs[f"windows/{shard}"] = manifest.data_digest
        part = table.to_pandas()
        if method in _SCORES_OF_METHOD:
            part = part.merge(_READ_SCORES[method](scores[shard]), on="data_id", how="left")
        if method == "gzip":
            documents_manifest, texts = window_texts(documents[shard], part)
            inputs[f"documents/{shard}"] = documents_manifest.data_digest
            require_same(
                "documents file",
                documents_manifest.data_digest,
                manifest.inputs["documents"],
                where=path,
                rule="assign_windows",
            )
            part["score"] = compressibility(texts)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise ValueError(
            "the corpus gives no window: every document is shorter; shorten window_tokens, or add text"
        )
    if method == "longattn":
        table["score"] = _long_dependency(table, alpha, mode)
    if method == "random":
        table["score"] = uniform_by_id(table["data_id"], seed)
    return table[["data_id", "category", "score"]], inputs


def _long_dependency(table: pd.DataFrame, alpha: float, mode: str) -> np.ndarray:
    variance = "variance_matrix" if mode == "released" else "variance_block"
    for name in ("strength", variance):
        require_finite(name, table[name].to_numpy(np.float64), table["data_id"].to_numpy())
    return lds_scores(table["strength"], table[variance], alpha=alpha, mode=mode, category=table["category"])


def _attention_statistics(path: Path) -> pd.DataFrame:
    return read_table(path, "attention_scores")[0].drop(["tokens_digest"]).to_pandas()


def _nll_gains(path: Path) -> pd.DataFrame:
    ids, gains = [], []
    for data_ids, nll in nll_batches(path):
        if "long_nll" not in nll:
            raise ValueError(f"{path} holds no long NLL, which a gain needs; set store_long of its scorer")
        ids += data_ids
        gains.extend(nll_gain(nll["short_nll"], nll["long_nll"]))
    return pd.DataFrame({"data_id": pd.Series(ids, dtype="object"), "score": np.array(gains, np.float64)})


# How a shard's part of the scores is read, for the methods that choose by stored ones.
_READ_SCORES = {"longattn": _attention_statistics, "nll_gain": _nll_gains}


def _z_scores(values: np.ndarray, name: str, where: str) -> np.ndarray:
    # the standard deviation of equal float64 values need not be exactly 0, their range is
    if len(values) < 2 or values.max() == values.min():
        why = "one window" if len(values) < 2 else "no spread"
        warnings.warn(f"{name} has {why} in {where}: its z-score is set to 0 there", stacklevel=3)
        return np.zeros_like(values)
    # scaled by the range first, so that variances near 1e-200 do not underflow when squared
    unit = (values - values.mean()) / (values.max() - values.min())
    return unit / unit.std()


def _min_max(values: np.ndarray) -> np.ndarray:
    if not len(values) or values.max() == values.min():
        return np.full_like(values, 0.5)
    return (values - values.min()) / (values.max() - values.min())
