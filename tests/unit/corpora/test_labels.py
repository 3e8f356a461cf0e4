import datetime
import decimal
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longspan.corpora.documents import Document, read_documents
from longspan.corpora.items import list_items
from longspan.corpora.labels import label_in
from longspan.corpora.raw_files import Fault, Row
from refusals import refused

SOURCE = {
    "category": "prose",
    "license": "CC0-1.0",
    "encoding": "utf-8",
    "boilerplate": "none",
    "text_column": "text",
    "hold_out": [],
}
NO_LABELS = [
    (["Emma"], "has a list in column 'label', where text or a number is wanted"),
    ({"en": "Emma"}, "has an object in column 'label', where text or a number is wanted"),
    ("The sea \ud83c", "has a lone surrogate in column 'label' (at character 8)"),
    ("a\0b", "has a NUL byte in column 'label' (at character 1)"),
]


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("Emma", "Emma"),
        ("", ""),
        (1984, "1984"),
        (0, "0"),
        (7.5, "7.5"),
        (True, "True"),
        (None, None),
        (math.nan, None),
        ("café".encode(), "café"),
        (datetime.date(2021, 1, 1), "2021-01-01"),
        (datetime.datetime(2021, 1, 1, 12), "2021-01-01 12:00:00"),
        (decimal.Decimal("1.50"), "1.50"),
    ],
)
def test_a_label_is_text_of_whatever_type_it_was(value, label):
    assert label_in(Row(label=value), "label") == label
    assert label_in(Row(other=value), "label") is label_in(Row(label=value), None) is None


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        *NO_LABELS,
        (b"caf\xe9", "has bytes that are not UTF-8 in column 'label', where text or a number is wanted"),
        ((1, 2), "has a value of type tuple in column 'label', where text or a number is wanted"),
    ],
)
def test_what_is_no_label_is_a_fault(value, detail):
    assert label_in(Row(label=value), "label") == Fault("bad column", detail)


def items_of(path, **settings):
    return [listing.item for listing in list_items(SOURCE | settings, [path])[0]]


@pytest.mark.parametrize("setting", ["title_column", "id_column", "group_by"])
@pytest.mark.parametrize(("value", "detail"), NO_LABELS)
def test_a_row_without_a_label_is_named_with_file_and_column_or_skipped(tmp_path, setting, value, detail):
    path = tmp_path / "a.jsonl"
    rows = [{"text": f"text {number}", "label": f"item {number}"} for number in range(3)]
    rows[1]["label"] = value
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    items = items_of(path, **{setting: "label"})
    found = list(read_documents(items, on_bad_document="skip"))
    (dropped,) = (one for one in found if not isinstance(one, Document))
    assert (dropped.reason, dropped.detail) == ("bad column", detail)
    assert [one.text.strip() for one in found if isinstance(one, Document)] == ["text 0", "text 2"]
    with refused(
        f"{path}#0000001 {detail}; correct it, remove it from the corpus's sources, "
        "or set on_bad_document: skip"
    ):
        list(read_documents(items))


def test_a_bad_title_names_the_row_beside_an_id_of_its_own(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "id": "A_1", "title": ["x"]}\n')
    items = items_of(path, id_column="id", title_column="title")
    with pytest.raises(ValueError, match=rf"^A_1 \({path}#0000000\) has a list in column 'title'"):
        list(read_documents(items))


@pytest.mark.parametrize(
    ("column", "titles"),
    [
        (pa.array([1984, None]), ["1984", None]),
        (pa.array([datetime.date(2021, 1, 1), None]), ["2021-01-01", None]),
        (pa.array([b"Emma", b"caf\xe9"]), ["Emma", Fault]),
        (pa.array([["Emma"], None]), [Fault, None]),
        (pa.array([0, 3_652_060], pa.int32()).view(pa.date32()), ["1970-01-01", Fault]),
        (pa.array([0, 1], pa.int64()).view(pa.timestamp("us", tz="US/Pacific-New")), [Fault, Fault]),
        (pa.array([1.5, math.nan]), ["1.5", None]),
    ],
)
def test_titles_and_groups_of_parquet_are_text_or_a_fault(tmp_path, column, titles):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["one", "two"], "label": column}), path)
    found = list(read_documents(items_of(path, title_column="label"), on_bad_document="skip"))
    for number, (document, title) in enumerate(zip(found, titles, strict=True)):
        assert isinstance(document, Document) == (title is not Fault)
        if title is Fault:
            assert document.reason == "bad column"
            assert "in column 'label'" in document.detail
        else:
            assert document.title == (title or f"{path}#{number:07d}")
    groups = list(read_documents(items_of(path, group_by="label"), on_bad_document="skip"))
    assert [one.title for one in groups if isinstance(one, Document)] == [
        title for title in titles if isinstance(title, str)
    ]
    assert len(groups) == 2


def test_numbers_are_held_out_by_what_they_print(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": str(n), "title": n}) + "\n" for n in (1984, 1985)))
    training, held_out = list_items(SOURCE | {"title_column": "title", "hold_out": ["1984"]}, [path])
    assert [listing.item.title for listing in held_out] == ["1984"]
    assert [entry.row for listing in training for entry in listing.entries] == [1]
