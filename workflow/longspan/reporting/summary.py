"""The short table at the end: what went in, what was kept, and what training changed."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from longspan.evaluation.task import EVALUATION_TASKS
from longspan.plugins.options import own_options
from longspan.reporting.windowings import WindowingTables
from longspan.scoring.index import nll_batches
from longspan.selection.comparison import Comparison
from longspan.store.tables import RowReader, read_table
from longspan.windows.counts import by_category


def mean_nll(windows: Iterable[Container[str]], scores: Iterable[Path | str]) -> dict[str, tuple[float, int]]:
    """Mean NLL (nats a token) and number of windows, by column of the store.

    Args:
        windows: ids of each shard's windows; scores of others, of a larger sample say, are left out.
        scores: tables of their scores, in the same order.
    """
    sums: Counter = Counter()
    entries: Counter = Counter()
    counts: Counter = Counter()
    for ids, path in zip(windows, scores, strict=True):
        for data_ids, nll in nll_batches(RowReader(path, "nll_scores")):
            rows = [row for row, data_id in enumerate(data_ids) if data_id in ids]
            for name, nll_BN in nll.items():
                sums[name] += nll_BN[rows].sum()
                entries[name] += nll_BN[rows].size
                counts[name] += len(rows)
    return {name: (sums[name] / entries[name], counts[name]) for name in sums if entries[name]}


def summary_rows(
    corpora: Mapping[str, Counter],
    windowings: Mapping[str, WindowingTables],
    stores: Mapping[str, Sequence[Path]],
    selections: Mapping[str, pd.DataFrame],
    comparisons: Mapping[str, Comparison],
    trainings: Mapping[str, Path],
    exposures: Mapping[str, Path],
    evaluations: Sequence[Mapping[str, str]],
) -> list[tuple[str, str, str]]:
    """Rows of (quantity, name, value).

    Args:
        corpora: `total_counts` of each corpus's training shards.
        windowings: windows by windowing.
        stores: tables of scores by "windowing/scorer".
        selections: table of each selection, and of each stage of a cascade.
        comparisons: how much two selections agree, by a name of the pair.
        trainings: table of metrics of each training.
        exposures: table of effective contexts of each training.
        evaluations: name of the training, task, and tables of base and trained model of each evaluation.
    """
    rows = []
    for name, counts in corpora.items():
        rows.append(("documents", name, _listed(by_category(counts))))
    for name, windows in windowings.items():
        counts, window_tokens = windows.categories, windows.window_tokens
        rows.append(("windows", name, _listed(counts)))
        rows.append(("tokens", name, f"{counts.total() * window_tokens:,} ({window_tokens:,} a window)"))
    for name, paths in stores.items():
        windowing = windowings[name.partition("/")[0]]
        for column, (mean, windows) in mean_nll(windowing.document_of, paths).items():
            kind = column.removesuffix("_nll")
            rows.append((f"mean {kind} NLL", name, f"{mean:.4f} nats a token ({windows} windows)"))
    for name, selection in selections.items():
        kept, scored = int(selection["kept"].sum()), int(selection["score"].notna().sum())
        # A later stage of a cascade scores what is left.
        of_all = f" ({kept} of all {len(selection)})" if scored < len(selection) else ""
        rows.append(("windows kept", name, f"{kept} of {scored}{of_all}"))
    for name, comparison in comparisons.items():
        rows.append(("rank correlation", name, str(comparison)))
    for name, path in trainings.items():
        losses = read_table(path, "training_metrics", ["loss_weighted"])[0].column(0).to_pylist()
        rows.append(("training loss", name, f"{losses[0]:.4f} → {losses[-1]:.4f} ({len(losses)} updates)"))
    for name, path in exposures.items():
        exposure = read_table(path, "training_exposure")[0].to_pandas()
        rows.append(("short context", name, short_context(exposure)))
    read = cache(read_table)
    for evaluation in evaluations:
        kind = EVALUATION_TASKS[evaluation["task"]]
        (base, manifest), (trained, _) = (
            read(evaluation[which], kind.table) for which in ("base", "trained")
        )
        task = kind(**own_options(kind, manifest.settings))
        for quantity, value in task.summary(base.to_pylist(), trained.to_pylist()):
            rows.append((quantity, evaluation["name"], value))
    return rows


def short_context(exposure: pd.DataFrame) -> str:
    """Share of a training's targets that see too little of their document for extra weight, in words.

    Args:
        exposure: rows of a table training_exposure.
    """
    short, weighted = exposure[~exposure["is_tail"]], exposure["targets"] * exposure["weight"]
    share = short["targets"].sum() / exposure["targets"].sum()
    words = f"{share:.1%} of the targets under {short['context_stop'].iloc[-1]:,} tokens of context"
    if (exposure["weight"] == 1).all():
        return words
    return f"{words}, {weighted[short.index].sum() / weighted.sum():.1%} of the weight by context"


def format_rows(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as text in aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    )


def _listed(counts: Counter) -> str:
    parts = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return f"{counts.total()} ({parts})"
