"""Documents out of raw files: text files, rows of JSON lines or Parquet, members of archives.

An `Item` names a piece of a raw file, the unit that is planned into shards: a whole text file, the
rows of one group (a book of verses, say), or a range of rows.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from longspan.raw_files import matching_members, read_bytes, read_rows, read_text

# Small enough that a shard of a cluster (about 32 M tokens) can be filled evenly with long books.
ROWS_PER_ITEM = 16
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

    `rows` is a range of rows, of which those in `without` are held out; `group` is the rows' common value
    where they are one document together.
    """

    path: str
    member: str | None
    rows: tuple[int, int] | None
    without: tuple[int, ...]
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
        rows = tuple(values["rows"]) if values["rows"] else None
        return cls(**{**values, "rows": rows, "without": tuple(values["without"])})


@dataclass(frozen=True)
class Document:
    """A text with its origin."""

    document_id: str
    source: str
    category: str
    license: str
    title: str
    text: str


@dataclass(frozen=True)
class Dropped:
    """A document that is left out, and why: `reason` is one of `contracts.DROP_REASONS`."""

    document_id: str
    source: str
    category: str
    title: str
    reason: str
    detail: str
    characters: int | None


@dataclass(frozen=True)
class Fault:
    """What is wrong with a text: `reason` is one of `contracts.DROP_REASONS`."""

    reason: str
    detail: str


def list_items(source: dict, files: Iterable[Path]) -> tuple[list[Item], list[Item]]:
    """The items of one source (for training, held out), in the order of its files, members and rows.

    Args:
        source: the source's settings (`files`, `format`, `encoding`, `boilerplate`, `text_column`,
            `title_column`, `group_by`, `category`, `license`, `hold_out`).
        files: raw files of the source; archives give the members that match `source["files"]`.

    Raises:
        ValueError: a file is missing, of unknown format, a pattern matches nothing, or hold_out names a
            title that no document has.
    """
    training: list[Item] = []
    held_out: list[Item] = []
    titles: set[str] = set()
    hold_out = source["hold_out"]
    for path in files:
        if not Path(path).is_file():
            raise ValueError(f"{path} does not exist; check the paths of the corpus's sources")
        members = matching_members(str(path), source["files"]) if source.get("files") else [None]
        for member in members:
            for item in _items_of(source, str(path), member):
                titles.add(item.title)
                is_held = hold_out if isinstance(hold_out, bool) else item.title in hold_out
                (held_out if is_held else training).append(item)
    if not training + held_out:
        raise ValueError(f"the source {source} gives no documents; check its paths and patterns")
    if not isinstance(hold_out, bool) and (unknown := sorted(set(hold_out) - titles)):
        # Blocks of rows have no title of their own.
        found = f"the titles are: {', '.join(sorted(titles))}"
        if "" in titles:
            found = f"no row has it as its title (title_column is {source.get('title_column')})"
        raise ValueError(f"hold_out names '{unknown[0]}', but {found}")
    return training, held_out


def read_documents(items: Iterable[Item], *, on_bad_document: str = "error") -> Iterator[Document | Dropped]:
    """The documents of the items, in order, and those that are left out.

    Args:
        items: what a plan assigns to a shard.
        on_bad_document: "error" refuses the first document that is no text, "skip" gives it as dropped.

    Raises:
        ValueError: a raw file changed since it was planned, or a document is no text.
    """
    for (path, member), same_file in itertools.groupby(items, key=lambda item: (item.path, item.member)):
        source = Path(path).name if member else path
        for item, title, document_id, text in _texts_of(list(same_file)):
            fault = text if isinstance(text, Fault) else None
            if fault is None:
                text = strip_boilerplate(text) if item.boilerplate == "gutenberg" else text
                fault = _fault_of(text)
            if fault is None:
                yield Document(document_id, source, item.category, item.license, title, text)
                continue
            if on_bad_document == "error":
                raise ValueError(
                    f"{document_id} {fault.detail}; correct it, remove it from the corpus's sources, "
                    "or set on_bad_document: skip"
                )
            characters = None if isinstance(text, Fault) else len(text)
            yield Dropped(document_id, source, item.category, title, fault.reason, fault.detail, characters)


