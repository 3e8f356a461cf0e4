"""Which windows to keep: scores by method, and the table that says for each window why.

A score is better when higher. Statistics are over all windows of all shards at once: scores that were
normalized per shard could not be compared across shards.
"""

import math
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from longspan.sampling import uniform_by_id

METHODS = ("longattn", "nll_gain", "gzip", "random")
TABLE_COLUMNS = ("data_id", "category", "score", "rank", "percentile", "kept", "reason")


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
        _require_finite(name, values, np.arange(len(values)))
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
    encoded = [text.encode() for text in texts]
    return np.array(
        [1 - len(zlib.compress(raw, 9)) / len(raw) if raw else 0.0 for raw in encoded], np.float64
    )


def method_scores(
    method: str, windows: pd.DataFrame, *, alpha: float = 0.5, mode: str = "paper", seed: int = 0
) -> np.ndarray:
    """Scores of all windows by a method's name, float64 [N].

    Args:
        method: ``longattn`` (columns strength, variance_block and variance_matrix, category),
            ``nll_gain`` (column nll_gain, see the function), ``gzip`` (column text), or ``random``.
        windows: one row a window, with data_id, category and the method's own columns.
        alpha: for ``longattn``: weight of uniformity.
        mode: for ``longattn``: ``paper`` or ``released``.
        seed: for ``random``: the draw is a keyed hash of data_id.

    Raises:
        ValueError: an unknown method or mode, a missing column.
    """
    if method not in METHODS:
        raise ValueError(f"unknown selection method {method!r}; there are {', '.join(METHODS)}")
    if method == "longattn":
        variance = {"paper": "variance_block", "released": "variance_matrix"}.get(mode)
        if variance is None:
            raise ValueError(f"mode must be 'paper' or 'released', got {mode!r}")
        _require_columns(windows, ("data_id", "category", "strength", variance), method)
        for name in ("strength", variance):
            _require_finite(name, windows[name].to_numpy(np.float64), windows["data_id"].to_numpy())
        return lds_scores(
            windows["strength"], windows[variance], alpha=alpha, mode=mode, category=windows["category"]
        )
    if method == "nll_gain":
        _require_columns(windows, ("nll_gain",), method)
        return windows["nll_gain"].to_numpy(np.float64)
    if method == "gzip":
        _require_columns(windows, ("text",), method)
        return compressibility(windows["text"])
    _require_columns(windows, ("data_id",), method)
    return uniform_by_id(windows["data_id"], seed)


def selection_table(
    data_id: Sequence[str],
    score: np.ndarray,
    *,
    keep: Mapping,
    category: Sequence[str] | None = None,
    num_tokens: Sequence[int] | None = None,
    ratio_within_category: bool = True,
) -> pd.DataFrame:
    """Rank windows by score (high first, ties by data_id) and say which to keep and why.

    Args:
        data_id: ids, [N], unique.
        score: scores, [N], finite.
        keep: one rule. ``{"ratio": r}``: the best ``floor(r * n + 1e-9)`` windows, at least one.
            ``{"windows": n}``: the best n. ``{"tokens": t}``: the best ones while their tokens fit the
            budget; the first that does not fit ends it, so no worse window displaces a better one.
            ``{"per_category": {name: rule}}``: one of these rules for each category.
        category: category of each window, [N]; None is one category, "".
        num_tokens: tokens of each window, [N]; only a ``tokens`` rule needs it.
        ratio_within_category: whether a ratio holds within each category (LongAttn's paper filters each
            on its own) or over all windows (its released code).

    Returns:
        One row a window in the order given: data_id, category, score (float64), rank (1 is best, over
        all), percentile (of its category's windows, the percentage that it beats, itself counted: the
        best has 100), kept (bool), reason.

    Raises:
        ValueError: an id twice, a score that is not finite (both named), unequal lengths, a rule that
            is not one of these, a category without a rule.
    """
    table = pd.DataFrame(
        {
            "data_id": pd.Series(list(data_id), dtype="object"),
            "category": "" if category is None else pd.Series(list(category), dtype="object"),
            "score": pd.Series(np.asarray(score, dtype=np.float64)),
        }
    )
    if table.isna()[["data_id", "category"]].to_numpy().any() or len(table) != np.size(score):
        raise ValueError(
            f"data_id, category and score must be equally long and without gaps: got {len(data_id)} ids, "
            f"{'no' if category is None else len(category)} categories, {np.size(score)} scores"
        )
    twice = table["data_id"][table["data_id"].duplicated()].unique()
    if len(twice):
        raise ValueError(f"{len(twice)} ids occur more than once: {_first(twice)}")
    _require_finite("score", table["score"].to_numpy(), table["data_id"].to_numpy())

    ranked = table.sort_values(["score", "data_id"], ascending=[False, True], kind="stable")
    if num_tokens is not None:
        if len(num_tokens) != len(table):
            raise ValueError(f"num_tokens has {len(num_tokens)} entries for {len(table)} windows")
        ranked["num_tokens"] = np.asarray(num_tokens, dtype=np.int64)[ranked.index]
    ranked["rank"] = np.arange(1, len(ranked) + 1)
    by_category = ranked.groupby("category", sort=False)
    size = by_category["score"].transform("size")
    ranked["percentile"] = 100.0 * (size - by_category.cumcount()) / size

    kind, _ = _parse_rule(keep, "keep", allow_per_category=True)
    if kind == "per_category":
        rules = keep["per_category"]
        without = sorted(set(ranked["category"]) - set(rules))
        if without:
            raise ValueError(
                f"keep.per_category has no rule for {_first(without)}; it has {_first(sorted(rules))}"
            )
        groups = [(rows, rules[name], name) for name, rows in by_category]
    elif kind == "ratio" and ratio_within_category:
        groups = [(rows, keep, name) for name, rows in by_category]
    else:
        groups = [(ranked, keep, None)] if len(ranked) else []
    ranked["kept"] = False
    ranked["reason"] = ""
    for rows, rule, name in groups:
        _apply_rule(ranked, rows, rule, name)
    return ranked.sort_index()[list(TABLE_COLUMNS)]


