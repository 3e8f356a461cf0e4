"""One shard of a windowing: its windows, and the tokens, documents and scores that belong to them."""

import copy
from collections.abc import Container, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from longspan.store.tables import Manifest, RowReader, require_same
from longspan.tokens.spans import token_spans

_DOCUMENT_COLUMNS = ("document_id", "title", "source", "license", "text")


class Shard:
    """The tables of a shard, each opened once and checked to be made from each other.

    A table is opened when it is first asked for; one that was not given cannot be asked for.

    Args:
        name: the shard's name.
        windows: table of windows.
        tokens: table of the documents' tokens.
        documents: table of documents.
        with_offsets: whether the tokens' places in the text are asked for too.

    Raises:
        ValueError: a table that is missing or damaged, or was made from other tables than those at hand.
    """

    def __init__(
        self,
        name: str,
        windows: Path | str,
        *,
        tokens: Path | str | None = None,
        documents: Path | str | None = None,
        with_offsets: bool = False,
    ):
        self.name = name
        self._token_columns = ["input_ids", *(["char_deltas"] if with_offsets else [])]
        self._paths = {"windows": windows, "tokens": tokens, "documents": documents}
        self.path = windows
        reader = RowReader(windows, "windows")
        self.manifest: Manifest = reader.manifest
        self.windows: pa.Table = reader.read()
        self._document: dict[str, str] | None = None

    # The windows themselves

    @property
    def windows_digest(self) -> str:
        """Digest of the windows' table."""
        return self.manifest.data_digest

    @property
    def window_tokens(self) -> int:
        """Tokens of a window (T), a BOS token among them."""
        return self.manifest.settings["window_tokens"]

    @property
    def bos_token_id(self) -> int | None:
        """The token in front of each window's text, or None."""
        return self.manifest.settings["bos_token_id"]

    @property
    def tokenizer(self) -> str | None:
        """Identity of the tokenizer that made the tokens."""
        return self.manifest.tokenizer

    def column(self, name: str) -> list:
        """A column of the windows, in their order."""
        return self.windows.column(name).to_pylist()

    @cached_property
    def data_ids(self) -> list[str]:
        """Ids of the windows, in their order."""
        return self.column("data_id")

    @cached_property
    def rows(self) -> dict[str, dict]:
        """Rows of the windows by id."""
        return dict(zip(self.data_ids, self.windows.to_pylist(), strict=True))

    def part(self, data_ids: Container[str]) -> "Shard":
        """The same shard with some of its windows alone; tables that are open stay open."""
        found = copy.copy(self)
        found.windows = self.windows.filter(
            pa.array([name in data_ids for name in self.data_ids], pa.bool_())
        )
        for name in ("data_ids", "rows"):
            vars(found).pop(name, None)
        return found

    # Token ids

    @cached_property
    def tokens(self) -> RowReader:
        """Token ids of the documents."""
        reader = RowReader(self._path("tokens"), "tokens", self._token_columns)
        require_same(
            "tokens file",
            reader.manifest.data_digest,
            self.manifest.inputs["tokens"],
            where=self._paths["windows"],
            rule="assign_windows",
        )
        return reader

    def open_tokens(self) -> None:
        """Open the table and find its documents, so that a fault is told before anything is done."""
        self._token_row_of  # noqa: B018

    @cached_property
    def _token_row_of(self) -> dict[str, int]:
        return _rows_of(self.tokens)

    def input_ids(self, data_id: str) -> np.ndarray:
        """Token ids of a window, int64 [T], its BOS token in front if the windowing has one."""
        window = self.rows[data_id]
        start, stop = window["token_start"], window["token_stop"]
        values = self.tokens[self._token_row_of[window["document_id"]]]["input_ids"].values
        ids = values.slice(start, stop - start).to_numpy()
        if self.bos_token_id is not None:
            ids = np.concatenate([[self.bos_token_id], ids])
        return ids.astype(np.int64)

    def token_spans(self, data_id: str) -> np.ndarray:
        """First character and end of each of a window's tokens in its text, int64 [T, 2], without BOS.

        Tokens that share a character both have it; one that a window's edge cuts off is outside the text.
        """
        window = self.rows[data_id]
        row = self._token_places[self._token_row_of[window["document_id"]]]
        spans_T2 = token_spans(*(row[name].values.to_numpy() for name in ("char_deltas", "split_positions")))
        return spans_T2[window["token_start"] : window["token_stop"]] - window["char_start"]

    @cached_property
    def _token_places(self) -> RowReader:
        self.open_tokens()
        return RowReader(self._path("tokens"), "tokens", ["document_id", "char_deltas", "split_positions"])

    def char_offsets(self, data_id: str) -> np.ndarray:
        """First characters of a window's tokens in its text and, last, the text's end, int64 [T+1].

        A token that begins inside a character begins where that character does; a BOS token has no text.
        """
        window = self.rows[data_id]
        start, stop = window["token_start"], window["token_stop"]
        deltas = self.tokens[self._token_row_of[window["document_id"]]]["char_deltas"].values
        places = np.cumsum(deltas.to_numpy(), dtype=np.int64)[start : stop + 1] - window["char_start"]
        # A character that the window's edge cuts is a part of its text.
        places[-1] = window["char_stop"] - window["char_start"]
        return places if self.bos_token_id is None else np.concatenate([[0], places])

    # Documents

    @cached_property
    def documents(self) -> RowReader:
        """The documents that the windows were cut from."""
        reader = RowReader(self._path("documents"), "documents", list(_DOCUMENT_COLUMNS))
        require_same(
            "documents file",
            reader.manifest.data_digest,
            self.manifest.inputs["documents"],
            where=self._paths["windows"],
            rule="assign_windows",
        )
        return reader

    @cached_property
    def _document_row_of(self) -> dict[str, int]:
        return _rows_of(self.documents)

    def document(self, document_id: str) -> Mapping[str, str]:
        """A document's id, title, source, licence and text; the last one that was asked for is kept."""
        if self._document is None or self._document["document_id"] != document_id:
            values = self.documents[self._document_row_of[document_id]]
            self._document = {name: value.as_py() for name, value in values.items()}
        return self._document

    def text(self, data_id: str) -> str:
        """A window's text, an exact slice of its document."""
        window = self.rows[data_id]
        return self.document(window["document_id"])["text"][window["char_start"] : window["char_stop"]]

    def texts(self) -> Iterator[str]:
        """The text of each window, in order; each document is read once."""
        return map(self.text, self.data_ids)

    @property
    def inputs(self) -> dict[str, str]:
        """Digests of windows, and of tokens and documents as far as they were given."""
        found = {"windows": self.windows_digest}
        if self._paths["tokens"] is not None:
            found["tokens"] = self.tokens.manifest.data_digest
        if self._paths["documents"] is not None:
            found["documents"] = self.documents.manifest.data_digest
        return found

    def _path(self, kind: str) -> Path | str:
        path = self._paths[kind]
        if path is None:
            raise ValueError(
                f"shard {self.name} was opened without {kind}; a selection method names them in `needs`"
            )
        return path


def _rows_of(reader: RowReader) -> dict[str, int]:
    return {name: row for row, name in enumerate(reader.read(["document_id"]).column(0).to_pylist())}
