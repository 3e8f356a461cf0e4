"""LADM's attention between the spans of a window, without the attention matrix (arXiv 2503.02502).

A window of L tokens is cut into N = L / span_tokens spans. The pairwise focus score PFS(i, j) is the
attention that the queries of span j give to the keys of span i: the sum of their softmaxed probabilities, in
the mean over heads. A span's aggregated focus score AFS(j) weighs those of the spans before it by their
distance, and by how much they differ; the contextual dependency score (CDS) of a window adds up its spans'.

Shape suffixes: B windows, H query heads, K key heads, G query heads a key head, R rows (queries) of a block,
L tokens, D head dimension, J spans of queries, N spans of keys.
"""

import math

import torch

from longspan.scoring.attention_statistics import check_queries_keys

# Raised by hand whenever the numbers of this stage move: stored scores of another version are recomputed.
STAGE_VERSION = 1

# scores held at once on the blocked path, so that memory grows with L and not with L²
_SCORES_AT_ONCE = 1 << 22
_SMALLEST_BLOCK = 16  # tokens of a side of a tile of the GPU's kernel


def query_spans(num_spans: int, mode: str, *, skipped_spans: int, near_spans: int, first_span: int) -> range:
    """Spans of a window that are scored, ascending; those of `mode` released end at the last span.

    Args:
        num_spans: spans of a window (N).
        mode: ``paper``: all from `first_span` (n0) on. ``released``: every `near_spans`-th, counted from the
            last one, of those behind ``skipped_spans + 4 * near_spans``.
        skipped_spans: first spans that are no span's context (m).
        near_spans: spans before a span that are too near to be its context (n); the step in mode released.
        first_span: first span that is scored (n0); not used in mode released.
    """
    if mode == "released":
        return range(num_spans - 1, skipped_spans + 4 * near_spans, -near_spans)[::-1]
    return range(first_span, num_spans)


def span_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    *,
    span_tokens: int,
    spans: range,
    own_span: bool = True,
    scale: float | None = None,
    softcap: float | None = None,
) -> torch.Tensor:
    """Attention of some spans' queries to all spans' keys, in the mean over heads.

    Equals, without the L x L matrix::

        s = softcap * tanh(q @ k.mT * scale / softcap)      # without softcap: q @ k.mT * scale
        p = s.masked_fill(future, -inf).softmax(-1)         # without own_span: of keys before the span
        p.view(B, H, N, span_tokens, N, span_tokens).sum((3, 5)).mean(1)[:, spans]

    On a GPU half-precision inputs take a fused kernel; elsewhere, and for float32 and float64, the scores are
    computed block by block in float32 (float64 for float64 inputs).

    Args:
        q: [B, H, L, D] queries after RoPE, floating point.
        k: [B, K, L, D] keys after RoPE, same dtype and device. H is a multiple of K.
        span_tokens: tokens of a span; divides L.
        spans: spans of queries, ascending.
        own_span: whether queries see the keys of their own span, up to themselves.
        scale: factor on ``q @ k.mT``; None is ``D ** -0.5``.
        softcap: bound of the scores (Gemma 2); None is none.

    Returns:
        float64 [B, J, N]; what no query sees is 0. A score that is not finite makes its span's row so.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, spans that do not divide the window or are not
            in it, a softcap that is not positive.
    """
    check_queries_keys(q, k, softcap)
    num_tokens, head_dim = q.shape[-2:]
    num_spans = num_tokens // span_tokens
    if num_tokens % span_tokens:
        raise ValueError(f"spans of {span_tokens} tokens do not divide a window of {num_tokens}")
    if spans and not 0 <= spans[0] <= spans[-1] < num_spans:
        raise ValueError(f"spans {spans} are not among the {num_spans} of the window")
    if scale is None:
        scale = head_dim**-0.5
    halves = q.is_cuda and q.dtype in (torch.bfloat16, torch.float16)
    if halves and spans and span_tokens % _SMALLEST_BLOCK == 0:
        # imported here: a machine without a GPU need not have Triton
        from longspan.scoring.kernels.span_attention_triton import span_attention as fused

        return fused(q, k, scale, softcap, span_tokens, spans, own_span)
    return _blocked(q, k, scale, softcap, span_tokens, spans, own_span)


