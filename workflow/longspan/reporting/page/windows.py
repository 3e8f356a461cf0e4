"""Which windows the page lets one read: those that the selections single out, within a budget of bytes."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from longspan.reporting.page.reader import pack_window
from longspan.store.shards import HELD_OUT
from longspan.store.tables import RowReader
from longspan.weighting.variant import Loss
from longspan.windows.shard import Shard

WINDOW_BYTES = 2_600_000
_SNIPPET = 160  # characters of a window's beginning in tables


class Store:
    """Short and long NLL of a shard's windows by id.

    Args:
        path: table of scores.
    """

    def __init__(self, path: Path | str):
        self._reader = RowReader(path, "nll_scores")
        self.is_long = "long_nll" in self._reader.column_names
        table = self._reader.read(["data_id", "tokens_digest"])
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        self._place = {(data_id, digest): row for row, (data_id, digest) in enumerate(rows)}

    def get(self, window: Mapping) -> dict[str, np.ndarray] | None:
        """NLL of a window, float32 [N] by column; None if there is none of its tokens."""
        place = self._place.get((window["data_id"], window["tokens_digest"]))
        if place is None or not self.is_long:
            return None
        row = self._reader[place]
        return {name: row[name].values.to_numpy().astype(np.float32) for name in ("short_nll", "long_nll")}


class WindowingReader:
    """Windows of a windowing by id; a shard's tables are opened when one of its windows is asked for.

    Args:
        settings: block of the page's settings.
    """

    def __init__(self, settings: Mapping):
        self._settings = settings
        self._shards: dict[str, Shard] = {}
        self._stores: dict[tuple[str, str], Store] = {}

    def shard(self, name: str) -> Shard:
        """A shard."""
        if name not in self._shards:
            paths = {
                kind: Path(self._settings[kind], f"{name}.parquet")
                for kind in ("windows", "tokens", "documents")
            }
            self._shards[name] = Shard(name, **paths, with_offsets=True)
        return self._shards[name]

    def include(self, window: Mapping) -> None:
        """Let a window be read that sampling left out of its shard's table: a row as that table has it."""
        self.shard(shard_of(window["data_id"])).rows.setdefault(window["data_id"], dict(window))

    def nll(self, shard: str, window: Mapping) -> tuple[str, dict[str, np.ndarray]] | None:
        """The first store that has a window, and its NLL."""
        for scorer, block in self._settings["stores"].items():
            if shard == HELD_OUT:  # which no store has
                break
            if (scorer, shard) not in self._stores:
                self._stores[scorer, shard] = Store(Path(block["folder"], f"{shard}.parquet"))
            if (found := self._stores[scorer, shard].get(window)) is not None:
                return scorer, found
        return None

    def describe(self, data_id: str) -> dict[str, str]:
        """Title and beginning of a window."""
        shard = self.shard(shard_of(data_id))
        title = shard.document(shard.rows[data_id]["document_id"])["title"]
        return {"title": title, "begins": shard.text(data_id)[:_SNIPPET]}

    def pack(self, data_id: str, losses: Mapping[str, Mapping[str, Loss]]) -> dict:
        """A window as the page's data has it.

        Args:
            data_id: the window.
            losses: losses by name, by the scorer of a store.
        """
        shard = self.shard(shard_of(data_id))
        window = shard.rows[data_id]
        scorer, nll = self.nll(shard.name, window) or (None, None)
        packed = pack_window(shard, data_id, nll, losses.get(scorer, {}))
        return {
            "id": data_id,
            "category": window["category"],
            "document": window["document_id"],
            "store": scorer,
            "bos": shard.bos_token_id is not None,
            **self.describe(data_id),
            **packed.header,
            "block": packed.block,
            "bytes": packed.size,
        }


def shard_of(data_id: str) -> str:
    """Name of the shard in a window's id."""
    return data_id.rpartition("_")[0].rpartition("-")[2]


def candidates(selections: Mapping[str, Mapping], kept: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Ids of windows worth reading, each once: by turns kept ones, ones at a cut, and the worst.

    Args:
        selections: counts of each selection, those of runs and exports first.
        kept: ids that each keeps, the best first.
    """
    parts: list[list[str]] = []
    for name, counts in selections.items():
        rows = counts["rows"]
        parts.append(list(kept[name]))
        for part in ("border", "bottom", "top"):
            parts.append([row["data_id"] for row in rows if row["part"] == part])
    turns = itertools.chain.from_iterable(itertools.zip_longest(*parts))
    return iter(dict.fromkeys(data_id for data_id in turns if data_id is not None))


def within_budget(packed: Iterable[dict], budget: int = WINDOW_BYTES) -> list[dict]:
    """The first windows that fit into a number of bytes; those without scores take a sixth at most."""
    found: list[dict] = []
    left = {True: budget - budget // 6, False: budget // 6}
    for window in packed:
        is_scored = window["store"] is not None
        if window["bytes"] > left[is_scored]:
            if is_scored or not any(size > window["bytes"] for size in left.values()):
                break
            continue
        left[is_scored] -= window.pop("bytes")
        found.append(window)
    return found
