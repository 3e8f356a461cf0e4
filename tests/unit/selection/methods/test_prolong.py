import math

import numpy as np
import pytest

from longspan.selection.methods.prolong import ProLong, segment_pair_score
from refusals import refused


def naive_score(segment_nll, pairs, *, threshold=0.1, strength_weight=1, distance_weight=1, specificity=True):
    """LDS pair by pair, in Python's float64; `pairs` maps (later, earlier) to a mean NLL."""
    score, number = 0.0, len(segment_nll)
    for (i, j), nll in pairs.items():
        alone = math.exp(segment_nll[i])
        strength = (alone - math.exp(nll)) / alone
        if strength <= threshold:
            continue
        gains = [alone - math.exp(other) for (later, _), other in pairs.items() if later == i]
        rarity = 1.0
        if specificity and len(gains) > 1:
            weights = [math.exp(gain - max(gains)) for gain in gains]
            shares = [weight / math.fsum(weights) for weight in weights]
            entropy = -math.fsum(share * math.log(share) for share in shares if share > 0)
            rarity = (math.log(len(gains)) - entropy) / math.log(len(gains))
        distance = (i - j) / (number - 1)
        score += (strength_weight * strength + distance_weight * distance) * rarity
    return score


def drawn(seed, number=24, count=90):
    draw = np.random.default_rng(seed)
    segment_nll = draw.gamma(3.0, 0.8, number)
    every = [(i, j) for i in range(number) for j in range(i)]
    chosen = sorted(every[row] for row in draw.choice(len(every), count, replace=False))
    nll = [segment_nll[i] - draw.normal(0.1, 0.4) for i, _ in chosen]
    return segment_nll, dict(zip(chosen, nll, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"threshold": 0.4},
        {"strength_weight": 0.5, "distance_weight": 3},
        {"specificity": False},
        {"threshold": 0.0},
    ],
)
def test_a_score_is_that_of_the_formulas(options):
    for seed in np.random.SeedSequence().generate_state(3):
        segment_nll, pairs = drawn(seed)
        later, earlier = np.array(list(pairs)).T
        found = segment_pair_score(segment_nll, later, earlier, np.array(list(pairs.values())), **options)
        expected = naive_score(segment_nll.tolist(), pairs, **options)
        assert found == pytest.approx(expected, rel=1e-10, abs=1e-12), seed


def test_segments_that_are_helped_by_all_alike_count_for_nothing():
    later, earlier = np.array([3, 3, 3]), np.array([0, 1, 2])
    alike = segment_pair_score(np.full(4, 3.0), later, earlier, np.full(3, 1.0))
    one = segment_pair_score(np.full(4, 3.0), later, earlier, np.array([1.0, 3.0, 3.0]))
    assert alike == pytest.approx(0, abs=1e-12)
    # One that stands out by e^3 - e nats is all there is.
    assert one == pytest.approx(1 - math.exp(-2) + 1, rel=1e-3)
    # A segment's only pair is as specific as can be.
    assert segment_pair_score(np.full(4, 3.0), later[:1], earlier[:1], np.array([1.0])) == pytest.approx(
        1 - math.exp(-2) + 1
    )


def test_no_pairs_give_nothing_and_large_perplexities_do_not_overflow():
    assert segment_pair_score(np.array([1.0]), *([np.zeros(0, int)] * 2), np.zeros(0)) == 0
    score = segment_pair_score(np.full(3, 80.0), np.array([2, 2]), np.array([0, 1]), np.array([70.0, 80.0]))
    assert score == pytest.approx(2, rel=1e-3)


def test_pairs_that_do_not_fit_are_refused():
    three = np.array([1, 2, 3])
    with refused("pairs have 3 later and 3 earlier segments, and 2 NLLs"):
        segment_pair_score(np.ones(4), three, three - 1, np.ones(2))
    with refused("pairs must be of a segment and an earlier one, among 3 segments"):
        segment_pair_score(np.ones(3), three, three - 1, np.ones(3))


def test_scores_are_read_from_the_store(stores):
    table, _ = stores.score(ProLong(threshold=0.05))
    assert table["data_id"].tolist() == stores.ids
    for row in table.itertuples():
        pairs = {pair: float(nll) for pair, nll in stores.pairs[row.data_id].items()}
        expected = naive_score(stores.segment_nll[row.data_id].tolist(), pairs, threshold=0.05)
        assert row.score == pytest.approx(expected, rel=1e-9)
