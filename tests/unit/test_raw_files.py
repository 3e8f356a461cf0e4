import itertools
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longspan.raw_files import read_rows
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
    with pytest.raises((pa.ArrowInvalid, OSError)):
        list(read_rows(parquet, None, "parquet", "utf-8", 20))


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
    with refused(f"{path} line 3 is not JSON: Expecting value: line 1 column 1 (char 0)"):
        list(read_rows(str(path), None, "jsonl", "utf-8", 2))
    assert list(read_rows(str(path), None, "jsonl", "utf-8", 50)) == []


def test_rows_are_read_as_they_are_asked_for(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + "no JSON at all\n")
    assert list(itertools.islice(read_rows(str(path), None, "jsonl", "utf-8"), 1)) == ROWS[:1]
