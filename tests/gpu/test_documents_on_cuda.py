"""Packed documents on CUDA, in bfloat16 and by its fastest attention."""

import pytest
import torch

from longspan.attention_kernels import attention_name, fastest_attention
from longspan.decoder_layers import compile_layers
from longspan.document_attention import NAME
from longspan.weighted_loss import WeightedLM
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
    config = tiny_model("llama").config
    config._attn_implementation = "sdpa"
    found = attention_name(config, "cuda", torch.bfloat16)
    hopper = torch.cuda.get_device_capability() >= (9, 0)
    assert found == f"sdpa by {'cuDNN' if hopper else 'flash attention'}"
    assert attention_name(config, "cuda", torch.float32) == "sdpa by memory-efficient attention"
