import numpy as np
import pytest

from longspan.artifacts import write_table
from longspan.summary import count_windows, format_rows, mean_nll
from stored_tables import score_manifest, score_row, window_store, write_scores, write_shards


def test_means_are_over_tokens_of_all_shards_in_double_precision(tmp_path):
    ids = write_shards(tmp_path)
    paths = [tmp_path / f"{shard}.parquet" for shard in ids]
    for path, shard in zip(paths, ids, strict=True):
        write_scores(path, window_store(tmp_path, shard))
    expected = {
        name: np.mean([score_row(data_id)[name] for part in ids.values() for data_id in part], dtype=float)
        for name in ("short_nll", "long_nll")
    }
    found = mean_nll(paths)
    for name, value in expected.items():
        assert found[name] == (pytest.approx(value), 5)


def test_a_store_without_long_scores_or_without_rows_has_no_such_mean(tmp_path):
    rows = [{"data_id": "a", "tokens_digest": 1, "short_nll": np.ones(7, np.float16)}]
    short = tmp_path / "short.parquet"
    write_table(short, "nll_scores", rows, **score_manifest(), without=frozenset({"long_nll"}))
    empty = tmp_path / "empty.parquet"
    write_table(empty, "nll_scores", [], **score_manifest(), without=frozenset({"long_nll"}))
    assert mean_nll([short, empty]) == {"short_nll": (1.0, 1)}
    assert mean_nll([empty]) == {}


def test_windows_are_counted_by_category(tmp_path):
    ids = write_shards(tmp_path)
    counts, window_tokens = count_windows(tmp_path / "windows" / f"{shard}.parquet" for shard in ids)
    assert (counts, window_tokens) == ({"prose": 4, "verse": 1}, 8)


def test_rows_are_aligned_and_the_last_column_is_not_padded():
    rows = [("a", "long name", "1"), ("quantity", "b", "2 of 3")]
    assert format_rows(rows) == "a         long name  1\nquantity  b          2 of 3"
