"""Token ids of windows, out of the tokens they point to."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from longspan.store.tables import Manifest, RowReader, read_table, require_same


class WindowStore:
    """Windows of one or several shards by id, without loading the tokens.

    Args:
        shards: (tokens file, windows file) by shard name.

    Raises:
        ValueError: a windows file was cut from other tokens, or the shards' windows differ in form.
    """

    def __init__(self, shards: Mapping[str, tuple[Path | str, Path | str]]):
        self._tokens: dict[str, RowReader] = {}
        self._spans: dict[str, tuple[str, int, int, int]] = {}
        self.categories: dict[str, str] = {}
        self.document_ids: dict[str, str] = {}
        self.windows_digests: dict[str, str] = {}
        self.tokens_digest_of: dict[str, int] = {}
        self.tokenizer: str | None = None
        self.window_tokens = 0
        self.bos_token_id: int | None = None
        for shard, (tokens_path, windows_path) in shards.items():
            windows, manifest = read_table(windows_path, "windows")
            tokens = RowReader(tokens_path, "tokens", ["input_ids"])
            require_same(
                "tokens file",
                tokens.manifest.data_digest,
                manifest.inputs["tokens"],
                where=windows_path,
                rule="assign_windows",
            )
            form = (manifest.tokenizer, manifest.settings["window_tokens"], manifest.settings["bos_token_id"])
            if self._spans and form != (self.tokenizer, self.window_tokens, self.bos_token_id):
                raise ValueError(
                    f"{windows_path} has windows of another tokenizer, length or BOS token than the shards "
                    "before it; delete it and run the same target again, which reruns assign_windows"
                )
            self.tokenizer, self.window_tokens, self.bos_token_id = form
            self.windows_digests[shard] = manifest.data_digest
            self._tokens[shard] = tokens
            row_of = {
                document_id: row
                for row, document_id in enumerate(
                    read_table(tokens_path, "tokens", ["document_id"])[0].column(0).to_pylist()
                )
            }
            for window in windows.to_pylist():
                data_id = window["data_id"]
                if data_id in self._spans:
                    raise doubled_error(windows_path, data_id)
                span = (window["token_start"], window["token_stop"])
                self._spans[data_id] = (shard, row_of[window["document_id"]], *span)
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
        return list(self._spans)

    def input_ids(self, data_id: str) -> np.ndarray:
        """Token ids of a window, int64 [T], its BOS token in front if the windowing has one.

        Raises:
            ValueError: there is no such window.
        """
        if data_id not in self._spans:
            raise ValueError(f"no window {data_id}; it is in none of the shards {', '.join(self._tokens)}")
        shard, row, start, stop = self._spans[data_id]
        ids = self._tokens[shard][row]["input_ids"].values.slice(start, stop - start).to_numpy()
        if self.bos_token_id is not None:
            ids = np.concatenate([[self.bos_token_id], ids])
        return ids.astype(np.int64)


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
