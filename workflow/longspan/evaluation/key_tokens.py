"""Key tokens: those that a fixed evaluator finds likely in long context alone (LongPPL, arXiv 2410.23771).

They are characters of a text, so that they can be carried over to any tokenizer: an evaluator's key tokens
are spans of characters, and a token of another tokenizer is a key token if it lies in one of them. Spans
cover the text without gaps; PyPI's `longppl` takes a tokenizer's own offsets, which leave spaces out where
its post-processor trims them.

Shape suffixes: T tokens, N = T - 1 entries of NLL (entry t is token t+1), K spans.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from longspan.tokens.spans import token_spans


def merged_spans(spans_K2: np.ndarray) -> np.ndarray:
    """Spans in order, of which those that touch are one."""
    if len(spans_K2) == 0:
        return spans_K2.reshape(0, 2)
    apart = spans_K2[1:, 0] != spans_K2[:-1, 1]
    return np.stack([spans_K2[np.append(True, apart), 0], spans_K2[np.append(apart, True), 1]], axis=1)


def tokens_within(spans_T2: np.ndarray, key_spans_K2: np.ndarray) -> np.ndarray:
    """Which tokens lie in one of some spans, bool [T].

    Args:
        spans_T2: first character and end of each token, in order.
        key_spans_K2: the spans, in order.
    """
    if len(key_spans_K2) == 0:
        return np.zeros(len(spans_T2), bool)
    starts_T, stops_T = spans_T2.T
    last_T = np.searchsorted(key_spans_K2[:, 0], starts_T, side="right") - 1
    # Of the spans that begin no later than a token, one holds it if the farthest does.
    farthest_K = np.maximum.accumulate(key_spans_K2[:, 1])
    return (last_T >= 0) & (stops_T <= farthest_K[last_T])


def key_tokens(
    long_nll_N: np.ndarray, short_nll_N: np.ndarray, *, min_gain: float, max_nll: float
) -> np.ndarray:
    """Which tokens the long context makes likely, and the short one does not, bool [N].

    Args:
        long_nll_N, short_nll_N: nats; NaN short NLL is no key token.
        min_gain: short NLL less long NLL must be more.
        max_nll: long NLL must be less.
    """
    return (short_nll_N - long_nll_N > min_gain) & (long_nll_N < max_nll)


def evaluator_nll(
    model: Any, input_ids: np.ndarray, *, short_context: int, shared_tokens: int
) -> tuple[np.ndarray, np.ndarray]:
    """An evaluator's NLL of each token given all tokens before it, and given the last ones only.

    Blocks of `shared_tokens` tokens share a beginning: the first of a block has `short_context` tokens before
    it, the last one `shared_tokens` - 1 more. Tokens with less before them have no short NLL of their own.

    Args:
        model: a Hugging Face causal language model.
        input_ids: integers [T].
        short_context: tokens before a block.
        shared_tokens: tokens of a block; the last one may be shorter.

    Returns:
        Long and short NLL, float32 [N], nats; short NLL of the first `short_context` - 1 entries is NaN.
    """
    import torch

    from longspan.scoring.geometry import ScoringWindow
    from longspan.scoring.nll import long_context_nll, windows_nll

    ids_1T = torch.from_numpy(np.asarray(input_ids, np.int64))[None]
    tokens = ids_1T.shape[1]
    windows = [
        ScoringWindow(start, min(start + short_context + shared_tokens, tokens), start + short_context)
        for start in range(0, tokens - short_context, shared_tokens)
    ]
    long_N = long_context_nll(model, ids_1T)[0]
    short_N = windows_nll(model, ids_1T, windows)[0]
    return long_N.cpu().numpy(), short_N.cpu().numpy()


def key_spans(
    model: Any,
    prefix_token_ids: tuple[int, ...],
    encode: Callable[[str], Any],
    text: str,
    *,
    short_context: int,
    shared_tokens: int,
    min_gain: float,
    max_nll: float,
) -> np.ndarray:
    """Spans of characters of a text that are key tokens of an evaluator, int64 [K, 2], in order.

    Args:
        model: the evaluator.
        prefix_token_ids: tokens that its tokenizer puts in front of a text.
        encode: gives the `TokenizedDocument` of a text by its tokenizer.
        text: the text.
        short_context, shared_tokens: as in `evaluator_nll`.
        min_gain, max_nll: as in `key_tokens`.
    """
    document = encode(text)
    ids_T = np.concatenate([np.asarray(prefix_token_ids, np.int64), document.input_ids])
    if len(ids_T) <= short_context:
        return np.zeros((0, 2), np.int64)
    long_N, short_N = evaluator_nll(model, ids_T, short_context=short_context, shared_tokens=shared_tokens)
    found_N = key_tokens(long_N, short_N, min_gain=min_gain, max_nll=max_nll)
    # Entry t is token t + 1; those of the prefix are no part of the text.
    positions = np.flatnonzero(found_N) + 1 - len(prefix_token_ids)
    spans_T2 = token_spans(document.char_deltas, document.split_positions)
    return merged_spans(spans_T2[positions[positions >= 0]])
