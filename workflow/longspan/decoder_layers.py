"""The repeated layers of a decoder, and their fusion by torch.compile."""

from typing import Any

import torch
from torch import nn


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """Return the repeated layers of a Hugging Face causal language model.

    Raises:
        ValueError: the model holds no list of layers.
    """
    lists = [
        (name.count("."), m) for name, m in model.base_model.named_modules() if isinstance(m, nn.ModuleList)
    ]
    if not lists:
        raise ValueError(f"{type(model).__name__} holds no torch.nn.ModuleList of decoder layers")
    # The outermost one: experts of a mixture are lists too, inside a layer.
    return min(lists, key=lambda entry: entry[0])[1]


def compile_layers(model: nn.Module, *, kept_activations: float | None = None, **options: Any) -> None:
    """Compile each decoder layer in place, so that norms, rotations, gates and residuals run fused.

    Layers of one kind share their compiled code. Every shape of the input compiles once, on its first pass
    (about half a minute), so keep batches of one shape. Results change by rounding only.

    Args:
        model: a Hugging Face causal language model.
        kept_activations: share of each layer's activations kept for the backward pass, in [0, 1]: 0
            computes the layer again from its input, 1 keeps what makes the step fastest. It takes the place
            of gradient checkpointing, keeps first what costs most to compute again (attention), and holds
            for every layer compiled from then on in this process. None leaves PyTorch's setting.
        options: passed to ``torch.compile`` over ``dynamic=False``.

    Raises:
        ValueError: as :func:`decoder_layers`, or kept_activations outside [0, 1].
    """
    if kept_activations is not None:
        if not 0 <= kept_activations <= 1:
            raise ValueError(f"kept_activations {kept_activations} is not in [0, 1]")
        torch._functorch.config.activation_memory_budget = kept_activations
    for layer in decoder_layers(model):
        layer.compile(**({"dynamic": False} | options))
