import contextlib
import gzip
import io
import itertools
import json
import os
import resource
import struct
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from longspan.corpora import raw_files
from longspan.corpora.raw_files import Fault, UnreadableFileError, read_bytes, read_rows, read_text
from longspan.corpora.raw_formats import format_of, title_of
from other_user import without_rights
from refusals import refused

ROWS = [{"text": f"text {number}"} for number in range(50)]


@pytest.fixture
def parquet(tmp_path):
    """Fifty rows in groups of seven."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=7)
    return str(path)


@pytest.mark.parametrize("start", [0, 1, 6, 7, 8, 16, 35, 49, 50, 60])
@pytest.mark.parametrize("size", [1, 7, 20, 50])
def test_parquet_rows_come_from_any_row_on(tmp_path, start, size):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=size)
    assert list(read_rows(str(path), None, "parquet", "utf-8", start)) == ROWS[start:]


def test_row_groups_before_the_first_row_are_not_read(parquet):
    """Their bytes are overwritten: who read them would fail."""
    metadata = pq.ParquetFile(parquet).metadata
    content = bytearray(Path(parquet).read_bytes())
    begin, end = (metadata.row_group(group).column(0).data_page_offset for group in (0, 3))
    first = metadata.row_group(0).column(0)
    begin = min(begin, first.dictionary_page_offset or begin)
    last = metadata.row_group(3).column(0)
    end = min(end, last.dictionary_page_offset or end)
    content[begin:end] = bytes(end - begin)
    Path(parquet).write_bytes(content)
    assert list(read_rows(parquet, None, "parquet", "utf-8", 21)) == ROWS[21:]
    (fault,) = read_rows(parquet, None, "parquet", "utf-8", 20)
    assert fault.reason == "bad file"


def test_a_parquet_member_of_an_archive_is_read_alike(parquet, tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(parquet, "rows.parquet")
    assert list(read_rows(str(path), "rows.parquet", "parquet", "utf-8", 30)) == ROWS[30:]


def test_json_lines_before_the_first_row_are_not_parsed(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = ["no JSON at all\n"] * 3 + [json.dumps(row) + "\n" for row in ROWS[3:]]
    path.write_text("".join(lines))
    assert list(read_rows(str(path), None, "jsonl", "utf-8", 3)) == ROWS[3:]
    fault, *rows = read_rows(str(path), None, "jsonl", "utf-8", 2)
    assert fault == Fault("bad JSON", "is not JSON: Expecting value: line 1 column 1 (char 0)")
    assert rows == ROWS[3:]
    assert list(read_rows(str(path), None, "jsonl", "utf-8", 50)) == []


def test_rows_are_read_as_they_are_asked_for(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + "no JSON at all\n")
    assert list(itertools.islice(read_rows(str(path), None, "jsonl", "utf-8"), 1)) == ROWS[:1]


def compressed(content, ending):
    if ending == ".gz":
        return gzip.compress(content)
    # Two frames one behind the other, as tools that append write them.
    half = len(content) // 2
    return zstandard.compress(content[:half]) + zstandard.compress(content[half:])


def contents():
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), parquet)
    return {
        "parquet": parquet.getvalue(),
        "jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
    }


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_compressed_rows_come_from_any_row_on(tmp_path, file_format, ending):
    path = tmp_path / f"a.{file_format}{ending}"
    path.write_bytes(compressed(contents()[file_format], ending))
    assert format_of(path.name) == file_format
    for start in (0, 1, 30, 50):
        assert list(read_rows(str(path), None, file_format, "utf-8", start)) == ROWS[start:]


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_compressed_text_is_read_and_titled_without_its_endings(tmp_path, ending):
    path = tmp_path / f"moby.txt{ending}"
    path.write_bytes(compressed("Call me Ishmael — naïve.".encode() * 99, ending))
    assert read_bytes(str(path), None) == "Call me Ishmael — naïve.".encode() * 99
    assert (format_of(str(path)), title_of(str(path))) == ("txt", "moby")


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_a_compressed_file_that_is_cut_short_ends_with_a_fault(tmp_path, file_format, ending):
    path = tmp_path / f"a.{file_format}{ending}"
    content = compressed(contents()[file_format], ending)
    for left in (3, len(content) // 2, len(content) - 5):
        path.write_bytes(content[:left])
        *rows, fault = read_rows(str(path), None, file_format, "utf-8")
        assert fault.reason == "bad file"
        assert fault.detail.startswith("is damaged or cut short (")
        assert rows == ROWS[: len(rows)]
        if file_format == "jsonl":
            again = list(read_rows(str(path), None, file_format, "utf-8", len(rows)))
            assert again == [fault]


def test_a_longer_line_than_is_read_is_a_fault_and_takes_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(raw_files, "MAX_BYTES", 1000)
    path = tmp_path / "a.jsonl"
    long = json.dumps({"text": "x" * 5_000_000})
    path.write_text("\n".join([json.dumps(ROWS[0]), long, json.dumps(ROWS[1]), long]))
    fault = Fault("too long", "is a line longer than 1,000 bytes")
    assert list(read_rows(str(path), None, "jsonl", "utf-8")) == [ROWS[0], fault, ROWS[1], fault]
    assert list(read_rows(str(path), None, "jsonl", "utf-8", 2)) == [ROWS[1], fault]


def test_a_longer_text_than_is_read_is_a_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(raw_files, "MAX_BYTES", 1000)
    path = tmp_path / "a.txt"
    for length, found in ((1000, b"x" * 1000), (1001, Fault("too long", "is longer than 1,000 bytes"))):
        path.write_bytes(b"x" * length)
        assert read_bytes(str(path), None) == found


def test_a_bad_line_leaves_the_others(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [b'{"text": "a"}', b'{"text": "caf\xe9"}', b"[1]", b'{"text": ', b"[" * 100_000, b'{"text": "b"}']
    path.write_bytes(b"\n".join(lines))
    first, *faults, last = read_rows(str(path), None, "jsonl", "utf-8")
    assert (first, last) == ({"text": "a"}, {"text": "b"})
    assert [fault.reason for fault in faults] == ["bad encoding", "bad JSON", "bad JSON", "bad JSON"]
    assert faults[0].detail == (
        "is not utf-8 text (at byte 13; an older text may need encoding: latin-1 or cp1252)"
    )


def test_json_lines_in_wide_characters_are_read(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in ("one", "日本\u2028語", "ਊ")]
    path.write_bytes("\n".join(lines).encode("utf-16"))
    assert [row["text"] for row in read_rows(str(path), None, "jsonl", "utf-16")] == [
        "one",
        "日本\u2028語",
        "ਊ",
    ]
    path.write_bytes("\n".join(lines).encode("utf-16") + b"\x00")
    assert isinstance(list(read_rows(str(path), None, "jsonl", "utf-16"))[-1], Fault)


def test_a_parquet_value_that_is_no_text_is_a_fault(tmp_path):
    path = tmp_path / "a.parquet"
    values = pa.array([b"a", b"caf\xe9", b"b"]).cast(pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": values}), path)
    first, row, last = read_rows(str(path), None, "parquet", "utf-8")
    assert (first, last) == ({"text": "a"}, {"text": "b"})
    assert row == {"text": Fault("bad encoding", "has no utf-8 text in column 'text' (at byte 3)")}


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "3f" * 32 + "\nsize 17209920\n"
ANNEX = "/annex/objects/SHA256E-s17209920--" + "3f" * 32 + ".txt\n"


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl", "a.jsonl.zst", "a.parquet"])
@pytest.mark.parametrize(("pointer", "command"), [(LFS, "git lfs pull"), (ANNEX, "git annex get")])
def test_pointers_of_git_are_named(tmp_path, name, pointer, command):
    path = tmp_path / name
    path.write_text(pointer)
    read_all = read_bytes if format_of(name) == "txt" else read_rows
    found = read_all(str(path), None, *([] if read_all is read_bytes else [format_of(name), "utf-8"]))
    (fault,) = [found] if isinstance(found, Fault) else found
    assert fault.reason == "bad file"
    assert fault.detail.endswith(f"pointer in place of the file; run `{command}`")


def test_a_text_on_pointers_is_no_pointer(tmp_path):
    path = tmp_path / "a.txt"
    for text in (LFS + "x" * 1024, "Each begins with " + LFS):
        path.write_text(text)
        assert read_bytes(str(path), None) == text.encode()


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet", "a.jsonl.gz"])
def test_what_a_permission_or_the_machine_forbids_is_no_fault_of_the_file(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(contents()["parquet"] if name.endswith("parquet") else b"")

    def read_all():
        file_format = format_of(name)
        if file_format == "txt":
            read_bytes(str(path), None)
        else:
            list(read_rows(str(path), None, file_format, "utf-8"))

    behind = "nothing is left out for that: mend it and run the same target again"
    with without_rights(path), refused(f"{path} cannot be read here (Permission denied); {behind}"):
        read_all()
    with no_more_files(), refused(f"{path} cannot be read here (Too many open files); {behind}"):
        read_all()
    read_all()
    path.unlink()
    with refused(f"{path} does not exist; check the paths of the corpus's sources"):
        read_all()


@contextlib.contextmanager
def no_more_files():
    """This process may open no file more than it has."""
    _, hard = before = resource.getrlimit(resource.RLIMIT_NOFILE)
    place = os.open("/", os.O_RDONLY)
    os.close(place)
    resource.setrlimit(resource.RLIMIT_NOFILE, (place, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_parquet_codec_or_key_that_is_missing_is_no_damage(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PARE" + bytes(40) + struct.pack("<I", 40) + b"PARE")
    with pytest.raises(UnreadableFileError, match=r"cannot be read here \(.*decryption"):
        list(read_rows(str(path), None, "parquet", "utf-8"))


FAR = {
    "date": pa.array([0, 3_652_060], pa.int32()).view(pa.date32()),
    "time": pa.array([0, 253402300800000000], pa.int64()).view(pa.timestamp("us")),
    "zone": pa.array([0, 1], pa.int64()).view(pa.timestamp("us", tz="US/Pacific-New")),
    "bytes": pa.array([b"a", b"\xff"]).cast(pa.binary()).view(pa.string()),
}


@pytest.mark.parametrize("name", FAR)
def test_parquet_columns_that_are_not_asked_for_are_not_read(tmp_path, name):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["one", "two"], "when": FAR[name]}), path)
    rows = list(read_rows(str(path), None, "parquet", "utf-8", columns=["text", "none"]))
    assert rows == [{"text": "one"}, {"text": "two"}]
    assert rows[0].columns == ("text", "when")
    found = list(read_rows(str(path), None, "parquet", "utf-8", columns=["when"]))
    assert "in column 'when'" in found[-1]["when"].detail
    assert isinstance(found[0]["when"], Fault) == (name == "zone")


def test_bytes_of_a_column_that_is_not_asked_for_may_be_damaged(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["one"] * 99, "other": [str(n) for n in range(99)]}), path)
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    content = bytearray(path.read_bytes())
    begin = column.dictionary_page_offset
    content[begin : begin + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(content)
    assert len(list(read_rows(str(path), None, "parquet", "utf-8", columns=["text"]))) == 99
    assert isinstance(next(read_rows(str(path), None, "parquet", "utf-8")), Fault)


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"]), pa.array(["c"])], ["text", "text", "id"])
    pq.write_table(table, path)
    with refused(f"{path} has the column 'text' 2 times; rename them"):
        list(read_rows(str(path), None, "parquet", "utf-8"))
    assert list(read_rows(str(path), None, "parquet", "utf-8", columns=["id"])) == [{"id": "c"}]


def test_a_number_of_any_length_harms_no_row(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "other": ' + "9" * 5000 + "}\n")
    (row,) = read_rows(str(path), None, "jsonl", "utf-8")
    assert row["text"] == "a"


@pytest.mark.parametrize("spelt", ["utf-8", "UTF-8", "utf8", "U8", "utf_8_sig", "UTF-8-SIG"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf"])
def test_one_text_has_one_form_however_utf_8_is_spelt(tmp_path, spelt, mark):
    assert read_text(mark + "é\r\nü".encode(), spelt) == "é\nü"
    path = tmp_path / "a.jsonl"
    path.write_bytes(mark + b'{"text": "a"}\n{"text": "b"}\n')
    assert list(read_rows(str(path), None, "jsonl", spelt)) == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize(
    "spelt", ["utf-16", "UTF_16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "u16"]
)
def test_one_text_has_one_form_in_wide_characters(tmp_path, spelt):
    path = tmp_path / "a.jsonl"
    lines = '{"text": "é"}\n{"text": "ü"}\n'
    for mark in ("", "\ufeff"):
        assert read_text((mark + "é\r\nü").encode(spelt), spelt) == "é\nü"
        path.write_bytes((mark + lines).encode(spelt))
        assert list(read_rows(str(path), None, "jsonl", spelt)) == [{"text": "é"}, {"text": "ü"}]


@pytest.mark.parametrize("encoding", ["utf-9", "hex", "rot13", ""])
def test_an_encoding_that_is_none_is_named(encoding):
    with refused(f"encoding: {encoding} is none that Python knows; utf-8, utf-16, latin-1 or cp1252 are"):
        read_text(b"a", encoding)
