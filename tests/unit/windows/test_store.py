import numpy as np
import pytest

from longspan.store.tables import open_table, write_table
from longspan.windows.assignment import tokens_digest
from longspan.windows.store import WindowStore, kept_ids, require_windows
from refusals import refused
from stored_tables import window_store, write_shards, write_tokens, write_windows


def test_windows_of_all_shards_come_by_id_in_order(tmp_path):
    ids = write_shards(tmp_path)
    store = window_store(tmp_path)
    assert store.data_ids == ids["00000"] + ids["00001"]
    starts = [100, 108, 201, 100, 108]
    expected = [np.arange(start, start + 8) for start in starts]
    for data_id, tokens in list(zip(store.data_ids, expected, strict=True))[::-1]:
        found = store.input_ids(data_id)
        assert found.dtype == np.int64
        assert found.tolist() == tokens.tolist()
    assert list(store.categories.values()) == ["prose", "prose", "verse", "prose", "prose"]
    assert store.document_ids[ids["00000"][2]] == "mu"
    assert store.window_tokens == 8
    assert store.tokens_digest_of == {
        data_id: tokens_digest(tokens) for data_id, tokens in zip(store.data_ids, expected, strict=True)
    }
    assert store.windows_digests == {
        shard: open_table(tmp_path / "windows" / f"{shard}.parquet", "windows")[1].data_digest
        for shard in ("00000", "00001")
    }
    assert store.bos_token_id is None


def test_a_bos_token_stands_before_the_text(tmp_path):
    write_tokens(tmp_path / "t.parquet", {"a": 10})
    (data_id,) = write_windows(tmp_path / "00000.parquet", tmp_path / "t.parquet", [("a", 2)], bos_token_id=1)
    store = WindowStore({"00000": (tmp_path / "t.parquet", tmp_path / "00000.parquet")})
    assert store.input_ids(data_id).tolist() == [1, *range(102, 109)]
    assert store.bos_token_id == 1
    assert store.tokens_digest_of == {data_id: tokens_digest(store.input_ids(data_id))}


def test_an_unknown_window_is_refused(tmp_path):
    write_shards(tmp_path)
    with refused("no window books-00000_0000009; it is in none of the shards 00000, 00001"):
        window_store(tmp_path).input_ids("books-00000_0000009")


def test_windows_of_other_tokens_are_refused(tmp_path):
    write_shards(tmp_path)
    write_tokens(tmp_path / "tokens" / "00000.parquet", {"alpha": 20, "mu": 10})
    with pytest.raises(
        ValueError, match=r"00000.parquet was made with another tokens file .* reruns assign_windows$"
    ):
        window_store(tmp_path)


@pytest.mark.parametrize("change", [{"window_tokens": 4}, {"bos_token_id": 1}])
def test_shards_of_another_form_are_refused(tmp_path, change):
    write_shards(tmp_path)
    path = tmp_path / "windows" / "00001.parquet"
    write_windows(path, tmp_path / "tokens" / "00001.parquet", [("beta", 0)], **change)
    with refused(other_form(path)):
        window_store(tmp_path)


def other_form(path):
    return (
        f"{path} has windows of another tokenizer, length or BOS token than the shards before it; "
        "delete it and run the same target again, which reruns assign_windows"
    )


def test_shards_of_other_sampling_go_together(tmp_path):
    write_shards(tmp_path)
    path = tmp_path / "windows" / "00001.parquet"
    write_windows(
        path, tmp_path / "tokens" / "00001.parquet", [("beta", 0)], seed=5, sampling={"fraction": 0.1}
    )
    assert len(window_store(tmp_path).data_ids) == 4


def test_shards_of_another_tokenizer_are_refused(tmp_path):
    write_shards(tmp_path)
    tokens, path = tmp_path / "tokens" / "00001.parquet", tmp_path / "windows" / "00001.parquet"
    write_tokens(tokens, {"beta": 16}, tokenizer="u" * 64)
    write_windows(path, tokens, [("beta", 0)])
    with refused(other_form(path)):
        window_store(tmp_path)


def test_an_id_in_two_shards_is_refused(tmp_path):
    ids = write_shards(tmp_path)
    tokens, windows = tmp_path / "tokens" / "00000.parquet", tmp_path / "windows" / "00000.parquet"
    with refused(
        f"{windows} holds {ids['00000'][0]}, which is there already; delete it and run the same target "
        "again, which reruns assign_windows"
    ):
        WindowStore({"00000": (tokens, windows), "00001": (tokens, windows)})


def test_a_model_of_another_tokenizer_is_refused(tmp_path):
    write_shards(tmp_path)
    store = window_store(tmp_path)
    store.require_tokenizer("t" * 64, "models/tiny")
    with refused(
        "models/tiny has another tokenizer (uuuuuuuuuuuu) than the windows (tttttttttttt); "
        "choose a model with the windowing's tokenizer"
    ):
        store.require_tokenizer("u" * 64, "models/tiny")


def write_kept(path, data_ids, digests):
    inputs = {f"windows/{shard}": digest for shard, digest in digests.items()}
    rows = [{"data_id": data_id} for data_id in data_ids]
    write_table(path, "kept_windows", rows, settings={}, inputs=inputs)
    return path


def test_kept_ids_are_those_of_any_selection(tmp_path):
    digests = {"00000": "v" * 64, "00001": "w" * 64}
    one = write_kept(tmp_path / "one", ["c", "a"], digests)
    other = write_kept(tmp_path / "other", ["c", "d"], digests)
    assert kept_ids([one], digests) == ["a", "c"]
    assert kept_ids([one, other], digests) == ["a", "c", "d"]
    assert kept_ids([write_kept(tmp_path / "none", [], digests)], digests) == []
    # Who scores one shard compares only its windows.
    assert kept_ids([one], {"00001": "w" * 64}) == ["a", "c"]


def test_kept_windows_of_other_windows_are_refused(tmp_path):
    digests = {"00000": "v" * 64, "00001": "w" * 64}
    path = write_kept(tmp_path / "kept", ["a"], digests)
    for now, found in ({"00001": "x" * 64}, "w" * 12), ({"00002": "x" * 64}, ""):
        message = (
            f"{path} was made with another windows of shard {next(iter(now))} ({found}) than the one at hand "
            "(xxxxxxxxxxxx); delete it and run the same target again, which reruns list_kept_windows"
        )
        with refused(message):
            kept_ids([path], digests | now)
        with refused(message):
            require_windows(open_table(path, "kept_windows")[1], now, where=path, rule="list_kept_windows")
