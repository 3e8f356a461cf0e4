import dataclasses
import gzip
import io
import json
import random
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longspan.corpora import items as items_module
from longspan.corpora.boilerplate import strip_boilerplate
from longspan.corpora.documents import Dropped, read_documents
from longspan.corpora.items import ROWS_PER_ITEM, Item, list_items
from longspan.store.contracts import DROP_REASONS
from refusals import refused

SOURCE = {
    "category": "prose",
    "license": "CC0-1.0",
    "encoding": "utf-8",
    "boilerplate": "none",
    "text_column": "text",
    "hold_out": [],
}


LATIN = "an older text may need encoding: latin-1 or cp1252"
MEND = "correct it, remove it from the corpus's sources, or set on_bad_document: skip"


def read(*files, **source):
    return list(read_documents(items_of(*files, **source)))


def dropped(*files, **source):
    """(document id, reason, detail, characters) of what is left out."""
    found = read_documents(items_of(*files, **source), on_bad_document="skip")
    return [
        (item.document_id, item.reason, item.detail, item.characters)
        for item in found
        if isinstance(item, Dropped)
    ]


def items_of(*files, **source):
    """The items for training of a source that holds nothing out."""
    training, held_out = listed(SOURCE | source, files)
    assert held_out == []
    return training


def listed(source, files):
    return tuple([listing.item for listing in part] for part in list_items(source, files))


def write_rows(path, rows):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_archive(path, members):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.mkdir("texts")
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz") as archive:
        folder = tarfile.TarInfo("texts")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_a_text_file_is_one_document_with_its_origin(tmp_path):
    path = tmp_path / "moby.txt"
    path.write_text("Call me Ishmael.\n")
    (document,) = read(path)
    assert vars(document) == {
        "document_id": str(path),
        "source": str(path),
        "category": "prose",
        "license": "CC0-1.0",
        "title": "moby",
        "text": "Call me Ishmael.\n",
    }


@pytest.mark.parametrize(
    ("content", "encoding", "text"),
    [
        ("café 🌊".encode(), "utf-8", "café 🌊"),
        (b"\xef\xbb\xbfcaf\xc3\xa9", "utf-8", "café"),  # a byte order mark is no text
        ("café".encode("latin-1"), "latin-1", "café"),
        ("café".encode("utf-16"), "utf-16", "café"),
        (b"one\r\ntwo\rthree\n", "utf-8", "one\ntwo\nthree\n"),
    ],
)
def test_text_is_decoded_and_its_line_ends_are_newlines(tmp_path, content, encoding, text):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert read(path, encoding=encoding)[0].text == text


def test_another_encoding_is_refused_with_the_byte(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("café".encode("latin-1"))
    fault = f"is not utf-8 text (at byte 3; {LATIN})"
    with refused(f"{path} {fault}; {MEND}"):
        read(path)
    assert dropped(path) == [(str(path), "bad encoding", fault, None)]
    path.write_bytes("café".encode("utf-16"))
    assert dropped(path)[0][2] == (
        "is not utf-8 text (at byte 0; its first bytes are those of encoding: utf-16)"
    )
    with refused("encoding: utf-9 is none that Python knows; utf-8, utf-16, latin-1 or cp1252 are"):
        read(path, encoding="utf-9")


@pytest.mark.parametrize("content", ["", " \n\t\n", "\ufeff"])
def test_an_empty_text_is_refused(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_text(content)
    with refused(f"{path} is empty; {MEND}"):
        read(path)
    assert dropped(path) == [(str(path), "empty", "is empty", len(content.removeprefix("\ufeff")))]


def test_a_text_of_boilerplate_alone_is_refused_as_empty(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("*** START OF THE BOOK ***\n\n*** END OF THE BOOK ***\n")
    with refused(f"{path} is empty; {MEND}"):
        read(path, boilerplate="gutenberg")


def test_a_binary_file_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"MZ\0\0text")
    fault = "holds NUL bytes (at character 2): it is not text"
    with refused(f"{path} {fault}; {MEND}"):
        read(path)
    assert dropped(path) == [(str(path), "NUL bytes", fault, 8)]


def test_a_lone_surrogate_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "ab\\ud83dc"}\n')
    fault = "holds a lone surrogate (at character 2)"
    with refused(f"{path}#0000000 {fault}; {MEND}"):
        read(path)
    assert dropped(path) == [(f"{path}#0000000", "lone surrogates", fault, 4)]


def test_a_missing_file_and_an_unknown_format_are_refused(tmp_path):
    path = tmp_path / "a.pdf"
    with refused(f"{path} does not exist; check the paths of the corpus's sources"):
        read(path)
    path.write_text("text")
    with refused(
        f"{path}: no format for '.pdf'; known endings are .txt, .jsonl, .parquet, each also with .gz or .zst "
        "behind it, and .json.gz and .json.zst (JSON lines); set format if it is one of these"
    ):
        read(path)
    assert read(path, format="txt")[0].text == "text"


def test_a_source_without_rows_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("")
    with pytest.raises(ValueError, match="gives no documents, its files hold no rows; check its paths"):
        read(path)


@pytest.mark.parametrize("name", ["none.jsonl", "none.jsonl.gz", "none.parquet"])
@pytest.mark.parametrize("group_by", [None, "book"])
def test_a_file_without_rows_beside_others_is_counted_and_named(tmp_path, name, group_by):
    rows = [{"text": "text", "book": "one"}]
    full, path = write_rows(tmp_path / "full.jsonl", rows), tmp_path / name
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows).slice(0, 0), path)
    else:
        path.write_bytes(gzip.compress(b"") if path.suffix == ".gz" else b"")
    with refused(f"{path} holds no rows; {MEND}"):
        read(full, path, group_by=group_by)
    assert dropped(full, path, group_by=group_by) == [(str(path), "empty", "holds no rows", None)]
    items = items_of(full, path, group_by=group_by)
    if path.suffix == ".jsonl":
        write_rows(path, rows)
        with refused(
            f"{path} changed while the workflow ran; run the same target again, which plans it anew"
        ):
            list(read_documents(items, on_bad_document="skip"))


