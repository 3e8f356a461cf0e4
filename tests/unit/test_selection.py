import numpy as np
import pandas as pd
import pytest

from longspan.selection import (
    TABLE_COLUMNS,
    compressibility,
    lds_scores,
    method_scores,
    nll_gain,
    rank_correlation,
    selection_table,
)

RNG = np.random.default_rng(0)
STRENGTH = RNG.uniform(0.05, 0.4, 12)
VARIANCE = RNG.uniform(1e-9, 5e-9, 12)
CATEGORY = ["Book"] * 5 + ["Code"] * 7
IDS = [f"Test_{n:07d}" for n in range(1, 13)]


def test_paper_scores_are_z_scores_of_each_category():
    scores = lds_scores(STRENGTH, VARIANCE, alpha=0.3, category=CATEGORY)
    for rows in (slice(0, 5), slice(5, 12)):
        strength, variance = STRENGTH[rows], VARIANCE[rows]
        expected = (strength - strength.mean()) / strength.std() - 0.3 * (
            variance - variance.mean()
        ) / variance.std()
        np.testing.assert_allclose(scores[rows], expected, rtol=1e-12)
    assert scores.dtype == np.float64


def test_released_scores_are_min_max_over_everything():
    scores = lds_scores(STRENGTH, VARIANCE, mode="released", category=CATEGORY)
    expected = (STRENGTH - STRENGTH.min()) / np.ptp(STRENGTH) - 0.5 * (VARIANCE - VARIANCE.min()) / np.ptp(
        VARIANCE
    )
    np.testing.assert_allclose(scores, expected, rtol=1e-12)


def test_one_category_is_the_default():
    np.testing.assert_array_equal(
        lds_scores(STRENGTH, VARIANCE), lds_scores(STRENGTH, VARIANCE, category=["x"] * 12)
    )


def test_a_single_window_and_no_spread_score_zero_with_a_warning():
    with pytest.warns(UserWarning, match="has one window") as warned:
        scores = lds_scores([1.0, 2.0, 5.0], [1.0, 3.0, 9.0], category=["a", "a", "b"])
    assert [str(w.message).split(":")[0] for w in warned] == [
        "strength has one window in category 'b'",
        "variance has one window in category 'b'",
    ]
    assert scores[2] == 0
    with pytest.warns(UserWarning, match="variance has no spread in all windows"):
        np.testing.assert_allclose(lds_scores([1.0, 2.0], [0.1, 0.1]), [-1, 1])


def test_no_spread_is_half_in_released_mode():
    np.testing.assert_allclose(lds_scores([1.0, 1.0], [2.0, 4.0], mode="released"), [0.5, 0.0])


def test_z_scores_do_not_underflow():
    tiny = lds_scores(np.array([1e-200, 2e-200, 4e-200]), np.array([1.0, 2.0, 3.0]), alpha=0)
    np.testing.assert_allclose(
        tiny, lds_scores(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]), alpha=0)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strength": [1.0, np.nan], "variance": [1.0, 2.0]}, "strength is not finite for 1 of 2 windows: 1"),
        ({"strength": [1.0, 2.0], "variance": [1.0, np.inf]}, "variance is not finite"),
        ({"strength": [1.0], "variance": [1.0, 2.0]}, "equally long"),
        ({"strength": [1.0, 2.0], "variance": [1.0, 2.0], "mode": "both"}, "'paper' or 'released'"),
        ({"strength": [1.0, 2.0], "variance": [1.0, 2.0], "category": ["a"]}, "1 entries for 2 windows"),
        ({"strength": [1.0, 2.0], "variance": [1.0, 2.0], "alpha": float("nan")}, "alpha"),
    ],
)
def test_bad_statistics_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        lds_scores(**arguments)


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
        selection_table(IDS, STRENGTH, category=CATEGORY, keep={"per_category": {"Book": {"ratio": 1}}})


def test_a_ratio_keeps_at_least_one_and_counts_exactly():
    assert selection_table(["a"], [0.0], keep={"ratio": 0.01})["kept"].tolist() == [True]
    ids = [f"{n:03d}" for n in range(100)]
    for percent in range(1, 101):
        assert selection_table(ids, np.arange(100.0), keep={"ratio": percent / 100})["kept"].sum() == percent


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
        ({"data_id": ["a"], "score": [1.0], "keep": {"windows": 1.5}}, "whole number"),
        ({"data_id": ["a"], "score": [1.0], "keep": {"tokens": 3}, "num_tokens": [1, 2]}, "2 entries for 1"),
    ],
)
def test_bad_tables_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        selection_table(**arguments)


def test_methods_by_name():
    windows = pd.DataFrame(
        {
            "data_id": IDS,
            "category": CATEGORY,
            "strength": STRENGTH,
            "variance_block": VARIANCE,
            "variance_matrix": VARIANCE[::-1],
            "nll_gain": STRENGTH * 2,
            "text": ["abc" * n for n in range(1, 13)],
        }
    )
    np.testing.assert_array_equal(
        method_scores("longattn", windows), lds_scores(STRENGTH, VARIANCE, category=CATEGORY)
    )
    np.testing.assert_array_equal(
        method_scores("longattn", windows, mode="released", alpha=0.2),
        lds_scores(STRENGTH, VARIANCE[::-1], mode="released", alpha=0.2),
    )
    np.testing.assert_array_equal(method_scores("nll_gain", windows), STRENGTH * 2)
    assert method_scores("gzip", windows).argmax() == 11
    random = method_scores("random", windows, seed=4)
    np.testing.assert_array_equal(random[::-1], method_scores("random", windows[::-1], seed=4))
    with pytest.raises(ValueError, match="needs the columns nll_gain"):
        method_scores("nll_gain", windows[["data_id"]])
    with pytest.raises(ValueError, match="unknown selection method"):
        method_scores("best", windows)
    windows.loc[3, "strength"] = np.nan
    with pytest.raises(ValueError, match=f"strength is not finite for 1 of 12 windows: {IDS[3]}"):
        method_scores("longattn", windows)


def test_nll_gain_is_the_mean_of_short_minus_long():
    short, long = RNG.normal(size=(3, 7)), RNG.normal(size=(3, 7))
    np.testing.assert_allclose(nll_gain(short, long), (short - long).mean(1))
    with pytest.raises(ValueError, match="must both be"):
        nll_gain(short, long[:, 1:])


def test_compressibility_rises_with_repetition():
    noise = "".join(map(chr, RNG.integers(32, 127, 4000)))
    repeated, random, empty = compressibility(["ab" * 2000, noise, ""])
    assert repeated > 0.9 > 0.5 > random
    assert empty == 0


def test_rank_correlation():
    assert rank_correlation(STRENGTH, STRENGTH**3) == (pytest.approx(1), 12)
    assert rank_correlation([1, 2, 3], [3, 2, 1])[0] == pytest.approx(-1)
    assert np.isnan(rank_correlation([1, 1], [1, 2])[0])
