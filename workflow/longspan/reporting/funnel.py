"""The funnel: documents, windows and tokens at each step from the sources to what is kept, with reasons."""

from collections import Counter
from collections.abc import Mapping

import pandas as pd

from longspan.reporting.windowings import WindowingTables
from longspan.windows.counts import by_reason

COLUMNS = ("step", "name", "documents", "windows", "tokens")


def funnel_rows(
    corpora: Mapping[str, tuple[Counter, Counter]],
    windowings: Mapping[str, WindowingTables],
    selections: Mapping[str, tuple[str, pd.DataFrame]],
) -> list[tuple[str, ...]]:
    """Rows of (step, name, documents, windows, tokens); empty where a step does not count such.

    Args:
        corpora: `total_counts` of each corpus's training shards and of its held-out one.
        windowings: windows by windowing.
        selections: windowing and rows of each selection, and of each stage of a cascade.

    Raises:
        ValueError: a selection keeps a window that is not there.
    """
    rows = []
    for name, (kept, evaluated) in corpora.items():
        documents, held_out = kept["documents"], evaluated["documents"]
        reasons = by_reason(kept + evaluated)
        rows.append(_row("documents of the sources", name, documents + held_out + reasons.total()))
        rows += [_row(f"left out: {reason}", name, count) for reason, count in sorted(reasons.items())]
        rows.append(_row("held out for evaluation", name, held_out))
        rows.append(_row("documents", name, documents))
    document_of = {}
    for name, windows in windowings.items():
        counts, size = windows.counts, windows.window_tokens
        drawn = {data_id: document for shard in windows.document_of for data_id, document in shard.items()}
        cut = counts["windows_cut"]
        rows.append(_row("tokenized", name, counts["documents"], None, counts["tokens"]))
        short = counts["short_documents"]
        rows.append(_row("too short for a window", name, short, None, counts["short_tokens"]))
        rows.append(_row("cut into windows", name, counts["documents"] - short, cut, cut * size))
        rows.append(_row("not drawn by sampling", name, None, cut - len(drawn), (cut - len(drawn)) * size))
        rows.append(_row("windows", name, len(set(drawn.values())), len(drawn), len(drawn) * size))
        document_of[name] = drawn
    for name, (windowing, table) in selections.items():
        kept = table["data_id"][table["kept"]].tolist()
        # Windows without a score were dropped by an earlier stage, which counts them.
        size, dropped = windowings[windowing].window_tokens, int(table["score"].notna().sum()) - len(kept)
        if lost := [data_id for data_id in kept if data_id not in document_of[windowing]]:
            raise ValueError(
                f"selection {name} keeps {lost[0]}, which is none of the windows of {windowing}; delete its "
                "table and run the same target again, which reruns select_windows"
            )
        documents = {document_of[windowing][data_id] for data_id in kept}
        rows.append(_row("not kept", name, None, dropped, dropped * size))
        rows.append(_row("kept", name, len(documents), len(kept), len(kept) * size))
    return rows


def _row(step: str, name: str, *counts: int | None) -> tuple[str, ...]:
    counts = (*counts, None, None)[:3]
    return (step, name, *("" if count is None else f"{count:,}" for count in counts))
