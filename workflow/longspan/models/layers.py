"""The repeated layers of a decoder, and their fusion by torch.compile."""

import contextlib
import functools
import inspect
import re
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts


def hidden_state_decoder(model: nn.Module) -> nn.Module:
    """Return the module of a Hugging Face causal language model whose last hidden states its head takes.

    Raises:
        ValueError: the model holds no decoder apart from its head.
    """
    if model.base_model is not model:
        return model.base_model
    # Some classes (Llama 4) name a part of another class as theirs.
    return _text_decoder(model)


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """Return the repeated layers of a Hugging Face causal language model, never those of a vision tower.

    Raises:
        ValueError: the model holds no list of layers.
    """
    decoder = _text_decoder(model)
    lists = [
        (name.count("."), part) for name, part in decoder.named_modules() if isinstance(part, nn.ModuleList)
    ]
    outermost = min(depth for depth, _ in lists)
    # Experts of a mixture are lists too, inside a layer; small projections may be one beside the layers.
    return max((part for depth, part in lists if depth == outermost), key=_parameters)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _text_decoder(model: nn.Module) -> nn.Module:
    """The smallest module that holds both the embedding of input ids and a list of layers."""
    embedding = model.get_input_embeddings()
    paths = [name for name, part in model.named_modules(remove_duplicate=False) if part is embedding]
    best: nn.Module | None = None
    for path in paths:
        parts = path.split(".")
        for length in range(len(parts) - 1, 0, -1):
            owner = model.get_submodule(".".join(parts[:length]))
            if any(isinstance(part, nn.ModuleList) for part in owner.modules()):
                if best is None or _parameters(owner) < _parameters(best):
                    best = owner
                break
    if best is None:
        raise ValueError(f"{type(model).__name__} holds no torch.nn.ModuleList of decoder layers")
    return best


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
            more layers than there are, or mlp_tokens for layers without an MLP apart.
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
    mlps = [_mlps(layer) if mlp_tokens is not None else [] for layer in layers]
    if mlp_tokens is not None and not any(mlps):
        raise ValueError(
            f"mlp_tokens {mlp_tokens} is set, but the layers of {type(model).__name__} have no MLP that "
            "takes tokens in pieces; leave mlp_tokens out"
        )
    for number, layer in enumerate(layers):
        # Functions bound to each layer: closures would compile once a layer.
        for module in mlps[number]:
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


@contextlib.contextmanager
def naming_compiled_layers(model: nn.Module) -> Iterator[None]:
    """Name the model, if it has compiled layers, where PyTorch fails in them: its own error does not.

    Raises:
        ValueError: instead of any RuntimeError but one of memory or of other processes.
    """
    try:
        yield
    except (torch.OutOfMemoryError, torch.distributed.DistError):
        raise
    except RuntimeError as error:
        if not any("forward" in vars(layer) for layer in decoder_layers(model)):
            raise
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{type(model).__name__} (model_type {model.config.model_type!r}) fails with compiled layers "
            f"({reason}); set compile_layers: false"
        ) from error


def checkpoint_layers(model: nn.Module) -> None:
    """Turn on the model's own activation checkpointing: each layer is computed again in the backward pass."""
    # transformers before 5.20 has only the old name, later ones deprecate it.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


_MLP = re.compile(r"(mlp|feedforward|ffn)$", re.IGNORECASE)


def _mlps(layer: nn.Module) -> list[nn.Module]:
    """Parts of a layer that take hidden states alone, each token's on its own: no experts, no state."""
    return [
        module
        for module in layer.children()
        if _MLP.search(type(module).__name__)
        and len(inspect.signature(type(module).forward).parameters) == 2
        and not any(isinstance(part, nn.ModuleList) for part in module.modules())
        and all(parameter.ndim <= 2 for parameter in module.parameters())
        and not any(re.search("rout|expert", type(part).__name__, re.IGNORECASE) for part in module.modules())
    ]


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
