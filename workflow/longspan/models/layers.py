"""The repeated layers of a decoder, and their fusion by torch.compile."""

import functools
import types
from typing import Any

import torch
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


def compile_layers(
    model: nn.Module, *, keep_attention: bool | int = False, mlp_tokens: int | None = None, **options: Any
) -> None:
    """Compile each decoder layer in place, so that norms, rotations, gates and residuals run fused.

    Layers of one kind share their compiled code. Every shape of the input compiles once, on its first pass,
    so keep batches of one shape. Results change by rounding only.

    Args:
        model: a Hugging Face causal language model.
        keep_attention: in the backward pass, compute each layer again from its input, all but its attention,
            whose result is kept: gradient checkpointing without its dearest part at long context. It takes
            the place of the model's own checkpointing, for one more array of [tokens, hidden size] a layer.
            A number keeps that of so many layers, the last ones, and computes the others again whole.
            Batches with packed documents keep none: attention within short documents is cheap.
        mlp_tokens: tokens that go through a layer's MLP at a time, so that its intermediate results in the
            backward pass are as small; None takes all at once. MLPs of experts stay as they are.
        options: passed to ``torch.compile`` over ``dynamic=False``.

    Raises:
        ValueError: as :func:`decoder_layers`, keep_attention with the model's own checkpointing on, or in
            more layers than there are.
    """
    layers = decoder_layers(model)
    kept = len(layers) if keep_attention is True else int(keep_attention)
    if not 0 <= kept <= len(layers):
        raise ValueError(f"keep_attention {kept} is no number of layers; the model has {len(layers)}")
    if keep_attention is not False and any(
        getattr(layer, "gradient_checkpointing", False) for layer in layers
    ):
        raise ValueError(
            "keep_attention takes the place of gradient checkpointing; turn that off on the model"
        )
    for number, layer in enumerate(layers):
        # Functions bound to each layer: closures would compile once a layer.
        if mlp_tokens is not None:
            for module in layer.children():
                if type(module).__name__.endswith("MLP"):
                    module.mlp_tokens = mlp_tokens
                    module.forward = types.MethodType(_forward_in_pieces, module)
        # The forward alone, so that a layer's hooks (of FSDP, say) stay outside.
        compiled = functools.partial(torch.compile, **({"dynamic": False} | options))
        if keep_attention is False:
            layer.forward = compiled(layer.forward)
        else:
            keeps = number >= len(layers) - kept
            again = _forward_keeping_attention if keeps else _forward_computed_again
            layer.forward_of_documents = compiled(layer.forward)
            layer.forward_of_windows = compiled(types.MethodType(again, layer))
            layer.forward = types.MethodType(_forward_by_kind, layer)


def checkpoint_layers(model: nn.Module) -> None:
    """Turn on the model's own activation checkpointing: each layer is computed again in the backward pass."""
    # transformers before 5.20 has only the old name, later ones deprecate it.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def _forward_in_pieces(self: nn.Module, hidden_BTD: torch.Tensor) -> torch.Tensor:
    pieces_BPD = (piece.contiguous() for piece in hidden_BTD.split(self.mlp_tokens, dim=1))
    return torch.cat([type(self).forward(self, piece_BPD) for piece_BPD in pieces_BPD], dim=1)


def _forward_by_kind(self: nn.Module, *args: Any, documents: Any = None, **kwargs: Any) -> Any:
    if documents is None:
        return self.forward_of_windows(*args, **kwargs)
    # Attention to packed documents parts the compiled code, which a region that is computed again must not.
    return checkpoint(self.forward_of_documents, *args, documents=documents, use_reentrant=False, **kwargs)


def _forward_keeping_attention(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    return checkpoint(
        type(self).forward, self, *args, use_reentrant=False, context_fn=_attention_contexts, **kwargs
    )


def _forward_computed_again(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    return checkpoint(type(self).forward, self, *args, use_reentrant=False, **kwargs)


def _keeps(context: Any, operation: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    attends = "scaled_dot_product" in str(operation)
    return CheckpointPolicy.MUST_SAVE if attends else CheckpointPolicy.PREFER_RECOMPUTE


_attention_contexts = functools.partial(create_selective_checkpoint_contexts, _keeps)
