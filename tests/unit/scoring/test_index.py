import numpy as np
import pyarrow.parquet as pq
import pytest

from longspan.scoring.index import IndexedScores, build_index
from longspan.scoring.store import ROWS_PER_GROUP
from longspan.store.tables import open_table, read_table, write_table
from refusals import refused
from stored_tables import (
    score_row,
    window_store,
    write_scores,
    write_stores,
    write_tokens,
    write_windows,
)


@pytest.fixture
def stores(tmp_path):
    """Windows and scores of two shards, by shard, and the ids."""
    ids = write_stores(tmp_path)
    folders = (
        {shard: tmp_path / kind / f"{shard}.parquet" for shard in ids} for kind in ("windows", "scores")
    )
    return *folders, ids


def write_index(path, rows, inputs):
    write_table(path, "score_index", rows, settings={}, inputs=inputs)
    return path


def digests_of(paths, kind):
    return {shard: open_table(path, kind)[1].data_digest for shard, path in paths.items()}


def write_kept(path, data_ids, windows):
    """Some of these windows, kept by a selection."""
    inputs = {f"windows/{shard}": digest for shard, digest in digests_of(windows, "windows").items()}
    rows = [{"data_id": data_id} for data_id in data_ids]
    write_table(path, "kept_windows", rows, settings={}, inputs=inputs)
    return path


def copy_rows(path, change):
    """Write a store anew with other rows under the same manifest."""
    table, manifest = read_table(path, "nll_scores")
    names = ("settings", "inputs", "stage_version", "tokenizer")
    same = {name: getattr(manifest, name) for name in names}
    write_table(path, "nll_scores", change(table.to_pylist()), **same)


def test_every_score_is_indexed_with_its_shard_and_row(stores):
    windows, scores, ids = stores
    rows, inputs = build_index(windows, scores)
    assert rows == [
        {"data_id": data_id, "shard": shard, "row": row}
        for shard in ids
        for row, data_id in enumerate(ids[shard])
    ]
    expected = {f"windows/{shard}": digest for shard, digest in digests_of(windows, "windows").items()}
    expected |= {f"scores/{shard}": digest for shard, digest in digests_of(scores, "nll_scores").items()}
    assert inputs == expected
    assert len(set(inputs.values())) == 4


def test_missing_scores_are_counted_named_and_blamed_on_their_shards(stores, tmp_path):
    windows, scores, ids = stores
    write_scores(scores["00000"], window_store(tmp_path, "00000"), ids["00000"][:1])
    with refused(
        "scores cover 3 of 5 windows; first missing: books-00000_0000002, books-00000_0000003; "
        f"rerun score_short for shard 00000 (delete {scores['00000']})"
    ):
        build_index(windows, scores)
    write_scores(scores["00001"], window_store(tmp_path, "00001"), [])
    with refused(
        "scores cover 1 of 5 windows; first missing: books-00000_0000002, books-00000_0000003, "
        f"books-00001_0000001; rerun score_short for shard 00000, 00001 (delete {scores['00000']}, "
        f"{scores['00001']})"
    ):
        build_index(windows, scores)


def test_only_what_a_selection_keeps_must_be_there(stores, tmp_path):
    windows, scores, ids = stores
    write_scores(scores["00000"], window_store(tmp_path, "00000"), ids["00000"][1:])
    one = write_kept(tmp_path / "one", ids["00000"][1:2], windows)
    other = write_kept(tmp_path / "other", ids["00001"], windows)
    rows, _ = build_index(windows, scores, [one, other])
    # What is there beyond is indexed too: a store serves several runs.
    assert [row["data_id"] for row in rows] == ids["00000"][1:] + ids["00001"]
    third = write_kept(tmp_path / "third", ids["00000"][:1], windows)
    with refused(
        "scores cover 1 of 2 windows; first missing: books-00000_0000001; "
        f"rerun score_short for shard 00000 (delete {scores['00000']})"
    ):
        build_index(windows, scores, [one, third])


def test_kept_windows_of_other_windows_are_refused(stores, tmp_path):
    windows, scores, ids = stores
    path = write_kept(tmp_path / "selection", ids["00001"], windows)
    before = digests_of(windows, "windows")["00001"]
    write_windows(windows["00001"], tmp_path / "tokens" / "00001.parquet", [("beta", 0)])
    now = digests_of(windows, "windows")["00001"]
    with refused(
        f"{path} was made with another windows of shard 00001 ({before[:12]}) than the one at hand "
        f"({now[:12]}); delete it and run the same target again, which reruns list_kept_windows"
    ):
        build_index(windows, scores, [path])


