import pytest
import torch

from attention_reference import random_queries_keys
from longspan.scoring import span_attention as module
from longspan.scoring.span_attention import dependency_score, query_spans, span_attention
from refusals import refused
from span_reference import dense_span_attention, naive_paper_score, naive_released_score

torch.set_num_threads(1)
PAPER = {"mode": "paper", "skipped_spans": 1, "near_spans": 4}
RELEASED = PAPER | {"mode": "released"}


@pytest.mark.parametrize("own_span", [True, False])
@pytest.mark.parametrize(
    ("heads", "key_heads", "span_tokens", "softcap", "dtype", "rtol"),
    [
        (4, 2, 16, None, torch.float64, 1e-12),
        (3, 1, 8, 2.0, torch.float64, 1e-12),
        (2, 2, 8, None, torch.float32, 1e-5),
        (4, 1, 16, 5.0, torch.float32, 1e-5),
        (2, 1, 1, None, torch.float32, 1e-5),
    ],
)
def test_it_equals_the_sums_of_whole_matrices(heads, key_heads, span_tokens, softcap, dtype, rtol, own_span):
    q, k = random_queries_keys((2, heads, 96, 12), key_heads, seed=heads, spread=3.0, dtype=dtype)
    options = {"own_span": own_span, "softcap": softcap, "scale": 0.4}
    for spans in (range(96 // span_tokens), range(3, 6, 2), range(0)):
        found = span_attention(q, k, span_tokens=span_tokens, spans=spans, **options)
        assert found.dtype == torch.float64
        expected = dense_span_attention(q, k, span_tokens, spans, **options)
        torch.testing.assert_close(found, expected, rtol=rtol, atol=rtol * 1e-3)


def test_all_that_a_query_gives_is_one(monkeypatch):
    monkeypatch.setattr(module, "_SCORES_AT_ONCE", 200)  # blocks of rows that end within a span
    q, k = random_queries_keys((1, 2, 60, 8), 1, spread=40.0)
    for own_span in (True, False):
        pfs = span_attention(q, k, span_tokens=12, spans=range(5), own_span=own_span)
        assert pfs[0].triu(1 if own_span else 0).abs().max() == 0
        given = torch.full((5,), 12.0, dtype=torch.float64)
        given[0] *= own_span
        torch.testing.assert_close(pfs[0].sum(1), given, rtol=1e-6, atol=0)


def test_a_score_that_is_not_finite_shows():
    q, k = random_queries_keys((1, 2, 32, 8), 1)
    q[0, 1, 20] = torch.nan
    bad = ~span_attention(q, k, span_tokens=8, spans=range(4))[0].isfinite().all(1)
    assert bad.tolist() == [False, False, True, False]


def test_scores_are_those_of_the_formulas():
    pfs = torch.rand(40, 40, dtype=torch.float64).tril()
    spans = query_spans(40, **PAPER, first_span=16)
    assert spans == range(16, 40)
    found = dependency_score(pfs[list(spans)], spans, **PAPER)
    assert found.item() == pytest.approx(naive_paper_score(pfs.tolist(), 1, 4, 16), rel=1e-12)
    other = {"mode": "paper", "skipped_spans": 0, "near_spans": 2}
    spans = query_spans(40, **other, first_span=9)
    found = dependency_score(pfs[list(spans)], spans, **other)
    assert found.item() == pytest.approx(naive_paper_score(pfs.tolist(), 0, 2, 9), rel=1e-12)


@pytest.mark.parametrize("num_spans", [19, 22, 40, 43])
def test_released_scores_are_those_of_its_strides(num_spans):
    pfs = torch.rand(num_spans, num_spans, dtype=torch.float64).tril(-1)
    spans = query_spans(num_spans, **RELEASED, first_span=0)
    assert spans[-1] == num_spans - 1
    assert spans[0] > 17
    found = dependency_score(pfs[list(spans)], spans, **RELEASED)
    assert found.item() == pytest.approx(naive_released_score(pfs.tolist(), 1, 4), rel=1e-12)


def test_inputs_that_do_not_fit_are_refused():
    q, k = random_queries_keys((1, 2, 32, 8), 1)
    with refused("spans of 10 tokens do not divide a window of 32"):
        span_attention(q, k, span_tokens=10, spans=range(3))
    with refused("spans range(0, 5) are not among the 4 of the window"):
        span_attention(q, k, span_tokens=8, spans=range(5))
    with refused("softcap must be positive, got 0"):
        span_attention(q, k, span_tokens=8, spans=range(4), softcap=0)
