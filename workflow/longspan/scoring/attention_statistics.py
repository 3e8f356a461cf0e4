"""LongAttn's statistics of a causal attention matrix, without the matrix (arXiv 2502.16860).

M is the causal, softmaxed attention matrix of one head: row = query n, column = key i, both from 0. With
``k = min_distance_tokens`` its far region is ``n >= k`` and ``i <= n - k``; k is a quarter of the window,
``L - 3 * floor(L / 4)``. Two sums over the far region are enough for every published statistic:
``sum_p`` (S1) = Σ M[n, i] and ``sum_p2`` (S2) = Σ M[n, i]².

Shape suffixes: B windows, H query heads, K key heads, G query heads a key head, R rows (queries) of a
block, L tokens, D head dimension.
"""

import math

import torch

# Raised by hand whenever the numbers of this stage move: stored scores of another version are recomputed.
STAGE_VERSION = 1

MIN_TOKENS = 4
# scores held at once on the blocked path, so that memory grows with L and not with L²
_SCORES_AT_ONCE = 1 << 22


def default_min_distance(num_tokens: int) -> int:
    """Distance in tokens from which a key is far: ``L - 3 * floor(L / 4)``, L/4 where 4 divides L.

    Raises:
        ValueError: fewer than 4 tokens.
    """
    if num_tokens < MIN_TOKENS:
        raise ValueError(
            f"a window needs at least {MIN_TOKENS} tokens to have a far region, got {num_tokens}"
        )
    return num_tokens - 3 * (num_tokens // 4)


def far_attention_sums(
    q: torch.Tensor,
    k: torch.Tensor,
    *,
    scale: float | None = None,
    softcap: float | None = None,
    min_distance_tokens: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of the far attention probabilities and of their squares, per window and head.

    Equals, in O(L) memory::

        s = softcap * tanh(q @ k.mT * scale / softcap)    # without softcap: q @ k.mT * scale
        p = s.masked_fill(future, -inf).softmax(-1)
        far = (n >= min_distance_tokens) & (i <= n - min_distance_tokens)
        (p * far).sum((-2, -1)), (p * far).square().sum((-2, -1))

    On a GPU half-precision inputs take a fused kernel; elsewhere, and for float32 and float64, the scores
    are computed block by block in float32 (float64 for float64 inputs).

    Args:
        q: [B, H, L, D] queries after RoPE, floating point.
        k: [B, K, L, D] keys after RoPE, same dtype and device. H is a multiple of K: query head h attends
            to key head ``h // (H / K)``.
        scale: factor on ``q @ k.mT``; None is ``D ** -0.5``.
        softcap: bound of the scores (Gemma 2); None is none.
        min_distance_tokens: k; None is a quarter of the window, see `default_min_distance`.

    Returns:
        ``(sum_p, sum_p2)``, each float32 [B, H]. A score that is not finite makes its head's sums so.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, fewer than 4 tokens, a distance outside
            [0, L), a softcap that is not positive.
    """
    q_BHLD, k_BKLD = q, k
    check_queries_keys(q_BHLD, k_BKLD, softcap)
    num_tokens, head_dim = q_BHLD.shape[-2:]
    default = default_min_distance(num_tokens)
    if min_distance_tokens is None:
        min_distance_tokens = default
    if not 0 <= min_distance_tokens < num_tokens:
        raise ValueError(f"min_distance_tokens must lie in [0, {num_tokens}), got {min_distance_tokens}")
    if scale is None:
        scale = head_dim**-0.5
    if q_BHLD.is_cuda and q_BHLD.dtype in (torch.bfloat16, torch.float16):
        return _gpu_sums(q_BHLD, k_BKLD, scale, softcap, min_distance_tokens)
    return _blocked_sums(q_BHLD, k_BKLD, scale, softcap, min_distance_tokens)


def dependency_strength(sum_p: torch.Tensor, num_tokens: int) -> torch.Tensor:
    """Dependency strength (DS): the mean over queries of their far attention, ``sum_p / L``, float64.

    Raises:
        ValueError: fewer than 4 tokens.
    """
    default_min_distance(num_tokens)
    return sum_p.double() / num_tokens


def attention_variance(
    sum_p: torch.Tensor,
    sum_p2: torch.Tensor,
    num_tokens: int,
    over: str = "block",
    *,
    min_distance_tokens: int | None = None,
) -> torch.Tensor:
    """Unbiased variance of the far attention, float64; distribution uniformity (DU) is its negative.

    The variance is not linear in ``sum_p``: compute it per head, then average over heads.

    Args:
        sum_p: Σp over the far region, any shape.
        sum_p2: Σp² over the far region, same shape.
        num_tokens: window length L.
        over: ``block``: over the lower-left (L-k) x (L-k) block with its upper triangle as zeros, as the
            paper says. ``matrix``: over all L x L with everything outside the far region zero, as the
            released code does.
        min_distance_tokens: k; None is a quarter of the window.

    Raises:
        ValueError: another ``over``, fewer than 4 tokens, a block of fewer than two entries.
    """
    default = default_min_distance(num_tokens)
    if over not in ("block", "matrix"):
        raise ValueError(f"over must be 'block' or 'matrix', got {over!r}")
    distance = default if min_distance_tokens is None else min_distance_tokens
    entries = (num_tokens - distance) ** 2 if over == "block" else num_tokens**2
    if not 0 <= distance < num_tokens or entries < 2:
        raise ValueError(f"min_distance_tokens must lie in [0, {num_tokens - 1}), got {distance}")
    sum_p, sum_p2 = sum_p.double(), sum_p2.double()
    return (sum_p2 - sum_p.square() / entries) / (entries - 1)


def _gpu_sums(
    q_BHLD: torch.Tensor, k_BKLD: torch.Tensor, scale: float, softcap: float | None, distance: int
) -> tuple[torch.Tensor, torch.Tensor]:
    # imported here: a machine without a GPU need not have Triton
    from longspan.scoring.kernels import far_attention_hopper

    if softcap is None and far_attention_hopper.is_available(q_BHLD.shape[-1], q_BHLD.dtype, q_BHLD.device):
        return far_attention_hopper.far_attention_sums(q_BHLD, k_BKLD, scale, distance)
    from longspan.scoring.kernels import far_attention_triton

    return far_attention_triton.far_attention_sums(q_BHLD, k_BKLD, scale, softcap, distance)


def _blocked_sums(
    q_BHLD: torch.Tensor, k_BKLD: torch.Tensor, scale: float, softcap: float | None, distance: int
) -> tuple[torch.Tensor, torch.Tensor]:
    batch, heads, num_tokens, head_dim = q_BHLD.shape
    key_heads = k_BKLD.shape[1]
    group = heads // key_heads
    dtype = torch.promote_types(q_BHLD.dtype, torch.float32)
    q_BKGLD = q_BHLD.reshape(batch, key_heads, group, num_tokens, head_dim)
    sums_2BKG = torch.zeros(2, batch, key_heads, group, dtype=torch.float64, device=q_BHLD.device)
    rows = max(1, _SCORES_AT_ONCE // (group * num_tokens))
    column_L = torch.arange(num_tokens, device=q_BHLD.device)
    for b in range(batch):
        for key_head in range(key_heads):
            k_LD = k_BKLD[b, key_head].to(dtype)
            # rows before `distance` have no far key
            for start in range(distance, num_tokens, rows):
                stop = min(start + rows, num_tokens)
                s_GRL = (q_BKGLD[b, key_head, :, start:stop].to(dtype) * scale) @ k_LD[:stop].T
                if softcap is not None:
                    s_GRL = softcap * torch.tanh(s_GRL / softcap)
                row_R1 = torch.arange(start, stop, device=q_BHLD.device)[:, None]
                s_GRL.masked_fill_(column_L[:stop] > row_R1, -math.inf)
                p_GRL = s_GRL.softmax(-1)
                far_GRL = p_GRL[..., : stop - distance]
                far_GRL.masked_fill_(column_L[: stop - distance] > row_R1 - distance, 0)
                sums_2BKG[0, b, key_head] += far_GRL.sum(-1).double().sum(-1)
                sums_2BKG[1, b, key_head] += far_GRL.square().sum(-1).double().sum(-1)
    sum_p, sum_p2 = sums_2BKG.float().reshape(2, batch, heads)
    return sum_p, sum_p2


def check_queries_keys(q_BHLD: torch.Tensor, k_BKLD: torch.Tensor, softcap: float | None) -> None:
    """Refuse queries [B, H, L, D] and keys [B, K, L, D] that do not fit each other.

    Raises:
        ValueError: other shapes, dtypes or devices, a softcap that is not positive.
    """
    if q_BHLD.ndim != 4 or k_BKLD.ndim != 4:
        raise ValueError(
            f"q must be [B, H, L, D] and k [B, KV, L, D], got {tuple(q_BHLD.shape)} and {tuple(k_BKLD.shape)}"
        )
    (batch, heads, *tokens_and_dim), (key_batch, key_heads, *key_tokens_and_dim) = q_BHLD.shape, k_BKLD.shape
    if batch != key_batch or tokens_and_dim != key_tokens_and_dim or key_heads < 1 or heads % key_heads:
        raise ValueError(
            f"q {tuple(q_BHLD.shape)} and k {tuple(k_BKLD.shape)} must agree in windows, tokens and head "
            "dimension, and the query heads be a multiple of the key heads"
        )
    if q_BHLD.dtype != k_BKLD.dtype or not q_BHLD.dtype.is_floating_point or q_BHLD.device != k_BKLD.device:
        raise ValueError(
            f"q and k must share a floating dtype and a device, got {q_BHLD.dtype} on {q_BHLD.device} and "
            f"{k_BKLD.dtype} on {k_BKLD.device}"
        )
    if softcap is not None and not softcap > 0:
        raise ValueError(f"softcap must be positive, got {softcap}")
