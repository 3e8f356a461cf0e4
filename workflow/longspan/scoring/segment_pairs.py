"""How well a model predicts a window's segments alone, and after one other segment (arXiv 2405.17915).

Shape suffixes: T tokens of a window, N segments, P pairs, S tokens of a segment, W sequences of a batch, D
hidden size.
"""

import math

import numpy as np
import torch
from torch import nn

from longspan.models.attention_kernels import fastest_attention
from longspan.models.output_layer import OutputLayer, split_model
from longspan.store.draws import uniform_by_id

# Raised by hand whenever the numbers of this stage move: stored scores of another version are recomputed.
STAGE_VERSION = 1


def sampled_pairs(data_id: str, num_segments: int, count: int) -> np.ndarray:
    """Pairs of a segment and an earlier one, int64 [P, 2], ascending, each once.

    They are drawn by keyed hashes of the window's id, so they depend on nothing else. Of no more than `count`
    pairs, all are taken.

    Args:
        data_id: the window's id.
        num_segments: segments of the window (N).
        count: pairs that are drawn.
    """
    total = num_segments * (num_segments - 1) // 2
    if count >= total:
        numbers = range(total)
    else:
        drawn: dict[int, None] = {}
        batch = 0
        while len(drawn) < count:
            draws = uniform_by_id((f"{data_id}/{batch}/{number}" for number in range(count)), seed=0)
            for number in (draws * total).astype(np.int64).tolist():
                if len(drawn) < count:
                    drawn[number] = None
            batch += 1
        numbers = sorted(drawn)
    return np.array([_pair(number) for number in numbers], np.int64).reshape(-1, 2)


@torch.no_grad()
def segment_nll(
    model: nn.Module,
    input_ids_T: torch.Tensor,
    pairs_P2: np.ndarray,
    *,
    segment_tokens: int,
    pairs_per_batch: int = 16,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean NLL of each segment alone, and of the later segment of each pair after the earlier one.

    The mean is over all tokens of a segment but its first, which has no context alone.

    Args:
        model: a Hugging Face causal language model.
        input_ids_T: integer token ids; segments divide them.
        pairs_P2: later and earlier segment of each pair.
        segment_tokens: tokens of a segment, at least 2.
        pairs_per_batch: pairs in one forward pass, and half as many as segments alone.

    Returns:
        ``(alone [N], after [P])``, nats a token, float32, on the model's device.

    Raises:
        ValueError: segments that do not divide the window, or a model whose output layer is unknown.
    """
    if segment_tokens < 2 or len(input_ids_T) % segment_tokens:
        raise ValueError(f"segments of {segment_tokens} tokens do not divide a window of {len(input_ids_T)}")
    decoder, output_layer = split_model(model)
    ids_NS = input_ids_T.to(output_layer.weight.device, torch.int64).view(-1, segment_tokens)
    later_P, earlier_P = torch.from_numpy(pairs_P2).to(ids_NS.device).unbind(1)
    with fastest_attention(ids_NS.device):
        alone = [
            _last_nll(decoder, output_layer, x, segment_tokens) for x in ids_NS.split(2 * pairs_per_batch)
        ]
        after = [
            _last_nll(decoder, output_layer, torch.cat([ids_NS[earlier], ids_NS[later]], 1), segment_tokens)
            for later, earlier in zip(
                later_P.split(pairs_per_batch), earlier_P.split(pairs_per_batch), strict=True
            )
        ]
    empty = torch.zeros(0, device=ids_NS.device)
    return torch.cat([empty, *alone]), torch.cat([empty, *after])


def _last_nll(
    decoder: nn.Module, output_layer: OutputLayer, ids_WT: torch.Tensor, segment_tokens: int
) -> torch.Tensor:
    hidden_WTD = decoder(input_ids=ids_WT, use_cache=False).last_hidden_state
    target_WS = ids_WT[:, 1 - segment_tokens :]
    hidden_WSD = hidden_WTD[:, -segment_tokens:-1]
    return (
        output_layer.nll(hidden_WSD.flatten(0, 1), target_WS.flatten()).float().view(target_WS.shape).mean(1)
    )


def _pair(number: int) -> tuple[int, int]:
    # Pairs in the order (1, 0), (2, 0), (2, 1), (3, 0), …
    later = (1 + math.isqrt(1 + 8 * number)) // 2
    return later, number - later * (later - 1) // 2
