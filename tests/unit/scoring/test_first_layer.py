import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Phi3Config,
    PhiConfig,
    Qwen3Config,
)

from attention_reference import far_sums_of_matrix
from longspan.models.checkpoint_index import INDEX_NAME, SINGLE_NAME, first_layer_files
from longspan.models.loading import load_model
from longspan.scoring.attention_statistics import attention_variance, dependency_strength, far_attention_sums
from longspan.scoring.first_layer import (
    FirstLayer,
    load_first_layer,
    statistics_of_batches,
    window_statistics,
)

torch.set_num_threads(1)
NUM_TOKENS = 37
SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
GROUPED = SIZES | {"num_key_value_heads": 2}
CONFIGS = {
    "llama": LlamaConfig(**GROUPED),
    "qwen3": Qwen3Config(**GROUPED, head_dim=12),
    "mistral": MistralConfig(**GROUPED, sliding_window=None),
    "mistral_reaching": MistralConfig(**GROUPED, sliding_window=NUM_TOKENS),
    "gemma2": Gemma2Config(
        **GROUPED, head_dim=16, sliding_window=64, query_pre_attn_scalar=7, attn_logit_softcapping=0.5
    ),
    "gemma3": Gemma3TextConfig(**GROUPED, head_dim=16, sliding_window=64),
    "phi": PhiConfig(**SIZES, partial_rotary_factor=0.5, qk_layernorm=True),
    "phi3": Phi3Config(**GROUPED),
    "gpt2": GPT2Config(vocab_size=64, n_embd=32, n_layer=3, n_head=4, n_positions=64),
}
INPUT_IDS = torch.randint(0, 64, (2, NUM_TOKENS), generator=torch.Generator().manual_seed(0))


def tiny_model(config, seed=0):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # wide enough for scores that differ
    return model


def eager_attention(model, input_ids=INPUT_IDS):
    with torch.no_grad():
        return model(input_ids, output_attentions=True).attentions[0]


def shard(folder, tensors_of_file):
    """Turn a single safetensors file into a sharded checkpoint with an index."""
    tensors = load_file(folder / SINGLE_NAME)
    (folder / SINGLE_NAME).unlink()
    weight_map = {}
    for file, belongs in tensors_of_file.items():
        part = {n: t for n, t in tensors.items() if n not in weight_map and belongs(n)}
        save_file(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / INDEX_NAME).write_text(json.dumps(index))
    return index


@pytest.mark.parametrize("name", CONFIGS)
def test_sums_equal_those_of_eager_attention(name):
    model = tiny_model(CONFIGS[name])
    p_BHLL = eager_attention(model)
    layer = FirstLayer(model).queries_keys(INPUT_IDS)
    sums = far_attention_sums(layer.q, layer.k, scale=layer.scale, softcap=layer.softcap)
    for ours, exact in zip(sums, far_sums_of_matrix(p_BHLL), strict=True):
        torch.testing.assert_close(ours.double(), exact, rtol=1e-5, atol=0)
    assert (layer.softcap is not None) == (name == "gemma2")
    # the model is left as it was
    torch.testing.assert_close(eager_attention(model), p_BHLL)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_loaded_first_layer_equals_the_whole_model(name, tmp_path):
    model = tiny_model(CONFIGS[name])
    model.save_pretrained(tmp_path)
    first_layer = load_first_layer(tmp_path, dtype="float32")
    ours, whole = first_layer.queries_keys(INPUT_IDS), FirstLayer(model).queries_keys(INPUT_IDS)
    torch.testing.assert_close(ours.q, whole.q)
    torch.testing.assert_close(ours.k, whole.k)
    assert (ours.scale, ours.softcap) == (whole.scale, whole.softcap)


def test_nothing_behind_the_projections_is_read(tmp_path):
    tiny_model(CONFIGS["llama"]).save_pretrained(tmp_path)
    model = load_first_layer(tmp_path, dtype=torch.float32).model
    held = {name for name, parameter in model.named_parameters() if not parameter.is_meta}
    layer = "model.layers.0."
    assert held == {"model.embed_tokens.weight", layer + "input_layernorm.weight"} | {
        f"{layer}self_attn.{part}_proj.weight" for part in "qkv"
    }


