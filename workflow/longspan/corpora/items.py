"""Pieces of raw files, as they are planned into shards, and the documents in them.

An `Item` names a piece of a raw file, the unit that is planned into shards: a whole text file, the
rows of one group (a book of verses, say), or a range of rows.
"""

import hashlib
import itertools
import json
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from longspan.corpora.boilerplate import strip_boilerplate
from longspan.corpora.compared_text import comparison_digest
from longspan.corpora.labels import label_in
from longspan.corpora.limits import name_in, require_inside
from longspan.corpora.raw_files import (
    NO_ROWS,
    Fault,
    Row,
    matching_members,
    one_form,
    read_bytes,
    read_rows,
    read_text,
)
from longspan.corpora.raw_formats import READABLE, format_of, title_of
from longspan.corpora.raw_paths import without_readable

# Small enough that a shard of a cluster (about 32 M tokens) can be filled evenly with long books.
ROWS_PER_ITEM = 16


@dataclass(frozen=True)
class Item:
    """A piece of a raw file and how to read it.

    `rows` is a range of rows, (0, 0) for a file that has none; those in `without` are held out or not in the
    sample. `group` is the rows' common value where they are one document together. `drops` are rows (None
    for the whole item) that are left out for what the plan knows of them: (row, reason, detail).
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
    id_column: str | None
    category: str
    license: str
    drops: tuple[tuple[int | None, str, str], ...] = ()
    # The file's name from where the settings name it on, where its path is absolute and shall not leave.
    public_path: str | None = None

    @property
    def key(self) -> tuple:
        """What stays the same when the file grows or its content changes."""
        if self.group is not None:
            return (self.path, self.member or "", self.group)
        return (self.path, self.member or "", self.rows[0] if self.rows else 0)

    @property
    def is_without_rows(self) -> bool:
        """Whether it stands for a file of rows that has none."""
        return self.rows == (0, 0)

    @property
    def place(self) -> tuple:
        """Where it stands: file, member, first row."""
        return (self.path, self.member or "", self.rows[0] if self.rows else 0)

    def document_id(self, row: int | None = None, values: Row | Fault | None = None) -> str:
        """Id of the item's document, or of that in a row with these values."""
        if row is None or self.group is not None:
            return self.name
        return _label(values, self.id_column) or self.place_of_row(row)

    def place_of_row(self, row: int | None) -> str:
        """Where a document is read: file or member, and the row; the name where the item is one document."""
        return self.name if row is None else f"{self.member or self.path}#{row:07d}"

    def title_of_row(self, values: Row | Fault) -> str:
        """Title of the document in a row; empty if it has none."""
        return _label(values, self.title_column)

    def text_of_row(self, values: Row | Fault) -> str | Fault:
        """Text of the document in a row, or what is wrong with it, its title or its id."""
        return _document_text(values, vars(self))

    @property
    def columns(self) -> list[str]:
        """Columns that its documents are made of."""
        return columns_of(vars(self))

    @property
    def name(self) -> str:
        """Member or path, with the group behind it."""
        return (self.member or self.path) + (f"#{self.group}" if self.group else "")

    def to_json(self) -> dict:
        """The item as it stands in a plan."""
        values = asdict(self)
        if self.public_path is None:
            del values["public_path"]
        return values

    @classmethod
    def from_json(cls, values: dict) -> "Item":
        """The inverse of `to_json`."""
        rows = tuple(values["rows"]) if values["rows"] else None
        drops = tuple(tuple(drop) for drop in values["drops"])
        return cls(**{**values, "rows": rows, "without": tuple(values["without"]), "drops": drops})


@dataclass(frozen=True, slots=True)
class Entry:
    """A document in an item: its row (None: the whole item), digests of what it is read from and of its text.

    `text_digest` is None where the text has a fault. `whole_marks` are digests of the text as texts are
    compared (`comparison_digest`), with and without what its boilerplate setting cuts; `part_marks` those of
    the rows of a group. Each is 16 bytes, one behind another.
    """

    row: int | None
    document_id: str
    digest: bytes
    text_digest: bytes | None
    characters: int
    size_bytes: int
    whole_marks: bytes = b""
    part_marks: bytes = b""


