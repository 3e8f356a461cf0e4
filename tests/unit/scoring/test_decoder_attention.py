import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GptOssConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    PhiConfig,
    Qwen3Config,
    Qwen3NextConfig,
)

from longspan.models.layers import compile_layers
from longspan.scoring.decoder_attention import DecoderAttention, load_decoder_attention
from longspan.scoring.queries_keys import model_name
from longspan.scoring.span_attention import span_attention
from span_reference import spans_of_matrix

torch.set_num_threads(1)
NUM_TOKENS, SPAN = 36, 4
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
    "mistral, reaching": MistralConfig(**GROUPED, sliding_window=NUM_TOKENS),
    "gemma2": Gemma2Config(
        **GROUPED, head_dim=16, sliding_window=64, query_pre_attn_scalar=7, attn_logit_softcapping=0.5
    ),
    "gemma3": Gemma3TextConfig(**GROUPED, head_dim=16, sliding_window=64),
    "phi": PhiConfig(**SIZES, partial_rotary_factor=0.5, qk_layernorm=True),
    "gpt2": GPT2Config(vocab_size=64, n_embd=32, n_layer=3, n_head=4, n_positions=64),
}
INPUT_IDS = torch.randint(0, 64, (2, NUM_TOKENS), generator=torch.Generator().manual_seed(0))


def tiny_model(config, dtype=torch.float32):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.to(dtype)


def eager_attentions(model):
    with torch.no_grad():
        return model(INPUT_IDS, output_attentions=True).attentions


def spans_by_layer(attention):
    found = {}

    def look(layer, seen):
        found[layer] = span_attention(
            seen.q, seen.k, span_tokens=SPAN, spans=range(9), scale=seen.scale, softcap=seen.softcap
        )

    attention.visit(INPUT_IDS, look)
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_spans_of_each_layer_are_those_of_eager_attention(name):
    # Rotary tables and eager's own softmax are in float32 whatever the model's dtype.
    for dtype, rtol in (torch.float32, 1e-4), (torch.float64, 1e-5):
        model = tiny_model(CONFIGS[name], dtype)
        weights = eager_attentions(model)
        # sdpa has no softcap.
        for implementation in ("eager", *(["sdpa"] if name != "gemma2" else [])):
            found = spans_by_layer(DecoderAttention(model, attention=implementation))
            assert list(found) == [0, 1, 2]
            for layer, pfs in found.items():
                expected = spans_of_matrix(weights[layer], SPAN, range(9))
                torch.testing.assert_close(pfs, expected, rtol=rtol, atol=rtol * 1e-2)
        # the model is left as it was
        torch.testing.assert_close(eager_attentions(model)[2], weights[2])


def test_the_pass_ends_at_the_last_layer_that_is_wanted(tmp_path):
    model = tiny_model(CONFIGS["llama"])
    model.save_pretrained(tmp_path)
    attention = load_decoder_attention(tmp_path, [1], dtype="float32", attention="sdpa")
    ran = []
    for number, layer in enumerate(attention.model.model.layers):
        layer.mlp.register_forward_hook(lambda *_, number=number: ran.append(number))
    found = spans_by_layer(attention)
    assert list(found) == [1]
    assert ran == [0]
    expected = spans_of_matrix(eager_attentions(model)[1], SPAN, range(9))
    torch.testing.assert_close(found[1], expected, rtol=1e-4, atol=1e-6)


def test_compiled_layers_give_the_same():
    torch._dynamo.reset()
    model = tiny_model(CONFIGS["llama"])
    attention = DecoderAttention(model, [0, 2])
    plain = spans_by_layer(attention)
    compile_layers(model, backend="aot_eager")
    for layer, pfs in spans_by_layer(attention).items():
        torch.testing.assert_close(pfs, plain[layer], rtol=1e-4, atol=1e-6)


def test_another_rope_theta_reaches_beyond_the_position_table(tmp_path):
    model = tiny_model(LlamaConfig(**GROUPED | {"max_position_embeddings": 30}))
    with pytest.raises(ValueError, match="a window of 36 tokens is longer than the position table of Llama"):
        spans_by_layer(DecoderAttention(model))
    model.save_pretrained(tmp_path)
    options = {"dtype": "float32", "attention": "sdpa"}
    changed = load_decoder_attention(tmp_path, [1], **options, rope_theta=1e6)
    same = tiny_model(LlamaConfig(**GROUPED, rope_parameters={"rope_type": "default", "rope_theta": 1e6}))
    expected = spans_of_matrix(eager_attentions(same)[1], SPAN, range(9))
    torch.testing.assert_close(spans_by_layer(changed)[1], expected, rtol=1e-4, atol=1e-6)


