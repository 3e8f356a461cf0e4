"""What a training draws from: long windows and, in a mixture, packed short documents. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from longspan.scoring.index import IndexedScores
from longspan.training.packed_documents import PackedDocuments
from longspan.training.rows import TrainingRows
from longspan.training.windows import TrainingWindows
from longspan.windows.store import WindowStore


@dataclass(frozen=True)
class TrainingData:
    """Long windows, and packed documents and their share of the tokens by corpus."""

    windows: WindowStore
    long: TrainingWindows
    short: Mapping[str, PackedDocuments] = field(default_factory=dict)
    token_shares: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        windows: WindowStore,
        data_ids: Sequence[str],
        scores: IndexedScores | None,
        *,
        mixture: Sequence[Mapping] = (),
        short_tokens: Mapping[str, Mapping[str, Path]] | None = None,
    ) -> "TrainingData":
        """Open the windows to train on and the documents of a mixture.

        Args:
            windows: token ids by window.
            data_ids: the windows to train on.
            scores: frozen scores, or None where the loss needs none.
            mixture: `corpus`, `token_share` and `document_tokens` of each source of short documents.
            short_tokens: tables of tokens of each of these corpora, by shard.

        Raises:
            ValueError: no window, or documents of another tokenizer.
        """
        if not data_ids:
            raise ValueError("no window to train on: the selection keeps none; keep more, or add text")
        short = {}
        for source in mixture:
            corpus, tables = source["corpus"], short_tokens[source["corpus"]]
            short[corpus] = PackedDocuments(
                corpus,
                tables,
                window_tokens=windows.window_tokens,
                document_tokens=source["document_tokens"],
                bos_token_id=windows.bos_token_id,
                scored=scores is not None,
            )
            for identity in short[corpus].tokenizers:
                windows.require_tokenizer(identity, next(iter(tables.values())).parent)
        shares = {source["corpus"]: source["token_share"] for source in mixture}
        return cls(windows, TrainingWindows(windows, data_ids, scores), short, shares)

    def digests(self) -> dict[str, str]:
        """Digest of the windows as `data`, and of each table of short documents as `{corpus}/{shard}`."""
        tables = {
            f"{corpus}/{shard}": digest
            for corpus, source in self.short.items()
            for shard, digest in source.tokens_digests.items()
        }
        return {"data": self.long.digest()} | tables

    def rows(self, settings: Mapping) -> TrainingRows:
        """All rows of a training, in its order, by its settings."""
        count = settings["train"]["max_steps"] * settings["train"]["windows_per_update"]
        sources = {"long": self.long} | {f"short/{corpus}": source for corpus, source in self.short.items()}
        shares = {f"short/{corpus}": share for corpus, share in self.token_shares.items()}
        return TrainingRows(sources, {"long": 1 - sum(shares.values())} | shares, count, settings["seed"])
