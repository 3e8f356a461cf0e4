import errno
import os
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from full_disk import small_disk
from longspan.store import tables as artifacts
from longspan.store.contracts import CONTRACTS
from longspan.store.tables import (
    MANIFEST_KEY,
    RowReader,
    TableWriter,
    atomic_path,
    digest_file,
    digest_of,
    open_table,
    read_table,
    require_same,
    write_table,
)
from refusals import refused

AGAIN = "; delete it and run the same target again, which reruns assign_windows"
SETTINGS = {"window_tokens": 8, "policy": "stride"}


def window_rows(count=3):
    return [
        {
            "data_id": f"books-00000_{number:07d}",
            "document_id": "a.txt",
            "category": "prose",
            "token_start": 8 * number,
            "token_stop": 8 * number + 8,
            "char_start": 30 * number,
            "char_stop": 30 * number + 30,
            "tokens_digest": -number,
        }
        for number in range(1, count + 1)
    ]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "windows.parquet"
    write_table(path, "windows", window_rows(), settings=SETTINGS, inputs={"tokens": "a1"}, tokenizer="t1")
    return path


def with_manifest(path, **changes):
    """Write the table anew with another manifest."""
    table = pq.read_table(path)
    manifest = {**asdict(open_table(path, "windows")[1]), **changes}
    metadata = {MANIFEST_KEY: artifacts.json.dumps(manifest)}
    pq.write_table(table.replace_schema_metadata(metadata), path)


def test_a_table_and_its_manifest_come_back(table):
    rows, manifest = read_table(table, "windows")
    assert rows.to_pylist() == window_rows()
    assert rows.schema.remove_metadata() == CONTRACTS["windows"].columns
    assert asdict(manifest) == {
        "kind": "windows",
        "rows": 3,
        "settings": SETTINGS,
        "inputs": {"tokens": "a1"},
        "stage_version": 1,
        "tokenizer": "t1",
        "counts": {},
        "data_digest": manifest.data_digest,
        "code_digest": "",
        "schema_version": 1,
    }
    assert len(manifest.data_digest) == 64


def test_the_same_rows_give_the_same_bytes_and_other_rows_another_digest(tmp_path):
    def written(name, rows, **manifest):
        write_table(tmp_path / name, "windows", rows, settings=SETTINGS, **manifest)
        return (tmp_path / name).read_bytes(), open_table(tmp_path / name, "windows")[1].data_digest

    first = written("a", window_rows())
    assert written("b", window_rows()) == first
    assert written("c", window_rows()[::-1])[1] != first[1]
    # The digest is of the data alone, so that new code that gives the same data disturbs nothing.
    other_code = written("d", window_rows(), code_digest="other")
    assert other_code[1] == first[1]
    assert other_code[0] != first[0]


def test_a_missing_table_names_the_rule_that_makes_it(tmp_path):
    path = tmp_path / "none.parquet"
    with refused(f"{path} is missing; run the same target again, which runs assign_windows"):
        open_table(path, "windows")


@pytest.mark.parametrize("left", [0, 3, 100, -1])
def test_a_truncated_table_is_refused(table, left):
    content = table.read_bytes()
    table.write_bytes(content[:left])
    with pytest.raises(ValueError, match="is not a whole Parquet file") as caught:
        open_table(table, "windows")
    assert str(caught.value).startswith(f"{table} is not a whole Parquet file (")
    assert str(caught.value).endswith(")" + AGAIN)


def flip_a_page(path):
    """Flip one bit in the middle of the first column's page."""
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    place = column.data_page_offset + column.total_compressed_size - 4
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "reader",
    [lambda path: read_table(path, "windows"), lambda path: RowReader(path, "windows", ["data_id"])[0]],
    ids=["read_table", "RowReader"],
)
def test_a_flipped_bit_in_a_page_is_refused(table, reader):
    flip_a_page(table)
    open_table(table, "windows")  # the footer is as it was
    with pytest.raises(ValueError, match="CRC checksum") as caught:
        reader(table)
    assert str(caught.value).startswith(f"{table} is damaged (")
    assert str(caught.value).endswith(")" + AGAIN)


