import numpy as np
import pytest

from longspan.selection.methods.nll_gain import NLLGain, nll_gain
from longspan.store.tables import read_table, write_table
from refusals import refused
from stored_tables import score_row, window_store, write_scores


def test_a_gain_is_the_mean_of_short_minus_long():
    draw = np.random.default_rng(0)
    short, long = draw.normal(size=(3, 7)), draw.normal(size=(3, 7))
    np.testing.assert_allclose(nll_gain(short, long), (short - long).mean(1))
    with pytest.raises(ValueError, match="must both be"):
        nll_gain(short, long[:, 1:])


def test_gains_are_read_from_the_store(stores):
    table, inputs = stores.score(NLLGain())
    for row in table.itertuples():
        stored = score_row(row.data_id)
        gain = (stored["short_nll"].astype(np.float64) - stored["long_nll"].astype(np.float64)).mean()
        assert row.score == pytest.approx(gain, rel=1e-12)
    assert table["data_id"].tolist() == stores.ids
    path = stores.path("scores", "00001")
    assert inputs["scores/00001"] == read_table(path, "nll_scores")[1].data_digest


def test_a_gain_needs_all_windows_and_their_long_nll(stores, tmp_path):
    path = stores.path("scores", "00001")
    write_scores(path, window_store(tmp_path, "00001"), stores.ids[4:])
    with refused(
        f"scores cover 4 of 5 windows; first missing: {stores.ids[3]}; rerun score_short for shard 00001 "
        f"(delete {path})"
    ):
        stores.score(NLLGain())
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
        stores.score(NLLGain())
