"""What a selection adds to the page: scores, the numbers behind them, its cuts, and windows to look at."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

# So many windows are drawn as dots; more are counted in cells.
DOTS = 1000
CELLS = 96
BINS = 48
# Windows to look at: the best, the worst, and on each side of the cut of each category.
ENDS, BORDER, LARGEST_CATEGORIES = 12, 2, 8
_AFFINE = 1e-6


def selection_counts(table: pd.DataFrame, axes: Mapping[str, str], label: str) -> dict:
    """Bounded data of a selection, however many windows it has.

    Args:
        table: rows of the selection, with a column for each of the method's own numbers.
        axes: labels of these numbers by their column; none, or two.
        label: what a score is.
    """
    categories = table["category"].value_counts().index.tolist()
    found = {
        "windows": len(table),
        "kept": int(table["kept"].sum()),
        "label": label,
        "axes": [{"name": name, "label": text} for name, text in axes.items()],
        "categories": [_category(table[table["category"] == name], name, list(axes)) for name in categories],
        "scores": _histogram(table),
        "rows": _rows(table, list(axes)),
    }
    if axes:
        x, y = (table[name].to_numpy(np.float64) for name in axes)
        if len(table) <= DOTS:
            found["dots"] = [
                [float(a), float(b), int(kept), categories.index(category), data_id]
                for a, b, kept, category, data_id in zip(
                    x, y, table["kept"], table["category"], table["data_id"], strict=True
                )
            ]
        else:
            found["cells"] = _cells(x, y, table["kept"].to_numpy(bool))
    return found


def _category(rows: pd.DataFrame, name: str, axes: list[str]) -> dict:
    kept, dropped = rows["score"][rows["kept"]], rows["score"][~rows["kept"]]
    found = {"name": name, "windows": len(rows), "kept": len(kept)}
    if len(kept) and len(dropped) and kept.min() >= dropped.max():
        found["cut"] = float(kept.min() + dropped.max()) / 2
        if axes and (line := _line(rows, axes, found["cut"])) is not None:
            found["line"] = line
    return found


def _line(rows: pd.DataFrame, axes: list[str], cut: float) -> list[float] | None:
    """a, b, c of the line a x + b y = c at which the score is the cut, if the score is affine in the two."""
    xy = rows[axes].to_numpy(np.float64)
    middle, spread = xy.mean(axis=0), np.ptp(xy, axis=0)
    if (spread == 0).any():
        return None
    unit = np.column_stack([(xy - middle) / spread, np.ones(len(xy))])
    score = rows["score"].to_numpy(np.float64)
    (a, b, c), *_ = np.linalg.lstsq(unit, score, rcond=None)
    rest = np.abs(unit @ (a, b, c) - score).max()
    if len(xy) < 4 or rest > _AFFINE * max(np.ptp(score), 1e-300):
        return None
    a, b = np.array([a, b]) / spread
    return [float(a), float(b), float(cut - c + a * middle[0] + b * middle[1])]


def _histogram(table: pd.DataFrame) -> dict:
    score = table["score"].to_numpy(np.float64)
    low, high = float(score.min()), float(score.max())
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    kept = table["kept"].to_numpy(bool)
    return {
        "low": low,
        "high": float(edges[-1]),
        "kept": np.histogram(score[kept], edges)[0].tolist(),
        "dropped": np.histogram(score[~kept], edges)[0].tolist(),
    }


def _cells(x: np.ndarray, y: np.ndarray, kept: np.ndarray) -> dict:
    """Counts in a grid over all but the outermost thousandth of each number, which count at the edge."""
    bounds = [_bounds(values) for values in (x, y)]
    places = [
        np.clip(((values - low) / (high - low) * CELLS).astype(np.int64), 0, CELLS - 1)
        for values, (low, high) in zip((x, y), bounds, strict=True)
    ]
    flat = places[0] * CELLS + places[1]
    windows = np.bincount(flat, minlength=CELLS**2)
    chosen = np.bincount(flat, kept, minlength=CELLS**2).astype(np.int64)
    (filled,) = np.nonzero(windows)
    return {
        "bounds": bounds,
        "side": CELLS,
        "cells": np.column_stack([filled // CELLS, filled % CELLS, windows[filled], chosen[filled]]).tolist(),
    }


def _bounds(values: np.ndarray) -> list[float]:
    low, high = (float(edge) for edge in np.quantile(values, [0.001, 0.999]))
    return [low, high if high > low else low + 1]


def _rows(table: pd.DataFrame, axes: list[str]) -> list[dict]:
    """Windows to look at, each once: the best first, then those at the cuts, then the worst."""
    ranked = table.sort_values("rank")
    parts = {"top": ranked.head(ENDS)}
    largest = ranked["category"].value_counts().index[:LARGEST_CATEGORIES]
    border = []
    for category in largest:
        rows = ranked[ranked["category"] == category]
        border += [rows[rows["kept"]].tail(BORDER), rows[~rows["kept"]].head(BORDER)]
    parts["border"] = pd.concat(border) if border else ranked.head(0)
    parts["bottom"] = ranked.tail(ENDS)
    found: dict[str, dict] = {}
    columns = ["data_id", "category", "score", "rank", "percentile", "kept", "reason"]
    for part, rows in parts.items():
        for row in rows[[*columns, *axes]].to_dict("records"):
            row["kept"] = bool(row["kept"])
            numbers = {name: float(row.pop(name)) for name in axes}
            found.setdefault(row["data_id"], {"part": part, **row, "numbers": numbers})
    return list(found.values())
