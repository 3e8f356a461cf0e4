"""What is held out stays out of the texts for training, by whatever path, file or form it comes there."""

import gzip
import json
import os
import shutil
import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from longspan.corpora.documents import Document, read_documents
from longspan.corpora.held_out import mark_held_out, require_one_path
from longspan.corpora.items import list_items
from longspan.corpora.repeats import mark_repeats
from refusals import refused

SOURCE = {
    "category": "prose",
    "license": "CC0-1.0",
    "encoding": "utf-8",
    "boilerplate": "none",
    "text_column": "text",
    "hold_out": False,
}
HELD = SOURCE | {"hold_out": True}
TEXT = "The café by the river\nwas open.\n"


def listed(source, *paths):
    training, held_out = list_items(source, list(paths))
    return held_out or training


def outcome(held_out, training, *, drop_duplicates=False):
    """(ids that are trained on, {id: (reason, detail)} of those left out)."""
    _, items = mark_repeats(held_out, mark_held_out(held_out, training), [], drop_duplicates=drop_duplicates)
    found = list(read_documents(items))
    kept = [one.document_id for one in found if isinstance(one, Document)]
    return kept, {one.document_id: (one.reason, one.detail) for one in found if not isinstance(one, Document)}


@pytest.fixture
def books(tmp_path):
    """b0.txt, b1.txt, b2.txt; b1 is to be held out."""
    folder = tmp_path / "books"
    folder.mkdir()
    for number, text in enumerate(("zero", TEXT, "two")):
        (folder / f"b{number}.txt").write_text(text)
    return folder


@pytest.mark.parametrize("drop_duplicates", [True, False])
def test_a_file_that_is_held_out_is_not_trained_on_with_its_folder(books, drop_duplicates):
    held_out = listed(HELD, books / "b1.txt")
    kept, dropped = outcome(
        held_out, listed(SOURCE, *sorted(books.iterdir())), drop_duplicates=drop_duplicates
    )
    assert kept == [str(books / "b0.txt"), str(books / "b2.txt")]
    detail = "lies in a file and rows that another source holds out"
    assert dropped == {str(books / "b1.txt"): ("held out", detail)}


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_nor_by_a_link_whatever_its_other_source_makes_of_the_text(books, tmp_path, link):
    link(books / "b1.txt", tmp_path / "other.txt")
    held_out = listed(HELD | {"boilerplate": "gutenberg"}, tmp_path / "other.txt")
    kept, dropped = outcome(held_out, listed(SOURCE, *sorted(books.iterdir())))
    assert str(books / "b1.txt") not in kept
    assert len(dropped) == 1


def utf_16(path):
    path = path.with_suffix(".wide.txt")
    path.write_bytes(TEXT.encode("utf-16"))
    return path, {"encoding": "UTF-16"}


def with_bom(path):
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    return path, {"encoding": "UTF8"}


def decomposed(path):
    path.write_text(unicodedata.normalize("NFD", TEXT))
    return path, {}


def crlf(path):
    path.write_bytes(TEXT.replace("\n", "\r\n").encode())
    return path, {}


def wrapped_elsewhere(path):
    path.write_text(TEXT.replace("\n", " ") + "\n\n")
    return path, {}


def gzipped(path):
    path = path.with_suffix(".txt.gz")
    path.write_bytes(gzip.compress(TEXT.encode()))
    return path, {}


def zstandardised(path):
    path = path.with_suffix(".txt.zst")
    path.write_bytes(zstandard.compress(TEXT.encode()))
    return path, {}


