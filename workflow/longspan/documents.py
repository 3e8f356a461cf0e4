"""Documents out of raw files: text files, rows of JSON lines or Parquet, members of archives.

An `Item` names a piece of a raw file, the unit that is planned into shards: a whole text file, the
rows of one group (a book of verses, say), or a range of rows.
"""

import fnmatch
import functools
import hashlib
import io
import itertools
import json
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq

ROWS_PER_ITEM = 1000
FORMATS = {".txt": "txt", ".jsonl": "jsonl", ".parquet": "parquet"}

# Paragraphs that a transcriber put around a text, at its head or its tail.
_TRANSCRIBER = re.compile(
    r"project gutenberg|\be-?text\b|produced by|transcrib|spelling has been modernized|"
    r"accents and italics have been omitted",
    re.IGNORECASE,
)
_START_MARKER = re.compile(r"^\*\*\* ?START OF.*?\*\*\*\s*$", re.MULTILINE | re.IGNORECASE)
_END_MARKER = re.compile(r"^\*\*\* ?END OF.*?\*\*\*", re.MULTILINE | re.IGNORECASE)
_EDGE_PARAGRAPHS = 6


@dataclass(frozen=True)
class Item:
    """A piece of a raw file and how to read it.

    `rows` is a range of rows; `group` is their common value where they are one document together.
    """

    path: str
    member: str | None
    rows: tuple[int, int] | None
    group: str | None
    title: str
    size_bytes: int
    sha256: str
    format: str
    encoding: str
    boilerplate: str
    text_column: str
    title_column: str | None
    category: str
    license: str

    @property
    def key(self) -> tuple:
        """What stays the same when the file grows or its content changes."""
        if self.group is not None:
            return (self.path, self.member or "", self.group)
        return (self.path, self.member or "", self.rows[0] if self.rows else 0)

    @property
    def place(self) -> tuple:
        """Where it stands: file, member, first row."""
        return (self.path, self.member or "", self.rows[0] if self.rows else 0)

    @property
    def name(self) -> str:
        """Member or path, with the group behind it."""
        return (self.member or self.path) + (f"#{self.group}" if self.group else "")

    def to_json(self) -> dict:
        """The item as it stands in a plan."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict) -> "Item":
        """The inverse of `to_json`."""
        return cls(**{**values, "rows": tuple(values["rows"]) if values["rows"] else None})


@dataclass(frozen=True)
class Document:
    """A text with its origin."""

    document_id: str
    source: str
    category: str
    license: str
    title: str
    text: str


def list_items(source: dict, files: Iterable[Path]) -> list[Item]:
    """The items of one source, in the order of its files, members and rows.

    Args:
        source: the source's settings (`files`, `format`, `encoding`, `boilerplate`, `text_column`,
            `title_column`, `group_by`, `category`, `license`, `hold_out`).
        files: raw files of the source; archives give the members that match `source["files"]`.

    Raises:
        ValueError: a file is missing, of unknown format, or a pattern matches nothing.
    """
    items = []
    for path in files:
        if not Path(path).is_file():
            raise ValueError(f"{path} does not exist; check the paths of the corpus's sources")
        members = _matching_members(path, source["files"]) if source.get("files") else [None]
        for member in members:
            items.extend(_items_of(source, str(path), member))
    if not items:
        raise ValueError(f"the source {source} gives no documents; check its paths and patterns")
    return items


def read_documents(items: Iterable[Item]) -> Iterator[Document]:
    """The documents of the items, in order.

    Raises:
        ValueError: a raw file changed since it was planned, is not text in its encoding, or is empty.
    """
    for (path, member), same_file in itertools.groupby(items, key=lambda item: (item.path, item.member)):
        source = Path(path).name if member else path
        for item, title, document_id, text in _texts_of(list(same_file)):
            text = strip_boilerplate(text) if item.boilerplate == "gutenberg" else text
            if not text.strip():
                raise ValueError(f"{document_id} is empty; remove it from the corpus's sources")
            if "\0" in text:
                raise ValueError(f"{document_id} holds NUL bytes: it is not text; remove it from the sources")
            yield Document(document_id, source, item.category, item.license, title, text)


def strip_boilerplate(text: str) -> str:
    """Cut what surrounds a Project Gutenberg text: everything outside the markers, transcribers' notes."""
    if marker := _START_MARKER.search(text):
        text = text[marker.end() :]
    if marker := _END_MARKER.search(text):
        text = text[: marker.start()]
    paragraphs = text.strip("\n").split("\n\n")
    last = len(paragraphs) - _EDGE_PARAGRAPHS
    kept = [
        paragraph
        for index, paragraph in enumerate(paragraphs)
        if _EDGE_PARAGRAPHS <= index < last or not _TRANSCRIBER.search(paragraph)
    ]
    return "\n\n".join(kept).strip("\n") + "\n"


