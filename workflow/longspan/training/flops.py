"""Floating-point operations of a model by its shape, and the share of a device's rate that they use."""

from collections.abc import Sequence

import torch
from torch import nn

from longspan.models.layers import decoder_layers
from longspan.scoring.geometry import scoring_windows
from longspan.scoring.self_scoring import SelfScoring

# Dense bfloat16 rate (FLOP/s) by a part of the device's name. H100 and H200: a product of 8192 x 8192 random
# matrices, measured; A100: its data sheet.
PEAK_FLOPS = {"H100": 798e12, "H200": 798e12, "A100": 312e12}


def peak_flops(device: torch.device | str) -> float | None:
    """Dense bfloat16 FLOP/s of a CUDA device, or None where it is not known."""
    if torch.device(device).type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAK_FLOPS.items() if part in name), None)


def forward_flops(
    model: nn.Module, document_tokens: Sequence[int], scored_tokens: int | None = None
) -> float:
    """FLOPs of a forward pass over one sequence: two for each multiplication with its addition.

    The formula: ``2 T P + 2 S V D + 2 * layers * heads * d * sum(n^2)``, with T tokens in all and n those of
    each document, which sees itself alone (n = T for one window), S tokens scored, P the weights of the
    layers' matrices, V x D the output layer, d the size of a head. The last term is causal attention, QK'
    and PV, of which each is half of ``2 n^2 d``. Norms, rotations and gates, a part in a thousand, are left
    out; so is every recomputation.

    Args:
        model: a Hugging Face causal language model.
        document_tokens: lengths of the documents in the sequence, one for a window.
        scored_tokens: tokens that pass through the output layer; None for all.
    """
    config = model.config.get_text_config()
    layers = decoder_layers(model)
    heads = config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    matrices = sum(p.numel() for layer in layers for p in layer.parameters() if p.ndim > 1)
    output_layer = model.get_output_embeddings().weight.numel()
    tokens = sum(document_tokens)
    scored = tokens if scored_tokens is None else scored_tokens
    attention = 2 * len(layers) * heads * head_size * sum(length**2 for length in document_tokens)
    return 2.0 * tokens * matrices + 2.0 * scored * output_layer + attention


def training_flops(
    model: nn.Module, document_tokens: Sequence[int], scoring: SelfScoring | None = None
) -> float:
    """FLOPs of training on one sequence: three forward passes' worth, and what self-scoring adds.

    A backward pass costs two forward passes. Self-scoring runs its later windows forward once, each of which
    sends `base_stride` tokens through the output layer. See :func:`forward_flops`.
    """
    flops = 3 * forward_flops(model, document_tokens)
    if scoring is not None:
        later = scoring_windows(sum(document_tokens), scoring.base_length, scoring.base_stride)[1:]
        flops += sum(forward_flops(model, [w.stop - w.start], w.stop - w.scored_start) for w in later)
    return flops