def as_row(path):
    path = path.with_suffix(".jsonl")
    rows = [{"text": "another"}, {"text": "\ufeff" + TEXT.strip().replace("\n", "\r\n")}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path, {}


def as_parquet(path):
    path = path.with_suffix(".parquet")
    pq.write_table(pa.table({"text": ["another", TEXT]}), path)
    return path, {}


def with_boilerplate(path):
    path.write_text(f"*** START OF THE BOOK ***\n\n{TEXT}\n*** END OF THE BOOK ***\n")
    return path, {"boilerplate": "gutenberg"}


def as_rows_of_a_group(path):
    path = path.with_suffix(".jsonl")
    rows = [{"text": "another", "book": "x"}, {"text": TEXT, "book": "x"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path, {"group_by": "book"}


@pytest.mark.parametrize(
    "write",
    [
        utf_16,
        with_bom,
        decomposed,
        crlf,
        wrapped_elsewhere,
        gzipped,
        zstandardised,
        as_row,
        as_parquet,
        with_boilerplate,
        as_rows_of_a_group,
    ],
)
def test_nor_by_a_copy_of_another_form(books, tmp_path, write):
    held_out = listed(HELD, books / "b1.txt")
    path, settings = write(tmp_path / "copy.txt")
    kept, dropped = outcome(held_out, listed(SOURCE | settings, path))
    ((reason, detail),) = dropped.values()
    assert reason == "held out"
    assert detail == f"has text of {books / 'b1.txt'}, which is held out"
    assert all("b1" not in name and "copy.txt" not in name for name in kept)


def write_verses(path):
    verses = [("Acts", "one"), ("Acts", "two"), ("Ruth", "three"), ("Ruth", "one")]
    path.write_text("".join(json.dumps({"book": book, "text": text}) + "\n" for book, text in verses))
    return path


def test_rows_of_a_held_out_group_are_trained_on_in_no_other_form(tmp_path):
    path = write_verses(tmp_path / "a.jsonl")
    grouped = SOURCE | {"group_by": "book"}
    held_out = list_items(grouped | {"hold_out": ["Acts"]}, [path])[1]
    # The same file without groups: rows 0 and 1 are held out by their place, row 3 by its text.
    kept, dropped = outcome(held_out, listed(SOURCE, path))
    assert kept == [f"{path}#0000002"]
    assert {reason for reason, _ in dropped.values()} == {"held out"}
    # A verse that two books share takes no whole book away.
    copy = shutil.copy(path, tmp_path / "b.jsonl")
    kept, dropped = outcome(held_out, listed(grouped, copy))
    assert kept == [f"{copy}#Ruth"]
    assert list(dropped) == [f"{copy}#Acts"]


def test_a_file_is_held_out_by_its_rows(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"text": f"text {number}", "name": f"T{number}"} for number in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    held_out = list_items(SOURCE | {"title_column": "name", "hold_out": ["T3", "T20"]}, [path])[1]
    training = listed(SOURCE, path)
    kept, dropped = outcome(held_out, training)
    assert sorted(dropped) == [f"{path}#0000003", f"{path}#0000020"]
    assert len(kept) == 38
    kept, dropped = outcome(listed(HELD, path), training)
    assert (kept, len(dropped)) == ([], 40)


def test_titles_are_held_out_in_either_normal_form(tmp_path):
    path = tmp_path / unicodedata.normalize("NFD", "café.txt")
    path.write_text("text")
    training, held_out = list_items(SOURCE | {"hold_out": [unicodedata.normalize("NFC", "café")]}, [path])
    assert (training, len(held_out)) == ([], 1)


def test_without_anything_held_out_listings_stay(books):
    training = listed(SOURCE, *sorted(books.iterdir()))
    assert mark_held_out([], training) is training
    other = listed(HELD, books / "b1.txt")
    assert mark_held_out(other, training[:1]) == training[:1]


def test_a_document_that_two_sources_hold_out_is_refused(books):
    for path in (str(books / "b1.txt"), f"{books}/../books/b1.txt"):
        twice = listed(HELD, books / "b1.txt") + listed(HELD, path)
        with refused(f"{path} is held out twice; each document may be in one source only"):
            mark_held_out(twice, [])


def test_one_file_under_two_spellings_is_refused(books):
    path = f"{books}/../books/b1.txt"
    with refused(f"{path} and {books / 'b1.txt'} are the same file; each document may be in one source only"):
        require_one_path(listed(SOURCE, books / "b1.txt") + listed(SOURCE, path))
