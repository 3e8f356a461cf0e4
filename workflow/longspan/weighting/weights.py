"""Token weights from long- and short-context negative log-likelihoods.

Helm, Daheim and Gurevych 2025 (arXiv 2503.09202), section 3. Entry t of an NLL array is the negative
log-likelihood (nats) of token x_{t+1}; a weight's entry t belongs to the same token.

Shape suffixes: B sequences, N = T - 1 entries of a sequence of T tokens.
"""

import hashlib
import math
from collections.abc import Sequence

import torch

from longspan.weighting.parts import Weighting, split_transform

QUOTIENT_EPSILON = 1e-5  # nats; keeps a certain token's quotient finite
_MASK_32 = 0xFFFFFFFF


def token_weights(
    long_nll: torch.Tensor,
    short_nll: torch.Tensor,
    *,
    comparison: str = "difference",
    transforms: Sequence[str] = (),
    truncation: float | None = None,
    sparsification: float | None = None,
    normalization: str | None = None,
    interpolation: float | None = None,
    seed: int = 0,
    sequence_ids: Sequence[str | int] | None = None,
) -> torch.Tensor:
    """Weigh each token by how its loss changes with context (arXiv 2503.09202, section 3).

    In this order:

    1. ``comparison``: "difference" long - short = log(p_short / p_long), or "quotient"
       (long + 1e-5) / (short + 1e-5);
    2. each of ``transforms``: "minus" -x, "absolute" |x|, "exp" e^x, "shift s" x - log s, "max" max(x, 0);
    3. ``truncation`` γ: min(x, γ);
    4. ``sparsification`` κ: the floor(κ N) largest entries of a sequence, at least one, become 1, the rest 0;
    5. ``normalization``: "L1" (each sequence to mean 1; all zeros become ones) or "softmax" (N softmax(x));
    6. ``interpolation`` λ: λ + (1 - λ) w.

    λ = 1 gives exactly ones whatever the scores hold, and so does κ = 1 under L1.

    Entries that tie at the edge of the kappa quota are drawn by a hash of ``seed``, the sequence's id and the
    position: the same on every device and in every batch. Without ``sequence_ids`` the lowest positions win.

    Args:
        long_nll: [B, N] float, nats, of the model with the long context.
        short_nll: [B, N] float, nats, of the model with the short context.
        comparison: "difference" or "quotient".
        transforms: names as above, applied one after the other.
        truncation: gamma, the largest value kept, or None.
        sparsification: kappa in (0, 1], or None.
        normalization: "L1", "softmax" or None.
        interpolation: lambda in [0, 1], or None.
        seed: key of the draw among ties.
        sequence_ids: B ids, one a sequence, or None.

    Returns:
        [B, N] float32 weights without gradient, on the inputs' device.

    Raises:
        ValueError: impossible parts, shapes that differ, NLL that are not finite, or weights that overflow.
    """
    parts = Weighting(comparison, tuple(transforms), truncation, sparsification, normalization, interpolation)
    if long_nll.shape != short_nll.shape or long_nll.ndim != 2 or long_nll.shape[1] == 0:
        raise ValueError(
            f"long_nll {list(long_nll.shape)} and short_nll {list(short_nll.shape)} must both be "
            "[sequences, tokens - 1] with at least one entry"
        )
    if sequence_ids is not None and len(sequence_ids) != long_nll.shape[0]:
        raise ValueError(
            f"{len(sequence_ids)} sequence_ids for {long_nll.shape[0]} sequences; give one for each"
        )
    if parts.is_plain:
        return torch.ones(long_nll.shape, dtype=torch.float32, device=long_nll.device)
    _refuse_not_finite("long_nll", long_nll)
    _refuse_not_finite("short_nll", short_nll)

    # float64, because in it lambda + (1 - lambda) is exactly 1 for any lambda.
    x_BN = _transformed(long_nll.detach().double(), short_nll.detach().double(), parts)
    if parts.sparsification is not None:
        x_BN = _largest(x_BN, parts.sparsification, seed, sequence_ids)
    if parts.normalization == "L1":
        x_BN = _mean_one(x_BN)
    elif parts.normalization == "softmax":
        x_BN = x_BN.shape[1] * torch.softmax(x_BN, dim=1)
    if parts.interpolation is not None:
        x_BN = parts.interpolation + (1 - parts.interpolation) * x_BN
    weights_BN = x_BN.float()
    if not torch.isfinite(weights_BN).all():
        raise ValueError(
            f"weights overflow under transforms {list(parts.transforms)} without a small enough truncation "
            f"({parts.truncation}); set truncation (LongCE uses 5)"
        )
    return weights_BN


