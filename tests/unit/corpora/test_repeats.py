import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.corpora.documents import Dropped, read_documents
from longspan.corpora.items import list_items
from longspan.corpora.repeats import mark_repeats
from longspan.corpora.samples import sample_listings

SOURCE = {
    "category": "prose",
    "license": "CC0-1.0",
    "encoding": "utf-8",
    "boilerplate": "none",
    "text_column": "text",
    "id_column": "id",
    "hold_out": [],
}


def listings_of(path, texts, ids=None):
    ids = ids or [f"{path.stem}{number}" for number in range(len(texts))]
    rows = [{"text": text, "id": own} for text, own in zip(texts, ids, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list_items(SOURCE, [path])[0]


def kept_and_dropped(items):
    found = list(read_documents(items, on_bad_document="skip"))
    dropped = {one.document_id: (one.reason, one.detail) for one in found if isinstance(one, Dropped)}
    return [one.document_id for one in found if not isinstance(one, Dropped)], dropped


def test_the_first_of_several_texts_stays_and_names_itself(tmp_path):
    first = listings_of(tmp_path / "a.jsonl", ["x", "y", "x", " "])
    second = listings_of(tmp_path / "b.jsonl", ["y", "z", " "])
    _, items = mark_repeats([], first + second, [], drop_duplicates=True)
    kept, dropped = kept_and_dropped(items)
    assert kept == ["a0", "a1", "b1"]
    assert dropped == {
        "a2": ("duplicate", f"has the text of {tmp_path}/a.jsonl#0000000"),
        "a3": ("empty", "is empty"),  # texts that are none are no copies of each other
        "b0": ("duplicate", f"has the text of {tmp_path}/a.jsonl#0000001"),
        "b2": ("empty", "is empty"),
    }
    _, items = mark_repeats([], first + second, [], drop_duplicates=False)
    assert kept_and_dropped(items)[0] == ["a0", "a1", "a2", "b0", "b1"]


def test_a_held_out_text_stays_and_its_copies_go(tmp_path):
    training = listings_of(tmp_path / "a.jsonl", ["x", "y"])
    held_out = listings_of(tmp_path / "h.jsonl", ["y"])
    _, planned = mark_repeats([], training, [], drop_duplicates=True)
    held_items, items = mark_repeats(held_out, training, planned, drop_duplicates=True)
    assert kept_and_dropped(held_items) == (["h0"], {})
    assert kept_and_dropped(items)[0] == ["a0"]


def test_a_document_that_was_there_stays_when_its_copy_comes_before_it(tmp_path):
    old = listings_of(tmp_path / "b.jsonl", ["x", "y"])
    _, planned = mark_repeats([], old, [], drop_duplicates=True)
    new = listings_of(tmp_path / "a.jsonl", ["y", "z"])
    _, items = mark_repeats([], new + old, planned, drop_duplicates=True)
    assert items[1:] == planned
    assert kept_and_dropped(items)[0] == ["a1", "b0", "b1"]
    # And so it remains when all is planned once more.
    assert mark_repeats([], new + old, items, drop_duplicates=True)[1] == items


def test_an_id_that_is_there_twice_is_bad_whatever_the_texts(tmp_path):
    listings = listings_of(tmp_path / "a.jsonl", ["x", "y"], ids=["same", "same"])
    _, items = mark_repeats([], listings, [], drop_duplicates=False)
    detail = f"has the id of {tmp_path}/a.jsonl#0000000"
    assert kept_and_dropped(items) == (["same"], {"same": ("duplicate id", detail)})
    place = re.escape(f"({tmp_path}/a.jsonl#0000001)")
    with pytest.raises(ValueError, match=f"^same {place} {detail}; correct it, remove it"):
        list(read_documents(items))


# Samples


def sampled(listings, previous=(), seed=0, **sample):
    items = [listing.item for listing in sample_listings(listings, previous, seed, **sample)]
    return [document.document_id for document in read_documents(items)], items


def test_a_sample_is_drawn_by_the_seed_alone(tmp_path):
    listings = listings_of(tmp_path / "a.jsonl", [str(number) for number in range(100)])
    ids, _ = sampled(listings, documents=10)
    assert len(ids) == 10
    assert ids == sorted(ids, key=lambda name: int(name[1:]))  # in the order of the source
    assert sampled(listings, documents=10)[0] == ids
    assert sampled(listings, seed=1, documents=10)[0] != ids
    assert sampled(listings, documents=100)[0] == sampled(listings, documents=1000)[0]
    assert len(sampled(listings, documents=1000)[0]) == 100


@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=40), wanted=st.integers(1, 600))
def test_a_sample_of_characters_ends_with_the_document_that_fills_it(tmp_path_factory, lengths, wanted):
    texts = [chr(97 + number % 26) * length for number, length in enumerate(lengths)]
    listings = listings_of(tmp_path_factory.mktemp("s") / "a.jsonl", texts)
    ids, _ = sampled(listings, characters=wanted)
    sizes = [lengths[int(name[1:])] for name in ids]
    assert sum(sizes) >= min(wanted, sum(lengths))
    assert sum(sizes) < wanted + max(sizes)


def test_neither_a_later_file_nor_a_larger_sample_takes_anything_out(tmp_path):
    listings = listings_of(tmp_path / "b.jsonl", [str(number) for number in range(60)])
    ids, items = sampled(listings, documents=10)
    larger, _ = sampled(listings, items, documents=20)
    assert set(ids) < set(larger)
    assert len(larger) == 20
    more = listings_of(tmp_path / "a.jsonl", [f"n{number}" for number in range(60)])
    found, same = sampled(more + listings, items, documents=10)
    assert (found, same) == (ids, items)
    found, grown = sampled(more + listings, items, documents=30)
    assert set(ids) < set(found)
    assert any(name.startswith("a") for name in found)
    assert sampled(more + listings, grown, documents=30)[0] == found
