"""Tables on disk: Parquet files with a manifest by which their readers know them.

Every table carries a manifest in its schema metadata. A reader checks it at the door and refuses a
file of another kind, another schema version or another origin, naming the rule to rerun. Files are
written under a temporary name, synced and renamed, so that a file that has its name is whole.
"""

import bisect
import hashlib
import io
import json
import os
import weakref
from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from longspan.store.contracts import CONTRACTS, SCHEMA_VERSION
from longspan.store.disks import naming_full_disk
from longspan.store.leftovers import remove_leftovers, temporary_path
from longspan.store.machine_faults import MachineFaultError, naming_machine_faults

MANIFEST_KEY = b"longspan"
# Reading one row reads its row group, so a group is about one long document's tokens.
ROW_GROUP_ELEMENTS = 2**18
# Tables that a process holds open, each with the row group read last; there may be thousands of shards, and
# fewer file descriptors.
OPEN_TABLES = 32


class SchemaVersionError(ValueError):
    """A table of another schema version."""


@dataclass(frozen=True)
class Manifest:
    """What made a table: settings, inputs and versions, without times or paths.

    ``inputs`` maps what went in to the digest of its data, so that an input made anew with the same
    content is the same input. ``counts`` says what its making counted beside its rows, for the funnel.
    ``code_digest`` is kept for the record only.
    """

    kind: str
    rows: int
    settings: dict
    inputs: dict[str, str] = field(default_factory=dict)
    stage_version: int = 1
    tokenizer: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    data_digest: str = ""
    code_digest: str = ""
    schema_version: int = SCHEMA_VERSION


def digest_of(value: object) -> str:
    """Sha256 (hex) of a JSON value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def digest_file(path: Path | str) -> str:
    """Sha256 (hex) of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary path that becomes `path` when the block ends well, and vanishes otherwise.

    What killed processes left of `path` goes first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    temporary = temporary_path(path)
    try:
        with naming_full_disk(path.parent):
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class _RowsHash(io.RawIOBase):
    """Sha256 of record batches as they are sent, without a copy of them."""

    def __init__(self, schema: pa.Schema):
        self._hash = hashlib.sha256()
        self._stream = pa.ipc.new_stream(self, schema)
        # The schema goes before the first batch.
        self._stream.write_batch(pa.RecordBatch.from_pylist([], schema))
        self._hash = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, content: bytes) -> int:
        self._hash.update(content)
        return len(content)

    def update(self, batch: pa.RecordBatch) -> None:
        """Add a batch."""
        self._stream.write_batch(batch)

    def hexdigest(self) -> str:
        """Digest of all batches."""
        return self._hash.hexdigest()


class TableWriter:
    """Writes one table of a kind, row group by row group; whole or not at all.

    Use as a context manager; rows are dicts or pyarrow tables. The manifest is written last, into the
    footer.
    """

    def __init__(
        self,
        path: Path | str,
        kind: str,
        *,
        settings: dict,
        inputs: dict[str, str] | None = None,
        stage_version: int = 1,
        tokenizer: str | None = None,
        counts: dict[str, int] | None = None,
        code_digest: str = "",
        without: frozenset[str] = frozenset(),
    ):
        contract = CONTRACTS[kind]
        assert without <= contract.optional
        self.schema = pa.schema([column for column in contract.columns if column.name not in without])
        self.rows = 0
        self._split_bytes = contract.split_bytes
        self._hash = _RowsHash(self.schema)
        self._path = path
        self._rows: list[dict] = []
        self._elements = 0
        self._keeps = False
        # Grows while rows are written; the manifest holds what it is at the end.
        self.counts = Counter(counts)
        self._manifest = {
            "kind": kind,
            "settings": settings,
            "inputs": inputs or {},
            "stage_version": stage_version,
            "tokenizer": tokenizer,
            "code_digest": code_digest,
        }

    def __enter__(self) -> "TableWriter":
        with ExitStack() as stack:
            self._temporary = stack.enter_context(atomic_path(self._path))
            # It writes at once, so that a full disk may show here. Statistics would hold a long text twice
            # more, and nothing here asks for them.
            self._writer = pq.ParquetWriter(
                self._temporary,
                self.schema,
                compression="zstd",
                compression_level=3,
                use_dictionary=False,
                use_byte_stream_split=[f"{name}.list.element" for name in self._split_bytes],
                write_statistics=False,
                write_page_checksum=True,
            )
            self._stack = stack.pop_all()
        return self

    def keep_current(self, *others: "TableWriter") -> bool:
        """Keep the table that is there, and the others, if all come from the same settings, inputs and code.

        Returns:
            Whether they stay; nothing must be written then.
        """
        writers = (self, *others)
        keeps = all(writer._is_current() for writer in writers)
        for writer in writers:
            writer._keeps = keeps
        return keeps

    def _is_current(self) -> bool:
        try:
            _, manifest = open_table(self._path, self._manifest["kind"])
        except ValueError:
            return False
        return all(getattr(manifest, name) == value for name, value in self._manifest.items())

    def append(self, row: dict, elements: int) -> None:
        """Append one row of about so many elements; rows share a row group until they fill it."""
        self._rows.append(row)
        self._elements += elements
        if self._elements >= ROW_GROUP_ELEMENTS:
            self._flush()

    def _flush(self) -> None:
        rows, self._rows, self._elements = self._rows, [], 0
        if rows:
            self.write(rows)

    def write(self, rows: list[dict] | pa.Table) -> None:
        """Append one row group."""
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, schema=self.schema)
        table = table.select(self.schema.names).cast(self.schema).combine_chunks()
        if not table.num_rows:
            return
        self.rows += table.num_rows
        for batch in table.to_batches():
            self._hash.update(batch)
        self._writer.write_table(table, row_group_size=table.num_rows)

    def __exit__(self, kind, error, trace) -> None:
        if error is None and self._keeps:
            self._writer.close()
            self._temporary.unlink()
            os.utime(self._path)
            return
        # Also a fault of these last writes must keep the temporary file from getting the name.
        with self._stack:
            try:
                if error is None:
                    self._write_manifest()
            finally:
                self._writer.close()
            if error is not None:
                raise error

    def _write_manifest(self) -> None:
        self._flush()
        manifest = Manifest(
            rows=self.rows, counts=dict(self.counts), data_digest=self._hash.hexdigest(), **self._manifest
        )
        self._writer.add_key_value_metadata({MANIFEST_KEY: json.dumps(asdict(manifest), sort_keys=True)})


