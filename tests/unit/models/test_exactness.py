"""Run-time checks: each fault that they are there for is put into a model that has none."""

import pytest
import torch
import transformers

from longspan.models.document_attention import NAME, require_alike
from longspan.models.exactness import in_float32, require_causal, require_documents_apart
from longspan.models.loading import load_model
from longspan.models.output_layer import split_model
from longspan.weighting.loss import WeightedLM
from tiny_models import ARCHITECTURES, random_ids, tiny_model


def mixed(model):
    model.set_attn_implementation(NAME)
    return model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_causal_model_passes_in_one_line_and_is_left_as_it_was(architecture, dtype, capsys):
    model = tiny_model(architecture, dtype).train()
    before = dict(model.state_dict(keep_vars=True))
    state = torch.get_rng_state()
    require_causal(model)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"checked {type(model).__name__} in ")
    assert line.endswith(" s: no token sees a later one, and no pass depends on another")
    after = model.state_dict(keep_vars=True)
    assert all(after[name] is tensor for name, tensor in before.items())
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_sees_later_tokens_is_refused_by_name(dtype):
    model = tiny_model("llama", dtype)
    model.set_attn_implementation("eager")
    model.model.layers[1].self_attn.register_forward_pre_hook(
        lambda module, args, options: (args, options | {"attention_mask": None}), with_kwargs=True
    )
    with pytest.raises(
        ValueError, match=r"LlamaForCausalLM \(model_type 'llama'\) lets a token see those af"
    ):
        split_model(model)


def test_a_model_that_remembers_the_sequence_before_is_refused():
    model = tiny_model("llama")
    last = []

    def carry(module, args, output):
        carried = output + last[0] if last else output
        last[:] = [output.mean()]
        return carried

    model.model.embed_tokens.register_forward_hook(carry)
    with pytest.raises(
        ValueError, match="gives a sequence other numbers alone than beside another, or than be"
    ):
        require_causal(model)


def dynamic_llama(**rope):
    sizes = {"vocab_size": 61, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    return transformers.LlamaConfig(
        **sizes,
        num_attention_heads=2,
        max_position_embeddings=32,
        rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4} | rope,
    )


def test_a_rotary_embedding_that_remembers_is_refused_until_loading_lets_it_forget(tmp_path):
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(dynamic_llama()).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    with pytest.raises(ValueError, match="has a rotary embedding that remembers the longest sequence before"):
        require_causal(model)
    model.save_pretrained(tmp_path)
    require_causal(load_model(tmp_path, dtype="float32", attention="sdpa", rope_theta=None, device="cpu"))


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "phi", "granite"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_documents_of_a_plain_model_pass(architecture, dtype, capsys):
    require_documents_apart(mixed(tiny_model(architecture, dtype)))
    assert capsys.readouterr().out.endswith(
        "packed documents are as if alone, windows as by its own attention\n"
    )


def test_a_state_that_flows_between_documents_is_refused_by_name():
    model = mixed(tiny_model("llama"))
    # As a short convolution over tokens does.
    model.model.layers[0].mlp.register_forward_pre_hook(lambda module, args: (args[0] + args[0].roll(1, 1),))
    with pytest.raises(ValueError, match="lets documents that are packed into one sequence see each other"):
        require_documents_apart(model)


def test_sinks_that_a_mixtures_attention_leaves_out_are_refused():
    config = transformers.GptOssConfig(
        vocab_size=61,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        num_local_experts=2,
        num_experts_per_tok=1,
    )
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    model.set_attn_implementation(NAME)
    with pytest.raises(ValueError, match=r"GptOssAttention adds s_aux to its attention, .*without a mixture"):
        WeightedLM(model)


def test_attention_of_another_scale_is_refused():
    model = mixed(tiny_model("llama"))
    attention = model.model.layers[0].self_attn

    def scaled(module, args, options):
        # By eager alone: what a class does for one implementation and not for another.
        module.scaling = 0.1 if module.config._attn_implementation == "eager" else 0.5

    attention.register_forward_pre_hook(scaled, with_kwargs=True)
    with pytest.raises(ValueError, match="attends by more than the attention of a mixture computes"):
        require_documents_apart(model)


def test_lengths_that_a_model_tells_apart_are_refused():
    model = transformers.LlamaForCausalLM(dynamic_llama())
    require_alike(model, [[5, 32], [12]])
    require_alike(model, [[48], [48]])
    with pytest.raises(
        ValueError, match="LlamaForCausalLM has a rotary embedding that changes beyond 32 tokens"
    ):
        require_alike(model, [[5, 12], [48]])
    model.config.layer_types = ["sliding_attention", "full_attention"]
    model.config.sliding_window = 16
    with pytest.raises(
        ValueError, match="LlamaForCausalLM attends by a sliding window or chunk of 16 tokens"
    ):
        require_alike(model, [[17]])


def test_a_rounded_model_is_checked_in_float32_and_gets_its_weights_back():
    model = tiny_model("llama", torch.bfloat16)
    exact = tiny_model("llama", torch.bfloat16).float()
    ids = random_ids(1, 12)
    kept = dict(model.named_parameters())
    with torch.no_grad(), in_float32(model):
        inside = model(ids).logits
        # Of the layers none holds two forms at once.
        assert {p.dtype for p in model.model.layers.parameters()} == {torch.bfloat16}
    torch.testing.assert_close(inside, exact(ids).logits)
    assert all(parameter is kept[name] for name, parameter in model.named_parameters())
