"""Score files that survive a kill: a shard's store is a table that work goes on with."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from tqdm import tqdm

from longspan.store.resumable import ROWS_PER_GROUP, ResumableTable
from longspan.windows.store import WindowStore

__all__ = ["ROWS_PER_GROUP", "ScoreWriter"]


class ScoreWriter(ResumableTable):
    """Adds scores to a shard's store; what is there under the same settings is kept.

    Use as a context manager. While it is open no other process can write the same store.

    A stored row counts for a window while its tokens_digest is the window's. Rows of windows that the shard
    does not have at present (a smaller sample, say) stay.

    Args:
        path: the final Parquet file.
        kind: "nll_scores" or "attention_scores".
        windows: the shard's windows.
        code_digest: recorded, but no part of what makes stored rows valid.
        manifest: settings, inputs, stage_version and `without`, as for `TableWriter`.

    Raises:
        ValueError: another process holds the store, or it has another schema version.
    """

    made: ClassVar[str] = "scored"
    anew: ClassVar[str] = "its windows are scored anew"

    def __init__(
        self, path: Path | str, kind: str, windows: WindowStore, *, code_digest: str = "", **manifest
    ):
        super().__init__(
            path,
            kind,
            digests=windows.tokens_digest_of,
            digest_column="tokens_digest",
            code_digest=code_digest,
            **manifest,
            tokenizer=windows.tokenizer,
        )
        self._windows = windows

    def add_missing(
        self,
        wanted: Iterable[str],
        load_scorer: Callable[[], Callable[[Iterator[tuple[str, np.ndarray]]], Iterator[dict]]],
    ) -> None:
        """Score the wanted windows that have no score yet, with progress on stderr.

        Args:
            wanted: ids; those of other shards are passed over.
            load_scorer: gives a function from pairs of an id and token ids [T] to the other columns of their
                rows, in the same order; called only if something is missing, so that a finished store costs
                no model.
        """
        windows = self._windows
        missing = [
            data_id for data_id in wanted if data_id in windows.tokens_digest_of and data_id not in self
        ]
        if not missing:
            return
        score = load_scorer()
        tokens = windows.window_tokens
        label = f"{self.path.parent.name} {self.path.stem}"
        with tqdm(
            desc=label, total=len(missing) * tokens, unit="tok", unit_scale=True, mininterval=2
        ) as progress:
            scored = score((data_id, windows.input_ids(data_id)) for data_id in missing)

            def rows() -> Iterator[list[dict]]:
                for data_id, columns in zip(missing, scored, strict=True):
                    yield [{"data_id": data_id, **columns}]
                    progress.update(tokens)

            self.extend(rows())
