"""Negative log-likelihoods of long sequences, in short and in full context.

Entry t of an NLL array is the NLL (nats) of token x_{t+1}: T tokens have T - 1 entries.

Shape suffixes: B sequences, T tokens, N = T - 1 entries, W windows of a batch, L base length, D hidden size,
S scored positions of a batch.
"""

from collections.abc import Sequence

import torch
from torch import nn

from longspan.models.attention_kernels import fastest_attention
from longspan.models.output_layer import OutputLayer, split_model
from longspan.scoring.geometry import ScoringWindow, scoring_windows

# Part of every score store's settings. Raise it by hand when the numbers of this module move (tests/golden).
STAGE_VERSION = 1


@torch.no_grad()
def short_context_nll(
    model: nn.Module,
    input_ids: torch.Tensor,
    *,
    base_length: int,
    base_stride: int,
    bos_token_id: int | None = None,
    first_window: bool = True,
    windows_per_batch: int = 1,
) -> torch.Tensor:
    """Score long sequences with at most ``base_length`` tokens of context (arXiv 2503.09202).

    Windows of ``base_length`` tokens start every ``base_stride`` tokens. The first scores all of its tokens
    but the first one, each later one its last ``base_stride`` tokens. Only scored positions pass through
    the output layer, in chunks and in float32. The model's mode (train or eval) stays as it is.

    Args:
        model: a Hugging Face causal language model.
        input_ids: [B, T] integer token ids.
        base_length: tokens of context, 2 ... T.
        base_stride: tokens that each later window scores; divides T - base_length.
        bos_token_id: replaces the first token of each later window, where sequences begin with it; or None.
        first_window: whether to run the first window. Without it, entries 0 ... base_length - 2 are NaN:
            their context is the same in the long pass, which has them already.
        windows_per_batch: windows in one forward pass; results in low precision on a GPU depend on it.

    Returns:
        [B, T - 1] float32, nats, on the model's device; entry t belongs to token x_{t+1}.

    Raises:
        ValueError: input_ids or windows_per_batch of a wrong form, an impossible geometry, or a model whose
            output layer is unknown.
    """
    decoder, output_layer = split_model(model)
    ids_BT = _checked_ids(input_ids, output_layer)
    _check_batch("windows_per_batch", windows_per_batch)
    windows = scoring_windows(ids_BT.shape[1], base_length, base_stride)
    if not first_window:
        windows = windows[1:]
    nll_BN = _empty_nll(ids_BT)
    jobs = [(row, window) for row in range(len(ids_BT)) for window in windows]
    with fastest_attention(ids_BT.device):
        for first in range(0, len(jobs), windows_per_batch):
            batch = jobs[first : first + windows_per_batch]
            _score_windows(decoder, output_layer, ids_BT, batch, bos_token_id, nll_BN)
    return nll_BN


@torch.no_grad()
def windows_nll(model: nn.Module, input_ids: torch.Tensor, windows: Sequence[ScoringWindow]) -> torch.Tensor:
    """Score what some windows of long sequences score, each in a forward pass of its own.

    Args:
        model: a Hugging Face causal language model.
        input_ids: [B, T] integer token ids.
        windows: which tokens go through the model, and which of them are scored.

    Returns:
        [B, T - 1] float32, nats, on the model's device; entry t belongs to token x_{t+1}, and is NaN where no
        window scores it.

    Raises:
        ValueError: input_ids of a wrong form, or a model whose output layer is unknown.
    """
    decoder, output_layer = split_model(model)
    ids_BT = _checked_ids(input_ids, output_layer)
    nll_BN = _empty_nll(ids_BT)
    with fastest_attention(ids_BT.device):
        for row in range(len(ids_BT)):
            for window in windows:
                _score_windows(decoder, output_layer, ids_BT, [(row, window)], None, nll_BN)
    return nll_BN


@torch.no_grad()
def long_context_nll(
    model: nn.Module, input_ids: torch.Tensor, *, sequences_per_batch: int = 1
) -> torch.Tensor:
    """Score long sequences in full context: every token given all tokens before it.

    Args:
        model: a Hugging Face causal language model.
        input_ids: [B, T] integer token ids.
        sequences_per_batch: sequences in one forward pass.

    Returns:
        [B, T - 1] float32, nats, on the model's device; entry t belongs to token x_{t+1}.

    Raises:
        ValueError: input_ids or sequences_per_batch of a wrong form, or a model whose output layer is
        unknown.
    """
    decoder, output_layer = split_model(model)
    ids_BT = _checked_ids(input_ids, output_layer)
    _check_batch("sequences_per_batch", sequences_per_batch)
    nll_BN = _empty_nll(ids_BT)
    whole = ScoringWindow(0, ids_BT.shape[1], 1)
    with fastest_attention(ids_BT.device):
        for first in range(0, len(ids_BT), sequences_per_batch):
            batch = [(row, whole) for row in range(first, min(first + sequences_per_batch, len(ids_BT)))]
            _score_windows(decoder, output_layer, ids_BT, batch, None, nll_BN)
    return nll_BN


def _score_windows(
    decoder: nn.Module,
    output_layer: OutputLayer,
    ids_BT: torch.Tensor,
    batch: Sequence[tuple[int, ScoringWindow]],
    bos_token_id: int | None,
    nll_BN: torch.Tensor,
) -> None:
    ids_WL = torch.stack([ids_BT[row, window.start : window.stop] for row, window in batch])
    if bos_token_id is not None:
        for w, (_, window) in enumerate(batch):
            if window.start > 0:
                ids_WL[w, 0] = bos_token_id
    hidden_WLD = decoder(input_ids=ids_WL, use_cache=False).last_hidden_state
    # The hidden state before a token predicts it, so the last one of a window predicts nothing that is
    # scored.
    scored = [slice(window.scored_start - window.start - 1, -1) for _, window in batch]
    hidden_SD = torch.cat([hidden_WLD[w, positions] for w, positions in enumerate(scored)])
    target_S = torch.cat([ids_BT[row, window.scored_start : window.stop] for row, window in batch])
    nll_S = output_layer.nll(hidden_SD, target_S).float()
    lengths = [window.stop - window.scored_start for _, window in batch]
    for (row, window), nll in zip(batch, nll_S.split(lengths), strict=True):
        nll_BN[row, window.scored_start - 1 : window.stop - 1] = nll


def _checked_ids(input_ids: torch.Tensor, output_layer: OutputLayer) -> torch.Tensor:
    if input_ids.ndim != 2 or input_ids.shape[1] < 2 or input_ids.is_floating_point():
        raise ValueError(
            f"input_ids are {list(input_ids.shape)} {input_ids.dtype}; they must be integers [sequences, "
            "tokens] with at least two tokens"
        )
    return input_ids.to(output_layer.weight.device, torch.int64)


def _check_batch(name: str, size: int) -> None:
    if size < 1:
        raise ValueError(f"{name} {size} must be at least 1")


def _empty_nll(ids_BT: torch.Tensor) -> torch.Tensor:
    shape = (ids_BT.shape[0], ids_BT.shape[1] - 1)
    return torch.full(shape, torch.nan, dtype=torch.float32, device=ids_BT.device)
