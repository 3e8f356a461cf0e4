"""Tables that survive a kill: rows are appended to a locked partial file, then put in order.

The partial file is a header block (what the rows are of, and who holds the file) and records, each a length,
a checksum and an Arrow table. What a kill left of a last record is cut off, and work goes on behind it.
"""

import json
import os
import re
import struct
import sys
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from longspan.store.contracts import CONTRACTS
from longspan.store.disks import naming_full_disk
from longspan.store.locks import held_error, holder_name, take
from longspan.store.tables import SchemaVersionError, TableWriter, digest_of, read_table

_HEADER_BYTES = 4096
_RECORD = struct.Struct("<II")
ROWS_PER_GROUP = 8
# What a kill may cost beside the rows in work. Some take 10 ms each, as long as a sync may take.
SECONDS_PER_WRITE = 0.25


class ResumableTable:
    """Adds rows to a table; what is there under the same settings is kept.

    Use as a context manager. While it is open no other process can write the same table, but for helpers:
    other processes of the same job, each of which appends to a partial file of its own, from which the first
    one takes their rows.

    Where the kind of table has a column of digests, a stored row counts while its digest is that of its key.
    Rows of other keys (of a larger sample, say) stay.

    Args:
        path: the final Parquet file.
        kind: a kind of table that has a key.
        digests: digest of each key, in the order of the final table; None where rows have none.
        digest_column: column of the digests.
        code_digest: recorded, but no part of what makes stored rows valid.
        helper: number of a helper from 1 on; 0 is the process that writes the table.
        manifest: settings, inputs, stage_version, tokenizer and `without`, as for `TableWriter`.

    Raises:
        ValueError: another process holds the table, or it has another schema version.
    """

    # What happens to rows of other settings, in words.
    made: ClassVar[str] = "made"
    anew: ClassVar[str] = "its rows are made anew"

    def __init__(
        self,
        path: Path | str,
        kind: str,
        *,
        digests: Mapping[str, int | None],
        digest_column: str | None = None,
        code_digest: str = "",
        helper: int = 0,
        **manifest,
    ):
        self.path = Path(path)
        self._partial = self.path.with_name(f"{self.path.name}.partial{helper or ''}")
        self._kind = kind
        self._key = CONTRACTS[kind].key
        self._digests, self._digest_column = digests, digest_column
        self._is_helper = helper > 0
        self._manifest = manifest
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

    def __enter__(self) -> "ResumableTable":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._lock()
        try:
            if not self._is_helper:
                self._load_final()
            with naming_full_disk(self.path.parent):
                self._load_partial()
                if not self._is_helper:
                    self.take_from_helpers()
        except BaseException:
            # Closing tries once more to write what a full disk refused.
            with suppress(OSError):
                self._file.close()
            raise
        return self

    def __exit__(self, kind, error, trace) -> None:
        with naming_full_disk(self.path.parent):
            self._file.close()

    def __contains__(self, key: str) -> bool:
        return key in self._ids

    @property
    def rows(self) -> pa.Table:
        """All rows that are there, in the order in which they came."""
        return pa.concat_tables([self._schema.empty_table(), *self._tables])

    def append(self, rows: list[dict]) -> None:
        """Add rows (without their digests); when this returns they are on the disk."""
        if self._digest_column is not None:
            rows = [{**row, self._digest_column: self._digests[row[self._key]]} for row in rows]
        self._append(pa.Table.from_pylist(rows, schema=self._schema))

    def _append(self, table: pa.Table) -> None:
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

    def extend(self, groups: Iterable[list[dict]]) -> None:
        """Add groups of rows as they come; of a group all rows are on the disk, or none.

        Groups that come within `SECONDS_PER_WRITE` are written together, so that quick ones do not wait for
        the disk.
        """
        rows: list[dict] = []
        written = time.monotonic()
        try:
            for group in groups:
                rows += group
                if time.monotonic() - written >= SECONDS_PER_WRITE:
                    self.append(rows)
                    rows, written = [], time.monotonic()
        finally:
            if rows:
                self.append(rows)

    def take_from_helpers(self) -> None:
        """Take the rows of helpers, those of killed jobs too.

        Raises:
            ValueError: a helper is still at work.
        """
        pattern = re.compile(rf"{re.escape(self._partial.name)}[1-9]\d*")
        for path in sorted(self.path.parent.iterdir()):
            if not pattern.fullmatch(path.name):
                continue
            with open(path, "r+b") as file:
                if not take(file):
                    raise held_error(path, _header(file).get("holder", "another process"))
                tables, _ = self._records(file)
            for table in tables:
                self._append(table)
            path.unlink(missing_ok=True)

    def finish(self) -> int:
        """Write the final file in the order of the keys; gives the number of them that have rows.

        A file that would stay the same only gets a new modification time.
        """
        there = [key for key in self._digests if key in self._ids]
        order = there + sorted(self._ids - set(there))
        if not self._changed and self._final_ids == order:
            os.utime(self.path)
        else:
            # One row is a slice of the table that it came in: taking rows out of all of them together looks
            # through every piece of a column for each group, which grows with the square of the rows.
            row_of = {
                key: table.slice(row, 1)
                for table in self._tables
                for row, key in enumerate(table.column(self._key).to_pylist())
            }
            with TableWriter(
                self.path, self._kind, code_digest=self._code_digest, **self._manifest
            ) as writer:
                for start in range(0, len(order), ROWS_PER_GROUP):
                    group = order[start : start + ROWS_PER_GROUP]
                    writer.write(pa.concat_tables([row_of[key] for key in group]))
        self._partial.unlink(missing_ok=True)
        return len(there)

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
            print(f"{error}; {self.anew}", file=sys.stderr)
            return
        ours = {"inputs": {}, "stage_version": 1} | self._manifest
        without = ours.pop("without", frozenset())
        differing = [name for name, value in ours.items() if getattr(manifest, name) != value]
        if table.column_names != self._schema.names:
            differing.append(f"columns (now without {', '.join(without) or 'none'})")
        if differing:
            print(
                f"{self.path} was {self.made} with other {', '.join(differing)}; {self.anew}",
                file=sys.stderr,
            )
            return
        self._keep(table)
        self._final_ids = table.column(self._key).to_pylist()

    def _load_partial(self) -> None:
        tables, end = self._records(self._file)
        for table in tables:
            self._keep(table)
            self._changed = True
        header = json.dumps({"identity": self._identity, "holder": holder_name()}).encode()
        self._file.seek(0)
        self._file.write(header.ljust(_HEADER_BYTES))
        self._file.truncate(end)
        self._file.seek(end)
        self._file.flush()

    def _records(self, file) -> tuple[list[pa.Table], int]:
        """Tables of a partial file's whole records, if they are of the same settings, and where they end."""
        file.seek(0, os.SEEK_END)
        size = file.tell()
        tables, end = [], _HEADER_BYTES
        if _header(file).get("identity") == self._identity:
            while end + _RECORD.size <= size:
                file.seek(end)
                length, checksum = _RECORD.unpack(file.read(_RECORD.size))
                payload = file.read(length)
                if len(payload) < length or zlib.crc32(payload) != checksum:
                    break
                tables.append(pa.ipc.open_stream(payload).read_all())
                end += _RECORD.size + length
        return tables, end

    def _keep(self, table: pa.Table) -> None:
        ids = table.column(self._key).to_pylist()
        column = self._digest_column
        digests = [None] * len(ids) if column is None else table.column(column).to_pylist()
        keeps = []
        for key, digest in zip(ids, digests, strict=True):
            is_new = key not in self._ids and self._digests.get(key, digest) == digest
            keeps.append(is_new)
            if is_new:
                self._ids.add(key)
        self._tables.append(table.filter(pa.array(keeps, pa.bool_())))


def _header(file) -> dict:
    file.seek(0)
    try:
        return json.loads(file.read(_HEADER_BYTES) or b"{}")
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}
