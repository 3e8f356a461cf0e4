import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_reference import dense_attention, dense_far_sums, random_queries_keys
from longspan.scoring import attention_statistics as attention_stats
from longspan.scoring.attention_statistics import (
    attention_variance,
    default_min_distance,
    dependency_strength,
    far_attention_sums,
)

torch.set_num_threads(1)


def assert_sums_close(sums, reference, rtol=1e-5):
    for ours, exact in zip(sums, reference, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.double(), exact, rtol=rtol, atol=1e-30)


@pytest.mark.parametrize("num_tokens", [*range(4, 40), 63, 64, 65, 127, 128, 129, 257, 383])
def test_every_length(num_tokens):
    q, k = random_queries_keys((1, 2, num_tokens, 16), 1, seed=num_tokens)
    assert_sums_close(far_attention_sums(q, k), dense_far_sums(q, k))


@pytest.mark.parametrize(("heads", "key_heads"), [(1, 1), (4, 4), (4, 2), (6, 1), (9, 3), (8, 2)])
def test_grouped_queries_and_several_windows(heads, key_heads):
    q, k = random_queries_keys((3, heads, 50, 8), key_heads)
    assert_sums_close(far_attention_sums(q, k), dense_far_sums(q, k))


@pytest.mark.parametrize("head_dim", [64, 80, 96, 128, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_head_dimensions_and_dtypes(head_dim, dtype):
    q, k = random_queries_keys((1, 2, 45, head_dim), 1, dtype=dtype)
    assert_sums_close(far_attention_sums(q, k), dense_far_sums(q, k))


@pytest.mark.parametrize("spread", [1e-4, 10.0, 100.0, 3000.0])
def test_score_ranges_that_overflow_a_naive_exp(spread):
    q, k = random_queries_keys((1, 2, 64, 32), 2, spread=spread)
    assert spread < 100 or (q @ k.mT * 32**-0.5).exp().isinf().any()
    # float32 scores near 1e4 are good to 1e-3, and so are their exponentials
    assert_sums_close(far_attention_sums(q, k), dense_far_sums(q, k), rtol=1e-5 * max(1, spread / 30))


@pytest.mark.parametrize("shift", [-500.0, 500.0])
def test_a_common_shift_of_the_scores_changes_nothing(shift):
    q, k = random_queries_keys((1, 1, 40, 16), 1)
    q[..., 0], k[..., 0] = 4.0, shift
    assert_sums_close(far_attention_sums(q, k), dense_far_sums(q, k), rtol=1e-3)


@pytest.mark.parametrize("softcap", [0.5, 5.0, 50.0])
def test_softcap_and_scale(softcap):
    q, k = random_queries_keys((1, 2, 40, 16), 1, spread=20)
    options = {"scale": 0.11, "softcap": softcap}
    assert_sums_close(far_attention_sums(q, k, **options), dense_far_sums(q, k, **options))


@given(st.integers(4, 60), st.data())
@settings(max_examples=30, deadline=None)
def test_any_distance(num_tokens, data):
    distance = data.draw(st.integers(0, num_tokens - 1))
    q, k = random_queries_keys((1, 2, num_tokens, 8), 1, seed=num_tokens)
    sums = far_attention_sums(q, k, min_distance_tokens=distance)
    assert_sums_close(sums, dense_far_sums(q, k, min_distance_tokens=distance))
    if distance == 0:
        torch.testing.assert_close(sums[0], torch.full_like(sums[0], num_tokens))


def test_blocks_do_not_show(monkeypatch):
    q, k = random_queries_keys((2, 4, 101, 8), 2)
    whole = far_attention_sums(q, k)
    for scores_at_once in (1, 7 * 2 * 101, 50 * 2 * 101):
        monkeypatch.setattr(attention_stats, "_SCORES_AT_ONCE", scores_at_once)
        torch.testing.assert_close(far_attention_sums(q, k), whole)


def test_transposed_layouts_are_read_by_their_strides():
    q, k = random_queries_keys((2, 4, 30, 8), 2)
    views = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k))
    torch.testing.assert_close(far_attention_sums(*views), far_attention_sums(q, k))


def test_scores_that_are_not_finite_show_in_their_head_only():
    q, k = random_queries_keys((1, 3, 32, 8), 3)
    q[0, 1, 20, 3] = torch.nan
    assert far_attention_sums(q, k)[0].isfinite().tolist() == [[True, False, True]]


@pytest.mark.parametrize("num_tokens", [4, 5, 6, 7, 8, 33])
def test_statistics_equal_those_of_the_matrix(num_tokens):
    q, k = random_queries_keys((1, 2, num_tokens, 8), 1, dtype=torch.float64)
    p = dense_attention(q, k)
    distance = default_min_distance(num_tokens)
    far = p.tril(-distance)
    sums = dense_far_sums(q, k)
    block = far[..., distance:, : num_tokens - distance]
    assert block.shape[-1] == block.shape[-2] == 3 * (num_tokens // 4)
    torch.testing.assert_close(dependency_strength(sums[0], num_tokens), far.sum((-2, -1)) / num_tokens)
    torch.testing.assert_close(attention_variance(*sums, num_tokens), block.flatten(-2).var(-1))
    torch.testing.assert_close(attention_variance(*sums, num_tokens, "matrix"), far.flatten(-2).var(-1))


def test_uniform_attention_has_a_known_strength():
    q, k = torch.zeros(1, 1, 8, 4), torch.zeros(1, 1, 8, 4)
    sum_p, sum_p2 = far_attention_sums(q, k)
    counts = torch.arange(1, 7).double()  # keys far from query n = 2 … 7
    torch.testing.assert_close(sum_p.double(), (counts / (counts + 2)).sum().reshape(1, 1))
    torch.testing.assert_close(sum_p2.double(), (counts / (counts + 2) ** 2).sum().reshape(1, 1))


X = torch.zeros(1, 2, 8, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: far_attention_sums(X[:, :, :3], X[:, :, :3]), "at least 4 tokens"),
        (lambda: far_attention_sums(X[0], X[0]), r"\[B, H, L, D\]"),
        (lambda: far_attention_sums(X[:, :1], X), "multiple of the key heads"),
        (lambda: far_attention_sums(X, X[:, :, :7]), "agree in windows"),
        (lambda: far_attention_sums(X, X.double()), "share a floating dtype"),
        (lambda: far_attention_sums(X.int(), X.int()), "floating dtype"),
        (lambda: far_attention_sums(X, X, min_distance_tokens=8), r"\[0, 8\)"),
        (lambda: far_attention_sums(X, X, softcap=0.0), "softcap"),
        (lambda: dependency_strength(X, 3), "at least 4 tokens"),
        (lambda: attention_variance(X, X, 8, "row"), "'block' or 'matrix'"),
        (lambda: attention_variance(X, X, 8, min_distance_tokens=7), "min_distance_tokens"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