def test_a_table_without_a_manifest_is_refused(table):
    pq.write_table(pq.read_table(table).replace_schema_metadata(None), table)
    with refused(f"{table} has no longspan manifest, so what made it is unknown{AGAIN}"):
        open_table(table, "windows")


@pytest.mark.parametrize("version", [0, 2, None])
def test_another_schema_version_is_refused_naming_both(table, version):
    with_manifest(table, schema_version=version)
    with refused(f"{table} has schema version {version}, this longspan reads 1{AGAIN}"):
        open_table(table, "windows")


def test_another_kind_is_refused_naming_both(table):
    again = AGAIN.replace("assign_windows", "select_windows")
    with refused(f"{table} holds windows, expected selection{again}"):
        open_table(table, "selection")


def test_another_number_of_rows_is_refused_naming_both(table):
    with_manifest(table, rows=4)
    with refused(f"{table} has 3 rows, its manifest says 4{AGAIN}"):
        open_table(table, "windows")


def test_missing_columns_and_other_types_are_refused(table):
    rows = pq.read_table(table)
    starts = rows.column_names.index("token_start")
    rows = rows.set_column(starts, "token_start", rows["token_start"].cast(pa.int32()))
    metadata = pq.ParquetFile(table).metadata.metadata
    pq.write_table(rows.drop_columns(["category"]).replace_schema_metadata(metadata), table)
    with refused(f"{table} lacks the columns category, token_start of windows, or their types{AGAIN}"):
        open_table(table, "windows")


def test_the_long_nll_may_be_left_out_and_the_short_may_not(tmp_path):
    row = {"data_id": "a", "tokens_digest": 1, "short_nll": np.ones(3, np.float16)}
    path = tmp_path / "scores.parquet"
    write_table(path, "nll_scores", [row], settings={}, without=frozenset({"long_nll"}))
    assert read_table(path, "nll_scores")[0].column_names == ["data_id", "tokens_digest", "short_nll"]
    with pytest.raises(AssertionError):
        TableWriter(path, "nll_scores", settings={}, without=frozenset({"short_nll"}))


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 400), max_size=12), group_elements=st.integers(1, 600))
def test_row_reader_gives_each_row_whatever_the_row_groups(tmp_path_factory, sizes, group_elements):
    path = tmp_path_factory.mktemp("groups") / "tokens.parquet"
    draw = np.random.default_rng(0)
    rows = [
        {
            "document_id": f"d{number}",
            "input_ids": draw.integers(0, 9, size).tolist(),
            "char_deltas": [1] * (size + 1),
            "split_positions": [],
        }
        for number, size in enumerate(sizes)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts, "ROW_GROUP_ELEMENTS", group_elements)
        with TableWriter(path, "tokens", settings={}) as writer:
            for row in rows:
                writer.append(row, len(row["input_ids"]))
    reader = RowReader(path, "tokens", ["document_id", "input_ids"])
    assert len(reader) == len(rows)
    for number in draw.permutation(len(rows)).tolist():
        values = {name: value.as_py() for name, value in reader[number].items()}
        assert values == {name: rows[number][name] for name in ("document_id", "input_ids")}
    with pytest.raises(IndexError, match=f"has {len(rows)} rows, asked for {len(rows)}"):
        reader[len(rows)]


