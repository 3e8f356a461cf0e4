"""Triton kernels over the logits of a chunk of positions, each one pass over memory.

Shape suffixes: C positions of a chunk, V vocabulary. Importing this module needs triton.
"""

import torch
import triton
import triton.language as tl

_BLOCK = 4096


def log_sum_exp(logits_CV: torch.Tensor) -> torch.Tensor:
    """Return ``torch.logsumexp(logits, 1)``, reading the logits once.

    Args:
        logits_CV: [C, V] float32 on CUDA, rows contiguous.

    Returns:
        [C] float32.
    """
    sums_C = torch.empty(len(logits_CV), dtype=torch.float32, device=logits_CV.device)
    if len(logits_CV):
        _log_sum_exp_kernel[(len(logits_CV),)](
            logits_CV, sums_C, logits_CV.stride(0), logits_CV.shape[1], BLOCK=_BLOCK, num_warps=8
        )
    return sums_C


def logit_gradient(
    logits_CV: torch.Tensor,
    log_sum_C: torch.Tensor,
    target_C: torch.Tensor,
    grad_C: torch.Tensor,
    softcap: float | None,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Return ``grad * (softmax(logits) - one_hot(target))``, times the slope of the softcap if there is one.

    Args:
        logits_CV: [C, V] float32 on CUDA, rows contiguous, after the softcap.
        log_sum_C: [C] float32, their log-sum-exp.
        target_C: [C] int64.
        grad_C: [C] float32, gradient of each NLL, times the logits' scale.
        softcap: bound of the logits, or None.
        dtype: of the result.

    Returns:
        [C, V] ``dtype``.
    """
    result_CV = torch.empty(logits_CV.shape, dtype=dtype, device=logits_CV.device)
    if len(logits_CV):
        grid = (len(logits_CV), triton.cdiv(logits_CV.shape[1], _BLOCK))
        _logit_gradient_kernel[grid](
            logits_CV,
            log_sum_C,
            target_C,
            grad_C,
            result_CV,
            logits_CV.stride(0),
            logits_CV.shape[1],
            1.0 if softcap is None else 1.0 / softcap,
            CAPPED=softcap is not None,
            BLOCK=_BLOCK,
            num_warps=8,
        )
    return result_CV


@triton.jit
def _log_sum_exp_kernel(logits, sums, stride, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    offsets = tl.arange(0, BLOCK)
    # Each lane keeps its own maximum and sum, so that the row is reduced once, at the end.
    highest = tl.full([BLOCK], -float("inf"), tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, columns, BLOCK):
        x = tl.load(logits + row * stride + start + offsets, start + offsets < columns, -float("inf"))
        higher = tl.maximum(highest, x)
        # A lane that has seen nothing has -inf - -inf.
        kept = tl.where(highest == -float("inf"), 0.0, total * tl.exp(highest - higher))
        total = kept + tl.where(x == -float("inf"), 0.0, tl.exp(x - higher))
        highest = higher
    top = tl.max(highest, 0)
    total = tl.sum(tl.where(highest == -float("inf"), 0.0, total * tl.exp(highest - top)), 0)
    tl.store(sums + row, top + tl.log(total))


@triton.jit
def _logit_gradient_kernel(
    logits,
    log_sums,
    targets,
    grads,
    result,
    stride,
    columns,
    cap_inverse,
    CAPPED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    offsets = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < columns
    x = tl.load(logits + row * stride + offsets, inside, 0.0)
    gradient = tl.exp(x - tl.load(log_sums + row)) - tl.where(offsets == tl.load(targets + row), 1.0, 0.0)
    gradient *= tl.load(grads + row)
    if CAPPED:
        bent = x * cap_inverse
        gradient *= 1.0 - bent * bent
    tl.store(result + row * columns + offsets, gradient.to(result.dtype.element_ty), inside)
