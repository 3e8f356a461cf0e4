"""score_short and score_attention: what they compute, add and keep."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from longspan.models.folders import finish_model
from longspan.store.tables import read_table
from longspan.windows.store import WindowStore
from tiny_chain import TINY, Chain

SIZES = {
    "vocab_size": 400,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
}


def scores(chain, shard="00000", scorer="tiny-32", kind="nll_scores"):
    return read_table(chain.path("scores", shard=shard, scorer=scorer), kind)[0].to_pylist()


def windows(chain, shard="00000"):
    return WindowStore({shard: (chain.path("tokens", shard=shard), chain.path("windows", shard=shard))})


def nll(model, ids):
    """NLL of each token but the first, the plain way."""
    with torch.no_grad():
        logits = model(torch.tensor(ids)[None]).logits[0, :-1].double()
    return torch.nn.functional.cross_entropy(logits, torch.tensor(ids)[1:], reduction="none").numpy()


def test_short_and_long_nll_are_those_of_the_model(chain):
    """methods.md 1.1: windows of 32 tokens every 24, each later one scores its last 24 tokens."""
    model = AutoModelForCausalLM.from_pretrained("inputs/model").eval()
    store = windows(chain)
    for row in scores(chain):
        ids = store.input_ids(row["data_id"])
        short = np.concatenate(
            [
                nll(model, ids[:32]),
                *(nll(model, ids[start : start + 32])[-24:] for start in range(24, 97, 24)),
            ]
        )
        # Half precision holds about three digits.
        np.testing.assert_allclose(row["short_nll"], short, rtol=1e-3)
        np.testing.assert_allclose(row["long_nll"], nll(model, ids), rtol=1e-3)
        assert row["short_nll"][:31] == row["long_nll"][:31]  # the same context


def test_without_store_long_there_is_no_long_nll(chain):
    settings = copy.deepcopy(TINY)
    settings["scorers"]["tiny-32"]["store_long"] = False
    before = scores(chain)
    other = Chain(settings)
    other.make("score_short")
    assert scores(other) == [
        {name: row[name] for name in ("data_id", "tokens_digest", "short_nll")} for row in before
    ]


def test_only_kept_windows_are_scored_and_more_are_added_later(chain):
    settings = copy.deepcopy(TINY)
    settings["runs"]["main"]["select_first"] = True
    limited = Chain(settings)
    everything = chain.path("scores").read_bytes()
    kept = {
        row["data_id"]
        for row in read_table(chain.path("selection"), "selection")[0].to_pylist()
        if row["kept"]
    }
    total = len(windows(chain).data_ids)
    chain.path("scores").unlink()
    said = limited.make("score_short")
    there = [row["data_id"] for row in scores(limited)]
    assert there == [data_id for data_id in windows(chain).data_ids if data_id in kept]
    assert said.endswith(f"{chain.path('scores')}: {len(there)} of {total} windows have scores\n")
    # The join asks for the kept ones only.
    limited.make("score_short", shard="00001")
    limited.make("collect_weights")
    assert chain.run("collect_weights").code == 1
    chain.make("score_short")
    assert chain.path("scores").read_bytes() == everything


def test_a_window_that_scoring_left_out_is_asked_for_by_name(chain):
    settings = copy.deepcopy(TINY)
    settings["runs"]["main"]["select_first"] = True
    chain.path("scores").unlink()
    Chain(settings).make("score_short")
    have = {row["data_id"] for row in scores(chain)}
    first = [data_id for data_id in windows(chain).data_ids if data_id not in have]
    wanted = len(windows(chain).data_ids) + len(windows(chain, "00001").data_ids)
    result = chain.run("collect_weights")
    assert result.code == 1
    assert result.stderr == (
        f"collect_weights: error: scores cover {wanted - len(first)} of {wanted} windows; first missing: "
        f"{', '.join(first[:3])}; rerun score_short for shard 00000 (delete {chain.path('scores')})\n"
    )


@pytest.mark.parametrize("script", ["score_short", "score_attention", "score_ladm", "score_prolong"])
def test_a_complete_store_loads_no_model(chain, script):
    before = chain.path("model").with_name("model.safetensors")
    size = before.stat().st_size
    before.write_bytes(bytes(size))  # would give other numbers, or none
    chain.make(script)


def edit_weights(chain, change):
    path = chain.path("model").with_name("model.safetensors")
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})
    manifest = json.loads(chain.path("model").read_text())
    finish_model(path.parent, source=manifest["source"], license=manifest["license"])
    chain.path("scores").unlink()


def test_a_window_whose_scores_overflow_is_named(chain):
    data_id = windows(chain).data_ids[2]
    others = np.concatenate([windows(chain).input_ids(other) for other in windows(chain).data_ids[:2]])
    token = min(set(windows(chain).input_ids(data_id)) - set(others))
    edit_weights(chain, lambda tensors: tensors["model.embed_tokens.weight"][token].fill_(torch.inf))
    result = chain.run("score_short")
    assert result.code == 1
    assert result.stderr.endswith(
        f"score_windows: error: short_nll of window {data_id} is not finite; try dtype float32\n"
    )
    assert not chain.path("scores").exists()


def test_a_model_whose_logits_overflow_is_named(chain):
    edit_weights(chain, lambda tensors: tensors["model.norm.weight"].fill_(torch.inf))
    result = chain.run("score_short")
    assert result.code == 1
    assert result.stderr.endswith(
        "score_windows: error: LlamaForCausalLM (model_type 'llama'): its logits are not finite in "
        "torch.float32; check its weights, or try dtype float32\n"
    )


def test_attention_scores_that_overflow_are_named_by_window_and_head(chain):
    def change(tensors):
        # Four heads of 8: the second one's queries.
        tensors["model.layers.0.self_attn.q_proj.weight"][8:16] = torch.inf

    edit_weights(chain, change)
    path = chain.path("scores", scorer="tiny-layer0")
    path.unlink()
    result = chain.run("score_attention")
    assert result.code == 1
    assert result.stderr.endswith(
        f"score_windows: error: attention scores are not finite in window {windows(chain).data_ids[0]}, "
        "head 1 (1 of 4 heads in this batch); the model runs in torch.float32: try bfloat16 or float32\n"
    )
    assert not path.exists()


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        (
            lambda: transformers.MambaConfig(
                vocab_size=400, hidden_size=16, state_size=4, num_hidden_layers=2
            ),
            "the first layer of MambaForCausalLM (mamba) has no queries and keys that transformers' "
            "attention interface hands out: a softmax attention layer is needed there",
        ),
        (
            lambda: transformers.MistralConfig(**SIZES, sliding_window=64),
            "the first layer of MistralForCausalLM (mistral) has a sliding window of 64 tokens, shorter than "
            "the window of 128: it sees nothing of what is far; take another layer or scoring model",
        ),
    ],
    ids=["no q and k", "sliding window"],
)
def test_a_first_layer_that_is_none_of_longattns_is_refused_by_name(chain, config, fault):
    folder = Path("inputs/other")
    AutoModelForCausalLM.from_config(config()).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(f"inputs/model/{name}", folder / name)
    settings = copy.deepcopy(TINY)
    settings["models"]["other"] = settings["models"]["tiny"] | {
        "source": {"kind": "folder", "path": str(folder)}
    }
    settings["scorers"]["tiny-layer0"]["model"] = "other"
    other = Chain(settings)
    other.make("download_model", model="other")
    chain.path("scores", scorer="tiny-layer0").unlink()
    result = other.run("score_attention")
    assert result.code == 1
    assert result.stderr.splitlines()[-1].rpartition("\r")[2] == f"score_windows: error: {fault}"


def test_attention_statistics_are_those_of_eager_attention(chain):
    from attention_reference import far_sums_of_matrix
    from longspan.scoring.attention_statistics import attention_variance, dependency_strength

    model = AutoModelForCausalLM.from_pretrained("inputs/model", attn_implementation="eager").eval()
    store = windows(chain)
    for row in scores(chain, scorer="tiny-layer0", kind="attention_scores"):
        ids = torch.from_numpy(store.input_ids(row["data_id"]))[None]
        with torch.no_grad():
            sums = far_sums_of_matrix(model(ids, output_attentions=True).attentions[0])
        expected = {
            "strength": dependency_strength(sums[0], 128),
            "variance_block": attention_variance(*sums, 128),
            "variance_matrix": attention_variance(*sums, 128, "matrix"),
        }
        for name, value in expected.items():
            assert row[name] == pytest.approx(value.mean().item(), rel=1e-4)


def test_new_windows_of_a_shard_are_added_to_its_scores(chain, monkeypatch):
    """A larger sample: what is scored stays, byte for byte."""
    before = scores(chain)
    settings = copy.deepcopy(TINY)
    settings["windowings"]["short-128"]["sampling"] = {"windows_per_category": 6}
    larger = Chain(settings)
    larger.make("assign_windows")
    larger.make("score_short")
    after = scores(larger)
    assert len(after) > len(before)
    assert [row for row in after if row in before] == before
    assert [row["data_id"] for row in after] == windows(larger).data_ids


SCORERS = pytest.mark.parametrize(
    ("script", "scorer", "kind"),
    [
        ("score_short", "tiny-32", "nll_scores"),
        ("score_attention", "tiny-layer0", "attention_scores"),
        ("score_ladm", "tiny-spans", "ladm_scores"),
        ("score_prolong", "tiny-pairs", "prolong_scores"),
    ],
)


@SCORERS
def test_a_sample_that_shrinks_and_grows_again_scores_nothing_twice(chain, script, scorer, kind):
    settings = copy.deepcopy(TINY)
    settings["windowings"]["short-128"]["sampling"] = {"windows_per_category": 2}
    smaller = Chain(settings)
    path = chain.path("scores", scorer=scorer)
    before = path.read_bytes()
    all_windows = windows(chain).data_ids
    # No score can be computed anew: these weights do not load.
    weights = chain.path("model").with_name("model.safetensors")
    size = weights.stat().st_size
    weights.unlink()
    weights.write_bytes(bytes(size))

    smaller.make("assign_windows")
    assert smaller.make(script) == f"{path}: 4 of 4 windows have scores\n"
    there = windows(smaller).data_ids
    assert [row["data_id"] for row in scores(chain, scorer=scorer, kind=kind)] == there + [
        data_id for data_id in all_windows if data_id not in there
    ]
    chain.make("assign_windows")
    assert chain.make(script) == f"{path}: 8 of 8 windows have scores\n"
    assert path.read_bytes() == before


@SCORERS
def test_a_changed_document_rescores_its_windows_alone(chain, monkeypatch, script, scorer, kind):
    before = {row["data_id"]: row for row in scores(chain, scorer=scorer, kind=kind)}
    store = windows(chain)
    # The last one, so that no window behind it gets another number.
    changed = Path([name for name in store.document_ids.values() if name.endswith(".txt")][-1])
    changed.write_text(changed.read_text().replace("the", "thine"))
    for name in ("plan_shards", "read_documents", "tokenize_documents", "assign_windows"):
        chain.make(name)
    store = windows(chain)
    stale = [
        name
        for name in store.data_ids
        if name not in before or store.tokens_digest_of[name] != before[name]["tokens_digest"]
    ]
    assert 0 < len(stale) < len(store.data_ids)
    asked, input_ids = [], WindowStore.input_ids
    monkeypatch.setattr(
        WindowStore, "input_ids", lambda self, name: asked.append(name) or input_ids(self, name)
    )
    chain.make(script)
    assert asked == stale
    after = {row["data_id"]: row for row in scores(chain, scorer=scorer, kind=kind)}
    for name in store.data_ids:
        assert (after[name] == before.get(name)) == (name not in stale)
        assert after[name]["tokens_digest"] == store.tokens_digest_of[name]


def test_a_store_of_another_schema_version_is_not_scored_over(chain):
    path = chain.path("scores")
    table = pq.read_table(path)
    metadata = pq.ParquetFile(path).metadata.metadata[b"longspan"]
    old = metadata.replace(b'"schema_version": 1', b'"schema_version": 0')
    pq.write_table(table.replace_schema_metadata({b"longspan": old}), path)
    before = path.read_bytes()
    result = chain.run("score_short")
    assert result.code == 1
    assert result.stderr == (
        f"score_windows: error: {path} has schema version 0, this longspan reads 1; "
        "delete it and run the same target again, which reruns score_short\n"
    )
    assert path.read_bytes() == before