def _items_of(source: dict, path: str, member: str | None) -> Iterator[Item]:
    suffix = Path(member or path).suffix
    file_format = source.get("format") or FORMATS.get(suffix)
    if file_format is None:
        raise ValueError(
            f"{member or path}: no format for '{suffix}'; known endings are {', '.join(FORMATS)}"
        )
    common = {
        "path": path,
        "member": member,
        "format": file_format,
        "encoding": source["encoding"],
        "boilerplate": source["boilerplate"],
        "text_column": source["text_column"],
        "title_column": source.get("title_column"),
        "category": source["category"],
        "license": source["license"],
    }
    if file_format == "txt":
        content = _read_bytes(path, member)
        yield Item(
            rows=None,
            group=None,
            title=Path(member or path).stem,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            **common,
        )
        return
    group_by = source.get("group_by")
    # Held-out titles are looked for row by row.
    rows_per_item = 1 if source.get("hold_out") else ROWS_PER_ITEM
    rows = enumerate(_rows(path, member, file_format, source["encoding"]))
    if group_by:
        pieces = itertools.groupby(
            rows, key=lambda row: _value(row[1], group_by, f"{member or path} row {row[0]}")
        )
    else:
        pieces = itertools.groupby(rows, key=lambda row: row[0] // rows_per_item)
    seen = set()
    for group, numbered in pieces:
        numbers, members = zip(*numbered, strict=True)
        if group in seen:
            raise ValueError(
                f"{member or path}: the rows of '{group}' do not stand together; sort by {group_by}"
            )
        seen.add(group)
        content = _canonical(members)
        yield Item(
            rows=(numbers[0], numbers[-1] + 1),
            group=str(group) if group_by else None,
            title=str(group if group_by else members[0].get(common["title_column"]) or ""),
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            **common,
        )


def _texts_of(items: list[Item]) -> Iterator[tuple[Item, str, str, str]]:
    """(item, title, document id, text) of one file's items, reading it once if they are in order."""
    first = items[0]
    if first.format == "txt":
        content = _read_bytes(first.path, first.member)
        _check_unchanged(first, content)
        yield first, first.title, first.name, _decode(content, first.encoding, first.name)
        return
    base = first.member or first.path
    rows = _rows(first.path, first.member, first.format, first.encoding)
    position = 0
    for item in items:
        start, stop = item.rows
        if start < position:
            rows, position = _rows(first.path, first.member, first.format, first.encoding), 0
        members = list(itertools.islice(rows, start - position, stop - position))
        position = stop
        _check_unchanged(item, _canonical(members))
        texts = [
            _value(row, item.text_column, f"{base} row {number}") for number, row in enumerate(members, start)
        ]
        if item.group is not None:
            yield item, item.title, item.name, "\n".join(texts) + "\n"
            continue
        for number, (row, text) in enumerate(zip(members, texts, strict=True), start):
            document_id = f"{base}#{number:07d}"
            yield item, str(row.get(item.title_column) or document_id), document_id, text


def _value(row: dict, column: str, where: str) -> str:
    if not isinstance(row.get(column), str):
        raise ValueError(f"{where}: column '{column}' is missing or no text; columns are {', '.join(row)}")
    return row[column]


def _canonical(rows: Iterable[dict]) -> bytes:
    return json.dumps(list(rows), sort_keys=True, default=str).encode()


def _check_unchanged(item: Item, content: bytes) -> None:
    if hashlib.sha256(content).hexdigest() != item.sha256:
        raise ValueError(
            f"{item.name} changed while the workflow ran; run the same target again, which plans it anew"
        )


def _rows(path: str, member: str | None, file_format: str, encoding: str) -> Iterator[dict]:
    if file_format == "parquet":
        source = io.BytesIO(_read_bytes(path, member)) if member else path
        for batch in pq.ParquetFile(source).iter_batches(batch_size=256):
            yield from batch.to_pylist()
        return
    name = member or path
    number = 0
    with io.BytesIO(_read_bytes(path, member)) if member else open(path, "rb") as content:
        try:
            for number, line in enumerate(io.TextIOWrapper(content, _codec(encoding), newline="\n"), start=1):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"{name} line {number} is JSON, but not an object")
                yield row
        except UnicodeDecodeError as error:
            raise _wrong_encoding(name, encoding, f"after line {number}") from error
        except json.JSONDecodeError as error:
            raise ValueError(f"{name} line {number} is not JSON: {error}") from None


def _decode(content: bytes, encoding: str, name: str) -> str:
    try:
        text = content.decode(_codec(encoding))
    except UnicodeDecodeError as error:
        raise _wrong_encoding(name, encoding, f"at byte {error.start}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _codec(encoding: str) -> str:
    # A byte order mark is no part of the text.
    return "utf-8-sig" if encoding == "utf-8" else encoding


def _wrong_encoding(name: str, encoding: str, where: str) -> ValueError:
    return ValueError(
        f"{name} is not {encoding} text ({where}); set the encoding of its source, or remove the file"
    )


def _read_bytes(path: str, member: str | None) -> bytes:
    if member is None:
        return Path(path).read_bytes()
    return _archive(path)[member]


def _matching_members(path: Path | str, patterns: list[str]) -> list[str]:
    names = sorted(_archive(str(path)))
    matched = []
    for pattern in patterns:
        found = fnmatch.filter(names, pattern)
        if not found:
            raise ValueError(f"{path} holds no member '{pattern}'; the first are: {', '.join(names[:5])}")
        matched.extend(found)
    return sorted(set(matched))


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