@dataclass(frozen=True, slots=True)
class Listing:
    """An item with the documents in it."""

    item: Item
    entries: tuple[Entry, ...]

    def only(self, entries: Sequence[Entry]) -> "Listing | None":
        """The listing with some of its entries, the rows of the others left out of the item."""
        if len(entries) == len(self.entries):
            return self
        if not entries:
            return None
        kept = {entry.row for entry in entries}
        out = {entry.row for entry in self.entries if entry.row not in kept}
        item = replace(
            self.item,
            without=tuple(sorted({*self.item.without, *out})),
            size_bytes=sum(entry.size_bytes for entry in entries),
            sha256=combined_digest(entry.digest for entry in entries),
        )
        return Listing(item, tuple(entries))


def list_items(
    source: dict, files: Iterable[Path], *, with_marks: bool = True
) -> tuple[list[Listing], list[Listing]]:
    """The items of one source (for training, held out), in the order of its files, members and rows.

    Args:
        source: the source's settings (`files`, `format`, `encoding`, `boilerplate`, `text_column`,
            `title_column`, `id_column`, `group_by`, `category`, `license`, `hold_out`).
        files: raw files of the source; archives give the members that match `source["files"]`.
        with_marks: give the entries their marks, which are needed where anything is held out.

    Raises:
        ValueError: a file is missing, of unknown format, a pattern matches nothing, or hold_out names a
            title that no document has.
    """
    training: list[Listing] = []
    held_out: list[Listing] = []
    titles: set[str] = set()
    hold_out = source["hold_out"]
    wanted = None if isinstance(hold_out, bool) else {_composed(title) for title in hold_out}
    named = source.get("paths", [])
    files = list(files)
    require_inside(files, named or list(map(str, files)))
    for path in files:
        if os.path.isdir(path):
            raise ValueError(without_readable(str(path)))
        if not os.path.isfile(path):
            raise ValueError(f"{path} does not exist; check the paths of the corpus's sources")
        members = matching_members(str(path), source["files"]) if source.get("files") else [None]
        for member in members:
            for listing in _listings_of(source, str(path), member, with_marks):
                title = listing.item.title
                titles.add(title)
                is_held = hold_out if wanted is None else _composed(title) in wanted
                (held_out if is_held else training).append(listing)
    if all(listing.item.is_without_rows for listing in training + held_out):
        raise ValueError(
            f"the source {source} gives no documents, its files hold no rows; check its paths and patterns"
        )
    composed = {_composed(title) for title in titles}
    if wanted is not None and (unknown := sorted(t for t in hold_out if _composed(t) not in composed)):
        # Blocks of rows have no title of their own.
        found = f"the titles are: {', '.join(sorted(titles))}"
        if "" in titles:
            found = f"no row has it as its title (title_column is {source.get('title_column')})"
        raise ValueError(f"hold_out names '{unknown[0]}', but {found}")
    return training, held_out


def columns_of(source: Mapping) -> list[str]:
    """Columns that a source's documents are made of."""
    names = ("text_column", "title_column", "id_column", "group_by")
    return list(dict.fromkeys(source[name] for name in names if source.get(name)))


def text_in(row: Row | Fault, column: str) -> str | Fault:
    """The text of a row, or what is wrong with it."""
    if isinstance(row, Fault):
        return row
    value = row.get(column)
    if isinstance(value, Fault):
        return value
    return one_form(value) if isinstance(value, str) else _without_text(row, column)


def joined_text(texts: Sequence[str | Fault]) -> str | Fault:
    """The text of a group's rows, or the first fault among them."""
    fault = next((text for text in texts if isinstance(text, Fault)), None)
    return fault or "\n".join(texts) + "\n"