def write_table(path: Path | str, kind: str, rows: list[dict] | pa.Table, **manifest) -> None:
    """Write a whole table at once; `manifest` as in `TableWriter`."""
    with TableWriter(path, kind, **manifest) as writer:
        writer.write(rows)


def open_table(path: Path | str, kind: str) -> tuple[pq.ParquetFile, Manifest]:
    """Open a table of a kind after checking its manifest.

    Raises:
        ValueError: the file is missing, cut short, of another kind or schema version, or holds other
            columns or another number of rows than its manifest says.
        MachineFaultError: the machine could not open it, whatever it holds.
    """
    contract = CONTRACTS[kind]
    again = f"delete it and run the same target again, which reruns {contract.rule}"
    try:
        with naming_machine_faults(path):
            file = _open(path)
    except FileNotFoundError:
        raise ValueError(
            f"{path} is missing; run the same target again, which runs {contract.rule}"
        ) from None
    except MachineFaultError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is not a whole Parquet file ({error}); {again}") from None
    content = _manifest_bytes(file)
    if content is None:
        raise ValueError(f"{path} has no longspan manifest, so what made it is unknown; {again}")
    values = json.loads(content)
    version = values.get("schema_version")
    if version != SCHEMA_VERSION:
        raise SchemaVersionError(
            f"{path} has schema version {version}, this longspan reads {SCHEMA_VERSION}; {again}"
        )
    names = (field.name for field in fields(Manifest))
    manifest = Manifest(**{name: values[name] for name in names if name in values})
    if manifest.kind != kind:
        raise ValueError(f"{path} holds {manifest.kind}, expected {kind}; {again}")
    if manifest.rows != file.metadata.num_rows:
        raise ValueError(
            f"{path} has {file.metadata.num_rows} rows, its manifest says {manifest.rows}; {again}"
        )
    expected = [column for column in contract.columns if column.name not in contract.optional]
    schema = file.schema_arrow
    wrong = [
        column.name
        for column in expected
        if column.name not in schema.names or schema.field(column.name).type != column.type
    ]
    if wrong:
        raise ValueError(f"{path} lacks the columns {', '.join(wrong)} of {kind}, or their types; {again}")
    return file, manifest


def _manifest_bytes(file: pq.ParquetFile) -> bytes | None:
    return (file.metadata.metadata or {}).get(MANIFEST_KEY)


def _open(path: Path | str) -> pq.ParquetFile:
    return pq.ParquetFile(path, page_checksum_verification=True)


def read_table(path: Path | str, kind: str, columns: list[str] | None = None) -> tuple[pa.Table, Manifest]:
    """Read a checked table (or some of its columns) whole.

    Raises:
        ValueError: as `open_table`, or a key that is read is there twice.
    """
    reader = RowReader(path, kind, columns)
    return reader.read(columns), reader.manifest


def _require_unique(table: pa.Table, path: Path | str, kind: str) -> None:
    key, rule = CONTRACTS[kind].key, CONTRACTS[kind].rule
    if key not in table.column_names:
        return
    counts = pc.value_counts(table.column(key))
    if len(counts) < len(table):
        twice = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"]
        raise ValueError(
            f"{path} holds {twice} twice; delete it and run the same target again, which reruns {rule}"
        )