def shuffled_weights(
    weights: torch.Tensor,
    *,
    seed: int,
    sequence_ids: Sequence[str | int],
    counted: torch.Tensor | None = None,
    documents: torch.Tensor | None = None,
) -> torch.Tensor:
    """Give the weights of each sequence to its tokens in a random order.

    The control of a weighted loss: each document keeps its weights, and which token has which is drawn by a
    hash of ``seed`` and the sequence's id, the same on every device and in every batch.

    Args:
        weights: [B, N] float.
        seed: key of the order.
        sequence_ids: B ids, one a sequence.
        counted: [B, N] bool, tokens that are targets; the others keep their weights. None counts all.
        documents: [B, N] int64, number of each token's document in its sequence; None for one each.

    Returns:
        [B, N], of the dtype of ``weights``.

    Raises:
        ValueError: another number of ids than of sequences.
    """
    if len(sequence_ids) != len(weights):
        raise ValueError(f"{len(sequence_ids)} sequence_ids for {len(weights)} sequences; give one for each")
    group_BN = torch.zeros(weights.shape, dtype=torch.int64, device=weights.device)
    if documents is not None:
        group_BN = group_BN + 2 * documents
    draw_BN = _draw(weights.shape[1], f"{seed}/shuffle", sequence_ids, weights.device)
    place_N = torch.arange(weights.shape[1], device=weights.device)
    if counted is not None:
        # What does not count is a group of its own, in which nothing moves.
        group_BN = group_BN + ~counted
        draw_BN = torch.where(counted, draw_BN, place_N)
    to_BN, from_BN = ((group_BN * 2**32 + key).argsort(dim=1) for key in (place_N, draw_BN))
    return torch.empty_like(weights).scatter_(1, to_BN, weights.gather(1, from_BN))


def kept_entries(sparsification: float, entries: int) -> int:
    """Return how many of a sequence's entries are kept: floor(κ N + 1e-9) in float64, at least 1."""
    return max(1, math.floor(sparsification * entries + 1e-9))


def _refuse_not_finite(name: str, nll_BN: torch.Tensor) -> None:
    bad_BN = ~torch.isfinite(nll_BN)
    if bad_BN.any():
        row, column = bad_BN.nonzero()[0].tolist()
        raise ValueError(
            f"{name} holds {int(bad_BN.sum())} values that are not finite, the first "
            f"{nll_BN[row, column].item()} at sequence {row}, entry {column}; score these tokens "
            "(entries that short scoring leaves to the long pass are NaN until they are filled)"
        )


def _transformed(long_BN: torch.Tensor, short_BN: torch.Tensor, parts: Weighting) -> torch.Tensor:
    if parts.comparison == "quotient":
        x_BN = (long_BN + QUOTIENT_EPSILON) / (short_BN + QUOTIENT_EPSILON)
    else:
        x_BN = long_BN - short_BN
    for transform in parts.transforms:
        name, shift = split_transform(transform)
        if name == "minus":
            x_BN = -x_BN
        elif name == "absolute":
            x_BN = x_BN.abs()
        elif name == "exp":
            x_BN = x_BN.exp()
        elif name == "shift":
            x_BN = x_BN - math.log(shift)
        else:
            x_BN = x_BN.clamp(min=0)
    return x_BN if parts.truncation is None else x_BN.clamp(max=parts.truncation)


def _mean_one(x_BN: torch.Tensor) -> torch.Tensor:
    if (x_BN < 0).any():
        raise ValueError(
            f"L1 normalization met the negative entry {x_BN.min().item():.3g}: an NLL below 0 was compared; "
            "check the scores"
        )
    sum_B1 = x_BN.sum(dim=1, keepdim=True)
    empty_B1 = sum_B1 == 0
    scale_B1 = x_BN.shape[1] / sum_B1.masked_fill(empty_B1, 1.0)
    return torch.where(empty_B1, torch.ones_like(x_BN), x_BN * scale_B1)


def _largest(
    x_BN: torch.Tensor, kappa: float, seed: int, sequence_ids: Sequence[str | int] | None
) -> torch.Tensor:
    """Set the largest entries of each row to 1, the rest to 0, by one selection over (value, draw) keys."""
    entries = x_BN.shape[1]
    # The bits of non-negative floats order like the floats, those of negative ones in reverse. Adding 0.0
    # turns -0.0 into 0.0.
    bits_BN = (x_BN.float() + 0.0).view(torch.int32).long()
    order_BN = torch.where(bits_BN < 0, bits_BN ^ 0x7FFFFFFF, bits_BN)
    key_BN = order_BN * 2**32 + (_MASK_32 - _draw(entries, seed, sequence_ids, x_BN.device))
    # topk's values, not its indices: which of equal values it returns is not the same on every device.
    kept_BK = torch.topk(key_BN, kept_entries(kappa, entries), dim=1, sorted=False).values
    return (key_BN >= kept_BK.amin(dim=1, keepdim=True)).double()


def _draw(
    entries: int, seed: int | str, sequence_ids: Sequence[str | int] | None, device: torch.device
) -> torch.Tensor:
    """Return a distinct 32-bit number for each position, [N] or with ids [B, N]; the smallest win."""
    draw = torch.arange(entries, dtype=torch.int64, device=device)
    if sequence_ids is None:
        return draw
    digests = [hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest() for name in sequence_ids]
    keys = [[int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)] for digest in digests]
    keys_B4 = torch.tensor(keys, dtype=torch.int64, device=device).view(len(keys), 4)
    draw = draw.expand(len(keys), entries)
    # Each round is a bijection of 32-bit integers, so the draw never ties. The multipliers are odd and below
    # 2^31, so that no product leaves int64.
    for round_, multiplier in enumerate((0x7FEB352D, 0x21F0AAAD, 0x45D9F3B5, 0x2C1B3C6D)):
        draw = (draw ^ keys_B4[:, round_, None]) & _MASK_32
        draw = ((draw ^ (draw >> 16)) * multiplier) & _MASK_32
        draw = draw ^ (draw >> 15)
    return draw
