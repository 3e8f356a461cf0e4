"""Figures of the report."""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from longspan.evaluation.task import EVALUATION_TASKS
from longspan.plugins.options import own_options
from longspan.selection.method import SELECTION_METHODS
from longspan.store.tables import atomic_path, read_table

# Names and categories are text of the settings; a dollar sign in them begins no formula.
plt.rcParams["text.parse_math"] = False
# More windows of a category than this are drawn as a histogram, and more updates without markers.
DOTS, MARKERS = 200, 40
BINS = 60
PANELS_A_ROW = 3
# Names in a legend; those that follow are counted.
NAMES = 24


def draw_selections(selections: Mapping[str, Path], path: Path) -> None:
    """Scores of kept and dropped windows, by category, a panel for each selection."""
    columns = min(len(selections), PANELS_A_ROW)
    rows = math.ceil(len(selections) / columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(6 * columns, 4 * rows), squeeze=False, layout="constrained"
    )
    for panel in panels.flat[len(selections) :]:
        panel.remove()
    for panel, (name, table) in zip(panels.flat, selections.items(), strict=False):
        table, manifest = read_table(table, "selection")
        _draw_selection(panel, table.to_pandas().dropna(subset=["score"]))
        panel.set(title=name, ylabel=SELECTION_METHODS[manifest.settings["method"]].label)
    _save(figure, path)


def _draw_selection(panel: plt.Axes, rows: pd.DataFrame) -> None:
    """Each window as a dot where they are few, else how many have a score: dropped left, kept right."""
    categories = sorted(rows["category"].unique())
    edges = np.histogram_bin_edges(rows["score"], BINS)
    for side, kept, color in ((-1, False, "tab:gray"), (1, True, "tab:blue")):
        part = rows[rows["kept"] == kept]
        label = f"{'kept' if kept else 'dropped'} ({len(part):,})"
        for place, category in enumerate(categories):
            own = rows["category"] == category
            scores = part["score"][own.reindex(part.index)]
            if own.sum() <= DOTS:
                panel.scatter([place] * len(scores), scores, color=color, alpha=0.7, label=label)
            else:
                # On a root's scale, since few of many are kept.
                counts = np.sqrt(np.histogram(scores, edges)[0])
                most = np.sqrt(np.histogram(rows["score"][own], edges)[0].max())
                panel.stairs(
                    place + side * 0.45 * counts / most,
                    edges,
                    baseline=place,
                    orientation="horizontal",
                    fill=True,
                    color=color,
                    label=label,
                )
            label = None
    panel.set_xticks(range(len(categories)), categories, rotation=90 if len(categories) > 6 else 0)
    panel.set_xlim(-0.6, len(categories) - 0.4)
    panel.legend()


def draw_trainings(trainings: Mapping[str, Path], path: Path) -> None:
    """Weighted and plain training loss by update; seeds of a loss have its colour."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4), sharex=True, layout="constrained")
    colors: dict[str, str] = {}
    for name, table in trainings.items():
        rows = read_table(table, "training_metrics")[0].to_pandas()
        group = re.sub(r"/seed\d+$", "", name)
        is_first = group not in colors
        color = colors.setdefault(group, f"C{len(colors) % 10}")
        style = {
            "marker": "o" if len(rows) <= MARKERS else None,
            "color": color,
            "linestyle": ("-", "--", ":", "-.")[len(colors) // 11 % 4],
            "label": group if is_first else None,
        }
        panels[0].plot(rows["step"], rows["loss_weighted"], **style)
        panels[1].plot(rows["step"], rows["loss_unweighted"], **style)
    for panel, title in zip(panels, ("weighted loss", "plain cross-entropy"), strict=True):
        panel.set(title=title, xlabel="update", ylabel="nats a token")
    panels[0].legend()
    _move_legend(figure, panels[0])
    _save(figure, path)


def draw_exposures(trainings: Mapping[str, Path], path: Path) -> None:
    """Share of the targets by their tokens of context, and what a target of each weighs for it."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4), sharex=True)
    for name, table in trainings.items():
        rows = read_table(table, "training_exposure")[0].to_pandas()
        edges = [1, *rows["context_start"].iloc[1:], rows["context_stop"].iloc[-1]]
        panels[0].stairs(100 * rows["targets"] / rows["targets"].sum(), edges, label=name)
        panels[1].stairs(rows["weight"], edges, baseline=None, label=name)
    titles = ("share of the targets (%)", "weight by context")
    for panel, title in zip(panels, titles, strict=True):
        panel.set_xscale("log", base=2)
        panel.set(title=title, xlabel="tokens of context in the target's own document")
    panels[0].legend()
    _save(figure, path)


def draw_evaluation(task: str, tables: Mapping[str, Path], path: Path) -> None:
    """What a task measured, base against trained models."""
    figure, panel = plt.subplots(figsize=(9, 4), layout="constrained")
    kind = EVALUATION_TASKS[task]
    found, options = {}, {}
    for name, table in tables.items():
        rows, manifest = read_table(table, kind.table)
        found[name], options = rows.to_pandas(), own_options(kind, manifest.settings)
    kind(**options).draw(panel, found)
    _move_legend(figure, panel)
    _save(figure, path)


def _move_legend(figure: plt.Figure, panel: plt.Axes) -> None:
    """Put a panel's legend beside the panels, where it covers nothing however many names it has."""
    if panel.get_legend() is None:
        return
    panel.get_legend().remove()
    handles, names = panel.get_legend_handles_labels()
    if len(names) > NAMES:
        handles = handles[:NAMES]
        names = [*names[: NAMES - 1], f"and {len(names) - NAMES + 1} more"]
    figure.legend(
        handles, names, loc="outside right upper", fontsize="small" if len(names) <= 8 else "x-small"
    )


def _save(figure: plt.Figure, path: Path) -> None:
    # Without a date, and with ids that are not drawn at random, the same numbers give the same file.
    with atomic_path(path) as temporary, plt.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    plt.close(figure)
