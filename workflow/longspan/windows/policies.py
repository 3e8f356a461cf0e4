"""Windows of a document: lists of ``(start, stop)`` over its text tokens.

Pure Python. A BOS token is not a text token: with one, pass ``window_tokens - 1`` and a stride of at
most that, so that no token falls between two windows.
"""


def both_ends(
    num_tokens: int, window_tokens: int, max_overlap_tokens: int | None = None
) -> list[tuple[int, int]]:
    """Windows cut from both ends of a document, as LongAttn samples them (arXiv 2502.16860).

    While more than ``3 * window_tokens`` remain, one window is cut from the left and one from the
    right. A rest of (W, 2W] tokens then gives its front and its back window, a rest of (2W, 3W]
    front, middle and back, so that every token lies in a window.

    Args:
        num_tokens: text tokens of the document.
        window_tokens: tokens of a window, W.
        max_overlap_tokens: most tokens two windows may share (None: no limit). Over it, the middle
            window is dropped, or the back one where there is no middle.

    Returns:
        ``(start, stop)`` in tokens, ascending, each exactly ``window_tokens`` long. Empty for a
        document shorter than a window; one window for a document of exactly one.

    Raises:
        ValueError: a size below 1, a negative number of tokens or a negative overlap.
    """
    _require_at_least("num_tokens", num_tokens, 0)
    _require_at_least("window_tokens", window_tokens, 1)
    if max_overlap_tokens is not None:
        _require_at_least("max_overlap_tokens", max_overlap_tokens, 0)
    limit = window_tokens if max_overlap_tokens is None else max_overlap_tokens
    if num_tokens < window_tokens:
        return []

    starts = []
    left, right = 0, num_tokens
    while right - left > 3 * window_tokens:
        starts += [left, right - window_tokens]
        left += window_tokens
        right -= window_tokens

    front, back = left, right - window_tokens
    starts.append(front)
    if right - left > 2 * window_tokens:
        middle = left + (right - left - window_tokens) // 2
        # (rest - W) // 2 rounds down, so the middle window overlaps the front one most
        if front + window_tokens - middle <= limit:
            starts.append(middle)
        starts.append(back)
    elif right - left > window_tokens and front + window_tokens - back <= limit:
        starts.append(back)
    return [(start, start + window_tokens) for start in sorted(starts)]


def strided(
    num_tokens: int,
    window_tokens: int,
    stride_tokens: int,
    discard_first: bool = False,
    discard_last: bool = True,
) -> list[tuple[int, int]]:
    """Windows every ``stride_tokens`` tokens, as token weighting cuts PG19 (arXiv 2503.09202).

    Args:
        num_tokens: text tokens of the document.
        window_tokens: tokens of a window.
        stride_tokens: tokens from one start to the next; over ``window_tokens`` it leaves gaps.
        discard_first: drop the document's first window (front matter).
        discard_last: drop a last window shorter than ``window_tokens``.

    Returns:
        ``(start, stop)`` in tokens, ascending. Every window but the last is ``window_tokens`` long,
        and no window lies wholly inside another.

    Raises:
        ValueError: a size below 1 or a negative number of tokens.
    """
    _require_at_least("num_tokens", num_tokens, 0)
    _require_at_least("window_tokens", window_tokens, 1)
    _require_at_least("stride_tokens", stride_tokens, 1)
    windows = []
    for start in range(0, num_tokens, stride_tokens):
        stop = min(start + window_tokens, num_tokens)
        windows.append((start, stop))
        if stop == num_tokens:
            break
    if discard_last and windows and windows[-1][1] - windows[-1][0] < window_tokens:
        windows.pop()
    return windows[1:] if discard_first and windows and windows[0][0] == 0 else windows


def _require_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
