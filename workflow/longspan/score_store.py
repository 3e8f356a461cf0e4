"""Score files that survive a kill: rows are appended to a locked partial file, then put in order.

The partial file is a header block (what is scored, and who holds the file) and records, each a length,
a checksum and an Arrow table. What a kill left of a last record is cut off, and scoring goes on behind it.
"""

import fcntl
import json
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from longspan.artifacts import CONTRACTS, TableWriter, digest_of, naming_full_disk, read_table
from longspan.window_store import WindowStore

_HEADER_BYTES = 4096
_RECORD = struct.Struct("<II")
ROWS_PER_GROUP = 8


class ScoreWriter:
    """Adds scores to a shard's store; what is there under the same settings is kept.

    Use as a context manager. While it is open no other process can write the same store.

    Args:
        path: the final Parquet file.
        kind: "nll_scores" or "attention_scores".
        code_digest: recorded, but no part of what makes stored rows valid.
        manifest: settings, inputs, stage_version, tokenizer and `without`, as for `TableWriter`.

    Raises:
        ValueError: another process holds the store.
    """

    def __init__(self, path: Path | str, kind: str, *, code_digest: str = "", **manifest):
        self.path = Path(path)
        self._partial = self.path.with_name(f"{self.path.name}.partial")
        self._kind = kind
        self._manifest = manifest
        self._code_digest = code_digest
        identity = {name: sorted(value) if name == "without" else value for name, value in manifest.items()}
        self._identity = digest_of([kind, identity])
        without = manifest.get("without", frozenset())
        self._schema = pa.schema([column for column in CONTRACTS[kind].columns if column.name not in without])
        self._tables: list[pa.Table] = []
        self._ids: set[str] = set()
        self._changed = False

    def __enter__(self) -> "ScoreWriter":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._lock()
        try:
            self._load_final()
            with naming_full_disk(self.path.parent):
                self._load_partial()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, kind, error, trace) -> None:
        # Closing tries once more to write what a full disk refused.
        with naming_full_disk(self.path.parent):
            self._file.close()

    def __contains__(self, data_id: str) -> bool:
        return data_id in self._ids

    def append(self, rows: list[dict]) -> None:
        """Add rows; when this returns they are on the disk."""
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
        windows: WindowStore,
        wanted: Iterable[str],
        load_scorer: Callable[[], Callable[[str, np.ndarray], dict]],
    ) -> None:
        """Score the wanted windows that have no score yet, one after the other, with progress on stderr.

        Args:
            windows: where the token ids come from.
            wanted: ids of windows.
            load_scorer: gives a function from an id and token ids [T] to the row's other columns; called
                only if something is missing, so that a finished store costs no model.
        """
        missing = [data_id for data_id in wanted if data_id not in self]
        if not missing:
            return
        score = load_scorer()
        tokens = windows.window_tokens
        label = f"{self.path.parent.name} {self.path.stem}"
        with tqdm(
            desc=label, total=len(missing) * tokens, unit="tok", unit_scale=True, mininterval=2
        ) as progress:
            for data_id in missing:
                self.append([{"data_id": data_id, **score(data_id, windows.input_ids(data_id))}])
                progress.update(tokens)

    def finish(self, data_ids: list[str]) -> int:
        """Write the final file with the scored ones of `data_ids`, in that order; gives their number.

        Rows of other ids are dropped: their windows no longer exist. A file that would stay the same
        only gets a new modification time.
        """
        order = [data_id for data_id in data_ids if data_id in self._ids]
        if not self._changed and self._final_ids == order:
            os.utime(self.path)
        else:
            table = pa.concat_tables([self._schema.empty_table(), *self._tables])
            place = {data_id: row for row, data_id in enumerate(table.column("data_id").to_pylist())}
            with TableWriter(
                self.path, self._kind, code_digest=self._code_digest, **self._manifest
            ) as writer:
                for start in range(0, len(order), ROWS_PER_GROUP):
                    rows = [place[data_id] for data_id in order[start : start + ROWS_PER_GROUP]]
                    writer.write(table.take(pa.array(rows)))
        self._partial.unlink(missing_ok=True)
        return len(order)

    def _lock(self):
        while True:
            descriptor = os.open(self._partial, os.O_RDWR | os.O_CREAT, 0o644)
            file = os.fdopen(descriptor, "r+b")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _header(file).get("holder", "another process")
                file.close()
                raise ValueError(
                    f"{self._partial} is held by {holder}; wait until it ends, or end it, then run again"
                ) from None
            # The holder before may have finished, and so removed the file, since it was opened here.
            if self._partial.exists() and os.path.samestat(os.stat(self._partial), os.fstat(descriptor)):
                return file
            file.close()

    def _load_final(self) -> None:
        self._final_ids: list[str] | None = None
        try:
            table, manifest = read_table(self.path, self._kind)
        except ValueError:
            return
        made_of = {
            name: getattr(manifest, name) for name in ("settings", "inputs", "stage_version", "tokenizer")
        }
        ours = {"inputs": {}, "stage_version": 1, "tokenizer": None} | {
            name: value for name, value in self._manifest.items() if name != "without"
        }
        if made_of == ours and table.column_names == self._schema.names:
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
        holder = f"process {os.getpid()} on {socket.gethostname()}"
        if job := os.environ.get("SLURM_JOB_ID"):
            holder += f" (SLURM job {job})"
        header = json.dumps({"identity": self._identity, "holder": holder}).encode()
        self._file.seek(0)
        self._file.write(header.ljust(_HEADER_BYTES))
        self._file.truncate(end)
        self._file.seek(end)
        self._file.flush()

    def _keep(self, table: pa.Table) -> None:
        ids = table.column("data_id").to_pylist()
        table = table.filter(pa.array([data_id not in self._ids for data_id in ids], pa.bool_()))
        self._tables.append(table)
        self._ids.update(ids)


def _header(file) -> dict:
    file.seek(0)
    try:
        return json.loads(file.read(_HEADER_BYTES) or b"{}")
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}
