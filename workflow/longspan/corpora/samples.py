"""Samples of a source: so many documents, or documents of so many characters, drawn by a seed."""

from collections.abc import Iterable

from longspan.corpora.items import Item, Listing
from longspan.corpora.repeats import was_kept
from longspan.store.draws import uniform_by_id


def sample_listings(
    listings: Iterable[Listing],
    previous: Iterable[Item],
    seed: int,
    *,
    documents: int | None = None,
    characters: int | None = None,
) -> list[Listing]:
    """The items with the documents of a sample alone; the others are no part of the corpus.

    What an earlier plan kept is taken first, so that neither a file that comes later nor a larger sample
    takes anything out. The others follow in the order of a hash of their ids.

    Args:
        listings: the items of one source, held-out ones excluded.
        previous: the items of the plan that is there.
        seed: what the draw depends on, beside the ids.
        documents: how many documents are taken.
        characters: documents are taken until they have so many characters.
    """
    listings = list(listings)
    before = {item.key: item for item in previous}
    pairs = [(number, entry) for number, listing in enumerate(listings) for entry in listing.entries]
    draws = uniform_by_id((entry.document_id for _, entry in pairs), seed)
    order = sorted(
        range(len(pairs)),
        key=lambda place: (
            not was_kept(before, listings[pairs[place][0]].item, pairs[place][1]),
            draws[place],
            place,
        ),
    )
    taken: set[int] = set()
    size = 0
    for place in order:
        if len(taken) == documents or (characters is not None and size >= characters):
            break
        taken.add(place)
        size += pairs[place][1].characters
    entries_of: dict[int, list] = {}
    for place, (number, entry) in enumerate(pairs):
        if place in taken:
            entries_of.setdefault(number, []).append(entry)
    return [listings[number].only(entries) for number, entries in sorted(entries_of.items())]
