import numpy as np
import pytest

from longspan.artifacts import open_table, read_table, write_table
from longspan.score_index import IndexedScores, build_index
from refusals import refused
from stored_tables import (
    score_manifest,
    score_row,
    window_store,
    write_scores,
    write_shards,
    write_tokens,
    write_windows,
)

AGAIN = "; delete it and run the same target again"


@pytest.fixture
def stores(tmp_path):
    """Windows and scores of two shards, by shard, and the ids."""
    ids = write_shards(tmp_path)
    windows, scores = (
        {shard: tmp_path / kind / f"{shard}.parquet" for shard in ids} for kind in ("windows", "scores")
    )
    for shard in ids:
        write_scores(scores[shard], window_store(tmp_path, shard))
    return windows, scores, ids


def write_raw(path, rows):
    """Write a table of scores as it is: ScoreWriter itself lets no fault in."""
    write_table(path, "nll_scores", rows, **score_manifest(), tokenizer="t" * 64)


def rows_of(path):
    return read_table(path, "nll_scores")[0].to_pylist()


def write_index(path, rows, inputs):
    write_table(path, "score_index", rows, settings={}, inputs=inputs)
    return path


def write_selection(path, windows, kept):
    rows = [
        {
            "data_id": data_id,
            "category": "prose",
            "score": 0.0,
            "rank": 1,
            "percentile": 0.0,
            "kept": True,
            "reason": "",
        }
        for data_id in kept
    ]
    digests = {
        f"windows/{shard}": open_table(file, "windows")[1].data_digest for shard, file in windows.items()
    }
    write_table(path, "selection", rows, settings={}, inputs=digests)
    return path


def test_every_score_is_indexed_with_its_shard_and_row(stores):
    windows, scores, ids = stores
    rows, inputs = build_index(windows, scores)
    assert rows == [
        {"data_id": data_id, "shard": shard, "row": row}
        for shard in ids
        for row, data_id in enumerate(ids[shard])
    ]
    assert inputs == {
        **{f"windows/{shard}": open_table(path, "windows")[1].data_digest for shard, path in windows.items()},
        **{
            f"scores/{shard}": open_table(path, "nll_scores")[1].data_digest for shard, path in scores.items()
        },
    }


def test_missing_scores_are_counted_named_and_blamed_on_their_shards(stores):
    windows, scores, _ = stores
    write_raw(scores["00000"], rows_of(scores["00000"])[:1])
    with refused(
        "scores cover 3 of 5 windows; first missing: books-00000_0000002, books-00000_0000003; "
        f"rerun score_short for shard 00000 (delete {scores['00000']})"
    ):
        build_index(windows, scores)
    write_raw(scores["00001"], [])
    with refused(
        "scores cover 1 of 5 windows; first missing: books-00000_0000002, books-00000_0000003, "
        f"books-00001_0000001; rerun score_short for shard 00000, 00001 (delete {scores['00000']}, "
        f"{scores['00001']})"
    ):
        build_index(windows, scores)


def test_only_what_a_selection_keeps_must_be_there(stores, tmp_path):
    windows, scores, ids = stores
    write_raw(scores["00000"], rows_of(scores["00000"])[1:])
    kept = write_selection(tmp_path / "kept", windows, ids["00000"][1:2] + ids["00001"])
    rows, _ = build_index(windows, scores, [kept])
    # What is there beyond is indexed too: a store serves several runs.
    assert [row["data_id"] for row in rows] == ids["00000"][1:] + ids["00001"]
    more = write_selection(tmp_path / "more", windows, ids["00000"][:2])
    with refused(
        "scores cover 3 of 4 windows; first missing: books-00000_0000001; "
        f"rerun score_short for shard 00000 (delete {scores['00000']})"
    ):
        build_index(windows, scores, [kept, more])


def test_scores_of_windows_that_are_not_there_at_present_are_left_out(stores):
    """A larger sample was scored before."""
    windows, scores, ids = stores
    old = rows_of(scores["00001"])[0] | {"data_id": "books-00001_0000099"}
    write_raw(scores["00001"], [old, *rows_of(scores["00001"])])
    rows, _ = build_index(windows, scores)
    assert rows[3:] == [
        {"data_id": data_id, "shard": "00001", "row": row}
        for row, data_id in enumerate(ids["00001"], start=1)
    ]


