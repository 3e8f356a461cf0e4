import itertools

import numpy as np
import pandas as pd
import pytest

from longspan.selection.table import TABLE_COLUMNS, selection_table

CATEGORY = ["Book"] * 5 + ["Code"] * 7
IDS = [f"Test_{n:07d}" for n in range(1, 13)]


def test_ratio_holds_within_each_category_or_over_all():
    score = np.arange(12.0)
    within = selection_table(IDS, score, category=CATEGORY, keep={"ratio": 0.5})
    assert tuple(within.columns) == TABLE_COLUMNS
    assert within["kept"].tolist() == [False] * 3 + [True] * 2 + [False] * 4 + [True] * 3
    overall = selection_table(IDS, score, category=CATEGORY, keep={"ratio": 0.5}, ratio_within_category=False)
    assert overall["kept"].tolist() == [False] * 6 + [True] * 6
    assert overall["rank"].tolist() == list(range(12, 0, -1))


def test_the_table_says_why():
    table = selection_table(IDS, np.arange(12.0), category=CATEGORY, keep={"ratio": 0.5})
    assert (
        table["reason"][4]
        == "kept: place 1 in category 'Book', of which the best 2 of 5 are kept (ratio 0.5)"
    )
    assert table["reason"][0].startswith("dropped: place 5 in category 'Book'")
    assert table["percentile"][4] == 100
    assert table["percentile"][0] == pytest.approx(20)


def test_order_of_rows_changes_nothing_and_ties_go_by_id():
    score = np.array([1.0, 1.0, 0.0, 1.0])
    ids = ["d", "b", "a", "c"]
    table = selection_table(ids, score, keep={"windows": 2}).set_index("data_id")
    assert table.loc[["b", "c", "d", "a"], "rank"].tolist() == [1, 2, 3, 4]
    shuffled = selection_table(ids[::-1], score[::-1], keep={"windows": 2}).set_index("data_id")
    pd.testing.assert_frame_equal(table, shuffled.loc[table.index])


def test_token_budget_is_a_prefix_of_the_ranking():
    table = selection_table(
        list("abcd"), [4.0, 3.0, 2.0, 1.0], num_tokens=[10, 50, 5, 5], keep={"tokens": 20}
    )
    assert table["kept"].tolist() == [True, False, False, False]
    exact = selection_table(
        list("abcd"), [4.0, 3.0, 2.0, 1.0], num_tokens=[10, 10, 5, 5], keep={"tokens": 20}
    )
    assert exact["kept"].tolist() == [True, True, False, False]


def test_quotas_per_category():
    rules = {"Book": {"windows": 1}, "Code": {"tokens": 25}}
    table = selection_table(
        IDS, np.arange(12.0), category=CATEGORY, num_tokens=[10] * 12, keep={"per_category": rules}
    )
    assert table.groupby("category")["kept"].sum().to_dict() == {"Book": 1, "Code": 2}
    with pytest.raises(ValueError, match=r"no rule for Code; it has Book"):
        selection_table(
            IDS, np.arange(12.0), category=CATEGORY, keep={"per_category": {"Book": {"ratio": 1}}}
        )


def test_a_ratio_keeps_at_least_one_and_counts_exactly():
    assert selection_table(["a"], [0.0], keep={"ratio": 0.01})["kept"].tolist() == [True]
    ids = [f"{n:03d}" for n in range(100)]
    for percent in range(1, 101):
        assert selection_table(ids, np.arange(100.0), keep={"ratio": percent / 100})["kept"].sum() == percent


