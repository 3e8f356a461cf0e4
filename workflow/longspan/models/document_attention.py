"""Attention that stays within the documents packed into a sequence, without a mask of tokens by tokens.

Shape suffixes: B sequences, H heads, T tokens, D size of a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from longspan.models.attention_kernels import PACKED_DOCUMENTS, attention_of_any_length

NAME = PACKED_DOCUMENTS


@dataclass
class Documents:
    """Lengths of the documents in each sequence of a batch, and whether attention was ever asked for them."""

    lengths: Sequence[Sequence[int]]
    attended: bool = False

    def positions(self, device: torch.device) -> torch.Tensor:
        """Positions [B, T] int64 that begin anew with each document."""
        rows = [torch.cat([torch.arange(length) for length in lengths]) for lengths in self.lengths]
        return torch.stack(rows).to(device)


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
        ValueError: a sliding window that a document exceeds, or what sdpa refuses (a softcap).
    """
    if documents is None:
        return sdpa_attention_forward(module, query_BHTD, key_BHTD, value_BHTD, attention_mask, **options)
    return _attend_to_each(module, query_BHTD, key_BHTD, value_BHTD, documents, **options), None


@torch.compiler.disable  # or each batch's lengths would compile anew
def _attend_to_each(
    module: nn.Module,
    query_BHTD: torch.Tensor,
    key_BHTD: torch.Tensor,
    value_BHTD: torch.Tensor,
    documents: Documents,
    **options,
) -> torch.Tensor:
    window = options.get("sliding_window")
    longest = max(length for lengths in documents.lengths for length in lengths)
    if window is not None and longest > window:
        raise ValueError(
            f"{type(module).__name__} attends by a sliding window of {window} tokens, fewer than a packed "
            f"document's {longest}; train it without a mixture, or on documents as short"
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


AttentionInterface.register(NAME, attend_within_documents)
# Without documents all is as under sdpa.
AttentionMaskInterface.register(NAME, sdpa_mask)
