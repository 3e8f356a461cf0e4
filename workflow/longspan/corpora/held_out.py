"""What is held out, and leaves the texts for training whatever path, file or form it comes there by."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from longspan.corpora.items import Entry, Item, Listing

_DIGEST_BYTES = 16


def mark_held_out(held_out: list[Listing], training: list[Listing]) -> list[Listing]:
    """The listings for training; what another source holds out is among their drops, as "held out".

    A document is held out where its file (by whatever path or link) and rows are, or where its text is: as a
    whole, as one row of a held-out group, or with a held-out document as one of its rows.

    Args:
        held_out, training: all listings of the corpus, with their marks.

    Raises:
        ValueError: two sources hold the same document out.
    """
    if not held_out:
        return training
    _require_once(listing.item for listing in held_out)
    places: dict[tuple, set[int] | None] = {}
    wholes: dict[bytes, str] = {}
    parts: dict[bytes, str] = {}
    for listing in held_out:
        item = listing.item
        place = _file_of(item)
        if item.rows is None or item.is_without_rows:
            places[place] = None
        elif places.setdefault(place, set()) is not None:
            places[place].update(_rows_of(item))
        for entry in listing.entries:
            name = item.place_of_row(entry.row)
            for mark in _digests(entry.whole_marks):
                wholes.setdefault(mark, name)
            for mark in _digests(entry.part_marks):
                parts.setdefault(mark, name)

    def why(item: Item, entry: Entry, rows: set[int] | None) -> str | None:
        if rows is None or not rows.isdisjoint(_rows_of(item) if entry.row is None else (entry.row,)):
            return "lies in a file and rows that another source holds out"
        marks = _digests(entry.whole_marks)
        # A row that two groups share is no work.
        known = [wholes] if item.group is not None else [wholes, parts]
        found = next((names[mark] for mark in marks for names in known if mark in names), None)
        found = found or next((wholes[mark] for mark in _digests(entry.part_marks) if mark in wholes), None)
        return found and f"has text of {found}, which is held out"

    marked = []
    nowhere: set[int] = set()
    for listing in training:
        item = listing.item
        rows = places.get(_file_of(item), nowhere)
        drops = [
            (entry.row, "held out", detail)
            for entry in listing.entries
            if (detail := why(item, entry, rows)) is not None
        ]
        if drops:
            listing = replace(listing, item=replace(item, drops=(*drops, *item.drops)))
        marked.append(listing)
    return marked


def require_one_path(listings: Iterable[Listing]) -> None:
    """Refuse a file that sources for training name by two spellings of its path.

    Raises:
        ValueError: naming both.
    """
    spelt: dict[str, str] = {}
    for listing in listings:
        path = listing.item.path
        other = spelt.setdefault(os.path.abspath(path), path)
        if other != path:
            raise ValueError(f"{path} and {other} are the same file; each document may be in one source only")


def _require_once(items: Iterable[Item]) -> None:
    seen: set[tuple] = set()
    for item in items:
        place = (os.path.abspath(item.path), item.key[1:])
        if place in seen:
            raise ValueError(f"{item.name} is held out twice; each document may be in one source only")
        seen.add(place)


def _file_of(item: Item) -> tuple:
    """What stays the same of a file and member by whatever path or link they are reached."""
    status = Path(item.path).stat()
    return status.st_dev, status.st_ino, item.member or ""


def _rows_of(item: Item) -> Iterator[int]:
    if item.rows is None or item.is_without_rows:
        return iter((-1,))
    without = set(item.without)
    return (row for row in range(*item.rows) if row not in without)


def _digests(marks: bytes) -> list[bytes]:
    return [marks[start : start + _DIGEST_BYTES] for start in range(0, len(marks), _DIGEST_BYTES)]
