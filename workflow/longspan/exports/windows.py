"""Windows for others to read: exact text, origin, tokens and, if asked, the weight of each token's loss.

An export is Parquet or JSON lines, a file a shard. Beside each file goes a manifest in JSON, from which the
data card is written.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np
import zstandard

from longspan.exports.markdown import without_folders
from longspan.scoring.index import IndexedScores
from longspan.store.contracts import CONTRACTS, SCHEMA_VERSION
from longspan.store.tables import (
    TableWriter,
    atomic_path,
    digest_file,
    read_json_manifest,
)
from longspan.weighting.variant import Loss
from longspan.windows.shard import Shard

# What `datasets` reads of JSON lines at once, and what its JSON reader takes for a time if all of it is such.
_READ_BYTES = 10 * 2**20
_TIME = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d(:?\d\d(:?\d\d(\.\d+)?)?)?)?\s*(Z|[+-]\d\d(:?\d\d)?)?", re.ASCII)


def exported_rows(
    shard: Shard, data_ids: Container[str], weights_of: Callable[[str], np.ndarray] | None = None
) -> Iterator[dict]:
    """Rows of the export of a shard's windows, in the windows' order; one document's text is in memory.

    Args:
        shard: the windows, with documents and tokens.
        data_ids: the windows to export; those of other shards are passed over.
        weights_of: gives a window's weights, float32 [T]; None leaves them out.
    """
    read, document = None, {}
    for data_id, window in shard.rows.items():
        if data_id not in data_ids:
            continue
        if window["document_id"] != read:
            read = window["document_id"]
            document = _without_folders(shard.document(read))
        row = {
            "content": document["text"][window["char_start"] : window["char_stop"]],
            "data_id": data_id,
            **{name: document[name] for name in ("document_id", "title", "source", "license")},
            **{name: window[name] for name in ("category", "char_start", "char_stop")},
            "input_ids": shard.input_ids(data_id),
        }
        yield row if weights_of is None else row | {"loss_weights": weights_of(data_id)}


def _without_folders(document: dict[str, str]) -> dict[str, str]:
    """A document's origin without the folders of this machine that an absolute path names.

    In its id stands a digest of the folder instead, so that files of one name in two folders stay two.
    """
    source, own_id = without_folders(document["source"]), document["document_id"]
    found = re.match(rf"(/.*?)/({re.escape(source)}(?:#.*)?)\Z", own_id, re.DOTALL)
    document_id = own_id
    if found:
        document_id = f"{found[2]}@{hashlib.sha256(found[1].encode()).hexdigest()[:8]}"
    title = document_id if document["title"] == own_id else document["title"]
    return document | {"source": source, "document_id": document_id, "title": title}


def frozen_weights(scores: IndexedScores, loss: Loss, seed: int, data_id: str) -> np.ndarray:
    """Weights of a window's tokens under a loss, from frozen scores, float32 [T].

    They stand where a trainer has its labels: entry t weighs the loss of predicting token t. Nothing predicts
    the first token, which weighs 0.

    Args:
        scores: short and long NLL by window.
        loss: the loss.
        seed: key of the draw among ties, and of a random order.
        data_id: the window.
    """
    import torch

    from longspan.weighting.weights import shuffled_weights, token_weights

    nll = scores[data_id]
    long_1N, short_1N = (torch.from_numpy(nll[name])[None] for name in ("long_nll", "short_nll"))
    keys = {"seed": seed, "sequence_ids": [data_id]}
    weights_1N = token_weights(long_1N, short_1N, **asdict(loss.weighting()), **keys)
    if loss.shuffle_weights:
        weights_1N = shuffled_weights(weights_1N, **keys)
    return np.append(np.float32(0), weights_1N[0].numpy())


class ExportWriter:
    """Writes a shard of an export, and behind it its manifest; each whole or not at all.

    Use as a context manager.

    Args:
        path: the file to write.
        manifest_path: where its manifest goes.
        export_format: "tokens" leaves out all columns but input_ids and loss_weights; the ending of `path`
            says whether rows become Parquet or JSON lines.
        with_weights: whether rows have `loss_weights`.
        manifest: settings, inputs, tokenizer and code_digest, as for `TableWriter`.
    """

    def __init__(
        self, path: Path, manifest_path: Path, export_format: str, *, with_weights: bool, **manifest
    ):
        self.rows = 0
        self._tokens = 0
        self._path, self._manifest_path = Path(path), manifest_path
        self._parts: Counter = Counter()
        self._documents: set[tuple[str, ...]] = set()
        kind = "exported_tokens" if export_format == "tokens" else "exported_windows"
        without = frozenset() if with_weights else CONTRACTS[kind].optional
        self._columns = [column.name for column in CONTRACTS[kind].columns if column.name not in without]
        self._manifest = {
            "schema_version": SCHEMA_VERSION,
            "kind": kind,
            "columns": self._columns,
            **manifest,
        }
        if self._path.suffix == ".parquet":
            self._writer = TableWriter(path, kind, without=without, **manifest)
        else:
            self._writer = LineWriter(path)

    def __enter__(self) -> "ExportWriter":
        self._writer.__enter__()
        return self

    def append(self, row: dict) -> None:
        """Append a window, as `exported_rows` gives it."""
        self.rows += 1
        self._tokens += len(row["input_ids"])
        part = (row["category"], row["license"])
        self._parts[part] += 1
        self._documents.add((*part, row["document_id"]))
        elements = len(row["content"]) + len(row["input_ids"])
        self._writer.append({name: row[name] for name in self._columns}, elements)

    def __exit__(self, kind, error, trace) -> None:
        self._writer.__exit__(kind, error, trace)
        if error is not None:
            return
        documents = Counter((category, license) for category, license, _ in self._documents)
        counts = {
            "windows": self.rows,
            "tokens": self._tokens,
            "parts": [
                {
                    "category": category,
                    "license": license,
                    "windows": windows,
                    "documents": documents[category, license],
                }
                for (category, license), windows in sorted(self._parts.items())
            ],
        }
        file = {"size_bytes": self._path.stat().st_size, "sha256": digest_file(self._path)}
        with atomic_path(self._manifest_path) as temporary:
            content = {**self._manifest, **counts, **file}
            if isinstance(self._writer, LineWriter) and (times := self._writer.columns_of_times()):
                content["columns_of_times"] = times
            temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


class LineWriter:
    """Writes rows as JSON lines, compressed if the name ends in .zst; whole or not at all."""

    def __init__(self, path: Path | str):
        self._path = Path(path)
        # Bytes of the last rows one behind another in which a column's text reads as a time.
        self._bytes_of_times: Counter = Counter()
        self._columns_of_times: set[str] = set()

    def __enter__(self) -> "LineWriter":
        with ExitStack() as stack:
            file = stack.enter_context(open(stack.enter_context(atomic_path(self._path)), "wb"))
            if self._path.suffix == ".zst":
                file = stack.enter_context(zstandard.ZstdCompressor(level=9).stream_writer(file))
            self._file = file
            self._stack = stack.pop_all()
        return self

    def append(self, row: dict, elements: int) -> None:
        """Append one row of about so many elements."""
        line = json.dumps(row, ensure_ascii=False, default=_numbers).encode() + b"\n"
        self._file.write(line)
        for name, value in row.items():
            if not isinstance(value, str):
                continue
            reads_as_time = _TIME.fullmatch(value) is not None
            self._bytes_of_times[name] = reads_as_time * (self._bytes_of_times[name] + len(line))
            if self._bytes_of_times[name] >= _READ_BYTES:
                self._columns_of_times.add(name)

    def columns_of_times(self) -> list[str]:
        """Columns that a reader of JSON lines may take for times: a whole piece of what it reads is such."""
        # The last piece may be as short as the last row.
        return sorted(self._columns_of_times.union(+self._bytes_of_times))

    def __exit__(self, kind, error, trace) -> None:
        self._stack.__exit__(kind, error, trace)


def _numbers(array: np.ndarray) -> list:
    """An array as a list; of float32 the shortest decimals that give it back."""
    return [float(str(value)) for value in array] if array.dtype == np.float32 else array.tolist()


def read_export_manifest(path: Path | str) -> dict:
    """Read the manifest of an export's file; errors as `read_json_manifest`."""
    again = f"delete {path} and run the same target again, which reruns export_windows"
    return read_json_manifest(path, what="an export", makes="runs export_windows", again=again)
