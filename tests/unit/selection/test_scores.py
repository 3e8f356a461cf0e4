import numpy as np
import pytest

from longspan.selection.scores import compressibility, lds_scores, method_scores, nll_gain
from longspan.store.draws import uniform_by_id
from longspan.store.tables import read_table, write_table
from refusals import refused
from stored_tables import score_row, window_store, write_scores, write_stores

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


# By a method's name, over stored tables


def files(folder, kind):
    return {shard: folder / kind / f"{shard}.parquet" for shard in ("00000", "00001")}


@pytest.fixture
def stores(tmp_path):
    """Windows of two shards with NLL, attention statistics and documents; the ids in order."""
    ids = write_stores(tmp_path)
    for shard, data_ids in ids.items():
        digests = window_store(tmp_path, shard).tokens_digest_of
        rows = [
            {
                "data_id": data_id,
                "tokens_digest": digests[data_id],
                "strength": STRENGTH[number],
                "variance_block": VARIANCE[number],
                "variance_matrix": VARIANCE[-number],
            }
            # The store's order is not the windows'.
            for number, data_id in reversed(list(enumerate(data_ids, start=int(shard) * 3)))
        ]
        write_table(
            tmp_path / "attention" / f"{shard}.parquet",
            "attention_scores",
            rows,
            settings={},
            tokenizer=window_store(tmp_path, shard).tokenizer,
        )
        names = {"00000": ("alpha", "mu"), "00001": ("beta",)}[shard]
        texts = {"alpha": "abcdefghijklmnopqrst", "mu": "ααααααααα", "beta": "xxxxxxxxyzyzyzyz"}
        rows = [
            dict.fromkeys(("source", "category", "license", "title"), "x")
            | {"document_id": name, "text": texts[name]}
            for name in names
        ]
        write_table(tmp_path / "documents" / f"{shard}.parquet", "documents", rows, settings={})
    return [data_id for data_ids in ids.values() for data_id in data_ids]


def documents_of(folder):
    """The documents, and windows that know them by their digests."""
    for shard, path in files(folder, "windows").items():
        table, manifest = read_table(path, "windows")
        digest = read_table(files(folder, "documents")[shard], "documents")[1].data_digest
        inputs = manifest.inputs | {"documents": digest}
        same = {"settings": manifest.settings, "tokenizer": manifest.tokenizer}
        write_table(path, "windows", table, inputs=inputs, **same)
    return files(folder, "documents")


@pytest.mark.parametrize(
    ("mode", "variance"), [("paper", VARIANCE), ("released", np.roll(VARIANCE[::-1], 1))]
)
def test_longattn_is_over_the_windows_of_all_shards(stores, tmp_path, mode, variance):
    windows, attention = files(tmp_path, "windows"), files(tmp_path, "attention")
    table, inputs = method_scores("longattn", windows, scores=attention, mode=mode, alpha=0.2)
    assert table["data_id"].tolist() == stores
    assert table["category"].tolist() == ["prose", "prose", "verse", "prose", "prose"]
    expected = lds_scores(STRENGTH[:5], variance[:5], mode=mode, alpha=0.2, category=table["category"])
    np.testing.assert_array_equal(table["score"], expected)
    assert inputs.keys() == {
        f"{kind}/{shard}" for kind in ("windows", "scores") for shard in ("00000", "00001")
    }


def test_a_category_with_one_window_scores_zero_with_a_warning_that_names_it(stores, tmp_path):
    with pytest.warns(UserWarning, match="strength has one window in category 'verse'"):
        table, _ = method_scores("longattn", files(tmp_path, "windows"), scores=files(tmp_path, "attention"))
    assert table["score"][2] == 0


def test_nll_gain_is_read_from_the_store(stores, tmp_path):
    windows, scores = files(tmp_path, "windows"), files(tmp_path, "scores")
    table, inputs = method_scores("nll_gain", windows, scores=scores)
    for row in table.itertuples():
        stored = score_row(row.data_id)
        gain = (stored["short_nll"].astype(np.float64) - stored["long_nll"].astype(np.float64)).mean()
        assert row.score == pytest.approx(gain, rel=1e-12)
    assert table["data_id"].tolist() == stores
    assert inputs["scores/00001"] == read_table(scores["00001"], "nll_scores")[1].data_digest


def test_a_gain_needs_all_windows_and_their_long_nll(stores, tmp_path):
    windows, scores = files(tmp_path, "windows"), files(tmp_path, "scores")
    write_scores(scores["00001"], window_store(tmp_path, "00001"), stores[4:])
    with refused(
        f"scores cover 4 of 5 windows; first missing: {stores[3]}; rerun score_short for shard 00001 "
        f"(delete {scores['00001']})"
    ):
        method_scores("nll_gain", windows, scores=scores)
    for shard, path in scores.items():
        store = window_store(tmp_path, shard)
        rows = [
            {"data_id": data_id, "tokens_digest": store.tokens_digest_of[data_id], "short_nll": [1.0] * 7}
            for data_id in store.data_ids
        ]
        of = {"settings": {}, "tokenizer": store.tokenizer}
        write_table(path, "nll_scores", rows, **of, without=frozenset({"long_nll"}))
    with refused(f"{scores['00000']} holds no long NLL, which a gain needs; set store_long of its scorer"):
        method_scores("nll_gain", windows, scores=scores)


def test_gzip_compresses_the_exact_text_of_each_window(stores, tmp_path):
    documents = documents_of(tmp_path)
    table, inputs = method_scores("gzip", files(tmp_path, "windows"), documents=documents)
    texts = ["abcdefgh", "ijklmnop", "α" * 8, "x" * 8, "yz" * 4]
    np.testing.assert_array_equal(table["score"], compressibility(texts))
    assert inputs["documents/00000"] == read_table(documents["00000"], "documents")[1].data_digest


def test_documents_that_the_windows_were_not_cut_from_are_refused(stores, tmp_path):
    documents, windows = files(tmp_path, "documents"), files(tmp_path, "windows")
    found = read_table(documents["00000"], "documents")[1].data_digest
    with refused(
        f"{windows['00000']} was made with another documents file (d) than the one at hand ({found[:12]}); "
        "delete it and run the same target again, which reruns assign_windows"
    ):
        method_scores("gzip", windows, documents=documents)


def test_random_is_a_draw_by_id_and_seed(stores, tmp_path):
    table, inputs = method_scores("random", files(tmp_path, "windows"), seed=4)
    np.testing.assert_array_equal(table["score"], uniform_by_id(stores, 4))
    assert inputs.keys() == {"windows/00000", "windows/00001"}


def test_a_statistic_that_is_not_finite_is_named_by_its_window(stores, tmp_path):
    attention = files(tmp_path, "attention")
    table, manifest = read_table(attention["00001"], "attention_scores")
    rows = [row | {"strength": np.nan} if row["data_id"] == stores[4] else row for row in table.to_pylist()]
    write_table(attention["00001"], "attention_scores", rows, settings={}, tokenizer=manifest.tokenizer)
    with refused(f"strength is not finite for 1 of 5 windows: {stores[4]}"):
        method_scores("longattn", files(tmp_path, "windows"), scores=attention)


def test_an_unknown_method_is_refused(tmp_path):
    with refused("unknown selection method 'best'; there are longattn, nll_gain, gzip, random"):
        method_scores("best", {})
