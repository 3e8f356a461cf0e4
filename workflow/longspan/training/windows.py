"""What a training sees: windows, with the scores that their loss uses. Imports no torch."""

import hashlib
from collections.abc import Sequence

import numpy as np

from longspan.scoring.index import IndexedScores
from longspan.windows.store import WindowStore


class TrainingWindows:
    """A map-style dataset of windows.

    Args:
        windows: token ids by window.
        data_ids: the windows to train on.
        scores: frozen scores, or None where the loss needs none.
    """

    def __init__(self, windows: WindowStore, data_ids: Sequence[str], scores: IndexedScores | None):
        self._windows = windows
        self._scores = scores
        self.data_ids = list(data_ids)

    def __len__(self) -> int:
        return len(self.data_ids)

    def __getitem__(self, index: int) -> dict[str, str | np.ndarray]:
        """`sequence_ids` (one id), `input_ids` int64 [T] and, with scores, `short_nll` float32 [T-1]."""
        data_id = self.data_ids[index]
        item = {"sequence_ids": data_id, "input_ids": self._windows.input_ids(data_id)}
        return item if self._scores is None else item | self._scores[data_id]

    def document_lengths(self, index: int) -> tuple[int]:
        """Tokens of a window, which is of one document."""
        return (self._windows.window_tokens,)

    def digest(self) -> str:
        """Sha256 of ids, tokens and scores, in order: two trainings on equal digests see the same."""
        digest = hashlib.sha256()
        for index in range(len(self)):
            item = self[index]
            digest.update(item["sequence_ids"].encode())
            for name in ("input_ids", "short_nll"):
                if name in item:
                    digest.update(item[name].tobytes())
        return digest.hexdigest()