QWEN_NEXT = Qwen3NextConfig(
    **GROUPED,
    head_dim=8,
    layer_types=["linear_attention", "full_attention", "linear_attention"],
    num_experts=2,
    num_experts_per_tok=1,
    moe_intermediate_size=8,
    shared_expert_intermediate_size=8,
    linear_num_key_heads=2,
    linear_num_value_heads=2,
    linear_key_head_dim=8,
    linear_value_head_dim=8,
)


@pytest.mark.parametrize(
    ("config", "layers", "fault"),
    [
        (CONFIGS["llama"], [1, 3, 7], "layers 3, 7 are beyond NAME, which has layers 0 to 2"),
        (
            MambaConfig(vocab_size=64, hidden_size=16, state_size=4, num_hidden_layers=2),
            None,
            "layers 0, 1 of NAME have no queries and keys that transformers' attention interface hands out; "
            "take another scoring model",
        ),
        (
            QWEN_NEXT,
            None,
            "layers 0, 2 of NAME have no queries and keys that transformers' attention interface hands out; "
            "layers 1 have",
        ),
        (
            GptOssConfig(**GROUPED, head_dim=8, num_local_experts=2, num_experts_per_tok=1),
            [1],
            "layer 1 of NAME adds s_aux to its softmax, which the sums leave out",
        ),
        (
            Gemma2Config(**GROUPED, head_dim=16, sliding_window=32),
            [0],
            "the first layer of NAME has a sliding window of 32 tokens, shorter than the window of 36: it "
            "sees nothing of what is far; take another layer or scoring model",
        ),
    ],
    ids=["beyond", "no attention", "some without", "sinks", "sliding"],
)
def test_what_is_not_exact_is_refused_by_name(config, layers, fault):
    model = tiny_model(config)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared whole
        spans_by_layer(DecoderAttention(model, layers, attention="eager"))
    assert str(caught.value) == fault.replace("NAME", model_name(model))


def test_layers_that_reach_over_the_window_serve_beside_sliding_ones():
    model = tiny_model(Gemma2Config(**GROUPED, head_dim=16, sliding_window=32))
    found = spans_by_layer(DecoderAttention(model, [1], attention="eager"))
    expected = spans_of_matrix(eager_attentions(model)[1], SPAN, range(9))
    torch.testing.assert_close(found[1], expected, rtol=1e-4, atol=1e-6)


def test_a_layer_that_attends_more_than_once_is_refused():
    model = tiny_model(CONFIGS["llama"])
    model.model.layers[2].self_attn.layer_idx = 1
    with pytest.raises(ValueError, match=r"layer 1 of LlamaForCausalLM \(llama\) attends more than once"):
        DecoderAttention(model, [1])


def test_attention_that_is_more_than_a_softmax_is_refused(monkeypatch):
    model = tiny_model(CONFIGS["llama"])
    plain = __import__("sys").modules[type(model).__module__].eager_attention_forward

    def shared(module, *inputs, **options):
        output, weights = plain(module, *inputs, **options)
        return output, weights * (0.9 if module.layer_idx == 1 else 1.0)

    monkeypatch.setattr(f"{type(model).__module__}.eager_attention_forward", shared)
    with pytest.raises(
        ValueError, match=r"layer 1 of LlamaForCausalLM .* more than the softmax of its scores"
    ):
        DecoderAttention(model)
    DecoderAttention(model, [0, 2])


def test_other_attentions_are_refused():
    with pytest.raises(ValueError, match="with attention sdpa or eager, not 'flash_attention_2'"):
        DecoderAttention(tiny_model(CONFIGS["llama"]), attention="flash_attention_2")


def test_a_model_that_attends_otherwise_by_an_unknown_name_is_refused(monkeypatch):
    model = tiny_model(CONFIGS["llama"])
    attention = type(model.model.layers[1].self_attn)
    forward = attention.forward

    def by_name(self, hidden_states, *inputs, **options):
        known = self.config._attn_implementation in ("eager", "sdpa")
        return forward(self, hidden_states * (1.0 if known else 1.5), *inputs, **options)

    monkeypatch.setattr(attention, "forward", by_name)
    for implementation in ("eager", "sdpa"):
        with pytest.raises(ValueError, match=r"LlamaForCausalLM \(llama\) attends in another way while its"):
            DecoderAttention(model, [0], attention=implementation)


def test_a_choice_of_keys_is_refused_by_name():
    model = tiny_model(CONFIGS["llama"])
    for layer in model.model.layers:
        layer.self_attn.register_forward_pre_hook(
            lambda module, inputs, options: (inputs, options | {"indices": torch.zeros(1, 4)}),
            with_kwargs=True,
        )
    with pytest.raises(
        ValueError, match=r"the first layer of Llama.* attends by indices of its own, which the"
    ):
        DecoderAttention(model)