def read_json_manifest(path: Path | str, *, what: str, makes: str, again: str) -> dict:
    """Read a manifest that is a JSON file of its own.

    Args:
        path: the file.
        what: what it is a manifest of, for errors.
        makes: what running the target again does when it is missing.
        again: what to do about one that is of no use.

    Raises:
        ValueError: it is missing, damaged or of another schema version.
    """
    try:
        manifest = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; run the same target again, which {makes}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no manifest of {what} ({error}); {again}") from None
    version = manifest.get("schema_version")
    if version != SCHEMA_VERSION:
        raise SchemaVersionError(
            f"{path} has schema version {version}, this longspan reads {SCHEMA_VERSION}; {again}"
        )
    return manifest


@contextmanager
def naming_damage(path: Path | str, kind: str) -> Iterator[None]:
    """Refuse, as `open_table` does, a table whose data turn out to be damaged while they are read."""
    try:
        with naming_machine_faults(path):
            yield
    except MachineFaultError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(
            f"{path} is damaged ({error}); delete it and run the same target again, "
            f"which reruns {CONTRACTS[kind].rule}"
        ) from None


class _OpenTable:
    """A file that is open, and its row group that was read last."""

    def __init__(self, file: pq.ParquetFile):
        self.file = file
        self.group: int | None = None
        self.table: pa.Table | None = None


class RowReader:
    """A table that is checked once: row by row, a row group at a time in memory, or whole columns.

    However many readers there are, only `OPEN_TABLES` files are open at a time, those that were used last;
    the others are opened again when they are asked.

    Args:
        path: the table.
        kind: its kind.
        columns: what a row holds; None for all columns that the table has.

    Raises:
        ValueError: as `read_table`.
    """

    _opened: ClassVar[OrderedDict[int, _OpenTable]] = OrderedDict()

    def __init__(self, path: Path | str, kind: str, columns: list[str] | None = None):
        file, self.manifest = open_table(path, kind)
        self.path = path
        self._made = _manifest_bytes(file)
        self.column_names: list[str] = file.schema_arrow.names
        self._columns = self.column_names if columns is None else columns
        groups = file.metadata
        self._starts = array("q", [0])
        for group in range(groups.num_row_groups):
            self._starts.append(self._starts[-1] + groups.row_group(group).num_rows)
        self._keep_open(file)
        weakref.finalize(self, self._opened.pop, id(self), None).atexit = False

    def _open(self) -> _OpenTable:
        opened = self._opened.get(id(self))
        if opened is None:
            with naming_damage(self.path, self.manifest.kind):
                file = _open(self.path)
            if _manifest_bytes(file) != self._made:
                raise ValueError(f"{self.path} was written anew while it was read; run the same target again")
            return self._keep_open(file)
        self._opened.move_to_end(id(self))
        return opened

    def _keep_open(self, file: pq.ParquetFile) -> _OpenTable:
        opened = self._opened[id(self)] = _OpenTable(file)
        while len(self._opened) > OPEN_TABLES:
            self._opened.popitem(last=False)
        return opened

    def __len__(self) -> int:
        return self._starts[-1]

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Some columns whole, or all; errors as `read_table`."""
        with naming_damage(self.path, self.manifest.kind):
            table = self._open().file.read(columns=columns)
        _require_unique(table, self.path, self.manifest.kind)
        return table

    def __getitem__(self, row: int) -> dict[str, pa.Scalar]:
        """The columns of one row, as pyarrow scalars."""
        if not 0 <= row < len(self):
            raise IndexError(f"{self.path} has {len(self)} rows, asked for {row}")
        group = bisect.bisect_right(self._starts, row) - 1
        opened = self._open()
        if group != opened.group:
            opened.table, opened.group = self._read(opened.file, group), group
        offset = row - self._starts[group]
        return {name: opened.table.column(name)[offset] for name in self._columns}

    def _read(self, file: pq.ParquetFile, group: int) -> pa.Table:
        # A column at a time: what decoding takes beside the values is several times their size.
        with naming_damage(self.path, self.manifest.kind):
            return file.read_row_group(group, columns=self._columns, use_threads=False)

    def row_batches(self, num_rows: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Some columns of all rows in order, so many rows at a time."""
        with naming_damage(self.path, self.manifest.kind):
            yield from self._open().file.iter_batches(batch_size=num_rows, columns=columns)

    def batches(self, num_bytes: int) -> Iterator[pa.Table]:
        """All rows in order, as tables of whole row groups that hold at least so many bytes."""
        file = self._open().file
        self._opened[id(self)] = _OpenTable(file)
        tables, size = [], 0
        for group in range(file.num_row_groups):
            tables.append(self._read(file, group))
            size += tables[-1].nbytes
            if size >= num_bytes or group == file.num_row_groups - 1:
                yield pa.concat_tables(tables)
                tables, size = [], 0


def require_same(what: str, expected: str, found: str, *, where: Path | str, rule: str) -> None:
    """Refuse a table that was made from something else than its companion was."""
    if expected != found:
        raise ValueError(
            f"{where} was made with another {what} ({found[:12]}) than the one at hand ({expected[:12]}); "
            f"delete it and run the same target again, which reruns {rule}"
        )
