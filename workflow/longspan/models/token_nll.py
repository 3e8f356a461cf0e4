"""The negative log-likelihood of each token, without ever holding positions times vocabulary.

Shape suffixes: N positions (any leading shape, flattened), D hidden size, V vocabulary, C positions of a
chunk.
"""

import functools
import importlib.util
from types import ModuleType

import torch
from torch.autograd.function import once_differentiable

IGNORED_TARGET = -100
# Logits of one chunk: large enough that reading the weight matrix is hidden behind the product.
CHUNK_LOGITS = {"cuda": 2**27, "cpu": 2**23}


def token_nll(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    target: torch.Tensor,
    *,
    bias: torch.Tensor | None = None,
    logit_scale: float = 1.0,
    softcap: float | None = None,
) -> torch.Tensor:
    """Return each target's NLL under the output layer, differentiable in hidden, weight and bias.

    The naive form, with ``cap(z) = softcap * tanh(z / softcap)`` or none::

        logits = cap(logit_scale * (hidden @ weight.T + bias)).float()
        nll = cross_entropy(logits, target, reduction="none", ignore_index=-100)

    It works through chunks of positions and computes their logits again in the backward pass. Logits are
    never rounded to bfloat16 on CUDA, so scoring and training give one and the same NLL.

    Args:
        hidden: [..., D] float, the decoder's last hidden states.
        weight: [V, D] float, the output layer's weight.
        target: [...] int64, the token that each position predicts; -100 has NLL 0 and no gradient.
        bias: [V] float or None.
        logit_scale: factor on the logits (Cohere, Granite).
        softcap: bound of the logits (Gemma 2), or None.

    Returns:
        [...] NLL in nats, float32 (float64 for a float64 weight).

    Raises:
        ValueError: shapes that do not fit together.
    """
    if hidden.shape[:-1] != target.shape or weight.ndim != 2 or weight.shape[1] != hidden.shape[-1]:
        raise ValueError(
            f"hidden {list(hidden.shape)}, weight {list(weight.shape)} and target {list(target.shape)} do "
            "not fit: they must be [..., D], [V, D] and [...]"
        )
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        weight = weight.to(torch.get_autocast_dtype(device))
    hidden_ND = hidden.reshape(-1, hidden.shape[-1]).to(weight.dtype)
    bias = None if bias is None else bias.to(weight.dtype)
    target_N = target.reshape(-1)
    with torch.autocast(device, enabled=False):
        nll_N = _ChunkedNLL.apply(hidden_ND, weight, bias, target_N, float(logit_scale), softcap)
    return nll_N.view(target.shape)


class _ChunkedNLL(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden_ND, weight_VD, bias_V, target_N, logit_scale, softcap):
        ignored_N = target_N == IGNORED_TARGET
        column_N1 = target_N.masked_fill(ignored_N, 0).unsqueeze(1)
        log_sum_N = hidden_ND.new_empty(len(target_N), dtype=_exact(weight_VD.dtype))
        nll_N = torch.empty_like(log_sum_N)
        for chunk in _chunks(hidden_ND, weight_VD):
            logits_CV = exact_logits(hidden_ND[chunk], weight_VD, bias_V, logit_scale, softcap)
            log_sum_N[chunk] = _log_sum_exp(logits_CV)
            nll_N[chunk] = log_sum_N[chunk] - logits_CV.gather(1, column_N1[chunk]).squeeze(1)
        nll_N.masked_fill_(ignored_N, 0.0)
        ctx.save_for_backward(hidden_ND, weight_VD, bias_V, column_N1, ignored_N, log_sum_N)
        ctx.logit_scale, ctx.softcap = logit_scale, softcap
        return nll_N

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_N):
        hidden_ND, weight_VD, bias_V, column_N1, ignored_N, log_sum_N = ctx.saved_tensors
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        exact = log_sum_N.dtype
        grad_N = (grad_N.to(exact) * ctx.logit_scale).masked_fill_(ignored_N, 0.0)
        grad_hidden_ND = torch.zeros_like(hidden_ND, dtype=exact) if wants_hidden else None
        grad_weight_VD = torch.empty_like(weight_VD) if wants_weight else None
        grad_bias_V = torch.empty_like(bias_V, dtype=exact) if wants_bias else None
        # By blocks of the vocabulary: the weight's gradient then needs no second array in float32, since each
        # of its rows is one product over all positions.
        for block in _blocks(hidden_ND, weight_VD):
            bias_U = None if bias_V is None else bias_V[block]
            logits_NU = exact_logits(hidden_ND, weight_VD[block], bias_U, ctx.logit_scale, ctx.softcap)
            grad_NU = _logit_gradient(
                logits_NU, log_sum_N, column_N1 - block.start, grad_N, ctx.softcap, weight_VD.dtype
            )
            del logits_NU
            if wants_bias:
                grad_bias_V[block] = grad_NU.sum(0, dtype=exact)
            if wants_hidden:
                _add_product(grad_hidden_ND, grad_NU, weight_VD[block])
            if wants_weight:
                torch.mm(grad_NU.t(), hidden_ND, out=grad_weight_VD[block])
        if wants_hidden:
            grad_hidden_ND = grad_hidden_ND.to(hidden_ND.dtype)
        if wants_bias:
            grad_bias_V = grad_bias_V.to(bias_V.dtype)
        return grad_hidden_ND, grad_weight_VD, grad_bias_V, None, None, None


