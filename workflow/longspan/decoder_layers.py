"""The repeated layers of a decoder, and their fusion by torch.compile."""

import functools
import types
from typing import Any

from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """Return the repeated layers of a Hugging Face causal language model.

    Raises:
        ValueError: the model holds no list of layers.
    """
    modules = model.base_model.named_modules()
    lists = [(name.count("."), module) for name, module in modules if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ValueError(f"{type(model).__name__} holds no torch.nn.ModuleList of decoder layers")
    # The outermost one: experts of a mixture are lists too, inside a layer.
    return min(lists, key=lambda entry: entry[0])[1]


def compile_layers(model: nn.Module, *, keep_attention: bool = False, **options: Any) -> None:
    """Compile each decoder layer in place, so that norms, rotations, gates and residuals run fused.

    Layers of one kind share their compiled code. Every shape of the input compiles once, on its first pass,
    so keep batches of one shape. Results change by rounding only.

    Args:
        model: a Hugging Face causal language model.
        keep_attention: in the backward pass, compute each layer again from its input, all but its attention,
            whose result is kept: gradient checkpointing without its dearest part at long context. It takes
            the place of the model's own checkpointing, for one more array of [tokens, hidden size] a layer.
        options: passed to ``torch.compile`` over ``dynamic=False``.

    Raises:
        ValueError: as :func:`decoder_layers`, or keep_attention with the model's own checkpointing on.
    """
    layers = decoder_layers(model)
    if keep_attention and any(getattr(layer, "gradient_checkpointing", False) for layer in layers):
        raise ValueError(
            "keep_attention takes the place of gradient checkpointing; turn that off on the model"
        )
    for layer in layers:
        if keep_attention:
            # One function for all layers, bound to each: a closure for each would compile once a layer.
            layer.forward = types.MethodType(_forward_keeping_attention, layer)
        layer.compile(**({"dynamic": False} | options))


def _forward_keeping_attention(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    return checkpoint(
        type(self).forward, self, *args, use_reentrant=False, context_fn=_attention_contexts, **kwargs
    )


def _keeps(context: Any, operation: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    attends = "scaled_dot_product" in str(operation)
    return CheckpointPolicy.MUST_SAVE if attends else CheckpointPolicy.PREFER_RECOMPUTE


_attention_contexts = functools.partial(create_selective_checkpoint_contexts, _keeps)
