"""Documents that a corpus holds twice: which one stays, and why the others go."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from operator import itemgetter

from longspan.corpora.items import Entry, Item, Listing


def mark_repeats(
    held_out: list[Listing], training: list[Listing], previous: Iterable[Item], *, drop_duplicates: bool
) -> tuple[list[Item], list[Item]]:
    """The items (held out, for training); documents that repeat another's id or text are among their drops.

    Of several alike, a held-out one stays, then one that the plan that is there keeps, so that new text drops
    none of what is there, then the first.

    Args:
        held_out, training: all items of the corpus, in the order of its documents.
        previous: the items for training of the plan that is there.
        drop_duplicates: drop documents of the same text too, not only those of the same id.
    """
    before = {item.key: item for item in previous}
    listings = held_out + training
    gone = [{row for row, reason, _ in one.item.drops if reason == "held out"} for one in listings]
    order = [
        (number, entry)
        for number, listing in enumerate(listings)
        for entry in listing.entries
        if entry.row not in gone[number]
    ]
    order.sort(
        key=lambda pair: pair[0] >= len(held_out) and 2 - was_kept(before, listings[pair[0]].item, pair[1])
    )

    def place_of(pair: tuple[int, Entry]) -> str:
        item, row = listings[pair[0]].item, pair[1].row
        place = f"{item.path}/{item.name}" if item.member else item.name
        return place if row is None else f"{place}#{row:07d}"

    # Of millions of documents the names are made only where two meet.
    holders: dict[str | bytes, tuple[int, Entry]] = {}
    drops: dict[int, list[tuple[int | None, str, str]]] = {}
    for pair in order:
        number, entry = pair
        keys = {entry.document_id: "duplicate id"}
        if drop_duplicates and entry.text_digest is not None:
            keys[entry.text_digest] = "duplicate"
        for key, reason in keys.items():
            holder = holders.setdefault(key, pair)
            if holder is not pair and (place := place_of(holder)) != place_of(pair):
                what = "id" if reason == "duplicate id" else "text"
                drops.setdefault(number, []).append((entry.row, reason, f"has the {what} of {place}"))
                break
    items = [
        replace(listing.item, drops=(*listing.item.drops, *sorted(drops.get(number, ()), key=itemgetter(0))))
        for number, listing in enumerate(listings)
    ]
    return items[: len(held_out)], items[len(held_out) :]


def was_kept(before: Mapping[tuple, Item], item: Item, entry: Entry) -> bool:
    """Whether a plan kept a document.

    Args:
        before: the plan's items by key.
        item, entry: the document.
    """
    old = before.get(item.key)
    if old is None:
        return False
    if entry.row is not None and (not old.rows[0] <= entry.row < old.rows[1] or entry.row in old.without):
        return False
    return all(row != entry.row for row, _, _ in old.drops)