def test_a_parquet_file_of_no_bytes_is_named_as_damaged(tmp_path):
    path = tmp_path / "none.parquet"
    path.write_bytes(b"")
    ((_, reason, detail, _),) = dropped(path)
    assert reason == "bad file"
    assert "size is 0 bytes" in detail


BOILERPLATE = """The Project Gutenberg EBook of X

*** START OF THIS PROJECT GUTENBERG EBOOK X ***

Produced by a Volunteer

TITLE

He transcribed nothing here: the etext of the first six paragraphs goes.

One.

Two.

Three.

Four.

He who transcribed this letter, in the middle, stays.

Five.

Six.

Seven.

Eight.

Nine.

End of Project Gutenberg's X

*** END OF THIS PROJECT GUTENBERG EBOOK X ***

Licence
"""


def test_boilerplate_outside_the_markers_and_transcribers_notes_are_cut():
    paragraphs = strip_boilerplate(BOILERPLATE).split("\n\n")
    assert paragraphs == [
        "TITLE",
        "One.",
        "Two.",
        "Three.",
        "Four.",
        "He who transcribed this letter, in the middle, stays.",
        "Five.",
        "Six.",
        "Seven.",
        "Eight.",
        "Nine.\n",
    ]


def test_a_text_without_boilerplate_keeps_all_but_outer_newlines(tmp_path):
    text = "\n\n".join(f"Paragraph {number}." for number in range(20))
    assert strip_boilerplate(f"\n\n{text}\n\n") == text + "\n"
    path = tmp_path / "a.txt"
    path.write_text(BOILERPLATE)
    assert read(path)[0].text == BOILERPLATE  # unless it is asked for, nothing is cut


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_rows_are_documents_numbered_by_row(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(items_module, "ROWS_PER_ITEM", 2)
    rows = [{"text": f"text {number}", "name": "" if number == 1 else f"T{number}"} for number in range(5)]
    path = write_rows(tmp_path / f"a{suffix}", rows)
    items = items_of(path, title_column="name")
    assert [item.rows for item in items] == [(0, 2), (2, 4), (4, 5)]
    found = list(read_documents(items))
    assert [document.text for document in found] == [row["text"] for row in rows]
    assert [document.document_id for document in found] == [f"{path}#{n:07d}" for n in range(5)]
    # A row without a title goes by its id.
    assert [document.title for document in found] == ["T0", f"{path}#0000001", "T2", "T3", "T4"]
    # Any part of the items reads as it does among all.
    assert list(read_documents(items[1:])) == found[2:]
    assert list(read_documents([items[0], items[2]])) == [*found[:2], found[4]]


def test_held_out_titles_leave_the_training_items(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(name)
    files = sorted(tmp_path.iterdir())

    def titles(hold_out):
        return ["".join(item.title for item in part) for part in listed(SOURCE | hold_out, files)]

    assert titles({"hold_out": ["b"]}) == ["ac", "b"]
    assert titles({"hold_out": True}) == ["", "abc"]
    assert titles({"hold_out": False}) == titles({"hold_out": []}) == ["abc", ""]
    with refused("hold_out names 'B', but the titles are: a, b, c"):
        titles({"hold_out": ["b", "B"]})


@pytest.fixture
def poems(tmp_path):
    """Forty rows, T0 … T39: two blocks of sixteen, and one of eight."""
    rows = [{"text": f"poem {number}", "name": f"T{number}"} for number in range(40)]
    return write_rows(tmp_path / "poems.jsonl", rows)


def list_poems(path, *hold_out):
    return listed(SOURCE | {"title_column": "name", "hold_out": list(hold_out)}, [path])


def test_a_held_out_row_is_an_item_of_its_own_and_changes_its_block_alone(poems):
    assert ROWS_PER_ITEM == 16
    before, none = list_poems(poems)
    assert [item.rows for item in before] == [(0, 16), (16, 32), (32, 40)]
    assert none == []
    after, held_out = list_poems(poems, "T20", "T18")
    assert [item.rows for item in after] == [item.rows for item in before]
    assert [item.key for item in after] == [item.key for item in before]
    assert [item.without for item in after] == [(), (18, 20), ()]
    assert (after[0], after[2]) == (before[0], before[2])
    assert [(item.title, item.rows, item.without) for item in held_out] == [
        ("T18", (18, 19), ()),
        ("T20", (20, 21), ()),
    ]
    # Each row keeps its number, whatever else is held out.
    documents = list(read_documents(before))
    left = [document for document in documents if document.title not in ("T18", "T20")]
    assert list(read_documents(after)) == left
    assert list(read_documents(held_out)) == [documents[18], documents[20]]


def test_a_block_that_is_held_out_whole_is_gone(poems):
    held = [f"T{number}" for number in range(32, 40)]
    training, held_out = list_poems(poems, *held)
    assert [item.rows for item in training] == [(0, 16), (16, 32)]
    assert [document.title for document in read_documents(held_out)] == held


def test_with_hold_out_true_all_rows_are_held_out(poems):
    training, held_out = listed(SOURCE | {"hold_out": True}, [poems])
    assert training == []
    assert [item.rows for item in held_out] == [(0, 16), (16, 32), (32, 40)]


def test_a_held_out_title_that_no_row_has_is_refused(poems):
    with refused("hold_out names 'T40', but no row has it as its title (title_column is name)"):
        list_poems(poems, "T1", "T40")


def test_rows_of_one_group_are_one_document(tmp_path):
    verses = [("Acts", "one"), ("Acts", "two"), ("Ruth", "three")]
    path = write_rows(tmp_path / "a.jsonl", [{"book": book, "text": text} for book, text in verses])
    acts, ruth = read(path, group_by="book")
    assert (acts.document_id, acts.title, acts.text) == (f"{path}#Acts", "Acts", "one\ntwo\n")
    assert (ruth.document_id, ruth.title, ruth.text) == (f"{path}#Ruth", "Ruth", "three\n")


def test_a_group_with_a_bad_row_is_left_out_whole(tmp_path):
    rows = [{"book": "Acts", "text": "one"}, {"book": "Acts", "text": None}, {"book": "Ruth", "text": "x"}]
    path = write_rows(tmp_path / "a.jsonl", rows)
    fault = "has no text in column 'text'; columns are book, text"
    assert dropped(path, group_by="book") == [(f"{path}#Acts", "bad column", fault, None)]


def test_reasons_are_those_of_the_contract(tmp_path):
    path = tmp_path / "a.txt"
    for content in (b"\xff", b"", b"\0"):
        path.write_bytes(content)
        assert {reason for _, reason, _, _ in dropped(path)} < set(DROP_REASONS)


def test_rows_of_a_group_that_do_not_stand_together_are_refused(tmp_path):
    path = write_rows(
        tmp_path / "a.jsonl", [{"book": book, "text": "x"} for book in ("Acts", "Ruth", "Acts")]
    )
    with refused(f"{path}: the rows of 'Acts' do not stand together; sort by book"):
        read(path, group_by="book")


def test_wrong_columns_are_refused_naming_those_that_are_there(tmp_path):
    path = write_rows(tmp_path / "a.jsonl", [{"content": "x", "number": 3}])
    fault = "has no text in column 'text'; columns are content, number"
    with refused(f"{path}#0000000 {fault}; {MEND}"):
        read(path)
    assert dropped(path) == [(f"{path}#0000000", "bad column", fault, None)]
    with refused(f"{path} has no text in column 'book'; columns are content, number; correct group_by"):
        read(path, text_column="content", group_by="book")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "a"}\n{"text": \n', "#0000001 is not JSON: Expecting value: line 2 column 1 (char 10)"),
        (b'{"text": "a"}\n\n', "#0000001 is not JSON: Expecting value: line 2 column 1 (char 1)"),
        (b'["a"]\n', "#0000000 is JSON, but not an object"),
        (b'{"text": "a"}\n{"text": "\xe9"}\n', f"#0000001 is not utf-8 text (at byte 10; {LATIN})"),
    ],
)
def test_lines_that_are_no_json_objects_are_refused(tmp_path, content, message):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with refused(f"{path}{message}; {MEND}"):
        read(path)
    assert len(dropped(path)) == 1