def dependency_score(
    pfs_JN: torch.Tensor, spans: range, mode: str, *, skipped_spans: int, near_spans: int
) -> torch.Tensor:
    """LADM's contextual dependency score (CDS) of a window in one layer, float64 scalar.

    ``paper``: ``CDS = Σ_j (j/N) · AFS(j)`` with ``AFS(j) = σ_j · Σ_i ((j-i)/N) · PFS(i, j)``, i from m to
    ``j - n - 1``, σ_j the standard deviation of these PFS(i, j) (unbiased, as the released code's).
    ``released``: i is ``j - n``, ``j - 2n``, … down to m, and the CDS is the mean over the spans j.

    Args:
        pfs_JN: PFS of the spans `spans` (rows) to all N spans, as :func:`span_attention` gives it.
        spans: spans of queries, as :func:`query_spans` gives them.
        mode: ``paper`` or ``released``.
        skipped_spans: m.
        near_spans: n.
    """
    pfs_JN = pfs_JN.double()
    num_spans = pfs_JN.shape[1]
    j_J1 = torch.tensor(list(spans), device=pfs_JN.device)[:, None]
    i_N = torch.arange(num_spans, device=pfs_JN.device)
    distance_JN = j_J1 - i_N
    if mode == "released":
        counts_JN = (distance_JN >= near_spans) & (distance_JN % near_spans == 0)
    else:
        counts_JN = distance_JN > near_spans
    counts_JN &= i_N >= skipped_spans
    counted_JN = torch.where(counts_JN, pfs_JN, 0.0)
    number_J = counts_JN.sum(1)
    mean_J1 = (counted_JN.sum(1) / number_J)[:, None]
    squares_J = torch.where(counts_JN, (pfs_JN - mean_J1).square(), 0.0).sum(1)
    spread_J = (squares_J / (number_J - 1)).sqrt()
    afs_J = spread_J * (counted_JN * distance_JN / num_spans).sum(1)
    weighted_J = afs_J * j_J1[:, 0] / num_spans
    return weighted_J.mean() if mode == "released" else weighted_J.sum()


def _blocked(
    q_BHLD: torch.Tensor,
    k_BKLD: torch.Tensor,
    scale: float,
    softcap: float | None,
    span_tokens: int,
    spans: range,
    own_span: bool,
) -> torch.Tensor:
    batch, heads, num_tokens, head_dim = q_BHLD.shape
    key_heads = k_BKLD.shape[1]
    group = heads // key_heads
    dtype = torch.promote_types(q_BHLD.dtype, torch.float32)
    q_BKGLD = q_BHLD.reshape(batch, key_heads, group, num_tokens, head_dim)
    num_spans = num_tokens // span_tokens
    pfs_BJN = torch.zeros(batch, len(spans), num_spans, dtype=torch.float64, device=q_BHLD.device)
    rows = max(1, _SCORES_AT_ONCE // (group * num_tokens))
    column_L = torch.arange(num_tokens, device=q_BHLD.device)
    for b in range(batch):
        for key_head in range(key_heads):
            k_LD = k_BKLD[b, key_head].to(dtype)
            for row, span in enumerate(spans):
                first, last = span * span_tokens, (span + 1) * span_tokens
                seen = last if own_span else first
                for start in range(first, last, rows) if seen else ():
                    stop = min(start + rows, last)
                    s_GRL = (q_BKGLD[b, key_head, :, start:stop].to(dtype) * scale) @ k_LD[:seen].T
                    if softcap is not None:
                        s_GRL = softcap * torch.tanh(s_GRL / softcap)
                    if own_span:
                        row_R1 = torch.arange(start, stop, device=q_BHLD.device)[:, None]
                        s_GRL.masked_fill_(column_L[:seen] > row_R1, -math.inf)
                    sum_L = s_GRL.softmax(-1).sum((0, 1), dtype=torch.float64)
                    pfs_BJN[b, row, : seen // span_tokens] += sum_L.view(-1, span_tokens).sum(1)
    return pfs_BJN / heads
