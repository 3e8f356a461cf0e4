"""Documents out of the items of a plan, and those that are left out, with the reason."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from longspan.corpora.clean_up import CleanUp
from longspan.corpora.items import (
    Item,
    combined_digest,
    content_digest,
    finished_text,
    joined_text,
    list_items,
    row_digest,
    text_in,
)
from longspan.corpora.raw_files import NO_ROWS, Fault, read_bytes, read_rows, read_text
from longspan.store.contracts import BAD_DOCUMENT

KEEP_ALL = CleanUp()


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


def read_documents(
    items: Iterable[Item], *, on_bad_document: str = "error", clean_up: CleanUp = KEEP_ALL
) -> Iterator[Document | Dropped]:
    """The documents of the items, in order, and those that are left out.

    Args:
        items: what a plan assigns to a shard.
        on_bad_document: "error" refuses the first document that is no text, "skip" gives it as dropped.
        clean_up: what a text must be to be kept.

    Raises:
        ValueError: a raw file changed since it was planned, or a document is no text.
    """
    for (path, member), same_file in itertools.groupby(items, key=lambda item: (item.path, item.member)):
        same_file = list(same_file)
        source = Path(path).name if member else same_file[0].public_path or path
        for item, row, document_id, title, text in _texts_of(same_file):
            known = next(
                (Fault(reason, detail) for number, reason, detail in item.drops if number == row), None
            )
            characters = None if isinstance(text, Fault) else len(text)
            text = finished_text(text, item.boilerplate)
            fault = known or (text if isinstance(text, Fault) else clean_up.fault_of(text))
            if fault is None:
                yield Document(document_id, source, item.category, item.license, title, text)
                continue
            if on_bad_document == "error" and fault.reason in BAD_DOCUMENT:
                place = item.place_of_row(row)
                name = document_id if document_id == place else f"{document_id} ({place})"
                raise ValueError(
                    f"{name} {fault.detail}; correct it, remove it from the corpus's sources, "
                    "or set on_bad_document: skip"
                )
            yield Dropped(document_id, source, item.category, title, fault.reason, fault.detail, characters)


def read_texts(path: str, text_column: str) -> list[str]:
    """All texts of a file in UTF-8; errors as `list_items` and `read_documents`."""
    source = {"encoding": "utf-8", "boilerplate": "none", "text_column": text_column, "hold_out": False}
    listings, _ = list_items(source | {"category": "", "license": ""}, [Path(path)], with_marks=False)
    return [document.text for document in read_documents(listing.item for listing in listings)]


def _texts_of(items: list[Item]) -> Iterator[tuple[Item, int | None, str, str, str | Fault]]:
    """(item, row, document id, title, text or its fault) of one file's items; runs are read in one go."""
    first = items[0]
    if first.format == "txt":
        content = read_bytes(first.path, first.member)
        _check_unchanged(first, [content_digest(content)])
        text = content if isinstance(content, Fault) else read_text(content, first.encoding)
        yield first, None, first.name, first.title, text
        return
    if first.is_without_rows:
        row = next(read_rows(first.path, first.member, first.format, first.encoding), NO_ROWS)
        _check_unchanged(first, [row_digest(row)])
        yield first, None, first.name, first.title, NO_ROWS
        return
    position = None
    for item in items:
        start, stop = item.rows
        if start != position:
            rows = read_rows(first.path, first.member, first.format, first.encoding, start, first.columns)
        position = stop
        numbered = [
            (number, row)
            for number, row in enumerate(itertools.islice(rows, stop - start), start)
            if number not in item.without
        ]
        _check_unchanged(item, [row_digest(row) for _, row in numbered])
        if item.group is not None:
            text = joined_text([text_in(row, item.text_column) for _, row in numbered])
            yield item, None, item.name, item.title, text
            continue
        for number, row in numbered:
            document_id = item.document_id(number, row)
            title = item.title_of_row(row) or document_id
            yield item, number, document_id, title, item.text_of_row(row)


def _check_unchanged(item: Item, digests: list[bytes]) -> None:
    if combined_digest(digests) != item.sha256:
        raise ValueError(
            f"{item.name} changed while the workflow ran; run the same target again, which plans it anew"
        )
