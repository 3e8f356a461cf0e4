"""Attention between spans by a Triton kernel: any GPU, any head dimension, softcap.

A row's normalizer is known only after its last key. So each tile of keys leaves one number for each row, the
log of the sum of its exponentiated scores, in a scratch array that belongs to the program; when the row is
done, the program reads them back and normalizes them. Queries and keys are multiplied once.

Shape suffixes: M rows (queries) of a block, N columns (keys) of a tile, D head dimension, C tiles of keys.
"""

import math
from dataclasses import dataclass

import torch
import triton
import triton.language as tl

_LOG2_E = math.log2(math.e)
_PROGRAMS_PER_PROCESSOR = 2


@dataclass(frozen=True)
class Tiling:
    """How the kernel goes about its work.

    Attributes:
        block: tokens of a side of a tile, 16, 32, 64 or 128.
        warps: of a program.
        stages: tiles of keys that are on their way.
    """

    block: int
    warps: int
    stages: int


@triton.jit
def _add_tile(
    scratch_M,
    q_MD,
    k_head,
    k_stride_l,
    tile,
    row_M,
    scale,
    softcap,
    IS_MASKED: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK: tl.constexpr,
):
    d = tl.arange(0, BLOCK_D)
    column_N = tile * BLOCK + tl.arange(0, BLOCK)
    k_DN = tl.load(
        k_head + column_N[None, :].to(tl.int64) * k_stride_l + d[:, None], mask=d[:, None] < D, other=0.0
    )
    s_MN = tl.dot(q_MD, k_DN)
    if HAS_SOFTCAP:
        # softcap * tanh(x), tanh by exp2; scale and softcap come in units of log2(e)
        s_MN = softcap * (1.0 - 2.0 / (1.0 + tl.exp2(s_MN * (2.0 * 1.4426950408889634) * (scale / softcap))))
    else:
        s_MN = s_MN * scale
    if IS_MASKED:
        # its own column is among a row's, so that no row is without a score
        s_MN = tl.where(column_N[None, :] <= row_M[:, None], s_MN, -float("inf"))
    top_M = tl.max(s_MN, 1)
    tl.store(scratch_M + tile * BLOCK, top_M + tl.log2(tl.sum(tl.exp2(s_MN - top_M[:, None]), 1)))


