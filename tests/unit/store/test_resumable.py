import pyarrow as pa
import pytest

from longspan.store.contracts import CONTRACTS, Contract
from longspan.store.resumable import ResumableTable
from longspan.store.tables import read_table

NAMES = [f"row {number}" for number in range(6)]
CONTRACTS.setdefault(
    "test_rows",
    Contract(pa.schema({"name": pa.string(), "value": pa.float64()}), rule="evaluate", key="name"),
)


def table(path, helper=0, **changes):
    manifest = {"settings": {"a": 1}, "inputs": {"model": "m"}, "tokenizer": "t"} | changes
    return ResumableTable(path, "test_rows", digests=dict.fromkeys(NAMES), helper=helper, **manifest)


def rows(*names):
    return [{"name": name, "value": float(name[-1])} for name in names]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.parquet"


def unbroken(path):
    other = path.with_name("unbroken.parquet")
    with table(other) as writer:
        writer.append(rows(*NAMES))
        writer.finish()
    return other.read_bytes()


def test_rows_of_helpers_are_taken_in_the_order_of_the_keys(path):
    with table(path) as first:
        with table(path, 1) as one, table(path, 2) as two:
            first.append(rows("row 5"))
            one.append(rows("row 0", "row 3"))
            two.append(rows("row 1", "row 2", "row 4"))
        first.take_from_helpers()
        assert first.finish() == 6
    assert path.read_bytes() == unbroken(path)
    assert [entry.name for entry in path.parent.iterdir() if "partial" in entry.name] == []


def test_rows_that_killed_helpers_left_are_there_when_work_goes_on(path):
    with table(path, 1) as one:
        one.append(rows("row 0"))
        one.append(rows("row 3"))
    left = path.with_name("rows.parquet.partial1")
    left.write_bytes(left.read_bytes()[:-3])  # of the last record
    with table(path, 12, settings={"a": 2}) as other:
        other.append(rows("row 5"))
    with table(path) as first:
        assert [name for name in NAMES if name in first] == ["row 0"]
        assert not left.exists()
    # They are on the disk under the first one's own name by now.
    with table(path) as first:
        assert "row 0" in first
        first.extend([rows("row 1", "row 2"), rows("row 3", "row 4", "row 5")])
        first.finish()
    assert path.read_bytes() == unbroken(path)


def test_a_helper_that_is_still_at_work_is_named(path):
    with table(path, 1), pytest.raises(ValueError, match=r"rows.parquet.partial1 is held by process \d+ on"):
        table(path).__enter__()


def test_a_group_is_there_whole_or_not_at_all(path):
    def groups():
        yield rows("row 0", "row 1")
        yield rows("row 2", "row 3")
        raise OSError("the machine stops")

    with pytest.raises(OSError, match="the machine stops"), table(path) as writer:
        writer.extend(groups())
    partial = path.with_name("rows.parquet.partial")
    whole = partial.read_bytes()
    partial.write_bytes(whole[:-1])
    with table(path) as writer:
        assert not any(name in writer for name in NAMES)  # both came within the time of one write
    partial.write_bytes(whole)
    with table(path) as writer:
        assert [name for name in NAMES if name in writer] == NAMES[:4]


def test_other_settings_keep_no_row(path, capsys):
    with table(path) as writer:
        writer.append(rows(*NAMES))
        writer.finish()
    with table(path, tokenizer="other") as writer:
        assert not any(name in writer for name in NAMES)
    assert capsys.readouterr().err == (f"{path} was made with other tokenizer; its rows are made anew\n")
    with table(path) as writer:
        assert writer.rows.num_rows == read_table(path, "test_rows")[0].num_rows == 6
