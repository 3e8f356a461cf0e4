"""Links lead nowhere outside what is named, and nothing becomes far larger than it is."""

import gzip
import io
import json
import os
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longspan.corpora import limits
from longspan.corpora.documents import Document, Dropped, read_documents
from longspan.corpora.items import Item, list_items
from longspan.corpora.limits import ALWAYS_ROWS, MAX_LABEL_CHARACTERS, name_in, require_inside
from longspan.corpora.raw_files import read_rows
from longspan.corpora.raw_paths import raw_paths
from refusals import refused

SOURCE = {
    "category": "c",
    "license": "l",
    "encoding": "utf-8",
    "boilerplate": "none",
    "text_column": "text",
    "hold_out": False,
}


def listed(paths, **more):
    source = SOURCE | {"paths": paths} | more
    listings, _ = list_items(source, map(Path, raw_paths(paths)))
    return [listing.item for listing in listings]


@pytest.fixture
def books(tmp_path, monkeypatch):
    """A folder of the corpus, and one beside it."""
    monkeypatch.chdir(tmp_path)
    for name in ("books/a.txt", "books/more/b.txt", "private/key.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "books"


@pytest.mark.parametrize("form", ["books", "books/*.txt", "books/**/*.txt", "{}", "{}/*.txt"])
def test_a_link_that_leads_out_of_what_is_named_is_refused(books, form):
    (books / "key.txt").symlink_to("../private/key.txt")
    pattern = form.format(books)
    link = "books/key.txt" if form.startswith("books") else books / "key.txt"
    with refused(
        f"{link} is a link that leads out of what the settings name, to {books.parent}/private/key.txt; "
        "name that path beside it, or remove the link"
    ):
        listed([pattern])


def test_a_folder_that_leads_out_is_refused_too(books):
    (books / "theirs").symlink_to("../private")
    with pytest.raises(ValueError, match=r"^books/theirs is a link that leads out of what .*/key"):
        listed(["books/**/*.txt"])


def test_links_inside_and_named_links_are_followed(books):
    (books / "c.txt").symlink_to("more/b.txt")
    assert len(listed(["books"])) == 3
    # A named path may be a link, to a file or a folder.
    Path("named.txt").symlink_to("private/key.txt")
    Path("shelf").symlink_to("books")
    assert next(item.path for item in listed(["named.txt", "shelf"])) == "named.txt"
    assert len(listed(["shelf/*.txt"])) == 2
    # What a link leads to may be named beside it.
    (books / "key.txt").symlink_to("../private/key.txt")
    assert len(listed(["books/*.txt", "private"])) == 4


@pytest.mark.parametrize("form", ["books/{}.txt", "{}", "{}/c.txt"])
def test_a_path_in_another_normal_form_is_named(books, form):
    composed, decomposed = "\u00e9", "e\u0301"
    for path in (books / f"{decomposed}.txt", books.parent / decomposed / "c.txt"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(path.name)
    (found,) = listed([form.format(composed)])
    assert decomposed in found.path
    (found,) = listed([str(books.parent / form.format(composed))])
    assert found.public_path == Path(found.path).name


def test_a_snapshot_of_the_hubs_cache_is_no_way_out(tmp_path):
    blob = tmp_path / "datasets--o--books" / "blobs" / "0f"
    snapshot = tmp_path / "datasets--o--books" / "snapshots" / "abc"
    for folder in (blob.parent, snapshot):
        folder.mkdir(parents=True)
    blob.write_text("text")
    (snapshot / "a.txt").symlink_to("../../blobs/0f")
    require_inside([snapshot / "a.txt"], [str(snapshot)])


@pytest.mark.parametrize(
    ("path", "named", "expected"),
    [
        ("books/a.txt", ["books"], None),
        ("/data/books/more/a.txt", ["/data/books"], "more/a.txt"),
        ("/data/books/more/a.txt", ["/data/books/"], "more/a.txt"),
        ("/data/books/more/a.txt", ["/data/*/more/*.txt"], "books/more/a.txt"),
        ("/data/books/a.txt", ["/data/books/a.txt"], "a.txt"),
        ("/data/books/a.txt", [], None),
    ],
)
def test_an_absolute_path_has_a_name_from_where_it_is_named(path, named, expected):
    assert name_in(path, named) == expected


def test_documents_of_absolute_paths_tell_no_folder_as_their_source(books):
    items = listed([str(books)])
    assert [document.source for document in read_documents(items)] == ["a.txt", "more/b.txt"]
    assert [Item.from_json(json.loads(json.dumps(item.to_json()))) for item in items] == items
    # Plans of relative paths say what they always said.
    relative = listed(["books"])
    assert [document.source for document in read_documents(relative)] == ["books/a.txt", "books/more/b.txt"]
    assert not any("public_path" in item.to_json() for item in relative)


def write_rows(path, rows):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
@pytest.mark.parametrize("column", ["title_column", "id_column", "group_by"])
def test_a_name_of_many_characters_is_an_error_or_left_out(tmp_path, monkeypatch, name, column):
    monkeypatch.chdir(tmp_path)
    long = "x" * (MAX_LABEL_CHARACTERS + 1)
    rows = [
        {"text": "one", "name": "a"},
        {"text": "two", "name": long},
        {"text": "three", "name": "b" * 4096},
    ]
    write_rows(Path(name), rows)
    items = listed([name], **{column: "name"})
    assert len(json.dumps([item.to_json() for item in items])) < 4 * MAX_LABEL_CHARACTERS
    found = list(read_documents(items, on_bad_document="skip"))
    assert [one.text.strip() for one in found if isinstance(one, Document)] == ["one", "three"]
    (dropped,) = (one for one in found if isinstance(one, Dropped))
    detail = "has 4,097 characters in column 'name', which is read as a name; at most 4,096 can be one"
    assert (dropped.reason, dropped.detail) == ("too long", detail)
    with pytest.raises(ValueError, match=re.escape(f"#0000001 {detail}; correct it")):
        list(read_documents(items))


def rows_of(path):
    return list(read_rows(str(path), None, "parquet", "utf-8"))


def test_a_small_table_of_many_rows_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "a.parquet"
    rows = 4 * ALWAYS_ROWS
    pq.write_table(pa.table({"text": pa.nulls(rows, pa.string())}), path)
    size = path.stat().st_size
    assert size < 10_000
    with refused(
        f"{path} has {size:,} bytes and says that it has {rows:,} rows, more than texts can be in it; "
        "write it anew with its own rows"
    ):
        rows_of(path)


def test_a_small_table_of_a_huge_text_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("longspan.store.archives.ALWAYS_BYTES", 2**22)
    path = tmp_path / "a.parquet"
    huge = pa.array(["\0" * 2**20] * 5)
    pq.write_table(pa.table({"text": huge}), path, compression="zstd", use_dictionary=False)
    size = path.stat().st_size
    with refused(
        f"{path} has {size:,} bytes and would become more than 4,194,304, out of all "
        "proportion; unpack it yourself if that is right"
    ):
        rows_of(path)


def test_rows_that_share_a_large_text_are_read_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_MAX_BATCH_BYTES", 2**22)
    path = tmp_path / "a.parquet"
    table = pa.table({"text": pa.array(["x" * 2**20] * 3)})
    pq.write_table(table, path, compression="zstd", dictionary_pagesize_limit=2**30)
    metadata = pq.read_metadata(path)
    assert metadata.row_group(0).column(0).total_uncompressed_size < 2**21
    assert limits.batch_rows(metadata) <= 4
    small = tmp_path / "b.parquet"
    pq.write_table(pa.table({"text": ["one", "two"]}), small)
    assert limits.batch_rows(pq.read_metadata(small)) == limits.MAX_BATCH_ROWS


def test_compressed_lines_that_never_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("longspan.store.archives.ALWAYS_BYTES", 2**16)
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wb", 1) as file:
        for _ in range(8):
            file.write(b"\n" * 2**15)
    with pytest.raises(ValueError, match=r"a\.jsonl\.gz has [\d,]+ bytes and would become more than "):
        for _ in read_rows(str(path), None, "jsonl", "utf-8"):
            pass


def test_what_is_read_of_a_bounded_stream_is_what_is_there():
    content = os.urandom(3_000_000)
    stream = limits.BoundedStream(io.BytesIO(content), limits.UnpackingBudget("x", 1))
    target = io.BytesIO()
    with io.BufferedReader(stream, 1000) as file:
        shutil.copyfileobj(file, target)
    assert target.getvalue() == content
