import numpy as np
import pandas as pd
import pytest

from longspan.reporting.summary import format_rows, mean_nll, short_context
from longspan.reporting.windowings import WindowingTables
from longspan.store.tables import write_table
from stored_tables import score_row, write_shards, write_stores, write_windows


def mean_of(ids, name):
    return pytest.approx(np.mean([score_row(data_id)[name] for data_id in ids], dtype=float))


def windows_of(folder, shards=("00000", "00001")):
    return WindowingTables.read(folder / "windows" / f"{shard}.parquet" for shard in shards)


def tables(folder, kind):
    return [folder / kind / f"{shard}.parquet" for shard in ("00000", "00001")]


def test_means_are_over_tokens_of_all_shards_in_double_precision(tmp_path):
    ids = [data_id for part in write_stores(tmp_path).values() for data_id in part]
    assert mean_nll(windows_of(tmp_path).document_of, tables(tmp_path, "scores")) == {
        name: (mean_of(ids, name), 5) for name in ("short_nll", "long_nll")
    }


def test_scores_of_windows_that_are_not_there_at_present_do_not_count(tmp_path):
    ids = write_stores(tmp_path)
    write_windows(tmp_path / "windows/00000.parquet", tmp_path / "tokens/00000.parquet", [("alpha", 0)])
    left = ids["00000"][:1] + ids["00001"]
    found = mean_nll(windows_of(tmp_path).document_of, tables(tmp_path, "scores"))
    assert found["short_nll"] == (mean_of(left, "short_nll"), 3)


def test_a_store_without_long_scores_or_without_rows_has_no_such_mean(tmp_path):
    ids = write_shards(tmp_path)
    windows = windows_of(tmp_path).document_of
    for path, rows in zip(tables(tmp_path, "scores"), (ids["00000"][:1], []), strict=True):
        rows = [{"data_id": data_id, "short_nll": np.ones(7, np.float16)} for data_id in rows]
        write_table(path, "nll_scores", rows, settings={}, without=frozenset({"long_nll"}))
    assert mean_nll(windows, tables(tmp_path, "scores")) == {"short_nll": (1.0, 1)}
    assert mean_nll(windows[1:], tables(tmp_path, "scores")[1:]) == {}


def test_windows_are_counted_by_category(tmp_path):
    ids = write_shards(tmp_path)
    windows = windows_of(tmp_path, ids)
    assert (windows.categories, windows.window_tokens) == ({"prose": 4, "verse": 1}, 8)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1.0, 1.0, 1.0], "20.0% of the targets under 16 tokens of context"),
        (
            [1.0, 1.0, 2.0],
            "20.0% of the targets under 16 tokens of context, 11.1% of the weight by context",
        ),
    ],
)
def test_short_contexts_have_their_share_of_targets_and_weight(weights, words):
    rows = {"context_start": [0, 8, 16], "context_stop": [8, 16, 32], "targets": [7, 3, 40]}
    table = pd.DataFrame(rows | {"weight": weights, "is_tail": [False, False, True]})
    assert short_context(table) == words


def test_rows_are_aligned_and_the_last_column_is_not_padded():
    rows = [("a", "long name", "1"), ("quantity", "b", "2 of 3")]
    assert format_rows(rows) == "a         long name  1\nquantity  b          2 of 3"
