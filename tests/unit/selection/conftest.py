"""Windows of two shards with all that methods of selection look at."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from longspan.scoring.kind import SCORER_KINDS
from longspan.selection.method import SelectionMethod
from longspan.selection.scores import ShardTables, score_windows
from longspan.store.tables import read_table, write_table
from stored_tables import window_store, write_stores

SHARDS = ("00000", "00001")
_SCORES = {"attention": "attention", "short_nll": "scores", "ladm": "ladm", "prolong": "prolong"}


class Stores:
    """Tables of two shards in a folder.

    Attributes:
        ids: ids of the windows, in order.
        strength, variance_block, variance_matrix: their attention statistics.
        layer_scores: LADM's score of each of two layers.
        segment_nll, pairs: NLL of six segments, and NLL by pair of a segment and an earlier one.
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
        self.layer_scores = {data_id: draw.uniform(size=2) for data_id in self.ids}
        self.segment_nll = {data_id: draw.gamma(3.0, 0.8, 6).astype(np.float32) for data_id in self.ids}
        every = [(later, earlier) for later in range(6) for earlier in range(later)]
        self.pairs = {
            data_id: {
                every[row]: np.float32(nll_N[every[row][0]] - draw.normal(0.2, 0.4))
                for row in sorted(draw.choice(len(every), 8, replace=False))
            }
            for data_id, nll_N in self.segment_nll.items()
        }
        for shard in ids:
            self._write_attention(shard)
            self.write_layer_scores(shard)
            self._write_pairs(shard)
            self._write_documents(shard)

    def _write_attention(self, shard: str) -> None:
        place = {data_id: number for number, data_id in enumerate(self.ids)}
        self._write_scores(
            "attention",
            "attention_scores",
            shard,
            lambda data_id: {
                "strength": self.strength[place[data_id]],
                "variance_block": self.variance_block[place[data_id]],
                "variance_matrix": self.variance_matrix[place[data_id]],
            },
        )

    def write_layer_scores(self, shard: str) -> None:
        """Write LADM's scores."""
        self._write_scores(
            "ladm", "ladm_scores", shard, lambda data_id: {"layer_scores": self.layer_scores[data_id]}
        )

    def _write_pairs(self, shard: str) -> None:
        self._write_scores(
            "prolong",
            "prolong_scores",
            shard,
            lambda data_id: {
                "segment_nll": self.segment_nll[data_id],
                "later": [later for later, _ in self.pairs[data_id]],
                "earlier": [earlier for _, earlier in self.pairs[data_id]],
                "pair_nll": list(self.pairs[data_id].values()),
            },
        )

    def _write_scores(self, folder: str, kind: str, shard: str, columns: Callable[[str], dict]) -> None:
        # The kind of table is known once its scorer is.
        assert kind in {scorer.table for scorer in SCORER_KINDS}
        windows = window_store(self._folder, shard)
        rows = [
            {"data_id": data_id, "tokens_digest": windows.tokens_digest_of[data_id]} | columns(data_id)
            # The store's order is not the windows'.
            for data_id in reversed(windows.data_ids)
        ]
        write_table(self.path(folder, shard), kind, rows, settings={}, tokenizer=windows.tokenizer)

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
        """A shard's table: windows, tokens, documents, scores (NLL), attention, ladm or prolong."""
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
