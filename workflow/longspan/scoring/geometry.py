"""The windows in which a model of short context scores a long sequence. Imports no torch.

Helm, Daheim and Gurevych 2025 (arXiv 2503.09202): windows of ``base_length`` tokens start every
``base_stride`` tokens. The first scores all of its tokens but the first; each later one scores its last
``base_stride`` tokens. Every token from 1 to T - 1 is scored exactly once.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class ScoringWindow:
    """One window over a sequence, in token positions; stops are exclusive.

    The window's tokens are start ... stop - 1, and it scores the tokens scored_start ... stop - 1. Entry t
    of an NLL array is the negative log-likelihood of token t + 1, so its entries are scored_start - 1 ...
    stop - 2.
    """

    start: int
    stop: int
    scored_start: int


def scoring_windows(sequence_tokens: int, base_length: int, base_stride: int) -> list[ScoringWindow]:
    """Return the windows that score a sequence of ``sequence_tokens`` (T), in order.

    Raises:
        ValueError: :func:`check_geometry` refuses the three numbers.
    """
    check_geometry(sequence_tokens, base_length, base_stride)
    later = range(base_stride, sequence_tokens - base_length + 1, base_stride)
    return [
        ScoringWindow(0, base_length, 1),
        *(ScoringWindow(s, s + base_length, s + base_length - base_stride) for s in later),
    ]


def check_geometry(sequence_tokens: int, base_length: int, base_stride: int) -> None:
    """Check that windows of ``base_length`` every ``base_stride`` tokens end where the sequence ends.

    Raises:
        ValueError: not 2 <= base_length <= sequence_tokens, not 1 <= base_stride < base_length, or a stride
            that does not divide sequence_tokens - base_length; the message names the nearest valid strides.
    """
    if not 2 <= base_length <= sequence_tokens:
        raise ValueError(
            f"base_length {base_length} must lie in 2 ... {sequence_tokens}, the tokens of a sequence"
        )
    if not 1 <= base_stride < base_length:
        raise ValueError(f"base_stride {base_stride} must lie in 1 ... base_length - 1 = {base_length - 1}")
    rest = sequence_tokens - base_length
    if rest % base_stride:
        strides = valid_strides(sequence_tokens, base_length)
        below = [s for s in strides if s < base_stride][-1:]
        above = [s for s in strides if s > base_stride][:1]
        nearest = " and ".join(str(s) for s in below + above)
        raise ValueError(
            f"base_stride {base_stride} does not divide sequence_tokens - base_length = {sequence_tokens} - "
            f"{base_length} = {rest}, so the last token would not be scored; nearest valid: {nearest}"
        )


def valid_strides(sequence_tokens: int, base_length: int) -> list[int]:
    """Return every valid ``base_stride``, ascending; 1 is always among them."""
    rest = sequence_tokens - base_length
    return [stride for stride in range(1, base_length) if rest % stride == 0]


def smallest_stride(sequence_tokens: int, base_length: int) -> int:
    """Return the smallest valid stride that needs at most T / base_length windows after the first.

    Where T / base_length is whole this is (1 - base_length / T) base_length, e.g. 6144 for 32768 and 8192.

    Raises:
        ValueError: no valid stride needs so few.
    """
    bound = math.ceil((sequence_tokens - base_length) * base_length / sequence_tokens)
    strides = [stride for stride in valid_strides(sequence_tokens, base_length) if stride >= bound]
    if not strides:
        raise ValueError(
            f"no base_stride from {bound} to base_length - 1 = {base_length - 1} divides sequence_tokens - "
            f"base_length = {sequence_tokens} - {base_length} = {sequence_tokens - base_length}"
        )
    return strides[0]