def test_scores_of_windows_that_are_not_there_at_present_are_left_out(stores, tmp_path):
    """A smaller sample leaves the rows of the larger one in the store, at whatever place."""
    windows, scores, ids = stores
    write_windows(windows["00000"], tmp_path / "tokens" / "00000.parquet", [("alpha", 0), ("alpha", 8)])
    copy_rows(scores["00000"], lambda rows: rows[::-1])
    rows, _ = build_index(windows, scores)
    assert [(row["data_id"], row["row"]) for row in rows] == [
        (ids["00000"][1], 1),
        (ids["00000"][0], 2),
        (ids["00001"][0], 0),
        (ids["00001"][1], 1),
    ]
    index = write_index(tmp_path / "index.parquet", *build_index(windows, scores))
    found = IndexedScores(index, scores, digests_of(windows, "windows"))
    for data_id in (*ids["00000"][:2], *ids["00001"]):
        assert found[data_id]["short_nll"].tolist() == score_row(data_id)["short_nll"].tolist()


def test_scores_of_another_shards_windows_are_refused(stores):
    windows, scores, ids = stores
    foreign = read_table(scores["00000"], "nll_scores")[0].to_pylist()[1]
    copy_rows(scores["00001"], lambda rows: [*rows, foreign])
    with refused(
        f"{scores['00001']} holds {ids['00000'][1]}, a window of shard 00000; "
        "delete it and run the same target again"
    ):
        build_index(windows, scores)


def test_doubled_scores_are_refused(stores):
    windows, scores, ids = stores
    copy_rows(scores["00001"], lambda rows: [*rows, rows[0]])
    with refused(
        f"{scores['00001']} holds {ids['00001'][0]} twice; delete it and run the same target again, "
        "which reruns score_short"
    ):
        build_index(windows, scores)


def test_scores_of_other_tokens_are_refused(stores, tmp_path):
    """The window has the same id and span, but its document changed since it was scored."""
    windows, scores, ids = stores
    tokens = tmp_path / "tokens" / "00001.parquet"
    write_tokens(tokens, {"filler": 1, "beta": 16})
    write_windows(windows["00001"], tokens, [("beta", 0), ("beta", 8)])
    with refused(
        f"{scores['00001']} holds a score of {ids['00001'][0]} for other tokens than it has now; "
        "delete it and run the same target again"
    ):
        build_index(windows, scores)


@pytest.mark.parametrize(
    ("name", "value"), [("settings", {"base_length": 5}), ("stage_version", 2), ("inputs", {"model": "n"})]
)
def test_shards_of_other_making_are_refused(stores, tmp_path, name, value):
    windows, scores, _ = stores
    write_scores(scores["00001"], window_store(tmp_path, "00001"), **{name: value})
    with refused(
        f"{scores['00001']} was scored with other {name} than the shards before it; "
        "delete it and run the same target again"
    ):
        build_index(windows, scores)


def test_shards_of_another_tokenizer_are_refused(stores, tmp_path):
    windows, scores, _ = stores
    tokens = tmp_path / "tokens" / "00001.parquet"
    write_tokens(tokens, {"beta": 16}, tokenizer="u" * 64)
    write_windows(windows["00001"], tokens, [("beta", 0), ("beta", 8)])
    write_scores(scores["00001"], window_store(tmp_path, "00001"))
    with refused(
        f"{scores['00001']} was scored with other tokenizer than the shards before it; "
        "delete it and run the same target again"
    ):
        build_index(windows, scores)


def test_missing_attention_scores_are_blamed_on_their_own_rule(stores, tmp_path):
    windows, _, ids = stores
    scores = {shard: tmp_path / "attention" / f"{shard}.parquet" for shard in ids}
    digest_of = window_store(tmp_path).tokens_digest_of
    for shard, data_ids in ids.items():
        values = dict.fromkeys(("strength", "variance_block", "variance_matrix"), 0.5)
        rows = [
            {"data_id": data_id, "tokens_digest": digest_of[data_id], **values} for data_id in data_ids[1:]
        ]
        origin = {"settings": {}, "inputs": {"model": "m"}, "tokenizer": "t" * 64}
        write_table(scores[shard], "attention_scores", rows, **origin)
    with pytest.raises(ValueError, match="rerun score_attention for shard 00000, 00001"):
        build_index(windows, scores, kind="attention_scores")


