"""Two folders of results against each other: settings, selections, evaluations, costs."""

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from longspan.reporting.evaluation_table import ALL, AREA
from longspan.reporting.page.evaluations import read_rows
from longspan.reporting.summary import format_rows
from longspan.selection.comparison import compare_selections
from longspan.store.tables import read_table
from longspan_workflow.settings.blocks import SECTIONS

_VALUE = 60  # characters


def compare_results(first: Path, second: Path) -> str:
    """What differs between two folders of results, and what is the same, in words and tables.

    Raises:
        ValueError: one is no folder of results, or holds a damaged table.
    """
    for folder in (first, second):
        if not (folder / "settings.yaml").exists():
            raise ValueError(
                f"{folder} has no settings.yaml, so it is no folder of results; name two that have"
            )
    parts = {
        "Settings": _settings(first, second),
        "Selections": _selections(first, second),
        "Evaluations": _evaluations(first, second),
        "Costs": _costs(first, second),
    }
    return "\n\n".join(f"{name}\n{text}" for name, text in parts.items())


# Settings


def _settings(first: Path, second: Path) -> str:
    a, b = (
        dict(_leaves(yaml.safe_load((folder / "settings.yaml").read_text(encoding="utf-8"))))
        for folder in (first, second)
    )
    blocks = [{_block(key) for key in found} for found in (a, b)]
    rows = {}
    for key in dict.fromkeys([*a, *b]):
        block = _block(key)
        if block is not None and (block in blocks[0]) != (block in blocks[1]):
            # A block that one of them has alone is named as a whole.
            rows[block] = ("there", "–") if block in blocks[0] else ("–", "there")
        elif a.get(key, "–") != b.get(key, "–"):
            rows[key] = (_short(a.get(key, "–")), _short(b.get(key, "–")))
    if not rows:
        return "the same"
    return format_rows(
        [("key", str(first), str(second)), *((".".join(path), *values) for path, values in rows.items())]
    )


def _block(path: tuple[str, ...]) -> tuple[str, ...] | None:
    """The named block that a key is of; None for a key of no block."""
    return path[:2] if path[0] in SECTIONS and len(path) > 2 else None


def _leaves(value: Any, *path: str) -> Iterable[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, *path, str(key))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(item, *path, f"[{number}]")
    else:
        yield path, value


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _VALUE else f"{text[: _VALUE - 1]}…"


# Selections


def _selections(first: Path, second: Path) -> str:
    names = [
        [path.stem for path in sorted((folder / "selections").glob("*.parquet")) if ".kept" not in path.name]
        for folder in (first, second)
    ]
    lines = []
    for name in (name for name in names[0] if name in names[1]):
        tables = [
            read_table(folder / "selections" / f"{name}.parquet", "selection")[0].to_pandas()
            for folder in (first, second)
        ]
        kept = [set(table["data_id"][table["kept"]]) for table in tables]
        text = f"{len(kept[0]):,} and {len(kept[1]):,} windows kept, {len(kept[0] & kept[1]):,} by both"
        if set(tables[0]["data_id"]) == set(tables[1]["data_id"]):
            text += f"; rank correlation {compare_selections(*tables, name)}"
        else:
            common = len(set(tables[0]["data_id"]) & set(tables[1]["data_id"]))
            text += f"; of {len(tables[0]):,} and {len(tables[1]):,} windows, {common:,} are in both"
        lines.append((name, text))
    for folder, own, other in ((first, *names), (second, *reversed(names))):
        lines += [(name, f"only in {folder}") for name in own if name not in other]
    return format_rows(lines) if lines else "none"


# Evaluations


def _evaluations(first: Path, second: Path) -> str:
    a, b = (_means(folder / "evaluation.tsv") for folder in (first, second))
    rows = []
    for key in dict.fromkeys([*a, *b]):
        run, loss, evaluation, measure = key
        means = [found.get(key, math.nan) for found in (a, b)]
        change = "" if any(map(math.isnan, means)) else f"{means[1] - means[0]:+.4f}"
        name = f"{run}/{loss}"
        shown = ("–" if math.isnan(mean) else f"{mean:.4f}" for mean in means)
        rows.append((name, f"{evaluation}: {measure}", *shown, change))
    if not rows:
        return "none"
    heads = ("model", "measure", str(first), str(second), "change")
    return format_rows([heads, *rows]) + (
        "\nmeans over all samples; for intervals, train both in one run and let it name its controls"
    )


def _means(path: Path) -> dict[tuple[str, ...], float]:
    if not path.exists():
        return {}
    return {
        tuple(row[name] for name in ("run", "loss", "evaluation", "measure")): row["mean"]
        for row in read_rows(path)
        if row["group"] in (ALL, AREA)
    }


# Costs


def _costs(first: Path, second: Path) -> str:
    a, b = (_seconds(folder / "costs.tsv") for folder in (first, second))
    rows = [
        (rule, *(f"{found[rule]:,.1f}" if rule in found else "–" for found in (a, b)))
        for rule in dict.fromkeys([*a, *b])
    ]
    if not rows:
        return "none"
    totals = ("all", f"{sum(a.values()):,.1f}", f"{sum(b.values()):,.1f}")
    return format_rows([("seconds of", str(first), str(second)), *rows, totals])


def _seconds(path: Path) -> dict[str, float]:
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {row["rule"]: float(row["wall_seconds"].replace(",", "")) for row in rows}