def _chunks(hidden_ND: torch.Tensor, weight_VD: torch.Tensor) -> list[slice]:
    logits = CHUNK_LOGITS["cpu" if hidden_ND.device.type == "cpu" else "cuda"]
    positions = max(1, logits // weight_VD.shape[0])
    return [slice(start, start + positions) for start in range(0, len(hidden_ND), positions)]


def _blocks(hidden_ND: torch.Tensor, weight_VD: torch.Tensor) -> list[slice]:
    rows, vocabulary = max(1, len(hidden_ND)), len(weight_VD)
    logits = CHUNK_LOGITS["cpu" if hidden_ND.device.type == "cpu" else "cuda"]
    size = max(1, logits // rows)
    if size > 128:
        size -= size % 128  # fills the tiles of a matrix product
    return [slice(start, min(start + size, vocabulary)) for start in range(0, vocabulary, size)]


def exact_logits(hidden_CD, weight_VD, bias_V, logit_scale, softcap) -> torch.Tensor:
    """Return a chunk's logits [C, V] in float32 (float64 for float64)."""
    if _accumulates_in_float32(hidden_CD):
        # Not rounded to bfloat16 on the way out of the product: that alone moves an NLL by up to 0.06 nats.
        logits_CV = torch.mm(hidden_CD, weight_VD.t(), out_dtype=torch.float32)
    else:
        logits_CV = torch.mm(hidden_CD, weight_VD.t()).to(_exact(weight_VD.dtype))
    if bias_V is not None:
        logits_CV += bias_V
    if logit_scale != 1.0:
        logits_CV *= logit_scale
    if softcap is not None:
        logits_CV.div_(softcap).tanh_().mul_(softcap)
    return logits_CV


def _log_sum_exp(logits_CV: torch.Tensor) -> torch.Tensor:
    kernels = _kernels(logits_CV)
    return torch.logsumexp(logits_CV, dim=1) if kernels is None else kernels.log_sum_exp(logits_CV)


def _logit_gradient(logits_CV, log_sum_C, column_C1, grad_C, softcap, dtype) -> torch.Tensor:
    """Return the gradient [C, V] of logits before their softcap; on the way it may overwrite them.

    A target outside the V columns at hand has no column here.
    """
    kernels = _kernels(logits_CV)
    if kernels is not None:
        return kernels.logit_gradient(logits_CV, log_sum_C, column_C1.squeeze(1), grad_C, softcap, dtype)
    slope_CV = None if softcap is None else 1 - (logits_CV / softcap).square_()
    grad_CV = logits_CV.sub_(log_sum_C[:, None]).exp_()
    inside_C = (column_C1[:, 0] >= 0) & (column_C1[:, 0] < grad_CV.shape[1])
    grad_CV[inside_C, column_C1[inside_C, 0]] -= 1.0
    grad_CV.mul_(grad_C[:, None])
    if slope_CV is not None:
        grad_CV.mul_(slope_CV)
    return grad_CV.to(dtype)


def _add_product(sum_VD: torch.Tensor, left_VC: torch.Tensor, right_CD: torch.Tensor) -> None:
    if _accumulates_in_float32(right_CD):
        torch.addmm(sum_VD, left_VC, right_CD, out_dtype=torch.float32, out=sum_VD)
    elif right_CD.dtype == sum_VD.dtype:
        sum_VD.addmm_(left_VC, right_CD)
    else:
        sum_VD += torch.mm(left_VC, right_CD).to(sum_VD.dtype)


def _accumulates_in_float32(matrix: torch.Tensor) -> bool:
    return matrix.device.type == "cuda" and matrix.dtype in (torch.bfloat16, torch.float16)


def _kernels(logits_CV: torch.Tensor) -> ModuleType | None:
    """Return the kernels that read logits once, where they run; plain PyTorch passes over them five times."""
    if logits_CV.device.type != "cuda" or logits_CV.dtype != torch.float32 or not _has_triton():
        return None
    from longspan.models import logit_kernels

    return logit_kernels


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _exact(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