def test_rows_keep_the_ids_of_their_column(tmp_path):
    rows = [{"content": "one", "data_id": "A_1"}, {"content": "two", "data_id": 7}, {"content": "three"}]
    path = write_rows(tmp_path / "a.jsonl", rows)
    found = read(path, text_column="content", id_column="data_id")
    assert [document.document_id for document in found] == ["A_1", "7", f"{path}#0000002"]
    assert [document.title for document in found] == ["A_1", "7", f"{path}#0000002"]


def test_a_row_without_its_group_is_left_out(tmp_path):
    rows = [{"book": "Acts", "text": "one"}, {"text": "stray"}, {"book": "Ruth", "text": "two"}]
    path = write_rows(tmp_path / "a.jsonl", rows)
    fault = "has no text in column 'book'; columns are text"
    assert dropped(path, group_by="book") == [(f"{path}#0000001", "bad column", fault, 5)]


def test_json_lines_may_hold_any_unicode_line_end_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.jsonl"
    texts = ["one\u2028two", "three\x85four", "five\x1csix"]
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert [document.text for document in read(path)] == texts


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
def test_members_of_archives_are_read_by_pattern(tmp_path, name):
    members = {
        "texts/b.txt": b"bee",
        "texts/a.txt": b"ay",
        "texts/notes.md": b"no",
        "rows.jsonl": b'{"text": "row"}\n',
    }
    path = write_archive(tmp_path / name, members)
    found = read(path, files=["texts/*.txt", "rows.jsonl", "texts/a*"])
    assert [document.text for document in found] == ["row", "ay", "bee"]
    assert [document.document_id for document in found] == [
        "rows.jsonl#0000000",
        "texts/a.txt",
        "texts/b.txt",
    ]
    assert {document.source for document in found} == {name}
    with refused(
        f"{path} holds no member '*.rst'; the first are: rows.jsonl, texts/a.txt, texts/b.txt, texts/notes.md"
    ):
        read(path, files=["*.rst"])


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
@pytest.mark.parametrize("left", [0, 30, -200])
def test_a_truncated_archive_is_refused(tmp_path, name, left):
    path = write_archive(tmp_path / name, {"texts/a.txt": random.Random(0).randbytes(2000)})
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ValueError, match=rf"{name} is no whole archive \(.*\); delete it to fetch it again"):
        read(path, files=["texts/*.txt"])


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".parquet"])
def test_a_file_that_changed_since_it_was_planned_is_refused(tmp_path, suffix):
    def write(text):
        if suffix == ".txt":
            path.write_text(text)
        else:
            write_rows(path, [{"text": text}])

    path = tmp_path / f"a{suffix}"
    write("before")
    items = items_of(path)
    write("after!")
    with refused(f"{path} changed while the workflow ran; run the same target again, which plans it anew"):
        list(read_documents(items))


def test_an_item_comes_back_from_json(tmp_path):
    path = write_rows(tmp_path / "a.jsonl", [{"book": "Acts", "text": "x"}])
    for source in ({}, {"group_by": "book"}):
        (item,) = items_of(path, **source)
        assert Item.from_json(json.loads(json.dumps(item.to_json()))) == item
    item = dataclasses.replace(item, without=(3, 5))
    assert Item.from_json(json.loads(json.dumps(item.to_json()))) == item
