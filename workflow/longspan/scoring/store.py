"""Score files that survive a kill: rows are appended to a locked partial file, then put in order.

The partial file is a header block (what is scored, and who holds the file) and records, each a length,
a checksum and an Arrow table. What a kill left of a last record is cut off, and scoring goes on behind it.
"""

import json
import os
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from longspan.store.contracts import CONTRACTS
from longspan.store.disks import naming_full_disk
from longspan.store.locks import held_error, holder_name, take
from longspan.store.tables import SchemaVersionError, TableWriter, digest_of, read_table
from longspan.windows.store import WindowStore

_HEADER_BYTES = 4096
_RECORD = struct.Struct("<II")
_KEY = ("data_id", "tokens_digest")
ROWS_PER_GROUP = 8
# What a kill may cost beside the window in work. LongAttn scores one in 10 ms, as long as a sync may take.
SECONDS_PER_WRITE = 0.25


class ScoreWriter:
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

    def __init__(
        self, path: Path | str, kind: str, windows: WindowStore, *, code_digest: str = "", **manifest
    ):
        self.path = Path(path)
        self._partial = self.path.with_name(f"{self.path.name}.partial")
        self._kind = kind
        self._windows = windows
        self._manifest = manifest | {"tokenizer": windows.tokenizer}
        self._code_digest = code_digest
        identity = {
            name: sorted(value) if name == "without" else value for name, value in self._manifest.items()
        }
        self._identity = digest_of([kind, identity])
        without = manifest.get("without", frozenset())
        self._schema = pa.schema([column for column in CONTRACTS[kind].columns if column.name not in without])
        self._tables: list[pa.Table] = []
        self._ids: set[str] = set()
        self._final_ids: list[str] | None = None
        self._changed = False

    def __enter__(self) -> "ScoreWriter":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._lock()
        try:
            self._load_final()
            with naming_full_disk(self.path.parent):
                self._load_partial()
        except BaseException:
            # Closing tries once more to write what a full disk refused.
            with suppress(OSError):
                self._file.close()
            raise
        return self

    def __exit__(self, kind, error, trace) -> None:
        with naming_full_disk(self.path.parent):
            self._file.close()

    def __contains__(self, data_id: str) -> bool:
        return data_id in self._ids

    def append(self, rows: list[dict]) -> None:
        """Add rows (without tokens_digest); when this returns they are on the disk."""
        digests = self._windows.tokens_digest_of
        rows = [{**row, "tokens_digest": digests[row["data_id"]]} for row in rows]
        table = pa.Table.from_pylist(rows, schema=self._schema)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        payload = sink.getvalue().to_pybytes()
        with naming_full_disk(self.path.parent):
            self._file.write(_RECORD.pack(len(payload), zlib.crc32(payload)) + payload)
            self._file.flush()
            os.fsync(self._file.fileno())
        self._keep(table)
        self._changed = True

    def add_missing(
        self,
        wanted: Iterable[str],
        load_scorer: Callable[[], Callable[[Iterator[tuple[str, np.ndarray]]], Iterator[dict]]],
    ) -> None:
        """Score the wanted windows that have no score yet, with progress on stderr.

        Rows that come within `SECONDS_PER_WRITE` are written together, so that quick windows do not wait for
        the disk.

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
        rows: list[dict] = []
        written = time.monotonic()
        with tqdm(
            desc=label, total=len(missing) * tokens, unit="tok", unit_scale=True, mininterval=2
        ) as progress:
            try:
                scored = score((data_id, windows.input_ids(data_id)) for data_id in missing)
                for data_id, columns in zip(missing, scored, strict=True):
                    rows.append({"data_id": data_id, **columns})
                    if time.monotonic() - written >= SECONDS_PER_WRITE:
                        self.append(rows)
                        rows, written = [], time.monotonic()
                    progress.update(tokens)
            finally:
                if rows:
                    self.append(rows)

    def finish(self) -> int:
        """Write the final file in the windows' order; gives the number of windows that have scores.

        A file that would stay the same only gets a new modification time.
        """
        scored = [data_id for data_id in self._windows.data_ids if data_id in self._ids]
        order = scored + sorted(self._ids - set(scored))
        if not self._changed and self._final_ids == order:
            os.utime(self.path)
        else:
            # One row is a slice of the table that it came in: taking rows out of all of them together looks
            # through every piece of a column for each group, which grows with the square of the windows.
            row_of = {
                data_id: table.slice(row, 1)
                for table in self._tables
                for row, data_id in enumerate(table.column("data_id").to_pylist())
            }
            with TableWriter(
                self.path, self._kind, code_digest=self._code_digest, **self._manifest
            ) as writer:
                for start in range(0, len(order), ROWS_PER_GROUP):
                    group = order[start : start + ROWS_PER_GROUP]
                    writer.write(pa.concat_tables([row_of[data_id] for data_id in group]))
        self._partial.unlink(missing_ok=True)
        return len(scored)

    def _lock(self):
        while True:
            descriptor = os.open(self._partial, os.O_RDWR | os.O_CREAT, 0o666)
            file = os.fdopen(descriptor, "r+b")
            if not take(file):
                holder = _header(file).get("holder", "another process")
                file.close()
                raise held_error(self._partial, holder)
            # The holder before may have finished, and so removed the file, since it was opened here.
            if self._partial.exists() and os.path.samestat(os.stat(self._partial), os.fstat(descriptor)):
                return file
            file.close()

    def _load_final(self) -> None:
        if not self.path.exists():
            return
        try:
            table, manifest = read_table(self.path, self._kind)
        except SchemaVersionError:
            raise
        except ValueError as error:
            print(f"{error}; its windows are scored anew", file=sys.stderr)
            return
        ours = {"inputs": {}, "stage_version": 1} | self._manifest
        without = ours.pop("without", frozenset())
        differing = [name for name, value in ours.items() if getattr(manifest, name) != value]
        if table.column_names != self._schema.names:
            differing.append(f"columns (now without {', '.join(without) or 'none'})")
        if differing:
            print(
                f"{self.path} was scored with other {', '.join(differing)}; its windows are scored anew",
                file=sys.stderr,
            )
            return
        self._keep(table)
        self._final_ids = table.column("data_id").to_pylist()

    def _load_partial(self) -> None:
        self._file.seek(0, os.SEEK_END)
        size = self._file.tell()
        end = _HEADER_BYTES
        if _header(self._file).get("identity") == self._identity:
            while end + _RECORD.size <= size:
                self._file.seek(end)
                length, checksum = _RECORD.unpack(self._file.read(_RECORD.size))
                payload = self._file.read(length)
                if len(payload) < length or zlib.crc32(payload) != checksum:
                    break
                self._keep(pa.ipc.open_stream(payload).read_all())
                self._changed = True
                end += _RECORD.size + length
        header = json.dumps({"identity": self._identity, "holder": holder_name()}).encode()
        self._file.seek(0)
        self._file.write(header.ljust(_HEADER_BYTES))
        self._file.truncate(end)
        self._file.seek(end)
        self._file.flush()

    def _keep(self, table: pa.Table) -> None:
        digest_of_window = self._windows.tokens_digest_of
        keeps = []
        for data_id, digest in zip(*(table.column(name).to_pylist() for name in _KEY), strict=True):
            is_new = data_id not in self._ids and digest_of_window.get(data_id, digest) == digest
            keeps.append(is_new)
            if is_new:
                self._ids.add(data_id)
        self._tables.append(table.filter(pa.array(keeps, pa.bool_())))


def _header(file) -> dict:
    file.seek(0)
    try:
        return json.loads(file.read(_HEADER_BYTES) or b"{}")
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}