def indexed(stores, tmp_path, *columns):
    windows, scores, _ = stores
    index = write_index(tmp_path / "index.parquet", *build_index(windows, scores))
    return index, IndexedScores(index, scores, digests_of(windows, "windows"), *columns)


def test_a_windows_scores_come_by_id(stores, tmp_path):
    ids = stores[2]
    _, both = indexed(stores, tmp_path, ("short_nll", "long_nll"))
    _, short = indexed(stores, tmp_path)
    for data_id in [*ids["00001"], *ids["00000"]][::-1]:
        found, expected = both[data_id], score_row(data_id)
        for name in ("short_nll", "long_nll"):
            assert found[name].dtype == np.float32
            assert found[name].tolist() == expected[name].astype(np.float32).tolist()
        assert short[data_id].keys() == {"short_nll"}


def test_a_window_without_a_score_is_refused(stores, tmp_path):
    _, scores = indexed(stores, tmp_path)
    with refused("no scores of window books-00000_0000009; rerun score_short for its shard"):
        scores["books-00000_0000009"]


def made_with_another(index, what, before, now):
    return (
        f"{index} was made with another {what} ({before[:12]}) than the one at hand ({now[:12]}); "
        "delete it and run the same target again, which reruns collect_weights"
    )


def test_scores_that_changed_since_they_were_indexed_are_refused(stores, tmp_path):
    windows, scores, _ = stores
    index, _ = indexed(stores, tmp_path)
    before = digests_of(scores, "nll_scores")["00000"]
    copy_rows(scores["00000"], lambda rows: rows[::-1])
    now = digests_of(scores, "nll_scores")["00000"]
    with refused(made_with_another(index, "scores of shard 00000", before, now)):
        IndexedScores(index, scores, digests_of(windows, "windows"))


def test_an_index_of_other_windows_is_refused(stores, tmp_path):
    windows, scores, _ = stores
    index, _ = indexed(stores, tmp_path)
    before = digests_of(windows, "windows")["00001"]
    write_windows(windows["00001"], tmp_path / "tokens" / "00001.parquet", [("beta", 0)])
    now = digests_of(windows, "windows")["00001"]
    with refused(made_with_another(index, "windows of shard 00001", before, now)):
        IndexedScores(index, scores, digests_of(windows, "windows"))


def test_a_shard_that_was_not_indexed_is_refused(stores, tmp_path):
    windows, scores, _ = stores
    rows, inputs = build_index({"00000": windows["00000"]}, {"00000": scores["00000"]})
    index = write_index(tmp_path / "index.parquet", rows, inputs)
    now = digests_of(windows, "windows")
    with refused(made_with_another(index, "windows of shard 00001", "", now["00001"])):
        IndexedScores(index, scores, now)
    digest = digests_of(scores, "nll_scores")["00001"]
    with refused(made_with_another(index, "scores of shard 00001", "", digest)):
        IndexedScores(index, scores, {"00000": now["00000"]})


def test_collection_reads_no_scores_and_a_window_costs_its_row_group_alone(tmp_path):
    """Why memory stays flat with many windows: what is damaged is not missed until it is read."""
    count = 3 * ROWS_PER_GROUP
    write_tokens(tmp_path / "tokens/00000.parquet", {"alpha": count + 8})
    windows = {"00000": tmp_path / "windows/00000.parquet"}
    spans = [("alpha", start) for start in range(count)]
    ids = write_windows(windows["00000"], tmp_path / "tokens/00000.parquet", spans)
    scores = {"00000": tmp_path / "scores/00000.parquet"}
    write_scores(scores["00000"], window_store(tmp_path, "00000"))
    content = bytearray(scores["00000"].read_bytes())
    metadata = pq.ParquetFile(scores["00000"]).metadata
    assert metadata.num_row_groups == 3
    for number in range(metadata.num_columns):
        column = metadata.row_group(1).column(number)
        if "nll" in column.path_in_schema:
            content[column.data_page_offset + column.total_compressed_size - 1] ^= 1
    scores["00000"].write_bytes(content)

    index = write_index(tmp_path / "index.parquet", *build_index(windows, scores))
    found = IndexedScores(index, scores, digests_of(windows, "windows"))
    for data_id in ids[:ROWS_PER_GROUP] + ids[-ROWS_PER_GROUP:]:
        np.testing.assert_array_equal(found[data_id]["short_nll"], score_row(data_id)["short_nll"])
    with pytest.raises(ValueError, match="is damaged"):
        found[ids[ROWS_PER_GROUP]]
