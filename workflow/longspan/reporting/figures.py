"""Figures of the report."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from longspan.evaluation.task import EVALUATION_TASKS
from longspan.plugins.options import own_options
from longspan.selection.method import SELECTION_METHODS
from longspan.store.tables import atomic_path, read_table

# Names and categories are text of the settings; a dollar sign in them begins no formula.
plt.rcParams["text.parse_math"] = False


def draw_selections(selections: Mapping[str, Path], path: Path) -> None:
    """Scores of kept and dropped windows, by category, a panel for each selection."""
    figure, panels = plt.subplots(1, len(selections), figsize=(6 * len(selections), 4), squeeze=False)
    for panel, (name, table) in zip(panels[0], selections.items(), strict=True):
        table, manifest = read_table(table, "selection")
        rows = table.to_pandas().dropna(subset=["score"])
        categories = sorted(rows["category"].unique())
        for kept, color in ((False, "tab:gray"), (True, "tab:blue")):
            part = rows[rows["kept"] == kept]
            places = part["category"].map(categories.index)
            label = f"{'kept' if kept else 'dropped'} ({len(part)})"
            panel.scatter(places, part["score"], color=color, alpha=0.7, label=label)
        panel.set_xticks(range(len(categories)), categories)
        panel.set(title=name, ylabel=SELECTION_METHODS[manifest.settings["method"]].label)
        panel.legend()
    _save(figure, path)


def draw_trainings(trainings: Mapping[str, Path], path: Path) -> None:
    """Weighted and plain training loss by update."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4), sharex=True)
    for name, table in trainings.items():
        rows = read_table(table, "training_metrics")[0].to_pandas()
        panels[0].plot(rows["step"], rows["loss_weighted"], marker="o", label=name)
        panels[1].plot(rows["step"], rows["loss_unweighted"], marker="o", label=name)
    for panel, title in zip(panels, ("weighted loss", "plain cross-entropy"), strict=True):
        panel.set(title=title, xlabel="update", ylabel="nats a token")
    panels[0].legend()
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
    figure, panel = plt.subplots(figsize=(7, 4))
    kind = EVALUATION_TASKS[task]
    found, options = {}, {}
    for name, table in tables.items():
        rows, manifest = read_table(table, kind.table)
        found[name], options = rows.to_pandas(), own_options(kind, manifest.settings)
    kind(**options).draw(panel, found)
    _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    figure.tight_layout()
    # Without a date, and with ids that are not drawn at random, the same numbers give the same file.
    with atomic_path(path) as temporary, plt.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    plt.close(figure)