def finished_text(text: str | Fault, boilerplate: str) -> str | Fault:
    """A document's text without boilerplate, or what is wrong with it."""
    if isinstance(text, Fault):
        return text
    if boilerplate == "gutenberg":
        text = strip_boilerplate(text)
    if not text or text.isspace():
        return Fault("empty", "is empty")
    if (place := text.find("\0")) >= 0:
        return Fault("NUL bytes", f"holds NUL bytes (at character {place}): it is not text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return Fault("lone surrogates", f"holds a lone surrogate (at character {error.start})")
    return text


def row_digest(row: dict | Fault) -> bytes:
    """Digest of a row as it is read; a fault's wording is no part of it."""
    return _digest(_row_content(row))


def content_digest(content: bytes | Fault) -> bytes:
    """Digest of a text file as it is read."""
    return _digest(content.reason.encode() if isinstance(content, Fault) else content)


def combined_digest(digests: Iterable[bytes]) -> str:
    """Digest (hex) of an item, from those of what it is read from."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _without_text(row: Row, column: str) -> Fault:
    return Fault("bad column", f"has no text in column '{column}'; columns are {', '.join(row.columns)}")


def _document_text(row: Row | Fault, source: Mapping) -> str | Fault:
    """The text of a row that is a document, or what is wrong with it, its title or its id."""
    if isinstance(row, Row):
        for name in ("id_column", "title_column"):
            if isinstance(label := label_in(row, source[name]), Fault):
                return label
    return text_in(row, source["text_column"])


def _label(row: Row | Fault | None, column: str | None) -> str:
    """A row's title or id; empty if it has none, or none that is text."""
    label = label_in(row, column) if isinstance(row, Row) else None
    return "" if label is None or isinstance(label, Fault) else label


def _composed(title: str) -> str:
    return unicodedata.normalize("NFC", title)


def _row_content(row: dict | Fault) -> bytes:
    return (
        row.reason if isinstance(row, Fault) else json.dumps(row, sort_keys=True, default=_printed)
    ).encode()


def _printed(value: object) -> str:
    return value.reason if isinstance(value, Fault) else str(value)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _listings_of(source: dict, path: str, member: str | None, with_marks: bool) -> Iterator[Listing]:
    name = member or path
    file_format = source.get("format") or format_of(name)
    if file_format is None:
        raise ValueError(
            f"{name}: no format for '{Path(name).suffix}'; known endings are {READABLE}; set format if it is "
            "one of these"
        )
    common = {
        "path": path,
        "member": member,
        "public_path": name_in(path, source.get("paths", [])),
        "format": file_format,
        "encoding": source["encoding"],
        "boilerplate": source["boilerplate"],
        "text_column": source["text_column"],
        "title_column": source.get("title_column"),
        "id_column": source.get("id_column"),
        "category": source["category"],
        "license": source["license"],
    }
    if file_format == "txt":
        content = read_bytes(path, member)
        text = content if isinstance(content, Fault) else read_text(content, source["encoding"])
        size_bytes = 0 if isinstance(content, Fault) else len(content)
        row = _Row(None, content_digest(content), text, None, size_bytes)
        yield _listing([row], None, common, with_marks, title=title_of(name))
        return
    group_by = source.get("group_by")
    rows = enumerate(
        read_rows(path, member, file_format, source["encoding"], columns=columns_of(common | source))
    )
    if (first := next(rows, None)) is None:
        row = _Row(None, row_digest(NO_ROWS), NO_ROWS, None, 0)
        yield _listing([row], (0, 0), common, with_marks, title=title_of(name))
        return
    rows = itertools.chain([first], rows)
    if group_by:
        yield from _groups(rows, group_by, name, common, with_marks)
    else:
        yield from _blocks(rows, source["hold_out"], common, with_marks)


@dataclass(frozen=True, slots=True)
class _Row:
    """What is known of a row, or of a text file, when its item is listed."""

    number: int | None
    digest: bytes
    text: str | Fault
    values: Row | Fault | None
    size_bytes: int

    @classmethod
    def of(cls, number: int, values: Row | Fault, text: str | Fault) -> "_Row":
        content = _row_content(values)
        # Two more, as in a list of rows.
        return cls(number, _digest(content), text, values, len(content) + 2)


def _groups(rows: Iterator, group_by: str, name: str, common: dict, with_marks: bool) -> Iterator[Listing]:
    """Groups of rows; a row that names none is an item of its own, and is left out."""

    def group_of(numbered: tuple[int, Row | Fault]) -> str | Fault:
        row = numbered[1]
        if isinstance(row, Fault):
            return row
        label = label_in(row, group_by)
        return _without_text(row, group_by) if label is None else label

    seen = set()
    read = set(columns_of(common))
    for group, numbered in itertools.groupby(rows, key=group_of):
        members, has_column = [], True
        for number, row in numbered:
            has_column = isinstance(row, Fault) or group_by in row
            text = text_in(row, common["text_column"])
            if common["format"] == "parquet" and isinstance(row, Row) and group_by not in read:
                # It is not read again with the document.
                row.pop(group_by, None)
            members.append(_Row.of(number, row, text))
        if isinstance(group, Fault):
            if members[0].number == 0 and not has_column:
                raise ValueError(f"{name} {group.detail}; correct group_by")
            for row in members:
                drops = ((row.number, group.reason, group.detail),)
                yield _listing([row], (row.number, row.number + 1), common, with_marks, drops=drops)
            continue
        if group in seen:
            raise ValueError(f"{name}: the rows of '{group}' do not stand together; sort by {group_by}")
        seen.add(group)
        bounds = (members[0].number, members[-1].number + 1)
        yield _listing(members, bounds, common, with_marks, group=group, title=group)


def _blocks(rows: Iterator, hold_out: bool | list[str], common: dict, with_marks: bool) -> Iterator[Listing]:
    """Blocks of rows whose bounds do not depend on what is held out; a held-out row is an item of its own."""
    titles = set() if isinstance(hold_out, bool) else {_composed(title) for title in hold_out}
    for _, numbered in itertools.groupby(rows, key=lambda row: row[0] // ROWS_PER_ITEM):
        members = [_Row.of(number, row, _document_text(row, common)) for number, row in numbered]
        held = {}
        for row in members:
            title = _label(row.values, common["title_column"])
            if titles and _composed(title) in titles:
                held[row.number] = row
                yield _listing([row], (row.number, row.number + 1), common, with_marks, title=title)
        if kept := [row for row in members if row.number not in held]:
            bounds = (members[0].number, members[-1].number + 1)
            yield _listing(kept, bounds, common, with_marks, without=tuple(held))


def _listing(
    rows: list[_Row],
    bounds: tuple[int, int] | None,
    common: dict,
    with_marks: bool,
    *,
    without: tuple[int, ...] = (),
    group: str | None = None,
    title: str = "",
    drops: tuple[tuple[int, str, str], ...] = (),
) -> Listing:
    item = Item(
        rows=bounds,
        without=without,
        group=group,
        title=title,
        size_bytes=sum(row.size_bytes for row in rows),
        sha256=combined_digest(row.digest for row in rows),
        drops=drops,
        **common,
    )
    parts = b""
    if group is not None:
        if with_marks:
            parts = b"".join(_marks(row.text, row.text) for row in rows)
        digest = bytes.fromhex(item.sha256)
        rows = [_Row(None, digest, joined_text([row.text for row in rows]), None, item.size_bytes)]
    entries = []
    for row in rows:
        text = finished_text(row.text, item.boilerplate)
        is_text = isinstance(text, str)
        entries.append(
            Entry(
                row=row.number,
                document_id=item.document_id(row.number, row.values),
                digest=row.digest,
                text_digest=_digest(text.encode()) if is_text else None,
                characters=len(text) if is_text else 0,
                size_bytes=row.size_bytes,
                whole_marks=_marks(row.text, text) if with_marks else b"",
                part_marks=parts,
            )
        )
    return Listing(item, tuple(entries))


def _marks(raw: str | Fault, text: str | Fault) -> bytes:
    """Digests of a text as texts are compared, before and after boilerplate was cut."""
    texts = dict.fromkeys(each for each in (raw, text) if isinstance(each, str))
    return b"".join(digest for each in texts if (digest := comparison_digest(each)) is not None)
