import pytest
import torch

from longspan.models.attention_kernels import attention_name
from tiny_models import tiny_model


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "phi"])
def test_the_kernel_that_sdpa_takes_is_named(architecture):
    config = tiny_model(architecture).config
    config._attn_implementation = "sdpa"
    assert attention_name(config, "cpu", torch.float32) == "sdpa by flash attention"
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert attention_name(config, "cpu", torch.float32) == "sdpa by plain products"


def test_other_attention_goes_by_its_own_name():
    config = tiny_model("llama").config
    config._attn_implementation = "eager"
    assert attention_name(config, "cpu", torch.float32) == "eager"
