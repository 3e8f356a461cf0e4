"""The GPU kernels against the dense float64 form, and against each other where that form does not fit."""

import math

import pytest
import torch

from attention_reference import dense_far_sums, random_queries_keys
from longspan.scoring.attention_statistics import far_attention_sums

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def triton_sums(q, k, *, scale=None, softcap=None, min_distance_tokens=None):
    from longspan.scoring.kernels import far_attention_triton

    return far_attention_triton.far_attention_sums(
        q, k, scale or q.shape[-1] ** -0.5, softcap, _distance(q, min_distance_tokens)
    )


def hopper_sums(q, k, *, scale=None, softcap=None, min_distance_tokens=None):
    from longspan.scoring.kernels import far_attention_hopper

    if softcap is not None or not far_attention_hopper.is_available(q.shape[-1], q.dtype, q.device):
        pytest.skip(
            "the Hopper kernel does not serve this GPU, head dimension or softcap, or nvcc is missing"
        )
    return far_attention_hopper.far_attention_sums(
        q, k, scale or q.shape[-1] ** -0.5, _distance(q, min_distance_tokens)
    )


def _distance(q, min_distance_tokens):
    num_tokens = q.shape[2]
    return num_tokens - 3 * (num_tokens // 4) if min_distance_tokens is None else min_distance_tokens


KERNELS = [triton_sums, hopper_sums, far_attention_sums]
kernels = pytest.mark.parametrize("kernel", KERNELS, ids=["triton", "hopper", "chosen"])


def half_inputs(shape_q, key_heads, **options):
    return random_queries_keys(shape_q, key_heads, **({"dtype": torch.bfloat16} | options), device="cuda")


def assert_within(sums, reference, rtol=1e-3):
    for ours, exact in zip(sums, reference, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.double(), exact.double(), rtol=rtol, atol=0)


@kernels
@pytest.mark.parametrize(
    "num_tokens", [*range(4, 20), 63, 64, 65, 127, 128, 129, 191, 255, 257, 511, 1000, 2049]
)
def test_every_length(kernel, num_tokens):
    q, k = half_inputs((1, 2, num_tokens, 128), 1, seed=num_tokens)
    assert_within(kernel(q, k), dense_far_sums(q, k))


@kernels
@pytest.mark.parametrize("head_dim", [64, 80, 96, 128, 256])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_head_dimensions_and_dtypes(kernel, head_dim, dtype):
    q, k = half_inputs((1, 2, 700, head_dim), 1, dtype=dtype)
    assert_within(kernel(q, k), dense_far_sums(q, k))


@kernels
@pytest.mark.parametrize(("heads", "key_heads"), [(1, 1), (9, 3), (8, 1), (6, 6)])
def test_grouped_queries_and_several_windows(kernel, heads, key_heads):
    q, k = half_inputs((3, heads, 600, 128), key_heads)
    assert_within(kernel(q, k), dense_far_sums(q, k))


@kernels
@pytest.mark.parametrize("distance", [0, 1, 63, 100, 128, 500, 699])
def test_any_distance(kernel, distance):
    q, k = half_inputs((1, 2, 700, 128), 1)
    options = {"min_distance_tokens": distance}
    assert_within(kernel(q, k, **options), dense_far_sums(q, k, **options))


@kernels
@pytest.mark.parametrize("spread", [1e-3, 5.0, 30.0, 300.0, 10000.0])
def test_score_ranges_that_overflow_a_naive_exp(kernel, spread):
    q, k = half_inputs((1, 2, 900, 128), 1, spread=spread)
    assert_within(kernel(q, k), dense_far_sums(q, k))


@kernels
@pytest.mark.parametrize("sign", [1, -1])
def test_scores_that_climb_or_fall_along_the_window(kernel, sign):
    # each key tile outgrows the last: the reference that stands for the maximum has to follow
    q, k = half_inputs((1, 2, 1024, 128), 1)
    q[..., 0] = 8.0
    k[..., 0] = sign * torch.linspace(-60, 60, 1024, device="cuda").bfloat16()
    assert_within(kernel(q, k), dense_far_sums(q, k))


@pytest.mark.parametrize("softcap", [0.5, 30.0])
def test_softcap(softcap):
    q, k = half_inputs((1, 4, 600, 256), 2, spread=20)
    options = {"scale": 0.07, "softcap": softcap}
    assert_within(far_attention_sums(q, k, **options), dense_far_sums(q, k, **options))


def test_float32_takes_the_blocked_path():
    q, k = half_inputs((1, 4, 600, 80), 2, dtype=torch.float32)
    assert_within(far_attention_sums(q, k), dense_far_sums(q, k), rtol=1e-5)


@kernels
def test_layouts_are_read_by_their_strides(kernel):
    q, k = half_inputs((2, 4, 300, 128), 2)
    rotated = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k))
    sliced = (torch.cat([x, x], -1)[..., :128] for x in (q, k))
    odd = (torch.cat([x, x[..., :3]], -1)[..., :128] for x in (q, k))
    whole = kernel(q, k)
    for views in (rotated, sliced, odd):
        assert_within(kernel(*views), whole, rtol=1e-6)


@kernels
def test_runs_agree_bit_for_bit(kernel):
    q, k = half_inputs((1, 8, 3000, 128), 2)
    first = kernel(q, k)
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(kernel(q, k), first, strict=True))


@kernels
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_scores_that_are_not_finite_show_in_their_head_only(kernel, value):
    q, k = half_inputs((1, 3, 512, 128), 3)
    k[0, 1, 20, 3] = value
    assert kernel(q, k)[0].isfinite().tolist() == [[True, False, True]]


def test_a_long_window_agrees_with_the_blocked_path_in_float32():
    from longspan.scoring.attention_statistics import _blocked_sums

    q, k = half_inputs((1, 4, 32768, 128), 1, spread=3.0)
    exact = _blocked_sums(q.float(), k.float(), 128**-0.5, None, 8192)
    for kernel in KERNELS:
        assert_within(kernel(q, k), exact)


def test_131072_tokens_need_less_than_8_gb():
    generator = torch.Generator("cuda").manual_seed(0)
    q = torch.randn(1, 64, 131072, 128, device="cuda", dtype=torch.bfloat16, generator=generator)
    k = torch.randn(1, 8, 131072, 128, device="cuda", dtype=torch.bfloat16, generator=generator)
    torch.cuda.reset_peak_memory_stats()
    sums = far_attention_sums(q, k)
    assert torch.cuda.max_memory_allocated() < 8e9
    assert all(x.isfinite().all() for x in sums)
