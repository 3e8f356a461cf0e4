"""Packed documents on CUDA, in bfloat16 and by its fastest attention."""

import pytest
import torch
import transformers

from longspan.models.attention_kernels import attention_name, fastest_attention
from longspan.models.document_attention import NAME
from longspan.models.layers import compile_layers
from longspan.weighting.loss import WeightedLM
from tiny_models import random_ids, tiny_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

LENGTHS = (40, 1, 150, 65)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 6e-2)])
def test_packed_documents_score_as_if_each_stood_alone(dtype, tolerance):
    model = tiny_model("llama", dtype).cuda()
    model.set_attn_implementation(NAME)
    ids = random_ids(1, sum(LENGTHS)).cuda()
    with fastest_attention("cuda"):
        packed = WeightedLM(model)(
            ids,
            token_weights=torch.ones(1, sum(LENGTHS) - 1, device="cuda"),
            document_lengths=[LENGTHS],
            packed=[True],
        )
        packed["loss"].backward()
        start = 0
        for length in LENGTHS:
            if length > 1:
                alone = WeightedLM(model)(ids[:, start : start + length], scores_only=True)["nll"]
                within = packed["nll"][:, start : start + length - 1]
                torch.testing.assert_close(within, alone, rtol=tolerance, atol=tolerance)
            start += length
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("keep_attention", [False, True])
def test_compiled_layers_learn_the_same_from_packed_documents(keep_attention):
    ids = random_ids(1, sum(LENGTHS)).cuda()
    gradients = []
    for compiled in (False, True):
        model = tiny_model("llama").cuda().train()
        model.set_attn_implementation(NAME)
        if compiled:
            compile_layers(model, keep_attention=keep_attention)
        for lengths in ((sum(LENGTHS),), LENGTHS, LENGTHS[::-1]):
            weights = torch.ones(1, sum(LENGTHS) - 1, device="cuda")
            with fastest_attention("cuda"):
                loss = WeightedLM(model)(ids, token_weights=weights, document_lengths=[lengths])["loss"]
                loss.backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert (gradients[1] - gradients[0]).norm() <= 1e-4 * gradients[0].norm()


def test_the_log_names_the_kernel_that_runs():
    config = transformers.LlamaConfig(num_attention_heads=8, num_key_value_heads=2, head_dim=128)
    config._attn_implementation = "sdpa"
    windows = "cuDNN" if torch.cuda.get_device_capability() >= (9, 0) else "flash attention"
    assert attention_name(config, "cuda", torch.bfloat16) == f"sdpa by {windows}"
    # In float32 no kernel shares keys among heads.
    assert attention_name(config, "cuda", torch.float32) == "sdpa by plain products"
    config.num_key_value_heads = 8
    assert attention_name(config, "cuda", torch.float32) == "sdpa by memory-efficient attention"
    config._attn_implementation = NAME
    documents = f"sdpa by {windows}, to packed documents by flash attention"
    assert attention_name(config, "cuda", torch.bfloat16) == documents
