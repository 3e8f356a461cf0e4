"""The repeated layers of a decoder, and their fusion by torch.compile."""

from typing import Any

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


def compile_layers(model: nn.Module, **options: Any) -> None:
    """Compile each decoder layer in place, so that norms, rotations, gates and residuals run fused.

    Layers of one kind share their compiled code. Every shape of the input compiles once, on its first pass
    (about half a minute), so keep batches of one shape. Results change by rounding only.

    Args:
        model: a Hugging Face causal language model.
        options: passed to ``torch.compile`` over ``dynamic=False``.

    Raises:
        ValueError: as :func:`decoder_layers`.
    """
    for layer in decoder_layers(model):
        layer.compile(**({"dynamic": False} | options))
