"""The kernel of attention between spans against the dense float64 form, and LADM's scores end to end."""

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from attention_reference import random_queries_keys
from longspan.scoring.kinds.ladm import Ladm
from longspan.scoring.span_attention import span_attention
from span_reference import dense_span_attention

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
# Of sums of probabilities in float32; scores come from tensor cores in half precision.
TOLERANCE = {"rtol": 2e-3, "atol": 1e-6}


def half_inputs(shape_q, key_heads, **options):
    return random_queries_keys(shape_q, key_heads, **({"dtype": torch.bfloat16} | options), device="cuda")


def assert_same(q, k, span_tokens, spans, **options):
    found = span_attention(q, k, span_tokens=span_tokens, spans=spans, **options)
    assert found.dtype == torch.float64
    expected = dense_span_attention(q, k, span_tokens, spans, **options)
    torch.testing.assert_close(found, expected, **TOLERANCE)


@pytest.mark.parametrize("own_span", [True, False])
@pytest.mark.parametrize("span_tokens", [16, 32, 48, 64, 96, 128, 256])
def test_every_span(span_tokens, own_span):
    q, k = half_inputs((1, 2, 6 * span_tokens, 128), 1, seed=span_tokens)
    for spans in (range(6), range(1, 6, 2), range(5, 6)):
        assert_same(q, k, span_tokens, spans, own_span=own_span)


@pytest.mark.parametrize("own_span", [True, False])
@pytest.mark.parametrize("head_dim", [16, 64, 80, 96, 128, 192, 256])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_head_dimensions_and_dtypes(head_dim, dtype, own_span):
    q, k = half_inputs((1, 2, 640, head_dim), 1, dtype=dtype)
    assert_same(q, k, 128, range(5), own_span=own_span)


@pytest.mark.parametrize(("heads", "key_heads"), [(1, 1), (9, 3), (8, 1), (6, 6)])
def test_grouped_queries_and_several_windows(heads, key_heads):
    q, k = half_inputs((3, heads, 768, 64), key_heads)
    assert_same(q, k, 128, range(6))
    # Far more work than programs, and layouts that are read by their strides.
    q, k = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k))
    assert_same(q, k, 16, range(48))


@pytest.mark.parametrize("softcap", [0.5, 30.0])
def test_softcap(softcap):
    q, k = half_inputs((1, 4, 512, 256), 2, spread=20)
    assert_same(q, k, 64, range(8), scale=0.07, softcap=softcap)


@pytest.mark.parametrize("spread", [1e-3, 30.0, 300.0])
def test_score_ranges_that_overflow_a_naive_exp(spread):
    q, k = half_inputs((1, 2, 896, 128), 1, spread=spread)
    for own_span in (True, False):
        assert_same(q, k, 128, range(7), own_span=own_span)


@pytest.mark.parametrize("sign", [1, -1])
def test_scores_that_climb_or_fall_along_the_window(sign):
    q, k = half_inputs((1, 2, 1024, 128), 1)
    q[..., 0] = 8.0
    k[..., 0] = sign * torch.linspace(-60, 60, 1024, device="cuda").bfloat16()
    assert_same(q, k, 128, range(8))


def test_a_long_window_gives_what_its_rows_give_in_blocks():
    q, k = half_inputs((1, 4, 16384, 128), 2)
    for own_span, spans in ((True, range(16, 128)), (False, range(19, 128, 4))):
        options = {"span_tokens": 128, "spans": spans, "own_span": own_span}
        blocked = span_attention(q.float(), k.float(), **options)
        torch.testing.assert_close(span_attention(q, k, **options), blocked, rtol=2e-3, atol=1e-5)


def test_a_score_that_is_not_finite_shows():
    q, k = half_inputs((1, 2, 512, 64), 1)
    q[0, 1, 200] = torch.nan
    bad = ~span_attention(q, k, span_tokens=128, spans=range(4))[0].isfinite().all(1)
    assert bad.tolist() == [False, True, False, False]


@pytest.mark.parametrize("options", [{}, {"layers": "all"}, {"layers": [0, 2], "mode": "released"}])
def test_scores_on_the_device_are_those_on_the_cpu(tmp_path, monkeypatch, options):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    generator = torch.Generator().manual_seed(5)
    windows = [(f"w{row}", torch.randint(512, (3072,), generator=generator).numpy()) for row in range(3)]
    scorer = Ladm(**options)
    forward = {"dtype": "bfloat16", "attention": "sdpa", "rope_theta": None, "compile_layers": False}
    forward = {key: forward[key] for key in scorer.forward_keys}
    found = {}
    for device, dtype in (("cuda", "bfloat16"), ("cpu", "float32")):
        monkeypatch.setattr("longspan.models.loading.pick_device", lambda device=device: device)
        score = scorer.load(tmp_path, SimpleNamespace(), forward=forward | {"dtype": dtype})
        found[device] = torch.tensor([row["layer_scores"] for row in score(iter(windows))])
    torch.testing.assert_close(found["cuda"], found["cpu"], rtol=0.05, atol=0)
