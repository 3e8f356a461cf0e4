import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.scoring.geometry import (
    ScoringWindow,
    check_geometry,
    scoring_windows,
    smallest_stride,
    valid_strides,
)


@given(st.data())
def test_every_token_but_the_first_is_scored_exactly_once(data):
    base_length = data.draw(st.integers(2, 40))
    base_stride = data.draw(st.integers(1, base_length - 1))
    tokens = base_length + base_stride * data.draw(st.integers(0, 6))
    windows = scoring_windows(tokens, base_length, base_stride)
    scored = [t for w in windows for t in range(w.scored_start, w.stop)]
    assert scored == list(range(1, tokens))
    assert all(w.stop - w.start == base_length for w in windows)
    assert all(w.scored_start > w.start for w in windows)


def test_published_geometry_takes_five_windows():
    windows = scoring_windows(32768, 8192, 6144)
    assert len(windows) == 5
    assert windows[0] == ScoringWindow(0, 8192, 1)
    assert windows[1] == ScoringWindow(6144, 14336, 8192)
    assert windows[-1] == ScoringWindow(24576, 32768, 26624)


def test_a_sequence_of_one_base_length_takes_one_window():
    assert scoring_windows(8, 8, 3) == [ScoringWindow(0, 8, 1)]


def test_a_stride_that_leaves_a_rest_names_its_nearest_valid_neighbours():
    with pytest.raises(ValueError, match=r"6000 does not divide .*; nearest valid: 4096 and 6144"):
        check_geometry(32768, 8192, 6000)


@pytest.mark.parametrize(
    ("tokens", "base_length", "base_stride", "message"),
    [
        (8, 9, 1, r"base_length 9 must lie in 2 \.\.\. 8"),
        (8, 1, 1, r"base_length 1 must lie in 2 \.\.\. 8"),
        (8, 4, 4, r"base_stride 4 must lie in 1 \.\.\. base_length - 1 = 3"),
        (8, 4, 0, r"base_stride 0 must lie in 1"),
    ],
)
def test_impossible_geometry_is_refused(tokens, base_length, base_stride, message):
    with pytest.raises(ValueError, match=message):
        check_geometry(tokens, base_length, base_stride)


def test_smallest_stride_is_the_published_formula():
    assert smallest_stride(32768, 8192) == 6144 == int((1 - 8192 / 32768) * 8192)


@given(st.integers(2, 60), st.integers(1, 200))
def test_smallest_stride_needs_at_most_the_published_number_of_extra_passes(base_length, more):
    tokens = base_length + more
    fitting = [s for s in valid_strides(tokens, base_length) if more // s <= tokens / base_length]
    if fitting:
        assert smallest_stride(tokens, base_length) == fitting[0]
    else:
        with pytest.raises(ValueError, match="no base_stride"):
            smallest_stride(tokens, base_length)
