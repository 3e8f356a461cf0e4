import numpy as np
import pytest

from longspan.store.draws import sample_ids, uniform_by_id

IDS = [f"books-00000_{number:07d}" for number in range(1, 2001)]


def test_a_draw_depends_on_seed_and_id_alone():
    draws = dict(zip(IDS, uniform_by_id(IDS, 7), strict=True))
    assert [draws[i] for i in reversed(IDS)] == uniform_by_id(reversed(IDS), 7).tolist()
    assert uniform_by_id(IDS[:1], 7)[0] == draws[IDS[0]]
    assert uniform_by_id(IDS[:1], 8)[0] != draws[IDS[0]]


def test_draws_are_uniform():
    draws = uniform_by_id(IDS, 0)
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = np.histogram(draws, bins=10, range=(0, 1))[0]
    assert ((counts - 200) ** 2 / 200).sum() < 30  # chi-square, 9 degrees of freedom: p near 4e-4


def test_a_sample_is_independent_of_order_and_stable_under_growth():
    sample = sample_ids(IDS[:-1], 100, 3)
    assert sorted(sample_ids(reversed(IDS[:-1]), 100, 3)) == sample
    assert len(set(sample) - set(sample_ids(IDS, 100, 3))) <= 1
    assert sample_ids(IDS[:5], 10, 3) == IDS[:5]


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="seed"):
        uniform_by_id(IDS, -1)
    with pytest.raises(ValueError, match="count"):
        sample_ids(IDS, -1, 0)
