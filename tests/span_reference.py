"""LADM the naive way, in float64 and in loops: the plain form that every faster one is compared with."""

import statistics

import torch

from attention_reference import dense_attention


def dense_span_attention(q_BHLD, k_BKLD, span_tokens, spans, *, own_span=True, scale=None, softcap=None):
    """PFS [B, J, N] from whole matrices of probabilities."""
    p_BHLL = dense_attention(q_BHLD, k_BKLD, scale, softcap)
    if not own_span:
        span_L = torch.arange(q_BHLD.shape[2], device=q_BHLD.device) // span_tokens
        p_BHLL = p_BHLL * (span_L < span_L[:, None])
        p_BHLL = p_BHLL / p_BHLL.sum(-1, keepdim=True).clamp_min(1e-300)
    return spans_of_matrix(p_BHLL, span_tokens, spans)


def spans_of_matrix(p_BHLL, span_tokens, spans):
    """PFS [B, J, N] of probabilities."""
    batch, heads, num_tokens, _ = p_BHLL.shape
    num = num_tokens // span_tokens
    blocks = p_BHLL.double().view(batch, heads, num, span_tokens, num, span_tokens)
    return blocks.sum((3, 5)).mean(1)[:, list(spans)]


def naive_paper_score(pfs, m, n, n0):
    """CDS of a whole N x N table of PFS, span by span (arXiv 2503.02502)."""
    num = len(pfs)
    cds = 0.0
    for j in range(n0, num):
        before = range(m, j - n)
        spread = statistics.stdev(pfs[j][i] for i in before)
        cds += j / num * spread * sum((j - i) / num * pfs[j][i] for i in before)
    return cds


def naive_released_score(pfs, m, n):
    """CDS as the released code goes about it: from the window's end, by strides."""
    num, scores = len(pfs), []
    for j in range(num - 1, m + 4 * n, -n):
        before = []
        for distance in range(n, num + n, n):
            if j - distance < m:
                break
            before.append((distance, pfs[j][j - distance]))
        spread = statistics.stdev(focus for _, focus in before)
        scores.append(sum(distance / num * focus for distance, focus in before) * spread * j / num)
    return statistics.fmean(scores)
