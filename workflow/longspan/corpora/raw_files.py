"""Bytes, text and rows of raw files (plain, gzip or Zstandard), and of the members of archives (tar, zip).

What is wrong with one row or one text is a `Fault`, so that the rest of a file can be read all the same. What
the machine, a permission or a decoder does not allow is no fault of the file's: it is an error, and what it
hides is read the next time.
"""

import codecs
import errno
import fnmatch
import functools
import io
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from longspan.corpora.decompression import DecoderLimitError, decompressed
from longspan.corpora.limits import BoundedStream, batch_rows, require_bounded_table
from longspan.corpora.raw_formats import COMPRESSIONS
from longspan.store.archives import UnpackingBudget, read_members
from longspan.store.pointers import HEAD_BYTES, pointer_in

# A longer line or text file is passed over without being read as one; texts of 50 MB are far below it.
MAX_BYTES = 2**27
_READ_BYTES = 2**20
_DAMAGE = (OSError, pa.ArrowException, zlib.error, EOFError, zstandard.ZstdError)
# Of these a decoder or the machine says that it cannot go on, not that the file is damaged.
_LIMITS = (DecoderLimitError, MemoryError, pa.ArrowNotImplementedError, pa.ArrowCapacityError)
_LATIN = "an older text may need encoding: latin-1 or cp1252"
_UTF_16 = "its first bytes are those of encoding: utf-16"


class UnreadableFileError(ValueError):
    """A file that cannot be read now, though nothing may be wrong with it."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a row or a text: `reason` is one of `contracts.DROP_REASONS`."""

    reason: str
    detail: str


class Row(dict):
    """Values of a row by column, of those that are read; `columns` names all that it has.

    A value that Python has no form of is a `Fault`.
    """

    columns: Sequence[str] = ()


# What a file of rows is that has none.
NO_ROWS = Fault("empty", "holds no rows")


def read_bytes(path: str, member: str | None) -> bytes | Fault:
    """Content of a file, or of an archive's member, decompressed.

    Raises:
        UnreadableFileError: the file is not there, or cannot be read by this user, machine or decoder.
    """
    try:
        with _open(path, member) as file:
            content = file.read(MAX_BYTES + 1)
    except _PointerError as pointer:
        return pointer.fault
    except (*_LIMITS, *_DAMAGE) as error:
        return _damaged(error, path)
    if len(content) > MAX_BYTES:
        return Fault("too long", f"is longer than {MAX_BYTES:,} bytes")
    return content


def read_text(content: bytes, encoding: str) -> str | Fault:
    """Decode a text, in `one_form`.

    Raises:
        ValueError: Python knows no such encoding.
    """
    codec = _codec(encoding)
    try:
        return one_form(content.decode(codec))
    except UnicodeError as error:
        return _not_text(error, encoding, content)


def one_form(text: str) -> str:
    """A text as it is kept, whatever held it: its line ends newlines, no byte order mark before it."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.lstrip("\ufeff")


def read_rows(
    path: str,
    member: str | None,
    file_format: str,
    encoding: str,
    start: int = 0,
    columns: Sequence[str] | None = None,
) -> Iterator[Row | Fault]:
    """Rows of a Parquet file or of JSON lines, from row `start` on; a bad row is a fault.

    A file that is damaged ends with a fault. Parquet's row groups before `start` are not read, and JSON lines
    before it not parsed. Of Parquet no column is read but `columns` (None: all).

    Raises:
        UnreadableFileError: as `read_bytes`.
        ValueError: Python knows no such encoding, or a column is there twice.
    """
    try:
        if file_format == "parquet":
            yield from _parquet_rows(path, member, start, columns)
        else:
            yield from _json_rows(path, member, encoding, start)
    except _PointerError as pointer:
        yield pointer.fault
    except (*_LIMITS, *_DAMAGE) as error:
        yield _damaged(error, path)


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


class _PointerError(Exception):
    """Git's pointer in place of the file."""

    def __init__(self, said: str):
        super().__init__(said)
        self.fault = Fault("bad file", f"is {said}")


def _damaged(error: Exception, path: str) -> Fault:
    """The fault of a file that an error tells; errors that tell nothing of the file are raised."""
    reason = " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())
    # Arrow gives what it finds damaged no number; a seek to nowhere comes of a damaged file too.
    of_machine = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)
    if isinstance(error, FileNotFoundError):
        raise UnreadableFileError(f"{path} does not exist; check the paths of the corpus's sources") from None
    if of_machine or isinstance(error, _LIMITS) or "decryption" in reason:
        raise UnreadableFileError(
            f"{path} cannot be read here ({reason}); nothing is left out for that: mend it and run the same "
            "target again"
        ) from None
    return Fault("bad file", f"is damaged or cut short ({reason})")


@contextmanager
def _open(path: str, member: str | None) -> Iterator[BinaryIO]:
    """The decompressed bytes of a file or a member."""
    with io.BytesIO(_archive(path)[member]) if member else open(path, "rb") as file:
        if said := pointer_in(file.read(HEAD_BYTES)):
            raise _PointerError(said)
        file.seek(0)
        if compression := COMPRESSIONS.get(Path(member or path).suffix):
            budget = UnpackingBudget(member or path, _size_bytes(file))
            with (
                decompressed(file, compression) as stream,
                io.BufferedReader(BoundedStream(stream, budget), _READ_BYTES) as content,
            ):
                yield content
        else:
            yield file


