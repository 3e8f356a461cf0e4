"""Short-context scores from the model that is being trained, in the same step.

Entry t of an NLL array is the NLL (nats) of token x_{t+1}.
"""

from dataclasses import asdict, dataclass

import torch
from torch import nn

from longspan.scoring.nll import short_nll_beside_long


@dataclass(frozen=True)
class SelfScoring:
    """How a model in training scores its own short context; see :func:`short_context_nll` for the numbers."""

    base_length: int
    base_stride: int
    bos_token_id: int | None = None
    windows_per_batch: int = 1


@torch.no_grad()
def self_scored_nll(
    model: nn.Module, input_ids: torch.Tensor, long_nll: torch.Tensor, scoring: SelfScoring
) -> torch.Tensor:
    """Score the short context of sequences whose long pass is done (arXiv 2503.09202, unfrozen).

    What the long pass has already is taken from there: see :func:`short_nll_beside_long`.

    Args:
        model: the Hugging Face causal language model in training.
        input_ids: [B, T] integer token ids.
        long_nll: [B, T - 1] float, nats, of the same model's long pass.
        scoring: windows of the short context.

    Returns:
        [B, T - 1] float32, nats, without gradient.

    Raises:
        ValueError: as :func:`short_context_nll`.
    """
    return short_nll_beside_long(model, input_ids, long_nll, **asdict(scoring))
