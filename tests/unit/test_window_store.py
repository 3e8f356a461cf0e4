import numpy as np
import pytest

from longspan.artifacts import write_table
from longspan.window_assignment import tokens_digest
from longspan.window_store import WindowStore, kept_ids
from refusals import refused
from stored_tables import window_store, write_shards, write_tokens, write_windows

WINDOWS = {"00000": "a" * 64, "00001": "b" * 64}


def test_windows_of_all_shards_come_by_id_in_order(tmp_path):
    ids = write_shards(tmp_path)
    store = window_store(tmp_path)
    assert store.data_ids == ids["00000"] + ids["00001"]
    expected = [np.arange(100, 108), np.arange(108, 116), np.arange(201, 209), np.arange(100, 108)]
    for data_id, tokens in list(zip(store.data_ids, expected, strict=False))[::-1]:
        found = store.input_ids(data_id)
        assert found.dtype == np.int64
        assert found.tolist() == tokens.tolist()
    assert list(store.categories.values()) == ["prose", "prose", "verse", "prose", "prose"]
    assert store.document_ids[ids["00000"][2]] == "mu"
    assert store.window_tokens == 8
    assert store.bos_token_id is None
    assert store.tokens_digest_of == {
        data_id: tokens_digest(store.input_ids(data_id)) for data_id in store.data_ids
    }
    assert store.windows_digests.keys() == ids.keys()


def test_a_bos_token_stands_before_the_text(tmp_path):
    write_tokens(tmp_path / "t.parquet", {"a": 10})
    (data_id,) = write_windows(tmp_path / "00000.parquet", tmp_path / "t.parquet", [("a", 2)], bos_token_id=1)
    store = WindowStore({"00000": (tmp_path / "t.parquet", tmp_path / "00000.parquet")})
    assert store.input_ids(data_id).tolist() == [1, *range(102, 109)]


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
    with refused(
        f"{path} has windows of another tokenizer, length or BOS token than the shards before it; "
        "delete it and run the same target again, which reruns assign_windows"
    ):
        window_store(tmp_path)


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
    with pytest.raises(ValueError, match=r"00001.parquet has windows of another tokenizer, length or BOS"):
        window_store(tmp_path)


def test_an_id_in_two_shards_is_refused(tmp_path):
    ids = write_shards(tmp_path)
    tokens, windows = tmp_path / "tokens" / "00000.parquet", tmp_path / "windows" / "00000.parquet"
    with refused(f"{windows} holds {ids['00000'][0]}, which another shard holds too"):
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


def test_kept_ids_are_those_of_any_selection(tmp_path):
    def write(name, kept):
        rows = [
            {
                "data_id": data_id,
                "category": "prose",
                "score": 0.0,
                "rank": 1,
                "percentile": 0.0,
                "kept": keep,
                "reason": "",
            }
            for data_id, keep in kept.items()
        ]
        inputs = {f"windows/{shard}": digest for shard, digest in WINDOWS.items()}
        write_table(tmp_path / name, "selection", rows, settings={}, inputs=inputs)
        return tmp_path / name

    one = write("one", {"c": True, "b": False, "a": True})
    other = write("other", {"c": True, "d": True})
    assert kept_ids([one], WINDOWS) == ["a", "c"]
    assert kept_ids([one, other], WINDOWS) == ["a", "c", "d"]
    assert kept_ids([write("none", {"a": False})], WINDOWS) == []


def test_a_selection_of_other_windows_is_refused(tmp_path):
    write_table(tmp_path / "s", "selection", [], settings={}, inputs={"windows/00000": "f" * 64})
    again = "; delete it and run the same target again, which reruns filter_longattn"
    with refused(
        f"{tmp_path / 's'} was made with another windows of shard 00000 (ffffffffffff) than the one at hand "
        f"(eeeeeeeeeeee){again}"
    ):
        kept_ids([tmp_path / "s"], {"00000": "e" * 64})
    # A shard that was added since.
    with refused(
        f"{tmp_path / 's'} was made with another windows of shard 00001 () than the one at hand "
        f"(eeeeeeeeeeee){again}"
    ):
        kept_ids([tmp_path / "s"], {"00001": "e" * 64})
