"""Packed documents on CUDA, in bfloat16 and by its fastest attention."""

import pytest
import torch

from longspan.attention_kernels import fastest_attention
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
