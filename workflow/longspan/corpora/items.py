"""Pieces of raw files, as they are planned into shards, and the documents in them.

An `Item` names a piece of a raw file, the unit that is planned into shards: a whole text file, the
rows of one group (a book of verses, say), or a range of rows.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from longspan.corpora.boilerplate import strip_boilerplate
from longspan.corpora.limits import label_fault, name_in, require_inside
from longspan.corpora.raw_files import NO_ROWS, Fault, matching_members, read_bytes, read_rows, read_text
from longspan.corpora.raw_formats import FORMATS, format_of, title_of

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

    def document_id(self, row: int | None = None, values: dict | Fault | None = None) -> str:
        """Id of the item's document, or of that in a row with these values."""
        if row is None or self.group is not None:
            return self.name
        own = values.get(self.id_column) if isinstance(values, dict) and self.id_column else None
        if own is not None and own != "":
            return str(own)
        return f"{self.member or self.path}#{row:07d}"

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

    `text_digest` is None where the text has a fault.
    """

    row: int | None
    document_id: str
    digest: bytes
    text_digest: bytes | None
    characters: int
    size_bytes: int


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


def list_items(source: dict, files: Iterable[Path]) -> tuple[list[Listing], list[Listing]]:
    """The items of one source (for training, held out), in the order of its files, members and rows.

    Args:
        source: the source's settings (`files`, `format`, `encoding`, `boilerplate`, `text_column`,
            `title_column`, `id_column`, `group_by`, `category`, `license`, `hold_out`).
        files: raw files of the source; archives give the members that match `source["files"]`.

    Raises:
        ValueError: a file is missing, of unknown format, a pattern matches nothing, or hold_out names a
            title that no document has.
    """
    training: list[Listing] = []
    held_out: list[Listing] = []
    titles: set[str] = set()
    hold_out = source["hold_out"]
    named = source.get("paths", [])
    files = list(files)
    require_inside(files, named or list(map(str, files)))
    for path in files:
        if not Path(path).is_file():
            raise ValueError(f"{path} does not exist; check the paths of the corpus's sources")
        members = matching_members(str(path), source["files"]) if source.get("files") else [None]
        for member in members:
            for listing in _listings_of(source, str(path), member):
                title = listing.item.title
                titles.add(title)
                is_held = hold_out if isinstance(hold_out, bool) else title in hold_out
                (held_out if is_held else training).append(listing)
    if all(listing.item.is_without_rows for listing in training + held_out):
        raise ValueError(
            f"the source {source} gives no documents, its files hold no rows; check its paths and patterns"
        )
    if not isinstance(hold_out, bool) and (unknown := sorted(set(hold_out) - titles)):
        # Blocks of rows have no title of their own.
        found = f"the titles are: {', '.join(sorted(titles))}"
        if "" in titles:
            found = f"no row has it as its title (title_column is {source.get('title_column')})"
        raise ValueError(f"hold_out names '{unknown[0]}', but {found}")
    return training, held_out


def text_in(row: dict | Fault, column: str) -> str | Fault:
    """The text of a row, or what is wrong with it."""
    if isinstance(row, Fault):
        return row
    if not isinstance(row.get(column), str):
        return Fault("bad column", f"has no text in column '{column}'; columns are {', '.join(row)}")
    return row[column]


def with_short_labels(rows: Iterable[dict | Fault], columns: Sequence[str | None]) -> Iterator[dict | Fault]:
    """Rows whose titles and ids can be such; others are faults."""
    for row in rows:
        details = (
            [label_fault(row.get(name), name) for name in columns if name] if isinstance(row, dict) else []
        )
        detail = next(filter(None, details), None)
        yield Fault("too long", detail) if detail else row


def _label_in(row: dict | Fault, column: str) -> str | Fault:
    label = text_in(row, column)
    detail = label_fault(label, column)
    return Fault("too long", detail) if detail else label


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


def _row_content(row: dict | Fault) -> bytes:
    return (row.reason if isinstance(row, Fault) else json.dumps(row, sort_keys=True, default=str)).encode()


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _listings_of(source: dict, path: str, member: str | None) -> Iterator[Listing]:
    name = member or path
    file_format = source.get("format") or format_of(name)
    if file_format is None:
        raise ValueError(
            f"{name}: no format for '{Path(name).suffix}'; known endings are {', '.join(FORMATS)}, "
            "each also with .gz or .zst behind it"
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
        yield _listing([row], None, common, title=title_of(name))
        return
    group_by = source.get("group_by")
    labels = [source.get(name) for name in ("title_column", "id_column")]
    rows = enumerate(with_short_labels(read_rows(path, member, file_format, source["encoding"]), labels))
    if (first := next(rows, None)) is None:
        row = _Row(None, row_digest(NO_ROWS), NO_ROWS, None, 0)
        yield _listing([row], (0, 0), common, title=title_of(name))
        return
    rows = itertools.chain([first], rows)
    if group_by:
        yield from _groups(rows, group_by, name, common)
    else:
        yield from _blocks(rows, source["hold_out"], common)


@dataclass(frozen=True, slots=True)
class _Row:
    """What is known of a row, or of a text file, when its item is listed."""

    number: int | None
    digest: bytes
    text: str | Fault
    values: dict | Fault | None
    size_bytes: int

    @classmethod
    def of(cls, number: int, values: dict | Fault, text_column: str) -> "_Row":
        content = _row_content(values)
        # Two more, as in a list of rows.
        return cls(number, _digest(content), text_in(values, text_column), values, len(content) + 2)


def _groups(rows: Iterator, group_by: str, name: str, common: dict) -> Iterator[Listing]:
    """Groups of rows; a row that names none is an item of its own, and is left out."""
    seen = set()
    for group, numbered in itertools.groupby(rows, key=lambda row: _label_in(row[1], group_by)):
        members = [_Row.of(number, row, common["text_column"]) for number, row in numbered]
        if isinstance(group, Fault):
            if members[0].number == 0 and isinstance(members[0].values, dict):
                raise ValueError(f"{name} {group.detail}; correct group_by")
            for row in members:
                drops = ((row.number, group.reason, group.detail),)
                yield _listing([row], (row.number, row.number + 1), common, drops=drops)
            continue
        if group in seen:
            raise ValueError(f"{name}: the rows of '{group}' do not stand together; sort by {group_by}")
        seen.add(group)
        bounds = (members[0].number, members[-1].number + 1)
        yield _listing(members, bounds, common, group=group, title=group)


def _blocks(rows: Iterator, hold_out: bool | list[str], common: dict) -> Iterator[Listing]:
    """Blocks of rows whose bounds do not depend on what is held out; a held-out row is an item of its own."""
    titles = set() if isinstance(hold_out, bool) else set(hold_out)
    for _, numbered in itertools.groupby(rows, key=lambda row: row[0] // ROWS_PER_ITEM):
        members = [_Row.of(number, row, common["text_column"]) for number, row in numbered]
        held = {}
        for row in members:
            title = row.values.get(common["title_column"]) if isinstance(row.values, dict) else None
            if title in titles:
                held[row.number] = row
                yield _listing([row], (row.number, row.number + 1), common, title=title)
        if kept := [row for row in members if row.number not in held]:
            bounds = (members[0].number, members[-1].number + 1)
            yield _listing(kept, bounds, common, without=tuple(held))


def _listing(
    rows: list[_Row],
    bounds: tuple[int, int] | None,
    common: dict,
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
    if group is not None:
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
            )
        )
    return Listing(item, tuple(entries))