def _size_bytes(file: BinaryIO) -> int:
    place = file.tell()
    size_bytes = file.seek(0, io.SEEK_END)
    file.seek(place)
    return size_bytes


def _json_rows(path: str, member: str | None, encoding: str, start: int) -> Iterator[Row | Fault]:
    codec = _codec(encoding)
    with _open(path, member) as content:
        if "\n".encode(codec) == b"\n":
            lines = (_decoded(line, codec, encoding) for line in _lines(content))
        else:
            lines = _wide_lines(content, codec, encoding)
        for number, line in enumerate(lines):
            if number >= start:
                yield _json_row(line.lstrip("\ufeff") if number == 0 and isinstance(line, str) else line)


def _decoded(line: bytes | Fault, codec: str, encoding: str) -> str | Fault:
    if isinstance(line, Fault):
        return line
    try:
        return line.decode(codec)
    except UnicodeError as error:
        return _not_text(error, encoding, line)


def _json_row(line: str | Fault) -> Row | Fault:
    if isinstance(line, Fault):
        return line
    try:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            raise
        except ValueError:
            # A number of more digits than Python reads, in whatever column.
            row = json.loads(line, parse_int=str)
    except (ValueError, RecursionError) as error:
        return Fault("bad JSON", f"is not JSON: {error}")
    if not isinstance(row, dict):
        return Fault("bad JSON", "is JSON, but not an object")
    row = Row(row)
    row.columns = tuple(row)
    return row


def _lines(content: BinaryIO) -> Iterator[bytes | Fault]:
    """Lines, none of which takes more memory than the longest that is read."""
    while line := content.readline(MAX_BYTES + 1):
        if len(line) <= MAX_BYTES:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = content.readline(2**20)
        yield Fault("too long", f"is a line longer than {MAX_BYTES:,} bytes")


def _wide_lines(content: BinaryIO, codec: str, encoding: str) -> Iterator[str | Fault]:
    """Lines of an encoding whose line end is not one byte; a fault in one is the file's last line."""
    text = io.TextIOWrapper(content, codec, newline="\n")
    try:
        while line := text.readline(MAX_BYTES):
            yield line
    except UnicodeError as error:
        reason = getattr(error, "reason", error)
        yield Fault("bad encoding", f"is not {encoding} text ({reason}); what follows is not read")


def _parquet_rows(
    path: str, member: str | None, start: int, columns: Sequence[str] | None
) -> Iterator[Row | Fault]:
    with tempfile.TemporaryFile() as scratch, _open(path, member) as content:
        if not content.seekable():
            shutil.copyfileobj(content, scratch)
            content = scratch
        file = pq.ParquetFile(content)
        require_bounded_table(member or path, file.metadata, _size_bytes(content))
        names = file.schema_arrow.names
        wanted = [name for name in dict.fromkeys(names) if columns is None or name in columns]
        if double := next((name for name in wanted if names.count(name) > 1), None):
            raise ValueError(f"{path} has the column '{double}' {names.count(double)} times; rename them")
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        group = 0
        while group < len(sizes) and start >= sizes[group]:
            start -= sizes[group]
            group += 1
        groups, at_once = range(group, len(sizes)), batch_rows(file.metadata)
        for batch in file.iter_batches(batch_size=at_once, row_groups=groups, columns=wanted):
            yield from _batch_rows(batch.slice(min(start, len(batch))), wanted, tuple(names))
            start = max(start - len(batch), 0)


def _batch_rows(batch: pa.RecordBatch, wanted: list[str], names: tuple[str, ...]) -> Iterator[Row | Fault]:
    columns = [_values(batch.column(name), name) for name in wanted]
    for place in range(len(batch)):
        row = Row(zip(wanted, (column[place] for column in columns), strict=True))
        row.columns = names
        yield row


def _values(column: pa.Array, name: str) -> list:
    """Values of a column as Python's, a fault for each that Python has no value for."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError as error:
        fault = Fault("bad encoding", f"has no utf-8 text in column '{name}' (at byte {error.start})")
    except (ValueError, ArithmeticError, LookupError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        fault = Fault("bad column", f"has a value in column '{name}' that cannot be read ({reason})")
    if len(column) == 1:
        return [fault]
    return [value for place in range(len(column)) for value in _values(column.slice(place, 1), name)]


def _codec(encoding: str) -> str:
    """Python's name of an encoding, however it is spelt."""
    try:
        codec = codecs.lookup(encoding).name
        "".encode(codec)
    except LookupError:
        raise ValueError(
            f"encoding: {encoding} is none that Python knows; utf-8, utf-16, latin-1 or cp1252 are"
        ) from None
    # A byte order mark is no part of the text, and is cut whatever the encoding.
    return "utf-8" if codec == "utf-8-sig" else codec


def _not_text(error: UnicodeError, encoding: str, content: bytes) -> Fault:
    place = f"at byte {error.start}" if hasattr(error, "start") else str(error)
    if _codec(encoding) != "utf-8":
        return Fault("bad encoding", f"is not {encoding} text ({place})")
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return Fault("bad encoding", f"is not {encoding} text ({place}; {_UTF_16 if is_wide else _LATIN})")


@functools.lru_cache(maxsize=2)
def _archive(path: str) -> dict[str, bytes]:
    return read_members(path)
