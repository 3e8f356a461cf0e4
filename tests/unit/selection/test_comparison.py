import math

import numpy as np
import pytest

from longspan.selection.cascade import stage_table
from longspan.selection.comparison import compare_selections, rank_correlation
from longspan.selection.table import selection_table
from longspan.store.tables import read_table, write_table
from refusals import refused

RNG = np.random.default_rng(0)
STRENGTH = RNG.uniform(0.05, 0.4, 12)


def test_rank_correlation():
    assert rank_correlation(STRENGTH, STRENGTH**3) == (pytest.approx(1), 12)
    assert rank_correlation([1, 2, 3], [3, 2, 1])[0] == pytest.approx(-1)
    assert np.isnan(rank_correlation([1, 1], [1, 2])[0])


def write_selection(path, scores, ids, category, keep):
    table = selection_table(ids, scores, category=category, keep=keep)
    write_table(path, "selection", table.to_dict("records"), settings={})
    return read_table(path, "selection")[0].to_pandas()


def test_selections_are_compared_over_all_windows_and_by_category(tmp_path):
    ids, category = list("abcdefg"), ["prose"] * 3 + ["verse"] * 3 + ["one"]
    first = write_selection(tmp_path / "first", [1, 2, 3, 4, 5, 6, 7.0], ids, category, {"windows": 4})
    # Another order of rows; the scores of a to g are 1 2 3, 6 5 4, 0.
    second = write_selection(
        tmp_path / "second", [0, 4, 5, 6, 3, 2, 1.0], ids[::-1], category[::-1], {"windows": 3}
    )
    found = compare_selections(first, second, "first, second")
    # 1 - 6 sum of squared differences of ranks / (n (n^2 - 1))
    ranks = [(1, 2), (2, 3), (3, 4), (4, 7), (5, 6), (6, 5), (7, 1)]
    expected = 1 - 6 * sum((a - b) ** 2 for a, b in ranks) / (7 * 48)
    assert found.correlation == pytest.approx(expected)
    assert found.num_windows == 7
    assert found.by_category["prose"] == (pytest.approx(1), 3)
    assert found.by_category["verse"] == (pytest.approx(-1), 3)
    assert math.isnan(found.by_category["one"][0])
    assert (found.num_kept, found.num_common) == ((4, 3), 3)
    assert str(found) == (
        f"{expected:.2f} (7 windows; one undefined, prose 1.00, verse -1.00), 3 of 4 and 3 kept by both"
    )


def test_windows_that_fell_before_a_cascades_last_stage_are_in_no_correlation(tmp_path):
    ids, category = list("abcdef"), ["prose"] * 3 + ["verse"] * 3
    plain = write_selection(tmp_path / "plain", [1, 2, 3, 4, 5, 6.0], ids, category, {"windows": 2})
    cascade = selection_table(ids, [6, 5, 4, 3, 2, 1.0], category=category, keep={"windows": 3})
    left = selection_table(["a", "b", "c"], [7, 8, 9.0], category=category[:3], keep={"windows": 2})
    rows = stage_table(left, stage=2, method="gzip", before=cascade)
    write_table(tmp_path / "cascade", "selection", rows.to_dict("records"), settings={})
    last = read_table(tmp_path / "cascade", "selection")[0]
    assert last.column("score").null_count == 3
    for found in (
        compare_selections(plain, last.to_pandas(), "plain, cascade"),
        compare_selections(last.to_pandas(), plain, "cascade, plain"),
    ):
        assert (found.correlation, found.num_windows) == (pytest.approx(1), 3)
        assert found.by_category == {"prose": (pytest.approx(1), 3)}
        assert found.num_common == 0


def test_selections_over_other_windows_are_not_compared(tmp_path):
    first = write_selection(tmp_path / "first", [1.0, 2.0], ["a", "b"], None, {"ratio": 1})
    second = write_selection(tmp_path / "second", [1.0, 2.0], ["b", "c"], None, {"ratio": 1})
    with refused(
        "the selections first, second are over other windows (1 of 2 and 2 are the same); delete the tables "
        "of both and run the same target again, which reruns select_windows"
    ):
        compare_selections(first, second, "first, second")
