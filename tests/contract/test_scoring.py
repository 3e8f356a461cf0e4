"""score_short and score_attention: what they compute, add and keep."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from longspan.artifacts import read_table
from longspan.window_store import WindowStore
from tiny_chain import TINY, Chain


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
    assert said == f"{chain.path('scores')}: {len(there)} of {total} windows have scores\n"
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


@pytest.mark.parametrize("script", ["score_short", "score_attention"])
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
    chain.path("scores").unlink()


def test_a_window_whose_scores_overflow_is_named(chain):
    data_id = windows(chain).data_ids[2]
    others = np.concatenate([windows(chain).input_ids(other) for other in windows(chain).data_ids[:2]])
    token = min(set(windows(chain).input_ids(data_id)) - set(others))
    edit_weights(chain, lambda tensors: tensors["model.embed_tokens.weight"][token].fill_(torch.inf))
    result = chain.run("score_short")
    assert result.code == 1
    assert result.stderr.endswith(
        f"score_short: error: short_nll of window {data_id} is not finite; try dtype float32\n"
    )
    assert not chain.path("scores").exists()


def test_a_model_whose_logits_overflow_is_named(chain):
    edit_weights(chain, lambda tensors: tensors["model.norm.weight"].fill_(torch.inf))
    result = chain.run("score_short")
    assert result.code == 1
    assert result.stderr.endswith(
        "score_short: error: LlamaForCausalLM (model_type 'llama'): its logits are not finite in "
        "torch.float32; check its weights, or try dtype float32\n"
    )


def test_attention_statistics_are_those_of_eager_attention(chain):
    from attention_reference import far_sums_of_matrix
    from longspan.attention_stats import attention_variance, dependency_strength

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
