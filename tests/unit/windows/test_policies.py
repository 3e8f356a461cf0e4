import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.windows.policies import both_ends, strided

sizes = st.integers(1, 60)
lengths = st.integers(0, 700)


@given(lengths, sizes)
def test_both_ends_covers_every_token_with_whole_windows(num_tokens, window_tokens):
    windows = both_ends(num_tokens, window_tokens)
    if num_tokens < window_tokens:
        assert windows == []
        return
    assert windows == sorted(set(windows))
    assert all(stop - start == window_tokens for start, stop in windows)
    assert set().union(*(range(*w) for w in windows)) == set(range(num_tokens))


@given(lengths, sizes)
def test_both_ends_cuts_as_few_windows_as_cover_the_document(num_tokens, window_tokens):
    windows = both_ends(num_tokens, window_tokens)
    assert len(windows) == (0 if num_tokens < window_tokens else -(-num_tokens // window_tokens))


@given(lengths, sizes, st.integers(0, 60))
def test_overlap_limit_only_removes_windows(num_tokens, window_tokens, limit):
    windows = both_ends(num_tokens, window_tokens, limit)
    assert set(windows) <= set(both_ends(num_tokens, window_tokens))
    assert all(first[1] - second[0] <= limit for first, second in itertools.pairwise(windows))
    assert bool(windows) == (num_tokens >= window_tokens)


@pytest.mark.parametrize(
    ("num_tokens", "expected"),
    [
        (9, []),
        (10, [(0, 10)]),
        (11, [(0, 10), (1, 11)]),
        (20, [(0, 10), (10, 20)]),
        (25, [(0, 10), (7, 17), (15, 25)]),
        (30, [(0, 10), (10, 20), (20, 30)]),
        (31, [(0, 10), (10, 20), (11, 21), (21, 31)]),
        (45, [(0, 10), (10, 20), (17, 27), (25, 35), (35, 45)]),
    ],
)
def test_both_ends_examples(num_tokens, expected):
    assert both_ends(num_tokens, 10) == expected


def test_the_middle_window_goes_first_then_the_back_one():
    assert both_ends(25, 10, max_overlap_tokens=3) == [(0, 10), (7, 17), (15, 25)]
    assert both_ends(25, 10, max_overlap_tokens=2) == [(0, 10), (15, 25)]
    assert both_ends(15, 10, max_overlap_tokens=5) == [(0, 10), (5, 15)]
    assert both_ends(15, 10, max_overlap_tokens=4) == [(0, 10)]


@given(lengths, sizes, sizes)
def test_strided_steps_and_drops_the_short_rest(num_tokens, window_tokens, stride_tokens):
    windows = strided(num_tokens, window_tokens, stride_tokens)
    naive = [
        (s, s + window_tokens) for s in range(0, num_tokens, stride_tokens) if s + window_tokens <= num_tokens
    ]
    assert windows == naive


@given(lengths, sizes, sizes)
def test_strided_keeps_one_short_rest_when_asked(num_tokens, window_tokens, stride_tokens):
    stride_tokens = min(stride_tokens, window_tokens)
    windows = strided(num_tokens, window_tokens, stride_tokens, discard_last=False)
    assert set().union(*(range(*w) for w in windows)) == set(range(num_tokens))
    assert all(stop - start == window_tokens for start, stop in windows[:-1])
    assert windows[: len(strided(num_tokens, window_tokens, stride_tokens))] == strided(
        num_tokens, window_tokens, stride_tokens
    )


@given(lengths, sizes, sizes, st.booleans())
def test_discard_first_drops_only_the_first(num_tokens, window_tokens, stride_tokens, discard_last):
    whole = strided(num_tokens, window_tokens, stride_tokens, False, discard_last)
    assert strided(num_tokens, window_tokens, stride_tokens, True, discard_last) == whole[1:]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: both_ends(-1, 4), "num_tokens"),
        (lambda: both_ends(8, 0), "window_tokens"),
        (lambda: both_ends(8, 4, -1), "max_overlap_tokens"),
        (lambda: strided(8, 4, 0), "stride_tokens"),
    ],
)
def test_impossible_sizes_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call()
