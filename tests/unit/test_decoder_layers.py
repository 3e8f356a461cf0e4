import pytest
import torch

from longspan.decoder_layers import compile_layers, decoder_layers
from longspan.short_scores import short_context_nll
from tiny_models import ARCHITECTURES, random_ids, tiny_model


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


def test_compiled_layers_score_the_same():
    # The eager backend traces as every backend does, without a compiler of C++ or CUDA.
    model, ids = tiny_model("llama"), random_ids(1, 24)
    plain = short_context_nll(model, ids, base_length=16, base_stride=8)
    compile_layers(model, backend="eager")
    torch.testing.assert_close(short_context_nll(model, ids, base_length=16, base_stride=8), plain)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_kept_activations_change_no_gradient(share):
    torch._dynamo.reset()
    model, ids = tiny_model("llama"), random_ids(2, 24)

    def gradient():
        model.zero_grad()
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    plain = gradient()
    with torch._functorch.config.patch(activation_memory_budget=1.0):
        compile_layers(model, kept_activations=share, backend="aot_eager_decomp_partition")
        torch.testing.assert_close(gradient(), plain, rtol=1e-4, atol=1e-6)


def test_a_share_of_activations_beyond_all_is_refused():
    with pytest.raises(ValueError, match=r"kept_activations 1.5 is not in \[0, 1\]"):
        compile_layers(tiny_model("llama"), kept_activations=1.5)