def test_only_the_files_of_embedding_and_first_layer_are_needed(tmp_path):
    model = tiny_model(CONFIGS["llama"])
    model.save_pretrained(tmp_path)
    index = shard(
        tmp_path,
        {
            "model-00001.safetensors": lambda name: "embed_tokens" in name,
            "model-00002.safetensors": lambda name: ".layers.0." in name,
            "model-00003.safetensors": lambda name: ".layers." in name,
            "model-00004.safetensors": lambda name: True,
        },
    )
    assert first_layer_files(index) == ["model-00001.safetensors", "model-00002.safetensors"]
    for file in ("model-00003.safetensors", "model-00004.safetensors"):
        (tmp_path / file).unlink()
    ours = load_first_layer(tmp_path, dtype="float32").queries_keys(INPUT_IDS)
    torch.testing.assert_close(ours.q, FirstLayer(model).queries_keys(INPUT_IDS).q)

    (tmp_path / "model-00002.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model-00002.safetensors is missing.*input_layernorm"):
        load_first_layer(tmp_path, dtype="float32")


def test_files_by_name_in_other_naming_schemes():
    names = ["transformer.wte.weight", "transformer.wpe.weight", "transformer.h.0.ln_1.weight"]
    others = ["transformer.h.10.ln_1.weight", "lm_head.weight", "transformer.ln_f.weight"]
    weight_map = {name: f"{number}.safetensors" for number, name in enumerate(names + others)}
    assert first_layer_files({"weight_map": weight_map}) == [
        "0.safetensors",
        "1.safetensors",
        "2.safetensors",
    ]
    with pytest.raises(ValueError, match="no tensor of a layer 0"):
        first_layer_files({"weight_map": {"embed_tokens.weight": "a", "layers.3.x": "b"}})
    with pytest.raises(ValueError, match="no tensor of an embedding"):
        first_layer_files({"weight_map": {"layers.0.x": "b"}})


def test_rope_theta_overrides_the_checkpoints(tmp_path):
    model = tiny_model(CONFIGS["llama"])
    model.save_pretrained(tmp_path)
    same = load_first_layer(tmp_path, dtype="float32", rope_theta=1e4).queries_keys(INPUT_IDS)
    other = load_first_layer(tmp_path, dtype="float32", rope_theta=2.5e6).queries_keys(INPUT_IDS)
    torch.testing.assert_close(same.q, FirstLayer(model).queries_keys(INPUT_IDS).q)
    torch.testing.assert_close(other.q[:, :, 0], same.q[:, :, 0])  # position 0 is not rotated
    assert (other.q - same.q).abs().max() > 0.1


def test_rope_theta_leaves_a_sliding_first_layer_alone(tmp_path):
    model = tiny_model(CONFIGS["gemma3"])
    model.save_pretrained(tmp_path)
    other = load_first_layer(tmp_path, dtype="float32", rope_theta=2.5e6).queries_keys(INPUT_IDS)
    torch.testing.assert_close(other.q, FirstLayer(model).queries_keys(INPUT_IDS).q)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_compiled_layers_give_the_same(name, tmp_path):
    torch._dynamo.reset()
    tiny_model(CONFIGS[name]).save_pretrained(tmp_path)
    plain, compiled = (
        load_first_layer(tmp_path, dtype="float32", compile_layers=compiled) for compiled in (False, True)
    )
    expected, found = (torch.stack(window_statistics(layer, INPUT_IDS)) for layer in (plain, compiled))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)


def test_rope_theta_needs_a_rotary_embedding(tmp_path):
    tiny_model(CONFIGS["gpt2"]).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="gpt2 has no rotary embedding"):
        load_first_layer(tmp_path, dtype="float32", rope_theta=1e6)