def test_a_band_keeps_the_middle_of_each_category():
    score = np.arange(12.0)
    table = selection_table(IDS, score, category=CATEGORY, keep={"band": [0.2, 0.8]})
    percentile = table["percentile"].to_numpy()
    assert table["kept"].tolist() == ((percentile > 20 + 1e-9) & (percentile <= 80 + 1e-9)).tolist()
    assert table["kept"].tolist() == [False] + [True] * 3 + [False] * 2 + [True] * 4 + [False] * 2
    assert table["reason"][1] == (
        "kept: place 4 in category 'Book', of which places 2 to 4 of 5 are kept (band 0.2 to 0.8)"
    )
    assert table["reason"][4].startswith("dropped: place 1 in category 'Book', of which places 2 to 4 of 5")
    overall = selection_table(
        IDS, score, category=CATEGORY, keep={"band": [0, 0.5]}, ratio_within_category=False
    )
    assert overall["kept"].tolist() == [True] * 6 + [False] * 6


def test_bands_that_meet_share_no_window_and_leave_none_out():
    draw = np.random.default_rng()
    cuts = [0, *sorted((draw.choice(np.arange(1, 20), 3, replace=False) / 20).tolist()), 1]
    ids = [f"{n:03d}" for n in range(97)]
    kept = [
        selection_table(ids, draw.permutation(97), keep={"band": list(band)})["kept"].sum()
        for band in itertools.pairwise(cuts)
    ]
    assert sum(kept) == 97
    for percent in range(2, 101):
        table = selection_table(ids[:50], np.arange(50.0), keep={"band": [0, percent / 100]})
        assert table["kept"].sum() == percent // 2


def test_a_band_that_keeps_nothing_is_refused():
    ids = ["a", "b", "c", "d", "e"]
    category = ["one", "five", "five", "five", "five"]
    rule = {"band": [0.2, 0.8]}
    # A category that is too small loses its windows, and the table says so.
    table = selection_table(ids, np.arange(5.0), category=category, keep=rule)
    assert table["kept"].tolist() == [False, True, True, True, False]
    assert table["reason"][0] == (
        "dropped: place 1 in category 'one', of which none of 1 are kept (band 0.2 to 0.8)"
    )
    with pytest.raises(ValueError, match=r"band \[0.2, 0.8\] keeps none of 1 windows \(category one\)"):
        selection_table(
            ids, np.arange(5.0), category=category, keep={"per_category": {"one": rule, "five": {"ratio": 1}}}
        )
    with pytest.raises(ValueError, match=r"band \[0.4, 0.5\] keeps none of 5 windows"):
        selection_table(ids, np.arange(5.0), category=list("vwxyz"), keep={"band": [0.4, 0.5]})


def test_an_empty_table_is_fine():
    table = selection_table([], [], keep={"ratio": 0.5})
    assert tuple(table.columns) == TABLE_COLUMNS
    assert len(table) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data_id": ["a", "a"], "score": [1.0, 2.0], "keep": {"ratio": 1}}, "more than once: a"),
        ({"data_id": ["a", "b"], "score": [1.0, np.nan], "keep": {"ratio": 1}}, "score is not finite.*: b"),
        ({"data_id": ["a", "b"], "score": [1.0], "keep": {"ratio": 1}}, "equally long"),
        ({"data_id": ["a"], "score": [1.0], "keep": {"ratio": 0}}, r"ratio must lie in \(0, 1\]"),
        ({"data_id": ["a"], "score": [1.0], "keep": {"ratio": 1, "tokens": 3}}, "exactly one of"),
        ({"data_id": ["a"], "score": [1.0], "keep": {"share": 1}}, "exactly one of"),
        ({"data_id": ["a"], "score": [1.0], "keep": {"tokens": 3}}, "token counts"),
        ({"data_id": ["a"], "score": [1.0], "keep": {"band": [0.5, 0.5]}}, r"band must be \[low, high\]"),
        ({"data_id": ["a"], "score": [1.0], "keep": {"band": [0.5]}}, r"band must be \[low, high\]"),
        ({"data_id": ["a"], "score": [1.0], "keep": {"windows": 1.5}}, "whole number"),
        ({"data_id": ["a"], "score": [1.0], "keep": {"tokens": 3}, "num_tokens": [1, 2]}, "2 entries for 1"),
    ],
)
def test_bad_tables_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        selection_table(**arguments)
