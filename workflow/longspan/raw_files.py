"""Bytes, text and rows of raw files, and of the members of archives (tar, zip)."""

import fnmatch
import functools
import io
import json
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq


def read_bytes(path: str, member: str | None) -> bytes:
    """Content of a file, or of an archive's member."""
    return Path(path).read_bytes() if member is None else _archive(path)[member]


def read_text(content: bytes, encoding: str) -> str:
    """Decode a text; line ends become newlines, and a byte order mark goes.

    Raises:
        ValueError: the content is not text in that encoding.
    """
    try:
        text = content.decode(_codec(encoding))
    except UnicodeDecodeError as error:
        raise ValueError(f"is not {encoding} text (at byte {error.start})") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_rows(
    path: str, member: str | None, file_format: str, encoding: str, start: int = 0
) -> Iterator[dict]:
    """Rows of a Parquet file or of JSON lines, from row `start` on.

    Parquet's row groups before it are not read, and JSON lines before it not parsed.

    Raises:
        ValueError: a line that is no JSON object, or not text in that encoding.
    """
    if file_format == "parquet":
        yield from _parquet_rows(io.BytesIO(read_bytes(path, member)) if member else path, start)
        return
    name = member or path
    number = 0
    with io.BytesIO(read_bytes(path, member)) if member else open(path, "rb") as content:
        try:
            for number, line in enumerate(io.TextIOWrapper(content, _codec(encoding), newline="\n"), start=1):
                if number <= start:
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"{name} line {number} is JSON, but not an object")
                yield row
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{name} is not {encoding} text (after line {number}); set the encoding of its source, "
                "or remove the file"
            ) from error
        except json.JSONDecodeError as error:
            raise ValueError(f"{name} line {number} is not JSON: {error}") from None


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


def _parquet_rows(source, start: int) -> Iterator[dict]:
    file = pq.ParquetFile(source)
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    group = 0
    while group < len(sizes) and start >= sizes[group]:
        start -= sizes[group]
        group += 1
    for batch in file.iter_batches(batch_size=16, row_groups=range(group, len(sizes))):
        yield from batch.slice(min(start, len(batch))).to_pylist()
        start = max(start - len(batch), 0)


def _codec(encoding: str) -> str:
    # A byte order mark is no part of the text.
    return "utf-8-sig" if encoding == "utf-8" else encoding


@functools.lru_cache(maxsize=2)
def _archive(path: str) -> dict[str, bytes]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
        with tarfile.open(path) as archive:
            return {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is no whole archive ({reason}); delete it to fetch it again") from None