def test_a_sliding_first_layer_is_refused_by_name():
    model = tiny_model(MistralConfig(**GROUPED, sliding_window=36))
    with pytest.raises(ValueError, match=r"MistralForCausalLM \(mistral\) has a sliding window of 36 tokens"):
        FirstLayer(model).queries_keys(INPUT_IDS)
    model = tiny_model(Gemma2Config(**GROUPED, head_dim=16, sliding_window=8))
    with pytest.raises(ValueError, match="Gemma2ForCausalLM"):
        FirstLayer(model).queries_keys(INPUT_IDS)


def test_a_model_without_queries_and_keys_is_refused(tmp_path):
    config = MambaConfig(vocab_size=64, hidden_size=16, state_size=4, num_hidden_layers=1)
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(ValueError, match=r"MambaForCausalLM.*has no queries and keys"):
        FirstLayer(model).queries_keys(INPUT_IDS)


def test_an_attention_behind_the_first_layer_does_not_count():
    model = tiny_model(CONFIGS["llama"])
    model.model.layers[0].self_attn.layer_idx = 1
    with pytest.raises(ValueError, match="its first attention is in layer 1"):
        FirstLayer(model).queries_keys(INPUT_IDS)


def test_a_window_longer_than_the_position_table_is_refused():
    with pytest.raises(ValueError, match=r"65 tokens is longer than the position table .* = 64"):
        FirstLayer(tiny_model(CONFIGS["llama"])).queries_keys(torch.zeros(1, 65, dtype=torch.long))


def test_with_another_rope_theta_a_window_may_be_longer_than_the_position_table(tmp_path):
    config = LlamaConfig(**GROUPED | {"max_position_embeddings": 16})
    tiny_model(config).save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=f"a window of {NUM_TOKENS} tokens is longer than the position table"
    ):
        load_first_layer(tmp_path, dtype="float32").queries_keys(INPUT_IDS)
    layer = load_first_layer(tmp_path, dtype="float32", rope_theta=1e6).queries_keys(INPUT_IDS)
    whole = load_model(tmp_path, dtype="float32", attention="eager", rope_theta=1e6, device="cpu").eval()
    expected = far_sums_of_matrix(eager_attention(whole))
    sums = far_attention_sums(layer.q, layer.k, scale=layer.scale)
    torch.testing.assert_close(sums[0].double(), expected[0], rtol=1e-5, atol=0)


def test_window_statistics_average_over_heads():
    model = tiny_model(CONFIGS["qwen3"])
    statistics = window_statistics(FirstLayer(model), INPUT_IDS)
    sums = far_sums_of_matrix(eager_attention(model))
    expected = (
        dependency_strength(sums[0], NUM_TOKENS),
        attention_variance(*sums, NUM_TOKENS),
        attention_variance(*sums, NUM_TOKENS, "matrix"),
    )
    for ours, exact in zip(statistics, expected, strict=True):
        assert ours.dtype == torch.float64
        torch.testing.assert_close(ours, exact.mean(1), rtol=1e-4, atol=0)


