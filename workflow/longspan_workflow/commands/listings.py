"""Windows of a selection: the best, those at its cut, the worst, or those of a source or title."""

from pathlib import Path

import pandas as pd

from longspan.reporting.page.windows import shard_of
from longspan.reporting.provenance import unknown
from longspan.reporting.summary import format_rows
from longspan.store.tables import read_table
from longspan_workflow.settings.used import Used
from longspan_workflow.wiring.wiring import Wiring

PARTS = ("top", "border", "bottom")
_TITLE = 60  # characters


def list_windows(
    wiring: Wiring,
    *,
    selection: str | None,
    part: str,
    source: str | None,
    title: str | None,
    count: int,
) -> str:
    """Lines of a table: rank, kept, percentile, score, category, id and title.

    Args:
        wiring: of the settings.
        selection: its name; None takes the first that runs or exports use, or else the first of all.
        part: "top", "bottom", or "border": the last kept and the first dropped of each category.
        source: a part of the document's source or category; None for any.
        title: a part of the document's title; None for any.
        count: most windows that are listed.

    Raises:
        ValueError: there is no such selection, or its tables are missing or damaged.
    """
    blocks = wiring.settings.selections
    if not blocks:
        raise ValueError("these settings have no selection to list windows of")
    used = [block.key for block in Used(wiring.settings).selections]
    name = selection or next(iter([*used, *blocks]))
    if name not in blocks:
        raise unknown("selection", name, blocks)
    table, _ = read_table(wiring.places.here(wiring.places.selection.format(selection=name)), "selection")
    rows = table.to_pandas().sort_values("rank")
    windowing = blocks[name].windowing
    origins = _Origins(wiring, windowing)
    if source is not None or title is not None:
        about = pd.DataFrame([origins.of(data_id) for data_id in rows["data_id"]], index=rows.index)
        if source is not None:
            where = about["source"] + "\n" + rows["category"]
            rows = rows[where.str.contains(source, case=False, regex=False)]
        if title is not None:
            rows = rows[about["title"].loc[rows.index].str.contains(title, case=False, regex=False)]
    chosen = _part(rows, part, count)
    if chosen.empty:
        return f"{name}: no window of that kind"
    cells = [("rank", "kept", "percentile", "score", "category", "window", "title")]
    for row in chosen.itertuples():
        text = " ".join(origins.of(row.data_id)["title"].split())
        cells.append(
            (
                f"{row.rank:,}",
                "kept" if row.kept else "dropped",
                f"{row.percentile:.1f}",
                f"{row.score:.4g}",
                row.category,
                row.data_id,
                text if len(text) <= _TITLE else f"{text[: _TITLE - 1]}…",
            )
        )
    kept = int(table.column("kept").to_pandas().sum())
    return f"{name}: {kept:,} of {len(table):,} windows kept; {part} of {len(rows):,}\n{format_rows(cells)}"


def _part(rows: pd.DataFrame, part: str, count: int) -> pd.DataFrame:
    if part == "top":
        return rows.head(count)
    if part == "bottom":
        return rows.tail(count)
    groups = [own for _, own in rows.groupby("category")]
    each = max(1, count // (2 * max(1, len(groups))))
    edges = [edge for own in groups for edge in (own[own["kept"]].tail(each), own[~own["kept"]].head(each))]
    return pd.concat(edges).sort_values("rank").head(count) if edges else rows.head(0)


class _Origins:
    """Title and source of windows; each shard's tables are read when one of its windows is asked for."""

    def __init__(self, wiring: Wiring, windowing):
        self._wiring, self._windowing = wiring, windowing
        self._shards: dict[str, dict[str, dict]] = {}

    def of(self, data_id: str) -> dict:
        """Title and source of the document that a window is of."""
        shard = shard_of(data_id)
        if shard not in self._shards:
            here, windows = self._wiring.places.here, self._wiring.windows
            columns = ["document_id", "title", "source"]
            documents = Path(here(windows.documents_of(self._windowing, shard)))
            rows = read_table(documents, "documents", columns)[0].to_pylist()
            about = {row["document_id"]: row for row in rows}
            path = here(windows.windows_of(self._windowing, shard))
            cut = read_table(path, "windows", ["data_id", "document_id"])[0].to_pylist()
            self._shards[shard] = {row["data_id"]: about[row["document_id"]] for row in cut}
        return self._shards[shard][data_id]
