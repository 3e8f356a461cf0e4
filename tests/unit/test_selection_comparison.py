import numpy as np
import pytest

from longspan.selection_comparison import rank_correlation

RNG = np.random.default_rng(0)
STRENGTH = RNG.uniform(0.05, 0.4, 12)


def test_rank_correlation():
    assert rank_correlation(STRENGTH, STRENGTH**3) == (pytest.approx(1), 12)
    assert rank_correlation([1, 2, 3], [3, 2, 1])[0] == pytest.approx(-1)
    assert np.isnan(rank_correlation([1, 1], [1, 2])[0])