def test_a_batch_gives_what_its_windows_give_alone():
    first_layer = FirstLayer(tiny_model(CONFIGS["llama"]))
    together = torch.stack(window_statistics(first_layer, INPUT_IDS))
    alone = [torch.stack(window_statistics(first_layer, INPUT_IDS[row : row + 1])) for row in range(2)]
    torch.testing.assert_close(together, torch.cat(alone, 1), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", CONFIGS)
def test_tokens_at_once_do_not_show(name):
    model = tiny_model(CONFIGS[name])
    whole = FirstLayer(model).queries_keys(INPUT_IDS)
    for tokens_at_once in (1, 2 * 10, 2 * 36, 2 * 37):
        parts = FirstLayer(model, tokens_at_once).queries_keys(INPUT_IDS)
        torch.testing.assert_close(parts.q, whole.q)
        torch.testing.assert_close(parts.k, whole.k)
        assert (parts.scale, parts.softcap) == (whole.scale, whole.softcap)


def test_angles_that_depend_on_the_window_are_computed_for_all_of_it():
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
    model = tiny_model(LlamaConfig(**GROUPED | {"max_position_embeddings": 16}, rope_parameters=rope))
    first_layer = FirstLayer(model, tokens_at_once=8)
    first_layer.max_positions = 64  # the table that dynamic scaling grows beyond
    layer = first_layer.queries_keys(INPUT_IDS)
    sums = far_attention_sums(layer.q, layer.k, scale=layer.scale)
    expected = far_sums_of_matrix(eager_attention(model))
    torch.testing.assert_close(sums[0].double(), expected[0], rtol=1e-5, atol=0)


def test_batches_come_back_in_order():
    first_layer = FirstLayer(tiny_model(CONFIGS["llama"]))
    batches = [(None, INPUT_IDS[:1]), (None, INPUT_IDS), (None, INPUT_IDS[1:, :20])]
    streamed = list(statistics_of_batches(first_layer, batches))
    for ours, (_, input_ids) in zip(streamed, batches, strict=True):
        torch.testing.assert_close(torch.stack(ours), torch.stack(window_statistics(first_layer, input_ids)))


def test_sums_that_are_not_finite_name_window_and_head():
    model = tiny_model(CONFIGS["llama"])
    with torch.no_grad():
        model.model.layers[0].self_attn.q_proj.weight[8:16] = torch.inf
    with pytest.raises(ValueError, match=r"window books_0000002, head 1 \(1 of 4 heads"):
        window_statistics(FirstLayer(model), INPUT_IDS[:1], window_ids=["books_0000002"])


def test_a_folder_without_safetensors_is_refused(tmp_path):
    CONFIGS["llama"].save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds neither"):
        load_first_layer(tmp_path, dtype="float32")


def test_attention_with_more_than_a_softmax_of_scores_is_refused_by_name(monkeypatch):
    model = tiny_model(CONFIGS["llama"])
    module = sys.modules[type(model).__module__]
    plain = module.eager_attention_forward

    def shared(module, query, key, value, mask, scaling, **options):
        output, weights = plain(module, query, key, value, mask, scaling, **options)
        return output, weights * 0.9  # as beside a sink

    monkeypatch.setattr(module, "eager_attention_forward", shared)
    with pytest.raises(
        ValueError, match=r"LlamaForCausalLM \(llama\) attends by more than the softmax of its"
    ):
        FirstLayer(model).queries_keys(INPUT_IDS)


def test_a_mask_of_the_models_own_is_refused_by_name():
    model = tiny_model(CONFIGS["llama"])

    def sparse(module, args, options):
        mask = options["attention_mask"]
        return args, options | {"attention_mask": None if mask is None else mask.clone()}

    model.model.layers[0].self_attn.register_forward_pre_hook(sparse, with_kwargs=True)
    with pytest.raises(ValueError, match=r"attends by a mask of its own \(a sparse choice of keys, say\)"):
        FirstLayer(model).queries_keys(INPUT_IDS)


def test_a_layer_that_differs_in_pieces_is_run_at_once(capsys):
    model = tiny_model(CONFIGS["llama"])
    model.model.layers[0].input_layernorm.register_forward_hook(lambda module, args, x: x + x.roll(1, 1))
    whole = FirstLayer(model).queries_keys(INPUT_IDS)
    assert "at once, not in pieces" in capsys.readouterr().out
    pieces = FirstLayer(model, tokens_at_once=2 * 10).queries_keys(INPUT_IDS)
    torch.testing.assert_close(pieces.q, whole.q)


def test_tensors_of_a_vision_tower_are_not_the_text_decoders(tmp_path):
    model = tiny_model(CONFIGS["llama"])
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / SINGLE_NAME)
    inside = {name.replace("model.", "model.language_model.", 1): value for name, value in tensors.items()}
    tower = {
        name.replace("model.", "model.vision_tower.", 1): torch.zeros_like(value)
        for name, value in tensors.items()
        if ".layers." in name
    }
    save_file(inside | tower, tmp_path / SINGLE_NAME)
    ours = load_first_layer(tmp_path, dtype="float32").queries_keys(INPUT_IDS)
    torch.testing.assert_close(ours.q, FirstLayer(model).queries_keys(INPUT_IDS).q)
