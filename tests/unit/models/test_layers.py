import pytest
import torch
import transformers
from torch._dynamo.testing import CompileCounterWithBackend

from longspan.models.layers import (
    compile_layers,
    decoder_layers,
    hidden_state_decoder,
    naming_compiled_layers,
)
from longspan.scoring.nll import short_context_nll
from tiny_models import ARCHITECTURES, random_ids, tiny_model

# Traces and splits forward and backward as every backend does, without a compiler of C++ or CUDA.
TRACED = "aot_eager_decomp_partition"
ATTENTION = "aten::_scaled_dot_product_flash_attention_for_cpu"


def counted_gradient(model, ids):
    """Return the gradient of a step, and how often it ran attention's forward and a matrix product."""
    model.zero_grad()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    counts = {event.key: event.count for event in profiler.key_averages()}
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    return gradient, counts.get(ATTENTION, 0), counts.get("aten::mm", 0) + counts.get("aten::addmm", 0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_of_any_architecture_are_found(architecture):
    model = tiny_model(architecture)
    layers = decoder_layers(model)
    assert len(layers) == 2
    assert any(layers is m for m in model.base_model.children())


def test_a_model_without_layers_is_refused_by_name():
    model = tiny_model("llama")
    model.model.layers = torch.nn.Identity()
    with pytest.raises(ValueError, match="LlamaForCausalLM holds no"):
        decoder_layers(model)


@pytest.mark.parametrize("options", [{}, {"keep_attention": True}, {"keep_attention": 1, "mlp_tokens": 5}])
def test_compiled_layers_score_the_same(options):
    torch._dynamo.reset()
    model, ids = tiny_model("llama"), random_ids(1, 24)
    plain = short_context_nll(model, ids, base_length=16, base_stride=8)
    compile_layers(model, **options, backend=TRACED)
    compiled = short_context_nll(model, ids, base_length=16, base_stride=8)
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-5)


def failing(module, inputs):
    raise RuntimeError("no kernel for this\nand more")


def failing_backward(module, inputs):
    def run(*arguments):
        outputs = module.forward(*arguments)
        outputs[0].register_hook(lambda gradient: gradient.view(3))
        return outputs

    return run


@pytest.mark.parametrize(
    ("backend", "reason"), [(failing, "no kernel for this"), (failing_backward, "shape '[3]' is invalid")]
)
def test_a_model_whose_compiled_layers_fail_is_named(backend, reason):
    torch._dynamo.reset()
    model, ids = tiny_model("llama"), random_ids(1, 8)
    compile_layers(model, backend=backend)
    named = r"^LlamaForCausalLM \(model_type 'llama'\) fails with compiled layers \("
    with pytest.raises(ValueError, match=named) as caught, naming_compiled_layers(model):
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    message = str(caught.value)
    assert reason in message
    assert message.endswith("); set compile_layers: false")
    assert "\n" not in message


def test_faults_of_other_kinds_keep_their_own_words():
    plain, compiled = tiny_model("llama"), tiny_model("llama")
    compile_layers(compiled, backend="eager")
    for model, fault in (
        (plain, RuntimeError("no kernel")),
        (compiled, torch.OutOfMemoryError("no memory")),
        (compiled, torch.distributed.DistError("another process has ended")),
        (compiled, ValueError("weights cover 3 of 4 windows")),
    ):
        with pytest.raises(type(fault), match=str(fault)), naming_compiled_layers(model):
            raise fault


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_kept_attention_runs_once_and_the_rest_again(architecture):
    torch._dynamo.reset()
    model, ids = tiny_model(architecture), random_ids(2, 24)
    plain, attentions, products = counted_gradient(model, ids)
    backend = CompileCounterWithBackend(TRACED)
    compile_layers(model, keep_attention=True, backend=backend)
    counted_gradient(model, ids)
    kept, kept_attentions, kept_products = counted_gradient(model, ids)
    torch.testing.assert_close(kept, plain, rtol=1e-4, atol=1e-6)
    assert kept_attentions == attentions == 2
    assert kept_products > products
    assert backend.frame_count == 1


@pytest.mark.parametrize(("kept", "runs"), [(0, 4), (1, 3)])
def test_attention_is_kept_in_so_many_layers(kept, runs):
    torch._dynamo.reset()
    model, ids = tiny_model("llama"), random_ids(2, 24)
    plain, _, _ = counted_gradient(model, ids)
    compile_layers(model, keep_attention=kept, backend=TRACED)
    counted_gradient(model, ids)
    gradient, attentions, _ = counted_gradient(model, ids)
    torch.testing.assert_close(gradient, plain, rtol=1e-4, atol=1e-6)
    assert attentions == runs


@pytest.mark.parametrize(("architecture", "mlp_tokens"), [("llama", 7), ("gpt2", 7), ("phi", 100)])
def test_an_mlp_in_pieces_gives_the_same_gradient(architecture, mlp_tokens):
    torch._dynamo.reset()
    model, ids = tiny_model(architecture), random_ids(2, 24)
    plain, _, products = counted_gradient(model, ids)
    compile_layers(model, mlp_tokens=mlp_tokens, backend=TRACED)
    counted_gradient(model, ids)
    pieces, _, products_of_pieces = counted_gradient(model, ids)
    torch.testing.assert_close(pieces, plain, rtol=1e-4, atol=1e-6)
    assert (products_of_pieces > products) == (mlp_tokens < 24)


def test_more_layers_than_there_are_are_refused():
    with pytest.raises(ValueError, match="keep_attention 3 is no number of layers; the model has 2"):
        compile_layers(tiny_model("llama"), keep_attention=3)


def test_kept_attention_beside_gradient_checkpointing_is_refused():
    model = tiny_model("llama")
    model.gradient_checkpointing_enable({"use_reentrant": False})
    with pytest.raises(ValueError, match="takes the place of gradient checkpointing"):
        compile_layers(model, keep_attention=True)


def test_layers_are_the_text_decoders_beside_a_vision_tower():
    text = {
        "vocab_size": 61,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
    }
    vision = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 5, "num_attention_heads": 4}
    config = transformers.Gemma3Config(text_config=text, vision_config=vision)
    model = transformers.AutoModelForCausalLM.from_config(config)
    assert any(name.endswith("vision_tower") for name, _ in model.named_modules())
    layers = decoder_layers(model)
    assert [type(layer).__name__ for layer in layers] == ["Gemma3DecoderLayer"] * 3


def test_layers_of_a_class_whose_base_is_named_otherwise_are_found():
    config = transformers.Llama4TextConfig(
        vocab_size=61,
        hidden_size=16,
        intermediate_size=24,
        intermediate_size_mlp=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        num_local_experts=2,
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    assert model.base_model is model
    assert hidden_state_decoder(model) is model.model
    assert decoder_layers(model) is model.model.layers


def test_mlp_tokens_without_an_mlp_that_takes_pieces_are_refused_by_name():
    config = transformers.OPTConfig(
        vocab_size=61, hidden_size=16, ffn_dim=24, num_hidden_layers=1, num_attention_heads=2,
        word_embed_proj_dim=16,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config)
    with pytest.raises(ValueError, match="mlp_tokens 5 is set, but the layers of OPTForCausalLM have no MLP"):
        compile_layers(model, mlp_tokens=5, backend=TRACED)