def test_atomic_path_gives_the_whole_file_or_leaves_the_old_one(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    with refused("stop", KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt("stop")
    assert path.read_text() == "first"
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_writer_that_fails_leaves_the_old_table_and_nothing_else(table):
    before = table.read_bytes()
    with refused("stop", KeyboardInterrupt), TableWriter(table, "windows", settings={}) as writer:
        writer.append(window_rows()[0], 1)
        raise KeyboardInterrupt("stop")
    assert table.read_bytes() == before
    assert os.listdir(table.parent) == [table.name]


def random_tokens(count):
    draw = np.random.default_rng(0)
    return [
        {
            "document_id": str(number),
            "input_ids": draw.integers(0, 2**31 - 1, 40_000).astype(np.int32),
            "char_deltas": [0],
            "split_positions": [],
        }
        for number in range(count)
    ]


@pytest.mark.parametrize("elements", [1, artifacts.ROW_GROUP_ELEMENTS])
def test_a_full_disk_is_named_and_leaves_the_old_table(tmp_path, elements):
    with small_disk(tmp_path / "disk", 256) as disk:
        path = disk / "tokens.parquet"
        write_table(path, "tokens", [], settings={"old": True})
        before = path.read_bytes()
        message = f"[Errno {errno.ENOSPC}] no space left on the disk of {disk}; free some and run again"
        with refused(message, OSError), TableWriter(path, "tokens", settings={}) as writer:
            for row in random_tokens(4):
                writer.append(row, elements)  # in one row group at the end, or in one for each row
        assert path.read_bytes() == before
        assert os.listdir(disk) == [path.name]


def test_a_disk_that_is_full_at_the_footer_leaves_the_old_table(tmp_path):
    with small_disk(tmp_path / "disk", 64) as disk:
        path = disk / "windows.parquet"
        write_table(path, "windows", window_rows(), settings={})
        before = path.read_bytes()
        (disk / "filler").write_bytes(bytes(48 * 1024))
        # The manifest alone fills what is left, so the rows fit and the footer does not.
        with pytest.raises(OSError, match="no space left"):
            write_table(path, "windows", window_rows(1), settings={"filler": "x" * 2**17})
        assert path.read_bytes() == before
        assert sorted(os.listdir(disk)) == ["filler", path.name]


def test_a_writer_knows_a_table_of_the_same_making_and_keeps_its_bytes(table):
    before = table.read_bytes()
    os.utime(table, (0, 0))
    same = {"settings": SETTINGS, "inputs": {"tokens": "a1"}, "tokenizer": "t1"}
    with TableWriter(table, "windows", **same) as writer:
        assert writer.keep_current()
    assert table.read_bytes() == before
    assert table.stat().st_mtime > 0  # newer than its inputs, or Snakemake would make it once more
    assert os.listdir(table.parent) == [table.name]


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {}},
        {"inputs": {"tokens": "b2"}},
        {"tokenizer": "t2"},
        {"code_digest": "c"},
        {"stage_version": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_writer_makes_a_table_of_another_making_anew(table, change):
    same = {"settings": SETTINGS, "inputs": {"tokens": "a1"}, "tokenizer": "t1"}
    with TableWriter(table, "windows", **(same | change)) as writer:
        assert not writer.keep_current()
    assert read_table(table, "windows")[0].num_rows == 0


def test_a_writer_that_writes_no_rows_empties_the_table_unless_it_keeps_it(table):
    write_table(table, "windows", [], settings=SETTINGS, inputs={"tokens": "a1"}, tokenizer="t1")
    assert read_table(table, "windows")[0].num_rows == 0


def test_a_damaged_table_is_not_current(table):
    table.write_bytes(table.read_bytes()[:-5])
    same = {"settings": SETTINGS, "inputs": {"tokens": "a1"}, "tokenizer": "t1"}
    with TableWriter(table, "windows", **same) as writer:
        assert not writer.keep_current()
        writer.write(window_rows())
    assert read_table(table, "windows")[0].to_pylist() == window_rows()


def test_digest_of_ignores_the_order_of_keys_and_nothing_else():
    assert digest_of({"a": 1, "b": [1, 2]}) == digest_of({"b": [1, 2], "a": 1})
    values = [{"a": 1}, {"a": "1"}, {"a": 1.5}, {"a": None}, [["a", 1]], {"a": [1, 2]}, {"a": [2, 1]}]
    assert len({digest_of(value) for value in values}) == len(values)


def test_digest_file_is_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_file(tmp_path / "abc") == expected


def test_require_same_names_both_and_the_rule():
    require_same("model", "a", "a", where="x", rule="train")
    message = "w.parquet was made with another tokens file (bbbbbbbbbbbb) than the one at hand (aaaaaaaaaaaa)"
    with refused(message + AGAIN):
        require_same("tokens file", "a" * 64, "b" * 64, where="w.parquet", rule="assign_windows")
