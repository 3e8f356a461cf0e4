"""Which of PyTorch's attention kernels runs."""

import contextlib
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.integrations.sdpa_attention import sdpa_attention_forward

PACKED_DOCUMENTS = "longspan_documents"  # attention implementation of longspan.models.document_attention
_HOPPER = (9, 0)  # compute capability
_OF_ANY_LENGTH = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
_KERNELS = {"cudnn": "cuDNN", "flash": "flash attention", "efficient": "memory-efficient attention"}


def fastest_attention(device: torch.device | str) -> contextlib.AbstractContextManager:
    """Prefer cuDNN's attention from Hopper on, the fastest on an H100: 599 TFLOP/s against the default's 354.

    Every other kernel stays allowed, for shapes and dtypes that cuDNN refuses; other devices keep PyTorch's
    own order. A backward pass that computes activations again (gradient checkpointing) must run inside the
    same context.
    """
    if torch.device(device).type != "cuda" or torch.cuda.get_device_capability(device) < _HOPPER:
        return contextlib.nullcontext()
    return sdpa_kernel([SDPBackend.CUDNN_ATTENTION, *_OF_ANY_LENGTH], set_priority=True)


def attention_of_any_length() -> contextlib.AbstractContextManager:
    """Leave out cuDNN's attention, which builds a plan for each new length, for a tenth of a second each."""
    return sdpa_kernel(_OF_ANY_LENGTH, set_priority=True)


def attention_name(config: Any, device: torch.device | str, dtype: torch.dtype) -> str:
    """Name the attention that a model runs by, and for sdpa the kernel, seen in a small causal call.

    Args:
        config: the model's transformers config, with its attention implementation set.
        device: where it runs; on CUDA under :func:`fastest_attention`.
        dtype: of its products.
    """
    config = config.get_text_config()
    implementation = config._attn_implementation
    if implementation == PACKED_DOCUMENTS:
        windows = _kernel(config, device, dtype, fastest_attention(device))
        documents = _kernel(config, device, dtype, attention_of_any_length())
        return f"sdpa by {windows}, to packed documents by {documents}"
    if implementation != "sdpa":
        return implementation
    return f"sdpa by {_kernel(config, device, dtype, fastest_attention(device))}"


def _kernel(
    config: Any, device: torch.device | str, dtype: torch.dtype, chosen: contextlib.AbstractContextManager
) -> str:
    heads = config.num_attention_heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    query, key = (
        torch.zeros(1, count, 128, head_size, device=device, dtype=dtype, requires_grad=True)
        for count in (heads, key_heads)
    )
    module = SimpleNamespace(num_key_value_groups=heads // key_heads, is_causal=True)
    with chosen, _Operations() as seen:
        sdpa_attention_forward(module, query, key, key, None)
    attending = [name for name in seen.names if "scaled_dot_product" in name]
    return next((name for part, name in _KERNELS.items() if part in "".join(attending)), "plain products")


class _Operations(TorchDispatchMode):
    """Names of the operations that run."""

    def __init__(self):
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))
