"""Short documents packed into sequences of one length. Imports no torch."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from longspan.store.tables import RowReader, read_table


class PackedDocuments:
    """A map-style dataset of sequences that are filled with documents, one after the other.

    Documents are cut to pieces of at most `document_tokens`, a BOS token in front of each if there is one. A
    piece that a sequence's end cuts goes on as another in the next; what does not fill a last sequence is
    left out. No piece sees another, and none's first token is a target.

    Args:
        name: what the ids of the sequences begin with.
        tokens: tables of tokens by shard.
        window_tokens: tokens of a sequence.
        document_tokens: most tokens of a piece.
        bos_token_id: put before each piece; None for none.
        scored: whether the other sequences of the training bring `short_nll`.
    """

    def __init__(
        self,
        name: str,
        tokens: Mapping[str, Path],
        *,
        window_tokens: int,
        document_tokens: int,
        bos_token_id: int | None,
        scored: bool,
    ):
        self._bos = [] if bos_token_id is None else [bos_token_id]
        self._scored = scored
        self._window_tokens = window_tokens
        self._readers = {shard: RowReader(path, "tokens", ["input_ids"]) for shard, path in tokens.items()}
        self.tokens_digests = {shard: reader.manifest.data_digest for shard, reader in self._readers.items()}
        self.tokenizers = {reader.manifest.tokenizer for reader in self._readers.values()}
        self._sequences = list(self._filled(tokens, min(document_tokens, window_tokens)))
        self.data_ids = [f"{name}-packed_{number:07d}" for number in range(len(self._sequences))]

    def _filled(self, tokens, document_tokens):
        sequence, room = [], self._window_tokens
        for shard, path in tokens.items():
            column = read_table(path, "tokens", ["input_ids"])[0].column(0)
            for row, length in enumerate(len(ids) for chunk in column.chunks for ids in chunk):
                start = 0
                while start < length:
                    taken = min(length - start, min(document_tokens, room) - len(self._bos))
                    sequence.append((shard, row, start, start + taken))
                    start += taken
                    room -= taken + len(self._bos)
                    if not room:
                        yield sequence
                        sequence, room = [], self._window_tokens

    def __len__(self) -> int:
        return len(self._sequences)

    def document_lengths(self, index: int) -> list[int]:
        """Tokens of each piece of a sequence, a BOS token among them."""
        return [len(self._bos) + stop - start for _, _, start, stop in self._sequences[index]]

    def __getitem__(self, index: int) -> dict:
        """`sequence_ids`, `input_ids` int64 [T], `document_lengths`, and zeros for `short_nll` if scored."""
        pieces = []
        for shard, row, start, stop in self._sequences[index]:
            ids = self._readers[shard][row]["input_ids"].values.slice(start, stop - start).to_numpy()
            pieces.append(np.concatenate([np.array(self._bos, np.int64), ids.astype(np.int64)]))
        item = {
            "sequence_ids": self.data_ids[index],
            "input_ids": np.concatenate(pieces),
            "document_lengths": self.document_lengths(index),
        }
        if self._scored:
            item["short_nll"] = np.zeros(self._window_tokens - 1, np.float32)
        return item
