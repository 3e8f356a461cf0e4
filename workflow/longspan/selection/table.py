"""The table of a selection: which windows to keep, and for each one why."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from longspan.selection.band import band_places
from longspan.selection.finite import first_of, require_finite

TABLE_COLUMNS = ("data_id", "category", "score", "rank", "percentile", "kept", "reason")


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
            ``{"band": [low, high]}``: the windows whose percentile lies in the band (`band_places`).
            ``{"per_category": {name: rule}}``: one of these rules for each category.
        category: category of each window, [N]; None is one category, "".
        num_tokens: tokens of each window, [N]; only a ``tokens`` rule needs it.
        ratio_within_category: whether a ratio or band holds within each category (LongAttn's paper filters
            each on its own) or over all windows (its released code).

    Returns:
        One row a window in the order given: data_id, category, score (float64), rank (1 is best, over
        all), percentile (of its category's windows, the percentage that it beats, itself counted: the
        best has 100), kept (bool), reason.

    Raises:
        ValueError: an id twice, a score that is not finite (both named), unequal lengths, a rule that
            is not one of these, a category without a rule, a band that keeps nothing.
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
        raise ValueError(f"{len(twice)} ids occur more than once: {first_of(twice)}")
    require_finite("score", table["score"].to_numpy(), table["data_id"].to_numpy())

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
                f"keep.per_category has no rule for {first_of(without)}; it has {first_of(sorted(rules))}"
            )
        groups = [(rows, rules[name], name) for name, rows in by_category]
    elif kind in ("ratio", "band") and ratio_within_category:
        groups = [(rows, keep, name) for name, rows in by_category]
    else:
        groups = [(ranked, keep, None)] if len(ranked) else []
    ranked["kept"] = False
    ranked["reason"] = ""
    for rows, rule, name in groups:
        _apply_rule(ranked, rows, rule, name)
    for rule, names in _bands(keep, groups):
        ranks = ranked["category"].isin(names)
        if not ranked["kept"][ranks].any():
            where = f" (category {first_of(names)})" if any(names) else ""
            raise ValueError(
                f"band {list(rule['band'])} keeps none of {ranks.sum()} windows{where}; "
                "widen it, or take ratio"
            )
    return ranked.sort_index()[list(TABLE_COLUMNS)]


def _bands(keep: Mapping, groups: list) -> list[tuple[Mapping, list[str]]]:
    """Each band that was asked for, with the categories whose windows it ranks."""
    if "band" in keep:
        return [(keep, sorted({name for rows, *_ in groups for name in rows["category"]}))] if groups else []
    return [(rule, [name]) for _, rule, name in groups if "band" in rule]


def _apply_rule(ranked: pd.DataFrame, rows: pd.DataFrame, rule: Mapping, name: str | None) -> None:
    where = "keep" if name is None else f"keep for category {name!r}"
    kind, amount = _parse_rule(rule, where, allow_per_category=False)
    group = "all windows" if name is None else f"category {name!r}"
    place = np.arange(1, len(rows) + 1)
    if kind == "band":
        places = band_places(len(rows), *amount)
        kept = (place >= places.start) & (place < places.stop)
        what = f"places {places.start} to {places.stop - 1}" if places else "none"
        text = f"{what} of {len(rows)} are kept (band {amount[0]} to {amount[1]})"
        _say(ranked, rows, kept, f"in {group}, of which {text}")
        return
    if kind == "ratio":
        count = max(1, math.floor(amount * len(rows) + 1e-9))
    elif kind == "windows":
        count = min(amount, len(rows))
    else:
        if "num_tokens" not in rows:
            raise ValueError(f"{where}: a tokens rule needs the windows' token counts")
        count = int((rows["num_tokens"].cumsum() <= amount).sum())
    text = f"the best {count} of {len(rows)} are kept ({kind} {amount})"
    _say(ranked, rows, place <= count, f"in {group}, of which {text}")


def _say(ranked: pd.DataFrame, rows: pd.DataFrame, kept: np.ndarray, why: str) -> None:
    ranked.loc[rows.index, "kept"] = kept
    ranked.loc[rows.index, "reason"] = [
        f"{'kept' if is_kept else 'dropped'}: place {place} {why}"
        for place, is_kept in enumerate(kept, start=1)
    ]


def _parse_rule(rule: Mapping, where: str, allow_per_category: bool) -> tuple[str, Any]:
    kinds = ("ratio", "windows", "tokens", "band") + (("per_category",) if allow_per_category else ())
    if not isinstance(rule, Mapping) or len(rule) != 1 or next(iter(rule)) not in kinds:
        raise ValueError(f"{where} must be exactly one of {', '.join(kinds)}, got {rule!r}")
    kind, amount = next(iter(rule.items()))
    if kind == "per_category":
        if not isinstance(amount, Mapping):
            raise ValueError(f"{where}.per_category must map each category to a rule, got {amount!r}")
        return kind, None
    if kind == "band":
        if len(amount) != 2 or not 0 <= amount[0] < amount[1] <= 1:
            raise ValueError(f"{where}.band must be [low, high] with 0 <= low < high <= 1, got {amount}")
        return kind, amount
    if kind == "ratio" and not 0 < amount <= 1:
        raise ValueError(f"{where}.ratio must lie in (0, 1], got {amount}")
    if kind != "ratio" and (amount != int(amount) or amount < 0):
        raise ValueError(f"{where}.{kind} must be a whole number of at least 0, got {amount}")
    return kind, amount
