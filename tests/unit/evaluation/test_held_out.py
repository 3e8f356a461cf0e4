import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from longspan.evaluation.held_out import choose_windows, perplexity, sums_by_position

DOCUMENTS = {f"x_{number:07d}": f"work {number % 3}" for number in range(20)}


@given(seed=st.integers(0, 2**31 - 1), few=st.integers(0, 8), more=st.integers(0, 8))
def test_as_many_windows_of_each_document_and_nested(seed, few, more):
    few, more = sorted((few, more))
    small, large = (choose_windows(DOCUMENTS, count, seed) for count in (few, more))
    for work, there in (("work 0", 7), ("work 1", 7), ("work 2", 6)):
        assert sum(DOCUMENTS[data_id] == work for data_id in small) == min(few, there)
    assert set(small) <= set(large)
    assert set(choose_windows(dict(reversed(DOCUMENTS.items())), few, seed)) == set(small)


def test_without_a_number_all_windows_are_taken():
    assert choose_windows(DOCUMENTS, None, 0) == list(DOCUMENTS)


@given(tokens=st.integers(1, 300), bins=st.integers(1, 40))
def test_parts_cover_every_predicted_token_once(tokens, bins):
    nll = np.random.default_rng(tokens).uniform(0, 9, tokens).astype(np.float32)
    parts = sums_by_position(nll, bins)
    assert len(parts) == min(bins, tokens)
    positions = [
        position for part in parts for position in range(part["position_start"], part["position_stop"])
    ]
    assert positions == list(range(1, tokens + 1))  # token 0 has no prediction
    for part in parts:
        inside = nll[part["position_start"] - 1 : part["position_stop"] - 1].astype(np.float64)
        assert math.isclose(part["nll_sum"], inside.sum())
    lengths = [part["position_stop"] - part["position_start"] for part in parts]
    assert max(lengths) - min(lengths) <= 1


def test_sums_do_not_lose_digits_in_half_precision():
    (part,) = sums_by_position(np.full(100_000, 0.1, np.float16), 1)
    assert math.isclose(part["nll_sum"], 100_000 * float(np.float16(0.1)))


@given(bins=st.integers(1, 12))
def test_perplexity_is_exp_of_the_mean_over_tokens_however_they_are_cut(bins):
    first, second = np.full(10, 1.0), np.full(40, 2.0)
    rows = sums_by_position(first, bins) + sums_by_position(second, bins)
    assert math.isclose(perplexity(rows), math.exp((10 * 1 + 40 * 2) / 50))