def test_scores_of_another_shards_window_are_refused(stores):
    windows, scores, ids = stores
    write_raw(scores["00001"], [*rows_of(scores["00001"]), rows_of(scores["00000"])[2]])
    with refused(f"{scores['00001']} holds {ids['00000'][2]}, a window of shard 00000{AGAIN}"):
        build_index(windows, scores)


def test_doubled_scores_are_refused(stores):
    windows, scores, ids = stores
    rows = rows_of(scores["00001"])
    write_raw(scores["00001"], [*rows, rows[0]])
    with refused(f"{scores['00001']} holds {ids['00001'][0]} twice{AGAIN}"):
        build_index(windows, scores)


def test_scores_of_other_tokens_are_refused(stores, tmp_path):
    """The text changed behind the ids."""
    windows, scores, ids = stores
    tokens = tmp_path / "tokens" / "00001.parquet"
    write_tokens(tokens, {"new": 3, "beta": 16})
    write_windows(windows["00001"], tokens, [("beta", 0), ("beta", 8)])
    with refused(
        f"{scores['00001']} holds a score of {ids['00001'][0]} for other tokens than it has now{AGAIN}"
    ):
        build_index(windows, scores)


@pytest.mark.parametrize(
    ("name", "value"),
    [("settings", {"base_length": 5}), ("stage_version", 2), ("inputs", {"model": "n"})],
)
def test_shards_of_other_making_are_refused(stores, tmp_path, name, value):
    windows, scores, _ = stores
    write_scores(scores["00001"], window_store(tmp_path, "00001"), **{name: value})
    with refused(f"{scores['00001']} was scored with other {name} than the shards before it{AGAIN}"):
        build_index(windows, scores)


def test_missing_attention_scores_are_blamed_on_their_own_rule(stores, tmp_path):
    windows, _, ids = stores
    scores = {shard: tmp_path / "attention" / f"{shard}.parquet" for shard in ids}
    for shard in ids:
        write_table(scores[shard], "attention_scores", [], settings={}, inputs={"model": "m"})
    with pytest.raises(ValueError, match="rerun score_attention for shard 00000, 00001"):
        build_index(windows, scores, kind="attention_scores")


def test_a_windows_scores_come_by_id(stores, tmp_path):
    windows, scores, ids = stores
    index = write_index(tmp_path / "index.parquet", *build_index(windows, scores))
    digests = window_store(tmp_path).windows_digests
    both = IndexedScores(index, scores, digests, ("short_nll", "long_nll"))
    short = IndexedScores(index, scores, digests)
    for data_id in [*ids["00001"], *ids["00000"]][::-1]:
        found, expected = both[data_id], score_row(data_id)
        for name in ("short_nll", "long_nll"):
            assert found[name].dtype == np.float32
            assert found[name].tolist() == expected[name].astype(np.float32).tolist()
        assert short[data_id].keys() == {"short_nll"}
    with refused("no scores of window books-00000_0000009; rerun score_short for its shard"):
        short["books-00000_0000009"]


def test_scores_that_changed_since_they_were_indexed_are_refused(stores, tmp_path):
    windows, scores, _ = stores
    index = write_index(tmp_path / "index.parquet", *build_index(windows, scores))
    write_raw(scores["00000"], rows_of(scores["00000"])[::-1])
    with pytest.raises(
        ValueError, match=r"was made with another scores of shard 00000 .* reruns collect_weights$"
    ):
        IndexedScores(index, scores, window_store(tmp_path).windows_digests)


def test_an_index_of_other_windows_or_fewer_shards_is_refused(stores, tmp_path):
    windows, scores, _ = stores
    digests = window_store(tmp_path).windows_digests
    index = write_index(tmp_path / "index.parquet", *build_index(windows, scores))
    with pytest.raises(
        ValueError, match=r"was made with another windows of shard 00001 .* reruns collect_weights$"
    ):
        IndexedScores(index, scores, digests | {"00001": "f" * 64})
    first = {"00000": windows["00000"]}, {"00000": scores["00000"]}
    write_index(index, *build_index(*first))
    with pytest.raises(
        ValueError, match=r"was made with another windows of shard 00001 \(\) .* reruns collect_weights$"
    ):
        IndexedScores(index, scores, digests)
