"""Bytes, text and rows of raw files (plain, gzip or Zstandard), and of the members of archives (tar, zip).

What is wrong with one row or one text is a `Fault`, so that the rest of a file can be read all the same.
"""

import fnmatch
import functools
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from longspan.corpora.limits import BoundedStream, batch_rows, require_bounded_table
from longspan.corpora.raw_formats import COMPRESSIONS
from longspan.store.archives import UnpackingBudget, read_members

# A longer line or text file is passed over without being read as one; texts of 50 MB are far below it.
MAX_BYTES = 2**27
_READ_BYTES = 2**20
_DAMAGE = (OSError, pa.ArrowException)


@dataclass(frozen=True)
class Fault:
    """What is wrong with a row or a text: `reason` is one of `contracts.DROP_REASONS`."""

    reason: str
    detail: str


# What a file of rows is that has none.
NO_ROWS = Fault("empty", "holds no rows")


def read_bytes(path: str, member: str | None) -> bytes | Fault:
    """Content of a file, or of an archive's member, decompressed."""
    try:
        with _open(path, member) as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        return _damaged(error)
    if len(content) > MAX_BYTES:
        return Fault("too long", f"is longer than {MAX_BYTES:,} bytes")
    return content


def read_text(content: bytes, encoding: str) -> str | Fault:
    """Decode a text; line ends become newlines, and a byte order mark goes."""
    try:
        text = content.decode(_codec(encoding))
    except UnicodeDecodeError as error:
        return Fault("bad encoding", f"is not {encoding} text (at byte {error.start})")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_rows(
    path: str, member: str | None, file_format: str, encoding: str, start: int = 0
) -> Iterator[dict | Fault]:
    """Rows of a Parquet file or of JSON lines, from row `start` on; a bad row is a fault.

    A file that is damaged ends with a fault. Parquet's row groups before `start` are not read, and JSON lines
    before it not parsed.
    """
    try:
        if file_format == "parquet":
            yield from _parquet_rows(path, member, start)
        else:
            yield from _json_rows(path, member, encoding, start)
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        yield _damaged(error)


def matching_members(path: str, patterns: list[str]) -> list[str]:
    """Names of an archive's members that match at least one pattern, sorted.

    Raises:
        ValueError: a pattern matches nothing, or the file is no whole archive.
    """
    names = sorted(_archive(path))
    matched = []
    for pattern in patterns:
        found = fnmatch.filter(names, pattern)
        if not found:
            raise ValueError(f"{path} holds no member '{pattern}'; the first are: {', '.join(names[:5])}")
        matched.extend(found)
    return sorted(set(matched))


def _damaged(error: Exception) -> Fault:
    return Fault("bad file", f"is damaged or cut short ({' '.join(str(error).split())})")


@contextmanager
def _open(path: str, member: str | None) -> Iterator[BinaryIO]:
    """The decompressed bytes of a file or a member."""
    with io.BytesIO(_archive(path)[member]) if member else open(path, "rb") as file:
        if compression := COMPRESSIONS.get(Path(member or path).suffix):
            budget = UnpackingBudget(member or path, _size_bytes(file))
            stream = BoundedStream(pa.CompressedInputStream(file, compression), budget)
            with io.BufferedReader(stream, _READ_BYTES) as content:
                yield content
        else:
            yield file


def _size_bytes(file: BinaryIO) -> int:
    place = file.tell()
    size_bytes = file.seek(0, io.SEEK_END)
    file.seek(place)
    return size_bytes


def _json_rows(path: str, member: str | None, encoding: str, start: int) -> Iterator[dict | Fault]:
    with _open(path, member) as content:
        lines = _lines(content) if "\n".encode(encoding) == b"\n" else _wide_lines(content, encoding)
        for number, line in enumerate(lines):
            if number >= start:
                yield _json_row(line, _codec(encoding) if number == 0 else encoding)


def _json_row(line: bytes | Fault, codec: str) -> dict | Fault:
    if isinstance(line, Fault):
        return line
    try:
        row = json.loads(line.decode(codec))
    except UnicodeDecodeError as error:
        return Fault("bad encoding", f"is not {codec.removesuffix('-sig')} text (at byte {error.start})")
    except (ValueError, RecursionError) as error:
        return Fault("bad JSON", f"is not JSON: {error}")
    return row if isinstance(row, dict) else Fault("bad JSON", "is JSON, but not an object")


def _lines(content: BinaryIO) -> Iterator[bytes | Fault]:
    """Lines, none of which takes more memory than the longest that is read."""
    while line := content.readline(MAX_BYTES + 1):
        if len(line) <= MAX_BYTES:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = content.readline(2**20)
        yield Fault("too long", f"is a line longer than {MAX_BYTES:,} bytes")


def _wide_lines(content: BinaryIO, encoding: str) -> Iterator[bytes | Fault]:
    """Lines of an encoding whose line end is not one byte; a fault in one is the file's last line."""
    text = io.TextIOWrapper(content, encoding, newline="\n")
    try:
        while line := text.readline(MAX_BYTES):
            yield line.encode(encoding)
    except UnicodeError as error:
        yield Fault("bad encoding", f"is not {encoding} text ({error.reason}); what follows is not read")


def _parquet_rows(path: str, member: str | None, start: int) -> Iterator[dict | Fault]:
    with tempfile.TemporaryFile() as scratch, _open(path, member) as content:
        if not content.seekable():
            shutil.copyfileobj(content, scratch)
            content = scratch
        file = pq.ParquetFile(content)
        require_bounded_table(member or path, file.metadata, _size_bytes(content))
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        group = 0
        while group < len(sizes) and start >= sizes[group]:
            start -= sizes[group]
            group += 1
        for batch in file.iter_batches(
            batch_size=batch_rows(file.metadata), row_groups=range(group, len(sizes))
        ):
            yield from _batch_rows(batch.slice(min(start, len(batch))))
            start = max(start - len(batch), 0)


def _batch_rows(batch: pa.RecordBatch) -> list[dict | Fault]:
    try:
        return batch.to_pylist()
    except UnicodeDecodeError as error:
        if len(batch) == 1:
            return [Fault("bad encoding", f"is not utf-8 text (at byte {error.start})")]
        return [row for place in range(len(batch)) for row in _batch_rows(batch.slice(place, 1))]


def _codec(encoding: str) -> str:
    # A byte order mark is no part of the text.
    return "utf-8-sig" if encoding == "utf-8" else encoding


@functools.lru_cache(maxsize=2)
def _archive(path: str) -> dict[str, bytes]:
    return read_members(path)
