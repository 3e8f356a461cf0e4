import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longspan.evaluation.key_tokens import evaluator_nll, key_tokens, merged_spans, tokens_within
from tiny_models import random_ids, tiny_model


def spans(*pairs):
    return np.array(pairs, np.int64).reshape(-1, 2)


@pytest.mark.parametrize(
    ("tokens", "short_context", "shared_tokens"), [(40, 16, 8), (43, 16, 8), (17, 16, 8)]
)
def test_each_token_has_the_context_of_its_block(tokens, short_context, shared_tokens):
    model = tiny_model("llama")
    (ids,) = random_ids(1, tokens, seed=tokens)
    long, short = evaluator_nll(model, ids.numpy(), short_context=short_context, shared_tokens=shared_tokens)

    def nll(start, position):
        with torch.no_grad():
            logits = model(ids[None, start:position]).logits[0, -1]
        return -torch.log_softmax(logits.double(), -1)[ids[position]].item()

    assert np.isnan(short[: short_context - 1]).all()
    for position in range(short_context, tokens):
        start = (position - short_context) // shared_tokens * shared_tokens
        assert short[position - 1] == pytest.approx(nll(start, position), abs=1e-4)
    for position in range(1, tokens):
        assert long[position - 1] == pytest.approx(nll(0, position), abs=1e-4)


def test_a_key_token_is_likely_in_long_context_alone():
    long = np.array([1.0, 1.0, 1.99, 2.0, 0.5, 0.5])
    short = np.array([3.0, 3.01, 9.0, 9.0, math.nan, 0.1])
    assert key_tokens(long, short, min_gain=2, max_nll=2).tolist() == [False, True, True, False, False, False]


def test_spans_that_touch_are_one():
    found = merged_spans(spans((0, 2), (2, 5), (6, 7), (7, 9), (20, 21)))
    assert found.tolist() == [[0, 5], [6, 9], [20, 21]]
    assert merged_spans(spans()).tolist() == []


def test_tokens_of_another_tokenizer_lie_in_a_span_or_not():
    tokens = spans((0, 2), (2, 4), (4, 7), (7, 8), (8, 9), (9, 14))
    assert tokens_within(tokens, spans((2, 8), (9, 12))).tolist() == [False, True, True, True, False, False]
    assert not tokens_within(tokens, spans()).any()


@given(data=st.data())
def test_it_is_the_same_as_looking_at_every_span(data):
    def drawn(most):
        """Spans in order; some share a character, as tokens do that split one."""
        found, at = [], 0
        for _ in range(data.draw(st.integers(0, most))):
            start = at + data.draw(st.integers(-1 if at else 0, 2))
            at = max(at, start + data.draw(st.integers(1, 3)))
            found.append((start, at))
        return spans(*found)

    tokens, keys = drawn(12), drawn(6)
    naive = [any(start <= a and b <= stop for start, stop in keys) for a, b in tokens]
    assert tokens_within(tokens, keys).tolist() == naive