def rank_correlation(score_a: np.ndarray, score_b: np.ndarray) -> tuple[float, int]:
    """Spearman's rank correlation of two scorings of the same windows (ties get mean ranks), and n.

    NaN where either has no spread or fewer than two windows.
    """
    ranks_a, ranks_b = pd.Series(score_a).rank(), pd.Series(score_b).rank()
    if len(ranks_a) != len(ranks_b):
        raise ValueError(f"the scorings cover {len(ranks_a)} and {len(ranks_b)} windows")
    if ranks_a.nunique() < 2 or ranks_b.nunique() < 2:
        return float("nan"), len(ranks_a)
    return float(np.corrcoef(ranks_a, ranks_b)[0, 1]), len(ranks_a)


def _apply_rule(ranked: pd.DataFrame, rows: pd.DataFrame, rule: Mapping, name: str | None) -> None:
    where = "keep" if name is None else f"keep for category {name!r}"
    kind, amount = _parse_rule(rule, where, allow_per_category=False)
    if kind == "ratio":
        count = max(1, math.floor(amount * len(rows) + 1e-9))
    elif kind == "windows":
        count = min(amount, len(rows))
    else:
        if "num_tokens" not in rows:
            raise ValueError(f"{where}: a tokens rule needs the windows' token counts")
        count = int((rows["num_tokens"].cumsum() <= amount).sum())
    group = "all windows" if name is None else f"category {name!r}"
    rule_text = f"the best {count} of {len(rows)} are kept ({kind} {amount})"
    place = np.arange(1, len(rows) + 1)
    ranked.loc[rows.index, "kept"] = place <= count
    ranked.loc[rows.index, "reason"] = [
        f"{'kept' if p <= count else 'dropped'}: place {p} in {group}, of which {rule_text}" for p in place
    ]


def _parse_rule(rule: Mapping, where: str, allow_per_category: bool) -> tuple[str, float | int | None]:
    kinds = ("ratio", "windows", "tokens") + (("per_category",) if allow_per_category else ())
    if not isinstance(rule, Mapping) or len(rule) != 1 or next(iter(rule)) not in kinds:
        raise ValueError(f"{where} must be exactly one of {', '.join(kinds)}, got {rule!r}")
    kind, amount = next(iter(rule.items()))
    if kind == "per_category":
        if not isinstance(amount, Mapping):
            raise ValueError(f"{where}.per_category must map each category to a rule, got {amount!r}")
        return kind, None
    if kind == "ratio" and not 0 < amount <= 1:
        raise ValueError(f"{where}.ratio must lie in (0, 1], got {amount}")
    if kind != "ratio" and (amount != int(amount) or amount < 0):
        raise ValueError(f"{where}.{kind} must be a whole number of at least 0, got {amount}")
    return kind, amount


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


def _require_columns(windows: pd.DataFrame, names: Sequence[str], method: str) -> None:
    missing = [name for name in names if name not in windows]
    if missing:
        raise ValueError(f"method {method!r} needs the columns {', '.join(missing)}, which the table lacks")


def _require_finite(name: str, values: np.ndarray, labels: np.ndarray) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        raise ValueError(
            f"{name} is not finite for {bad.sum()} of {len(values)} windows: {_first(labels[bad])}"
        )


def _first(values: Iterable, count: int = 3) -> str:
    values = [str(value) for value in values]
    return ", ".join(values[:count]) + (", …" if len(values) > count else "")
