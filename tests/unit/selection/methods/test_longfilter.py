import math

import numpy as np
import pytest

from longspan.selection.methods.longfilter import LongFilter, information_gain
from longspan.selection.methods.nll_gain import nll_gain
from longspan.store.tables import write_table
from refusals import refused
from stored_tables import score_row, window_store


def naive_gain(short_T, long_T):
    """Eq. 7 token by token, in Python's float64."""
    terms = [math.exp(-long) * (short - long) for short, long in zip(short_T, long_T, strict=True)]
    return math.fsum(terms) / len(terms)


def test_a_score_is_the_probability_weighted_gain():
    draw = np.random.default_rng()
    short, long = draw.gamma(1.5, 2.0, size=(2, 5, 31))
    expected = [naive_gain(*row) for row in zip(short.tolist(), long.tolist(), strict=True)]
    np.testing.assert_allclose(information_gain(short, long), expected, rtol=1e-12)
    # As stored: in half precision, summed in double.
    halves = short.astype(np.float16), long.astype(np.float16)
    expected = [naive_gain(*row) for row in zip(*(half.tolist() for half in halves), strict=True)]
    np.testing.assert_allclose(information_gain(*halves), expected, rtol=1e-12)


def test_what_stays_unlikely_counts_as_nothing():
    short, long = np.array([[15.0, 4.0], [1.0, 4.0]]), np.array([[12.0, 4.0], [0.1, 4.0]])
    assert nll_gain(short, long).argmax() == 0
    assert information_gain(short, long).argmax() == 1
    assert information_gain(short, long)[0] == pytest.approx(3 * math.exp(-12) / 2, rel=1e-12)
    assert information_gain(short, short).tolist() == [0, 0]
    assert information_gain(long, short)[1] < 0
    with pytest.raises(ValueError, match="must both be"):
        information_gain(short, long[:, 1:])


def test_scores_are_read_from_the_store(stores):
    table, _ = stores.score(LongFilter())
    for row in table.itertuples():
        stored = score_row(row.data_id)
        expected = naive_gain(stored["short_nll"].tolist(), stored["long_nll"].tolist())
        assert row.score == pytest.approx(expected, rel=1e-12)
    assert table["data_id"].tolist() == stores.ids


def test_a_store_without_the_long_nll_is_refused(stores, tmp_path):
    for shard in ("00000", "00001"):
        windows = window_store(tmp_path, shard)
        rows = [
            {"data_id": data_id, "tokens_digest": windows.tokens_digest_of[data_id], "short_nll": [1.0] * 7}
            for data_id in windows.data_ids
        ]
        of = {"settings": {}, "tokenizer": windows.tokenizer}
        write_table(stores.path("scores", shard), "nll_scores", rows, **of, without=frozenset({"long_nll"}))
    with refused(
        f"{stores.path('scores', '00000')} holds no long_nll, which the selection needs; "
        "set store_long of its scorer, or choose another scorer"
    ):
        stores.score(LongFilter())
