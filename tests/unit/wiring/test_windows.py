from pathlib import Path

from longspan.store.shards import shard_files, shard_names
from tiny_wiring import LLAMA, WILDCARDS, wildcards, wiring_of


def test_shards_are_named_by_five_digits():
    assert shard_names(3) == ["00000", "00001", "00002"]
    assert shard_files(Path("f"), 2) == {"00000": Path("f/00000.parquet"), "00001": Path("f/00001.parquet")}
    wiring = wiring_of(config=LLAMA)
    assert wiring.scores.shard_count(wildcards(windowing="pg19-32k")) == 64
    assert len(wiring.windows.all_windows(wiring.settings.windowings["pg19-32k"])) == 64


def test_ids_name_corpus_and_shard():
    windows = wiring_of().windows
    assert windows.id_prefix(WILDCARDS) == "short-00001"
    assert windows.id_prefix(wildcards(shard="held_out")) == "short-held_out"


def test_held_out_works_are_not_sampled():
    windows = wiring_of().windows
    held_out = windows.windowing_settings(wildcards(shard="held_out"))
    training = windows.windowing_settings(WILDCARDS)
    assert (held_out["sampling"], held_out["seed"]) == ({}, None)
    assert training["sampling"] == {"windows_per_category": 4}
    assert training["seed"] is not None
    assert {key: held_out[key] for key in held_out.keys() - {"sampling", "seed"}} == {
        key: training[key] for key in training.keys() - {"sampling", "seed"}
    }


def test_a_shard_is_cut_from_its_documents_and_tokens():
    assert wiring_of().windows.inputs(WILDCARDS) == {
        "documents": "results/corpora/short/documents/00001.parquet",
        "tokens": "results/tokens/short/tiny/00001.parquet",
        "model": "results/models/tiny/longspan.json",
    }
