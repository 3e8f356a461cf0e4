import numpy as np
import pytest

from longspan.artifacts import write_table
from longspan.score_index import IndexedScores, build_index
from refusals import refused
from stored_tables import score_manifest, score_row, write_scores, write_shards, write_tokens, write_windows


@pytest.fixture
def stores(tmp_path):
    """Windows and scores of two shards, by shard, and the ids."""
    ids = write_shards(tmp_path)
    for shard, data_ids in ids.items():
        write_scores(tmp_path / "scores" / f"{shard}.parquet", data_ids)
    folders = (
        {shard: tmp_path / kind / f"{shard}.parquet" for shard in ids} for kind in ("windows", "scores")
    )
    return *folders, ids


def write_index(path, rows, digests):
    write_table(path, "score_index", rows, settings={}, inputs=digests)
    return path


def test_every_score_is_indexed_with_its_shard_and_row(stores):
    windows, scores, ids = stores
    rows, digests = build_index(windows, scores)
    assert rows == [
        {"data_id": data_id, "shard": shard, "row": row}
        for shard in ids
        for row, data_id in enumerate(ids[shard])
    ]
    assert digests.keys() == ids.keys()
    assert len(set(digests.values())) == 2


def test_missing_scores_are_counted_named_and_blamed_on_their_shards(stores):
    windows, scores, ids = stores
    write_scores(scores["00000"], ids["00000"][:1])
    with refused(
        "scores cover 3 of 5 windows; first missing: books-00000_0000002, books-00000_0000003; "
        f"rerun score_short for shard 00000 (delete {scores['00000']})"
    ):
        build_index(windows, scores)
    write_scores(scores["00001"], [])
    with refused(
        "scores cover 1 of 5 windows; first missing: books-00000_0000002, books-00000_0000003, "
        f"books-00001_0000001; rerun score_short for shard 00000, 00001 (delete {scores['00000']}, "
        f"{scores['00001']})"
    ):
        build_index(windows, scores)


def test_only_what_is_wanted_must_be_there(stores):
    windows, scores, ids = stores
    write_scores(scores["00000"], ids["00000"][1:])
    rows, _ = build_index(windows, scores, ids["00000"][1:2] + ids["00001"])
    # What is there beyond is indexed too: a store serves several runs.
    assert [row["data_id"] for row in rows] == ids["00000"][1:] + ids["00001"]
    with refused(
        "scores cover 1 of 2 windows; first missing: books-00000_0000001; "
        f"rerun score_short for shard 00000 (delete {scores['00000']})"
    ):
        build_index(windows, scores, ids["00000"][:2])


def test_foreign_scores_are_refused(stores):
    windows, scores, ids = stores
    strange = ["books-00001_0000007", "books-00001_0000008", "books-00001_0000009", "books-00001_0000010"]
    write_scores(scores["00001"], strange + ids["00001"])
    with refused(
        f"{scores['00001']} holds windows that its shard does not have (4; first: {', '.join(strange[:3])}); "
        "delete it and run the same target again"
    ):
        build_index(windows, scores)


def test_doubled_scores_are_refused(stores):
    windows, scores, ids = stores
    data_id = ids["00001"][0]
    rows = [score_row(data_id), score_row(ids["00001"][1]), score_row(data_id)]
    # ScoreWriter itself doubles nothing.
    write_table(scores["00001"], "nll_scores", rows, **score_manifest())
    with refused(
        f"{scores['00001']} doubles windows of shard 00001 (1; first: {data_id}); "
        "delete it and run the same target again"
    ):
        build_index(windows, scores)


@pytest.mark.parametrize(
    ("name", "value"), [("settings", {"base_length": 5}), ("stage_version", 2), ("tokenizer", "u" * 64)]
)
def test_shards_of_other_making_are_refused(stores, name, value):
    windows, scores, ids = stores
    write_scores(scores["00001"], ids["00001"], **{name: value})
    with refused(
        f"{scores['00001']} was scored with other {name} than the shards before it; "
        "delete it and run the same target again"
    ):
        build_index(windows, scores)


def test_shards_of_another_model_are_refused(stores):
    windows, scores, ids = stores
    write_scores(scores["00001"], ids["00001"], inputs={"tokens": "k", "model": "n"})
    with refused(
        f"{scores['00001']} was made with another model (n) than the one at hand (m); "
        "delete it and run the same target again, which reruns score_short"
    ):
        build_index(windows, scores)


def test_missing_attention_scores_are_blamed_on_their_own_rule(stores, tmp_path):
    windows, _, ids = stores
    scores = {shard: tmp_path / "attention" / f"{shard}.parquet" for shard in ids}
    for shard, data_ids in ids.items():
        names = ("strength", "variance_block", "variance_matrix")
        rows = [{"data_id": data_id, **dict.fromkeys(names, 0.5)} for data_id in data_ids[1:]]
        write_table(scores[shard], "attention_scores", rows, settings={}, inputs={"model": "m"})
    with pytest.raises(ValueError, match="rerun score_attention for shard 00000, 00001"):
        build_index(windows, scores, kind="attention_scores")


def test_a_windows_scores_come_by_id(stores, tmp_path):
    windows, scores, ids = stores
    index = write_index(tmp_path / "index.parquet", *build_index(windows, scores))
    both = IndexedScores(index, scores, ("short_nll", "long_nll"))
    short = IndexedScores(index, scores)
    for data_id in [*ids["00001"], *ids["00000"]][::-1]:
        found, expected = both[data_id], score_row(data_id)
        for name in ("short_nll", "long_nll"):
            assert found[name].dtype == np.float32
            assert found[name].tolist() == expected[name].astype(np.float32).tolist()
        assert short[data_id].keys() == {"short_nll"}


def test_a_window_without_a_score_is_refused(stores, tmp_path):
    windows, scores, _ = stores
    index = write_index(tmp_path / "index.parquet", *build_index(windows, scores))
    with refused("no scores of window books-00000_0000009; rerun score_short for its shard"):
        IndexedScores(index, scores)["books-00000_0000009"]


def test_scores_that_changed_since_they_were_indexed_are_refused(stores, tmp_path):
    windows, scores, ids = stores
    index = write_index(tmp_path / "index.parquet", *build_index(windows, scores))
    write_scores(scores["00000"], ids["00000"][::-1])
    with pytest.raises(
        ValueError, match=r"index.parquet was made with another scores file .* reruns collect_weights$"
    ):
        IndexedScores(index, scores)


def test_a_shard_that_was_not_indexed_is_refused(stores, tmp_path):
    windows, scores, _ = stores
    rows, digests = build_index({"00000": windows["00000"]}, {"00000": scores["00000"]})
    index = write_index(tmp_path / "index.parquet", rows, digests)
    with refused(
        f"{index} does not cover shard 00001; "
        "delete it and run the same target again, which reruns collect_weights"
    ):
        IndexedScores(index, scores)


def test_a_window_in_two_shards_is_refused(stores, tmp_path):
    windows, scores, _ = stores
    # The second shard's windows claim an id of the first.
    write_tokens(tmp_path / "t.parquet", {"alpha": 20})
    (data_id,) = write_windows(tmp_path / "00000.parquet", tmp_path / "t.parquet", [("alpha", 0)])
    write_scores(scores["00001"], [data_id])
    with refused(
        f"{scores['00001']} doubles windows of shard 00000 (1; first: {data_id}); "
        "delete it and run the same target again"
    ):
        build_index(windows | {"00001": tmp_path / "00000.parquet"}, scores)
