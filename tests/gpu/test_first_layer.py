"""A first layer on the GPU, in half precision, against its own queries and keys the dense way."""

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig

from attention_reference import dense_far_sums
from longspan.scoring.attention_statistics import attention_variance, dependency_strength
from longspan.scoring.first_layer import load_first_layer, window_statistics

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

SIZES = {
    "vocab_size": 512,
    "hidden_size": 256,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "head_dim": 128,
}
CONFIGS = {"llama": LlamaConfig(**SIZES), "gemma2": Gemma2Config(**SIZES, attn_logit_softcapping=5.0)}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", CONFIGS)
def test_statistics_equal_those_of_the_dense_matrix(name, dtype, tmp_path):
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(CONFIGS[name]).save_pretrained(tmp_path)
    first_layer = load_first_layer(tmp_path, dtype=dtype, device="cuda")
    input_ids = torch.randint(0, 512, (3, 1501), device="cuda")
    layer = first_layer.queries_keys(input_ids)
    assert layer.q.dtype == getattr(torch, dtype)
    sums = dense_far_sums(layer.q, layer.k, scale=layer.scale, softcap=layer.softcap)
    expected = (
        dependency_strength(sums[0], 1501),
        attention_variance(*sums, 1501),
        attention_variance(*sums, 1501, "matrix"),
    )
    for ours, exact in zip(window_statistics(first_layer, input_ids), expected, strict=True):
        torch.testing.assert_close(ours, exact.mean(1).cpu(), rtol=1e-3, atol=0)