@triton.jit
def _span_attention(
    q_ptr,
    k_ptr,
    scratch_ptr,
    out_ptr,
    q_stride_b,
    q_stride_h,
    q_stride_l,
    k_stride_b,
    k_stride_h,
    k_stride_l,
    heads_of_windows,
    heads,
    group,
    row_blocks,
    blocks_per_span,
    first_span,
    span_step,
    columns,
    scale,
    softcap,
    OWN_SPAN: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK: tl.constexpr,
    TILES: tl.constexpr,
):
    program, programs = tl.program_id(0), tl.num_programs(0)
    d = tl.arange(0, BLOCK_D)
    m = tl.arange(0, BLOCK)
    scratch = scratch_ptr + program.to(tl.int64) * columns * BLOCK
    for item in range(program, heads_of_windows * row_blocks, programs):
        # long rows first, so that the last items are short ones
        row_block = row_blocks - 1 - item // heads_of_windows
        window, head = item % heads_of_windows // heads, item % heads_of_windows % heads
        span = first_span + row_block // blocks_per_span * span_step
        own_tile = span * blocks_per_span + row_block % blocks_per_span
        row_M = own_tile * BLOCK + m
        # offsets in 64 bits: a batch of long windows has more than 2^31 elements
        q_head = q_ptr + window.to(tl.int64) * q_stride_b + head.to(tl.int64) * q_stride_h
        k_head = k_ptr + window.to(tl.int64) * k_stride_b + (head // group).to(tl.int64) * k_stride_h
        q_MD = tl.load(
            q_head + row_M[:, None].to(tl.int64) * q_stride_l + d[None, :], mask=d[None, :] < D, other=0.0
        )
        unmasked = own_tile if OWN_SPAN else span * blocks_per_span
        for tile in range(0, unmasked):
            _add_tile(
                scratch + m,
                q_MD,
                k_head,
                k_stride_l,
                tile,
                row_M,
                scale,
                softcap,
                False,
                HAS_SOFTCAP,
                D,
                BLOCK_D,
                BLOCK,
            )
        tiles = unmasked
        if OWN_SPAN:
            _add_tile(
                scratch + m,
                q_MD,
                k_head,
                k_stride_l,
                own_tile,
                row_M,
                scale,
                softcap,
                True,
                HAS_SOFTCAP,
                D,
                BLOCK_D,
                BLOCK,
            )
            tiles = own_tile + 1

        # what one thread wrote another one reads
        tl.debug_barrier()
        top_M = tl.full((BLOCK,), -float("inf"), tl.float32)
        sum_M = tl.zeros((BLOCK,), tl.float32)
        for start in range(0, tiles, TILES):
            c = start + tl.arange(0, TILES)
            part_MC = tl.load(
                scratch + c[None, :] * BLOCK + m[:, None], mask=c[None, :] < tiles, other=-float("inf")
            )
            new_top_M = tl.maximum(top_M, tl.max(part_MC, 1))
            sum_M = sum_M * tl.exp2(top_M - new_top_M) + tl.sum(tl.exp2(part_MC - new_top_M[:, None]), 1)
            top_M = new_top_M
        all_M = top_M + tl.log2(sum_M)
        out = out_ptr + ((item % heads_of_windows).to(tl.int64) * row_blocks + row_block) * columns
        for start in range(0, tiles, TILES):
            c = start + tl.arange(0, TILES)
            part_MC = tl.load(
                scratch + c[None, :] * BLOCK + m[:, None], mask=c[None, :] < tiles, other=-float("inf")
            )
            tl.store(out + c, tl.sum(tl.exp2(part_MC - all_M[:, None]), 0), mask=c < tiles)
        tl.debug_barrier()


def span_attention(
    q_BHLD: torch.Tensor,
    k_BKLD: torch.Tensor,
    scale: float,
    softcap: float | None,
    span_tokens: int,
    spans: range,
    own_span: bool,
    *,
    tiling: Tiling | None = None,
    programs: int | None = None,
) -> torch.Tensor:
    """`longspan.scoring.span_attention.span_attention` for checked half-precision inputs and spans.

    Args:
        q_BHLD: queries.
        k_BKLD: keys.
        scale: factor on the products.
        softcap: bound of the scores, or None.
        span_tokens: tokens of a span, a multiple of 16.
        spans: spans of queries, ascending, at least one.
        own_span: whether queries see their own span.
        tiling: by the head dimension and span if None.
        programs: programs that share the work; by the device if None.
    """
    q_BHLD, k_BKLD = (x if x.stride(-1) == 1 else x.contiguous() for x in (q_BHLD, k_BKLD))
    batch, heads, num_tokens, head_dim = q_BHLD.shape
    block_d = max(16, triton.next_power_of_2(head_dim))
    if tiling is None:
        tiling = _tiling(block_d, span_tokens)
    block = tiling.block
    blocks_per_span, columns = span_tokens // block, num_tokens // block
    row_blocks = len(spans) * blocks_per_span
    if programs is None:
        processors = torch.cuda.get_device_properties(q_BHLD.device).multi_processor_count
        programs = _PROGRAMS_PER_PROCESSOR * processors
    programs = min(programs, batch * heads * row_blocks)
    numbers = {"dtype": torch.float32, "device": q_BHLD.device}
    scratch = torch.empty(programs, columns, block, **numbers)
    # what no row sees stays 0
    out = torch.zeros(
        batch, heads, len(spans), blocks_per_span, columns // blocks_per_span, blocks_per_span, **numbers
    )
    with torch.cuda.device_of(q_BHLD):
        _span_attention[(programs,)](
            q_BHLD,
            k_BKLD,
            scratch,
            out,
            *q_BHLD.stride()[:3],
            *k_BKLD.stride()[:3],
            batch * heads,
            heads,
            heads // k_BKLD.shape[1],
            row_blocks,
            blocks_per_span,
            spans[0],
            spans.step,
            columns,
            scale * _LOG2_E,
            (softcap or 1.0) * _LOG2_E,
            OWN_SPAN=own_span,
            HAS_SOFTCAP=softcap is not None,
            D=head_dim,
            BLOCK_D=block_d,
            BLOCK=block,
            TILES=32,
            num_warps=tiling.warps,
            num_stages=tiling.stages,
        )
    return out.sum((3, 5), dtype=torch.float64).mean(1)


def _tiling(block_d: int, span_tokens: int) -> Tiling:
    largest = 128 if block_d <= 128 else 64
    block = next(size for size in (128, 64, 32, 16) if size <= largest and span_tokens % size == 0)
    return Tiling(block, warps=8 if block == 128 else 4, stages=3 if block_d <= 128 else 2)
