"""The windows of a windowing, as the summary and the funnel count them; each table is read once."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from longspan.store.tables import RowReader


@dataclass
class WindowingTables:
    """Windows of all shards.

    Attributes:
        counts: sums of what the shards' manifests count.
        categories: number of windows by category.
        window_tokens: tokens of a window.
        document_of: document of each window, a mapping for each shard.
    """

    counts: Counter = field(default_factory=Counter)
    categories: Counter = field(default_factory=Counter)
    window_tokens: int = 0
    document_of: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def read(cls, paths: Iterable[Path | str]) -> "WindowingTables":
        """Read the tables of all shards.

        Raises:
            ValueError: a table that is missing or damaged.
        """
        found = cls()
        for path in paths:
            reader = RowReader(path, "windows")
            table = reader.read(["data_id", "document_id", "category"])
            ids, documents, categories = (column.to_pylist() for column in table.columns)
            found.counts.update(reader.manifest.counts)
            found.categories.update(categories)
            found.window_tokens = reader.manifest.settings["window_tokens"]
            found.document_of.append(dict(zip(ids, documents, strict=True)))
        return found
