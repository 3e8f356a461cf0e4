"""Windows of several shards by id, out of the tokens they point to."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from longspan.store.tables import Manifest, read_table, require_same
from longspan.windows.shard import Shard


class WindowStore:
    """Windows of one or several shards by id, without loading the tokens.

    Args:
        shards: (tokens file, windows file) by shard name.

    Raises:
        ValueError: a windows file was cut from other tokens, or the shards' windows differ in form.
    """

    def __init__(self, shards: Mapping[str, tuple[Path | str, Path | str]]):
        self.shards: dict[str, Shard] = {}
        self._shard_of: dict[str, Shard] = {}
        self.categories: dict[str, str] = {}
        self.document_ids: dict[str, str] = {}
        self.windows_digests: dict[str, str] = {}
        self.tokens_digest_of: dict[str, int] = {}
        self.tokenizer: str | None = None
        self.window_tokens = 0
        self.bos_token_id: int | None = None
        for name, (tokens, windows) in shards.items():
            self._add(Shard(name, windows, tokens=tokens), windows)

    @classmethod
    def of(cls, shard: Shard, windows: Path | str) -> "WindowStore":
        """The windows of a shard that is open already; `windows` is named in errors."""
        store = cls({})
        store._add(shard, windows)
        return store

    def _add(self, shard: Shard, path: Path | str) -> None:
        shard.open_tokens()
        form = (shard.tokenizer, shard.window_tokens, shard.bos_token_id)
        if self._shard_of and form != (self.tokenizer, self.window_tokens, self.bos_token_id):
            raise ValueError(
                f"{path} has windows of another tokenizer, length or BOS token than the shards "
                "before it; delete it and run the same target again, which reruns assign_windows"
            )
        self.tokenizer, self.window_tokens, self.bos_token_id = form
        self.shards[shard.name] = shard
        self.windows_digests[shard.name] = shard.windows_digest
        for data_id, window in shard.rows.items():
            if data_id in self._shard_of:
                raise doubled_error(path, data_id)
            self._shard_of[data_id] = shard
            self.categories[data_id] = window["category"]
            self.document_ids[data_id] = window["document_id"]
            self.tokens_digest_of[data_id] = window["tokens_digest"]

    def require_tokenizer(self, identity: str, model: Path | str) -> None:
        """Refuse a model whose tokenizer is not the one that made the tokens."""
        if identity != self.tokenizer:
            raise ValueError(
                f"{model} has another tokenizer ({identity[:12]}) than the windows ({self.tokenizer[:12]}); "
                "choose a model with the windowing's tokenizer"
            )

    @property
    def data_ids(self) -> list[str]:
        """All ids, in the order of shards and windows."""
        return list(self._shard_of)

    def input_ids(self, data_id: str) -> np.ndarray:
        """Token ids of a window, int64 [T], its BOS token in front if the windowing has one.

        Raises:
            ValueError: there is no such window.
        """
        if data_id not in self._shard_of:
            raise ValueError(f"no window {data_id}; it is in none of the shards {', '.join(self.shards)}")
        return self._shard_of[data_id].input_ids(data_id)


def doubled_error(windows: Path | str, data_id: str) -> ValueError:
    """The error of windows that hold an id twice, or one of another shard's."""
    return ValueError(
        f"{windows} holds {data_id}, which is there already; delete it and run the same target again, "
        "which reruns assign_windows"
    )


def kept_ids(tables: Iterable[Path | str], windows_digests: Mapping[str, str]) -> list[str]:
    """Ids of the windows that at least one selection keeps, sorted.

    Args:
        tables: kept windows of selections.
        windows_digests: digest of the windows at hand, by shard.

    Raises:
        ValueError: a selection was made of other windows.
    """
    kept: set[str] = set()
    for path in tables:
        table, manifest = read_table(path, "kept_windows")
        require_windows(manifest, windows_digests, where=path, rule="list_kept_windows")
        kept.update(table.column("data_id").to_pylist())
    return sorted(kept)


def require_windows(
    manifest: Manifest, windows_digests: Mapping[str, str], *, where: Path | str, rule: str
) -> None:
    """Refuse a table over all shards that was made of other windows than those at hand."""
    for shard, digest in windows_digests.items():
        found = manifest.inputs.get(f"windows/{shard}", "")
        require_same(f"windows of shard {shard}", digest, found, where=where, rule=rule)
