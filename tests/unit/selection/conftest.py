"""Windows of two shards with all that methods of selection look at."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from longspan.selection.method import SelectionMethod
from longspan.selection.scores import ShardTables, score_windows
from longspan.store.tables import read_table, write_table
from stored_tables import window_store, write_stores

SHARDS = ("00000", "00001")
_SCORES = {"attention": "attention", "short_nll": "scores"}


class Stores:
    """Tables of two shards in a folder.

    Attributes:
        ids: ids of the windows, in order.
        strength, variance_block, variance_matrix: their attention statistics.
        texts: their texts.
    """

    texts = ("abcdefgh", "ijklmnop", "α" * 8, "x" * 8, "yz" * 4)

    def __init__(self, folder: Path):
        self._folder = folder
        ids = write_stores(folder)
        self.ids = [data_id for data_ids in ids.values() for data_id in data_ids]
        draw = np.random.default_rng(0)
        self.strength, self.variance_block, self.variance_matrix = (
            draw.uniform(low, high, len(self.ids)) for low, high in ((0.05, 0.4), (1e-9, 5e-9), (1e-9, 5e-9))
        )
        for shard, data_ids in ids.items():
            self._write_attention(shard, data_ids)
            self._write_documents(shard)

    def _write_attention(self, shard: str, data_ids: list[str]) -> None:
        windows = window_store(self._folder, shard)
        rows = [
            {
                "data_id": data_id,
                "tokens_digest": windows.tokens_digest_of[data_id],
                "strength": self.strength[number],
                "variance_block": self.variance_block[number],
                "variance_matrix": self.variance_matrix[number],
            }
            # The store's order is not the windows'.
            for number, data_id in reversed(list(enumerate(data_ids, start=self.ids.index(data_ids[0]))))
        ]
        path = self.path("attention", shard)
        write_table(path, "attention_scores", rows, settings={}, tokenizer=windows.tokenizer)

    def _write_documents(self, shard: str) -> None:
        names = {"00000": ("alpha", "mu"), "00001": ("beta",)}[shard]
        texts = {"alpha": "abcdefghijklmnopqrst", "mu": "ααααααααα", "beta": "xxxxxxxxyzyzyzyz"}
        rows = [
            dict.fromkeys(("source", "category", "license", "title"), "x")
            | {"document_id": name, "text": texts[name]}
            for name in names
        ]
        write_table(self.path("documents", shard), "documents", rows, settings={})

    def path(self, kind: str, shard: str) -> Path:
        """A shard's table: windows, tokens, documents, scores (NLL) or attention."""
        return self._folder / kind / f"{shard}.parquet"

    def cut_from_documents(self) -> None:
        """Let the windows know the documents by their digests, as if they were cut from them."""
        for shard in SHARDS:
            table, manifest = read_table(self.path("windows", shard), "windows")
            digest = read_table(self.path("documents", shard), "documents")[1].data_digest
            inputs = manifest.inputs | {"documents": digest}
            same = {"settings": manifest.settings, "tokenizer": manifest.tokenizer}
            write_table(self.path("windows", shard), "windows", table, inputs=inputs, **same)

    def tables(self, method: SelectionMethod) -> list[ShardTables]:
        """Tables of each shard that a method needs."""
        needs = method.needs
        return [
            ShardTables(
                shard,
                self.path("windows", shard),
                scores=self.path(_SCORES[needs.scorer], shard) if needs.scorer else None,
                documents=self.path("documents", shard) if needs.documents else None,
                tokens=self.path("tokens", shard) if needs.tokens else None,
            )
            for shard in SHARDS
        ]

    def score(self, method: SelectionMethod, seed: int | None = None) -> tuple[pd.DataFrame, dict[str, str]]:
        """Scores by a method, and what they were made of."""
        return score_windows(method, self.tables(method), seed=seed)


@pytest.fixture
def stores(tmp_path) -> Stores:
    return Stores(tmp_path)
