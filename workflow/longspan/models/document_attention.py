"""Attention that stays within the documents packed into a sequence, without a mask of tokens by tokens.

Shape suffixes: B sequences, H heads, T tokens, D size of a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from longspan.models.attention_kernels import PACKED_DOCUMENTS, attention_of_any_length
from longspan.models.rope import tokens_of_one_table

NAME = PACKED_DOCUMENTS
MIXTURE = "train it without a mixture"  # what helps against every refusal of packed documents


@dataclass
class Documents:
    """Lengths of the documents in each sequence of a batch, and whether attention was ever asked for them."""

    lengths: Sequence[Sequence[int]]
    attended: bool = False

    def positions(self, device: torch.device) -> torch.Tensor:
        """Positions [B, T] int64 that begin anew with each document."""
        rows = [torch.cat([torch.arange(length) for length in lengths]) for lengths in self.lengths]
        return torch.stack(rows).to(device)


def decoder_inputs(documents: Documents, device: torch.device) -> dict[str, Any]:
    """What a decoder takes beside the ids so that the documents see nothing of each other."""
    return {
        "position_ids": documents.positions(device),
        # A mask of four dimensions is taken as it is; without, one of tokens by tokens is made.
        "attention_mask": torch.zeros(1, 1, 1, 1, device=device),
        "documents": documents,
    }


def require_attended(documents: Documents, model: nn.Module) -> None:
    """Refuse a model that went through packed documents without its attention being told.

    Raises:
        ValueError: naming the model.
    """
    if not documents.attended:
        raise ValueError(
            f"{type(model).__name__} does not tell its attention of packed documents, which would "
            f"see each other; {MIXTURE}, or load it with attention '{NAME}'"
        )


def require_alike(model: nn.Module, lengths: Sequence[Sequence[int]]) -> None:
    """Refuse packed documents whose lengths the model tells apart, so that one's neighbour would change it.

    Args:
        model: a Hugging Face causal language model.
        lengths: tokens of the documents in each sequence of a batch.

    Raises:
        ValueError: documents longer than a sliding window or chunk, or of both sides of the length at which
            the rotary embedding changes; the message names the model.
    """
    found = {length for row in lengths for length in row}
    longest = max(found)
    reach, bound = reach_of_layers(model.config), tokens_of_one_table(model.config)
    remedy = f"{MIXTURE}, on documents as short, or with per_device_train_batch_size 1"
    if reach is not None and longest > reach:
        raise ValueError(
            f"{type(model).__name__} attends by a sliding window or chunk of {reach} tokens, fewer than the "
            f"{longest} of a sequence or document in a batch with packed documents; {remedy}"
        )
    if bound is not None and longest > bound and len(found) > 1:
        raise ValueError(
            f"{type(model).__name__} has a rotary embedding that changes beyond {bound} tokens for all that "
            f"is in a batch: packed documents would depend on {longest} tokens beside them; {remedy}"
        )


def reach_of_layers(config: Any) -> int | None:
    """Tokens of the shortest sliding window or chunk that a config gives some layer, or None."""
    config = config.get_text_config()
    kinds = getattr(config, "layer_types", None) or []
    reaches = [
        getattr(config, name, None)
        for kind, name in (("sliding", "sliding_window"), ("chunked", "attention_chunk_size"))
        if any(kind in str(layer) for layer in kinds)
    ]
    return min((reach for reach in reaches if isinstance(reach, int)), default=None)


def attend_within_documents(
    module: nn.Module,
    query_BHTD: torch.Tensor,
    key_BHTD: torch.Tensor,
    value_BHTD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    documents: Documents | None = None,
    **options,
) -> tuple[torch.Tensor, None]:
    """Attend by sdpa, to each document of a packed sequence on its own; a mask counts without documents only.

    Raises:
        ValueError: a sliding window that a document exceeds, or attention that is more than sdpa's (a
            softcap, sinks), with documents also a bias or mask of the model's own.
    """
    for name in ("softcap", "s_aux"):
        if options.get(name) is not None:
            raise _is_more(module, name)
    if documents is None:
        return sdpa_attention_forward(module, query_BHTD, key_BHTD, value_BHTD, attention_mask, **options)
    return _attend_to_each(
        module, query_BHTD, key_BHTD, value_BHTD, attention_mask, documents, **options
    ), None


@torch.compiler.disable  # or each batch's lengths would compile anew
def _attend_to_each(
    module: nn.Module,
    query_BHTD: torch.Tensor,
    key_BHTD: torch.Tensor,
    value_BHTD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    documents: Documents,
    **options,
) -> torch.Tensor:
    if options.get("position_bias") is not None:
        raise _is_more(module, "position_bias")
    if attention_mask is not None and attention_mask.numel() > 1:
        raise _is_more(module, "a mask of its own")
    window = options.get("sliding_window")
    longest = max(length for lengths in documents.lengths for length in lengths)
    if window is not None and longest > window:
        raise ValueError(
            f"{type(module).__name__} attends by a sliding window of {window} tokens, fewer than a packed "
            f"document's {longest}; {MIXTURE}, or on documents as short"
        )
    documents.attended = True
    rows = []
    for row, lengths in enumerate(documents.lengths):
        parts, start = [], 0
        for length in lengths:
            part = (slice(row, row + 1), slice(None), slice(start, start + length))
            with attention_of_any_length():
                attended, _ = sdpa_attention_forward(
                    module, query_BHTD[part], key_BHTD[part], value_BHTD[part], None, **options
                )
            parts.append(attended)
            start += length
        rows.append(torch.cat(parts, dim=1))
    return torch.cat(rows)


def _is_more(module: nn.Module, what: str) -> ValueError:
    return ValueError(
        f"{type(module).__name__} adds {what} to its attention, which that of a mixture leaves out; {MIXTURE}"
    )


AttentionInterface.register(NAME, attend_within_documents)
# Without documents all is as under sdpa.
AttentionMaskInterface.register(NAME, sdpa_mask)
