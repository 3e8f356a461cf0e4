"""Which of PyTorch's attention kernels runs."""

import contextlib

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def fastest_attention(device: torch.device | str) -> contextlib.AbstractContextManager:
    """Prefer cuDNN's attention on CUDA, the fastest on an H100: 599 TFLOP/s against the default's 354.

    Every other kernel stays allowed, for shapes and dtypes that cuDNN refuses. A backward pass that computes
    activations again (gradient checkpointing) must run inside the same context.
    """
    if torch.device(device).type != "cuda":
        return contextlib.nullcontext()
    order = [
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.MATH,
    ]
    return sdpa_kernel(order, set_priority=True)


def attention_name(implementation: str, device: torch.device | str) -> str:
    """Which attention a model runs by on a device, for its log."""
    by_torch = implementation in ("sdpa", "longspan_documents")
    if not by_torch or torch.device(device).type != "cuda":
        return implementation
    return f"{implementation}, by cuDNN's kernel where it can"
