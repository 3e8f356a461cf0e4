import numpy as np
import pytest

from longspan.selection.methods.longattn import LongAttn, lds_scores
from longspan.store.tables import read_table, write_table
from refusals import refused

RNG = np.random.default_rng(0)
STRENGTH = RNG.uniform(0.05, 0.4, 12)
VARIANCE = RNG.uniform(1e-9, 5e-9, 12)
CATEGORY = ["Book"] * 5 + ["Code"] * 7


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


# Over stored tables


@pytest.mark.parametrize(("mode", "variance"), [("paper", "variance_block"), ("released", "variance_matrix")])
def test_scores_are_over_the_windows_of_all_shards(stores, mode, variance):
    table, inputs = stores.score(LongAttn(mode=mode, alpha=0.2))
    assert table["data_id"].tolist() == stores.ids
    assert table["category"].tolist() == ["prose", "prose", "verse", "prose", "prose"]
    expected = lds_scores(
        stores.strength, getattr(stores, variance), mode=mode, alpha=0.2, category=table["category"]
    )
    np.testing.assert_array_equal(table["score"], expected)
    assert inputs.keys() == {
        f"{kind}/{shard}" for kind in ("windows", "scores") for shard in ("00000", "00001")
    }


def test_a_category_with_one_window_scores_zero_with_a_warning_that_names_it(stores):
    with pytest.warns(UserWarning, match="strength has one window in category 'verse'"):
        table, _ = stores.score(LongAttn())
    assert table["score"][2] == 0


def test_a_statistic_that_is_not_finite_is_named_by_its_window(stores):
    path = stores.path("attention", "00001")
    table, manifest = read_table(path, "attention_scores")
    rows = [
        row | {"strength": np.nan} if row["data_id"] == stores.ids[4] else row for row in table.to_pylist()
    ]
    write_table(path, "attention_scores", rows, settings={}, tokenizer=manifest.tokenizer)
    with refused(f"strength is not finite for 1 of 5 windows: {stores.ids[4]}"):
        stores.score(LongAttn())


def test_only_the_papers_filter_keeps_a_share_of_each_category():
    assert LongAttn().ratio_within_category
    assert not LongAttn(mode="released").ratio_within_category
