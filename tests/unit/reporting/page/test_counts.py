import numpy as np
import pytest

from longspan.reporting.page import counts


@pytest.fixture
def rng():
    return np.random.default_rng()


def test_counts_of_parts_add_up_to_those_of_the_whole(rng):
    values_BN = rng.gamma(2.0, 2.0, (6, 50))
    weights_BN = np.where(rng.random((6, 50)) < 0.3, 0, values_BN)

    def count(rows):
        return {
            "nll": counts.histogram(values_BN[rows], counts.NLL_EDGES).tolist(),
            "weights": counts.weight_histogram(weights_BN[rows]).tolist(),
            "positions": counts.position_sums(values_BN[rows]).tolist(),
            "windows": len(values_BN[rows]),
        }

    whole, parts = count(slice(0, 6)), counts.merged([count(slice(0, 2)), count(slice(2, 6))])
    assert parts["nll"] == whole["nll"]
    assert parts["weights"] == whole["weights"]
    assert parts["windows"] == whole["windows"]
    np.testing.assert_allclose(parts["positions"], whole["positions"], rtol=1e-12)
    assert sum(whole["nll"]) == sum(whole["weights"]) == values_BN.size


def test_what_lies_outside_the_edges_counts_in_the_outermost_bins():
    found = counts.histogram(np.array([-100.0, 0.0, 100.0]), counts.GAIN_EDGES)
    assert (found[0], found[len(found) // 2], found[-1]) == (1, 1, 1)
    assert counts.weight_histogram(np.array([0.0, 1e-30, 1e30, 1.0])).sum() == 4
    assert counts.weight_histogram(np.zeros(3))[0] == 3


def test_bins_of_positions_hold_each_entry_once(rng):
    for entries in (1, 5, 32, 127, 2047):
        edges = counts.position_edges(entries)
        assert (edges[0], edges[-1]) == (0, entries)
        assert (np.diff(edges) > 0).all()
        values_BN = rng.random((3, entries))
        assert counts.position_sums(values_BN).sum() == pytest.approx(values_BN.sum())


def test_the_heaviest_types_are_those_of_a_dictionary(rng):
    ids, weights = rng.integers(0, 40, 500), rng.random(500)
    sums = counts.TypeSums("count", "weight")
    for part in np.array_split(np.arange(500), 3):
        sums.add(ids[part], count=np.ones(len(part)), weight=weights[part])
    naive = {int(kind): weights[ids == kind].sum() for kind in np.unique(ids)}
    expected = sorted(naive, key=lambda kind: -naive[kind])[:7]
    found = sums.largest("weight", 7)
    assert list(found) == expected
    assert all(found[kind]["weight"] == pytest.approx(naive[kind]) for kind in expected)
    assert all(found[kind]["count"] == (ids == kind).sum() for kind in expected)


def test_counts_of_other_bins_are_not_added():
    with pytest.raises(ValueError, match="counts of 2 bins cannot be added to counts of other bins"):
        counts.merged([{"a": [1, 2]}, {"a": [1, 2, 3]}])
