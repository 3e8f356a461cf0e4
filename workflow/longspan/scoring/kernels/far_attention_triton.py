"""Far attention sums by a Triton kernel: any GPU, any head dimension, softcap.

Shape suffixes: M rows (queries) of a block, N columns (keys) of a tile, D head dimension.
"""

import math

import torch
import triton
import triton.language as tl

_LOG2_E = math.log2(math.e)
# how the keys of a tile lie to the rows of a block
_FAR, _NEAR, _MIXED = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)


@triton.jit
def _add_tiles(
    top_M,
    near_M,
    far_M,
    square_M,
    q_MD,
    row_M,
    k_head,
    k_stride_l,
    first,
    last,
    num_tokens,
    distance,
    scale,
    softcap,
    KIND: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    # sums are of exp2(score - top), top the row's highest score so far
    d = tl.arange(0, BLOCK_D)
    for start in range(first, last, BLOCK_N):
        column_N = start + tl.arange(0, BLOCK_N)
        k_DN = tl.load(
            k_head + column_N[None, :] * k_stride_l + d[:, None],
            mask=(column_N[None, :] < num_tokens) & (d[:, None] < D),
            other=0.0,
        )
        s_MN = tl.dot(q_MD, k_DN)
        if HAS_SOFTCAP:
            # softcap * tanh(x), tanh by exp2; scale and softcap come in units of log2(e)
            s_MN = softcap * (
                1.0 - 2.0 / (1.0 + tl.exp2(s_MN * (2.0 * 1.4426950408889634) * (scale / softcap)))
            )
        else:
            s_MN = s_MN * scale
        if KIND == _MIXED:
            s_MN = tl.where(column_N[None, :] <= row_M[:, None], s_MN, -float("inf"))
        new_top_M = tl.maximum(top_M, tl.max(s_MN, 1))
        shrink_M = tl.exp2(top_M - new_top_M)
        p_MN = tl.exp2(s_MN - new_top_M[:, None])
        near_M *= shrink_M
        far_M *= shrink_M
        square_M *= shrink_M * shrink_M
        if KIND == _NEAR:
            near_M += tl.sum(p_MN, 1)
        else:
            if KIND == _MIXED:
                far_MN = tl.where(column_N[None, :] <= row_M[:, None] - distance, p_MN, 0.0)
                near_M += tl.sum(p_MN - far_MN, 1)
                p_MN = far_MN
            far_M += tl.sum(p_MN, 1)
            square_M += tl.sum(p_MN * p_MN, 1)
        top_M = new_top_M
    return top_M, near_M, far_M, square_M


@triton.jit
def _far_attention(
    q_ptr,
    k_ptr,
    partial_ptr,
    q_stride_b,
    q_stride_h,
    q_stride_l,
    k_stride_b,
    k_stride_h,
    k_stride_l,
    heads,
    group,
    num_tokens,
    distance,
    scale,
    softcap,
    HAS_SOFTCAP: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    # long rows first, so that the last blocks to run are short ones
    row_blocks = tl.num_programs(1)
    row_block = row_blocks - 1 - tl.program_id(1)
    window, head = tl.program_id(0) // heads, tl.program_id(0) % heads
    first_row = distance + row_block * BLOCK_M
    row_M = first_row + tl.arange(0, BLOCK_M)
    d = tl.arange(0, BLOCK_D)
    # offsets in 64 bits: a batch of long windows has more than 2^31 elements
    q_head = q_ptr + window.to(tl.int64) * q_stride_b + head.to(tl.int64) * q_stride_h
    k_head = k_ptr + window.to(tl.int64) * k_stride_b + (head // group).to(tl.int64) * k_stride_h
    q_MD = tl.load(
        q_head + row_M[:, None].to(tl.int64) * q_stride_l + d[None, :],
        mask=(row_M[:, None] < num_tokens) & (d[None, :] < D),
        other=0.0,
    )
    end = tl.minimum(first_row + BLOCK_M, num_tokens)
    far_end = (row_block * BLOCK_M + 1) // BLOCK_N * BLOCK_N
    near_start = tl.minimum((row_block * BLOCK_M + BLOCK_M + BLOCK_N - 1) // BLOCK_N * BLOCK_N, end)
    near_end = tl.maximum((first_row + 1) // BLOCK_N * BLOCK_N, near_start)

    top_M = tl.full((BLOCK_M,), -float("inf"), tl.float32)
    near_M = tl.zeros((BLOCK_M,), tl.float32)
    far_M = tl.zeros((BLOCK_M,), tl.float32)
    square_M = tl.zeros((BLOCK_M,), tl.float32)
    for part in tl.static_range(4):
        first = 0 if part == 0 else far_end if part == 1 else near_start if part == 2 else near_end
        last = far_end if part == 0 else near_start if part == 1 else near_end if part == 2 else end
        top_M, near_M, far_M, square_M = _add_tiles(
            top_M,
            near_M,
            far_M,
            square_M,
            q_MD,
            row_M,
            k_head,
            k_stride_l,
            first,
            last,
            num_tokens,
            distance,
            scale,
            softcap,
            _FAR if part == 0 else _NEAR if part == 2 else _MIXED,
            HAS_SOFTCAP,
            D,
            BLOCK_D,
            BLOCK_N,
        )
    all_M = near_M + far_M
    real_M = row_M < num_tokens
    out = partial_ptr + tl.program_id(0) * 2 * row_blocks + row_block
    tl.store(out, tl.sum(tl.where(real_M, far_M / all_M, 0.0)))
    tl.store(out + row_blocks, tl.sum(tl.where(real_M, square_M / (all_M * all_M), 0.0)))


def far_attention_sums(
    q_BHLD: torch.Tensor, k_BKLD: torch.Tensor, scale: float, softcap: float | None, distance: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """`longspan.scoring.attention_statistics.far_attention_sums` for checked half-precision inputs."""
    q_BHLD, k_BKLD = (x if x.stride(-1) == 1 else x.contiguous() for x in (q_BHLD, k_BKLD))
    batch, heads, num_tokens, head_dim = q_BHLD.shape
    block_d = max(16, triton.next_power_of_2(head_dim))
    block_m, block_n, warps = (128, 128, 8) if block_d <= 128 else (64, 64, 4)
    row_blocks = triton.cdiv(num_tokens - distance, block_m)
    partial_BH2S = torch.empty(batch, heads, 2, row_blocks, dtype=torch.float32, device=q_BHLD.device)
    with torch.cuda.device(q_BHLD.device):
        _far_attention[(batch * heads, row_blocks)](
            q_BHLD,
            k_BKLD,
            partial_BH2S,
            *q_BHLD.stride()[:3],
            *k_BKLD.stride()[:3],
            heads,
            heads // k_BKLD.shape[1],
            num_tokens,
            distance,
            scale * _LOG2_E,
            (softcap or 1.0) * _LOG2_E,
            HAS_SOFTCAP=softcap is not None,
            D=head_dim,
            BLOCK_D=block_d,
            BLOCK_M=block_m,
            BLOCK_N=block_n,
            num_warps=warps,
            num_stages=3 if block_d <= 128 else 2,
        )
    sum_p, sum_p2 = partial_BH2S.sum(-1, dtype=torch.float64).float().unbind(-1)
    return sum_p, sum_p2