def _fault_of(text: str) -> Fault | None:
    if not text.strip():
        return Fault("empty", "is empty")
    if (place := text.find("\0")) >= 0:
        return Fault("NUL bytes", f"holds NUL bytes (at character {place}): it is not text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return Fault("lone surrogates", f"holds a lone surrogate (at character {error.start})")
    return None


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
        content = read_bytes(path, member)
        yield Item(
            rows=None,
            without=(),
            group=None,
            title=Path(member or path).stem,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            **common,
        )
        return
    group_by = source.get("group_by")
    name = member or path
    rows = enumerate(read_rows(path, member, file_format, source["encoding"]))
    if group_by:
        yield from _groups(rows, group_by, name, common)
    else:
        yield from _blocks(rows, source["hold_out"], common)


def _groups(rows: Iterator[tuple[int, dict]], group_by: str, name: str, common: dict) -> Iterator[Item]:
    seen = set()
    for group, numbered in itertools.groupby(
        rows, key=lambda row: _value(row[1], group_by, f"{name} row {row[0]}")
    ):
        if group in seen:
            raise ValueError(f"{name}: the rows of '{group}' do not stand together; sort by {group_by}")
        seen.add(group)
        numbers, members = zip(*numbered, strict=True)
        yield _item_of_rows(members, (numbers[0], numbers[-1] + 1), common, group=group, title=group)


def _blocks(rows: Iterator[tuple[int, dict]], hold_out: bool | list[str], common: dict) -> Iterator[Item]:
    """Blocks of rows whose bounds do not depend on what is held out; a held-out row is an item of its own."""
    titles = set() if isinstance(hold_out, bool) else set(hold_out)
    for _, numbered in itertools.groupby(rows, key=lambda row: row[0] // ROWS_PER_ITEM):
        numbers, members = zip(*numbered, strict=True)
        held = {}
        for number, row in zip(numbers, members, strict=True):
            title = row.get(common["title_column"])
            if title in titles:
                held[number] = row
                yield _item_of_rows([row], (number, number + 1), common, title=title)
        if kept := [row for number, row in zip(numbers, members, strict=True) if number not in held]:
            yield _item_of_rows(kept, (numbers[0], numbers[-1] + 1), common, without=tuple(held))


def _item_of_rows(
    members: Iterable[dict],
    rows: tuple[int, int],
    common: dict,
    *,
    without: tuple[int, ...] = (),
    group: str | None = None,
    title: str = "",
) -> Item:
    content = _canonical(members)
    return Item(
        rows=rows,
        without=without,
        group=group,
        title=title,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        **common,
    )


def _texts_of(items: list[Item]) -> Iterator[tuple[Item, str, str, str | Fault]]:
    """(item, title, document id, text or its fault) of one file's items; runs of them are read in one go."""
    first = items[0]
    if first.format == "txt":
        content = read_bytes(first.path, first.member)
        _check_unchanged(first, content)
        try:
            text = read_text(content, first.encoding)
        except ValueError as error:
            text = Fault("bad encoding", str(error))
        yield first, first.title, first.name, text
        return
    base = first.member or first.path
    position = None
    for item in items:
        start, stop = item.rows
        if start != position:
            rows = read_rows(first.path, first.member, first.format, first.encoding, start)
        position = stop
        numbered = [
            (number, row)
            for number, row in enumerate(itertools.islice(rows, stop - start), start)
            if number not in item.without
        ]
        _check_unchanged(item, _canonical(row for _, row in numbered))
        texts = [_text(row, item.text_column) for _, row in numbered]
        if item.group is not None:
            fault = next((text for text in texts if isinstance(text, Fault)), None)
            yield item, item.title, item.name, fault or "\n".join(texts) + "\n"
            continue
        for (number, row), text in zip(numbered, texts, strict=True):
            document_id = f"{base}#{number:07d}"
            yield item, str(row.get(item.title_column) or document_id), document_id, text


def _text(row: dict, column: str) -> str | Fault:
    if not isinstance(row.get(column), str):
        return Fault("bad column", f"has no text in column '{column}'; columns are {', '.join(row)}")
    return row[column]


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
