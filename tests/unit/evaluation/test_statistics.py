import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.evaluation.statistics import Samples, area, difference, holm, mean, student_t_quantile

NONE = math.nan


def samples(value_SN, cluster_N=None, weight_N=None, length_N=None):
    value_SN = np.atleast_2d(np.asarray(value_SN, float))
    number = value_SN.shape[1]
    return Samples(
        value_SN,
        np.ones(number) if weight_N is None else np.asarray(weight_N, float),
        np.arange(number) if cluster_N is None else np.asarray(cluster_N),
        np.full(number, NONE) if length_N is None else np.asarray(length_N, float),
    )


def drawn(rng, clusters, seeds, *, paired=False, centre=1.0):
    """Samples of a known mean: three of each cluster, with noise of cluster, seed and sample."""
    cluster_N = np.repeat(np.arange(clusters), 3)
    shared_N = rng.normal(size=clusters)[cluster_N]
    noise_S1 = 0.5 * rng.normal(size=(seeds, 1)) if seeds > 1 else 0.0
    value_SN = centre + shared_N + noise_S1 + 0.5 * rng.normal(size=(seeds, 3 * clusters))
    weight_N = rng.uniform(0.5, 2, 3 * clusters)
    found = samples(value_SN, cluster_N, weight_N)
    if not paired:
        return found
    other_1N = 0.3 + shared_N + 0.5 * rng.normal(size=(1, 3 * clusters))
    return found, replace(found, value_SN=other_1N)


# Closed forms


def test_the_mean_is_weighted_and_over_seeds():
    found = mean(samples([[1, 2, 3], [2, 3, 4]], weight_N=[1, 1, 2]), seed=0)
    assert found.value == pytest.approx((9 / 4 + 13 / 4) / 2)
    assert (found.samples, found.clusters, found.seeds) == (3, 3, 2)


def test_an_interval_of_many_normal_numbers_is_that_of_student():
    value_N = np.random.default_rng(1).normal(2, 3, 400)
    found = mean(samples(value_N), seed=0, replicates=8_000)
    half = student_t_quantile(0.975, 399) * value_N.std(ddof=1) / 20
    assert found.low == pytest.approx(value_N.mean() - half, abs=0.05 * half)
    assert found.high == pytest.approx(value_N.mean() + half, abs=0.05 * half)


def test_p_is_that_of_students_test_and_agrees_with_the_interval():
    value_N = np.random.default_rng(2).normal(0.25, 1, 100)
    found = mean(samples(value_N), seed=0, replicates=8_000)
    statistic = value_N.mean() / value_N.std(ddof=1) * 10
    assert student_t_quantile(1 - found.p / 2, 99) == pytest.approx(statistic, rel=0.08)
    for centre in np.linspace(-0.5, 0.5, 21):
        found = mean(samples(value_N - value_N.mean() + centre), seed=0, replicates=500)
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_samples_of_a_cluster_are_no_more_than_one():
    value_N = np.random.default_rng(3).normal(size=12)
    alone = mean(samples(value_N), seed=0)
    repeated = mean(samples(np.repeat(value_N, 9), np.repeat(np.arange(12), 9)), seed=0)
    assert repeated.samples == 108
    assert (repeated.low, repeated.high, repeated.p) == pytest.approx((alone.low, alone.high, alone.p))


def test_what_all_samples_share_drops_out_of_a_difference():
    rng = np.random.default_rng(4)
    hard_N = rng.normal(0, 100, 50)
    first, second = (samples(hard_N + rng.normal(centre, 0.1, 50)) for centre in (1.0, 0.0))
    found = difference(first, second, seed=0)
    assert 0.9 < found.low < 1 < found.high < 1.1
    assert found.p == 2 / 4001  # no draw of so many is 0 or less


def test_what_all_seeds_share_drops_out_of_a_difference_too():
    rng = np.random.default_rng(5)
    noise_S1 = rng.normal(0, 5, (4, 1))
    first, second = (samples(noise_S1 + centre + rng.normal(0, 0.1, (4, 30))) for centre in (1.0, 0.0))
    paired = difference(first, second, seed=0)
    assert paired.high - paired.low < 0.1
    assert paired.value == pytest.approx(1, abs=0.05)
    fewer = replace(second, value_SN=second.value_SN[:3])
    assert difference(first, fewer, seed=0).high - difference(first, fewer, seed=0).low > 5


def test_more_seeds_of_the_same_noise_make_the_interval_of_a_training_narrower():
    value_SN = np.tile([[1.0], [-1.0]], (4, 1)) + np.random.default_rng(6).normal(0, 0.1, (8, 20))
    widths = [
        found.high - found.low for found in (mean(samples(value_SN[:number]), seed=0) for number in (2, 4, 8))
    ]
    assert widths[0] > 1.5 * widths[1] > 1.5**2 * widths[2]


def test_the_area_of_a_constant_is_that_constant_and_of_a_line_its_middle():
    length_N = np.repeat([4096, 8192, 16384, 32768], 5)
    assert area(samples(np.full(20, 0.7), length_N=length_N), seed=0).value == pytest.approx(0.7)
    line = samples(np.log2(length_N), length_N=length_N)
    assert area(line, seed=0).value == pytest.approx(13.5)
    # Two of three lengths lie close together: the far one counts for more than a third.
    uneven = samples([1, 1, 0], length_N=[4096, 5000, 32768])
    assert area(uneven, seed=0).value == pytest.approx(
        (math.log(5000 / 4096) + math.log(32768 / 5000) / 2) / math.log(8)
    )
    one = samples([1, 0, 1, 1], length_N=[4096] * 4)
    assert area(one, seed=0) == mean(one, seed=0)


def test_the_uncertainty_of_every_length_is_in_that_of_the_area():
    rng = np.random.default_rng(7)
    length_N = np.repeat([1024, 2048, 4096], 60)
    value_N = rng.normal(0, 1, 180)
    found = area(samples(value_N, length_N=length_N), seed=0, replicates=8_000)
    errors = [value_N[length_N == length].std(ddof=1) / math.sqrt(60) for length in (1024, 2048, 4096)]
    expected = math.sqrt((errors[0] / 4) ** 2 + (errors[1] / 2) ** 2 + (errors[2] / 4) ** 2)
    assert found.high - found.low == pytest.approx(2 * 1.97 * expected, rel=0.05)


def test_documents_of_all_lengths_are_drawn_whole():
    # Each document is as good at every length, so lengths do not average its luck out.
    good_C = np.random.default_rng(8).normal(size=40)
    found = area(
        samples(np.tile(good_C, 3), np.tile(np.arange(40), 3), length_N=np.repeat([1024, 2048, 4096], 40)),
        seed=0,
    )
    alone = mean(samples(good_C), seed=0)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high), abs=1e-9)


@pytest.mark.parametrize(
    ("probability", "freedom", "quantile"),
    [
        (0.975, 1, 12.7062047362),
        (0.975, 4, 2.7764451052),
        (0.9995, 3, 12.9239786367),
        (0.95, 2.5, 2.5582188),
        (0.975, 200, 1.9718962236),
        (0.025, 10, -2.2281388520),
        (0.975, 1e9, 1.9599639845),
    ],
)
def test_quantiles_of_students_t(probability, freedom, quantile):
    assert student_t_quantile(probability, freedom) == pytest.approx(quantile, rel=1e-7)


def test_holm_as_in_his_paper():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []
    with_none = holm([0.01, NONE, 0.04])
    assert with_none[0] == 0.02
    assert math.isnan(with_none[1])


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_and_keeps_their_order(p):
    found = holm(p)
    assert all(before <= after <= 1 for before, after in zip(p, found, strict=True))
    assert [found[k] for k in np.argsort(p, kind="stable")] == sorted(found)


# Coverage


@pytest.mark.parametrize(
    ("clusters", "seeds", "least"),
    [(3, 1, 0.91), (12, 1, 0.91), (10, 2, 0.9), (20, 4, 0.9)],
)
def test_intervals_hold_the_truth_as_often_as_they_say(clusters, seeds, least):
    rng = np.random.default_rng(clusters + seeds)
    found = [mean(drawn(rng, clusters, seeds), seed=0, replicates=400) for _ in range(150)]
    assert least <= np.mean([one.low <= 1 <= one.high for one in found]) <= 0.99


def test_intervals_of_differences_too_and_zero_is_left_out_in_one_of_twenty_where_there_is_none():
    rng = np.random.default_rng(13)
    pairs = [drawn(rng, 8, 1, paired=True) for _ in range(150)]
    found = [difference(*pair, seed=0, replicates=400) for pair in pairs]
    assert 0.91 <= np.mean([one.low <= 0.7 <= one.high for one in found]) <= 0.99
    null = [drawn(rng, 8, 1, paired=True, centre=0.3) for _ in range(150)]
    assert 0.01 <= np.mean([difference(*pair, seed=0, replicates=400).p < 0.05 for pair in null]) <= 0.1


# Edges


def test_one_document_has_no_interval():
    found = mean(samples([1, 2, 3], [0, 0, 0]), seed=0)
    assert found.value == 2
    assert all(math.isnan(number) for number in (found.low, found.high, found.p))
    assert found.clusters == 1


def test_equal_models_differ_by_nothing():
    same = samples([1, 2, 3])
    found = difference(same, same, seed=0)
    assert (found.value, found.p) == (0, 1)
    assert math.isnan(found.low)


@pytest.mark.parametrize("number", [2, 3, 6, 12])
def test_where_all_samples_agree_no_draw_differs_and_their_number_is_all_that_speaks(number):
    right, wrong = samples(np.ones(number)), samples(np.zeros(number))
    found = difference(right, wrong, seed=0)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    # Of so many coins all fall on one side.
    assert (found.value, found.p) == (1, 2 * 0.5**number)
    rounded = samples(np.ones(number) * 0.1 + np.arange(number) * 1e-17)
    assert mean(rounded, seed=0).p == 2 * 0.5**number


def test_the_same_seed_gives_the_same_numbers_whatever_was_drawn_before():
    given_ = drawn(np.random.default_rng(10), 9, 3)
    first = mean(given_, seed=5)
    np.random.default_rng(5).normal()
    assert mean(given_, seed=5) == first
    assert mean(given_, seed=6) != first


def test_a_part_numbers_its_clusters_anew():
    found = samples([[1, 2, 3, 4]], [0, 1, 2, 2]).part(np.array([False, False, True, True]))
    assert found.cluster_N.tolist() == [0, 0]
    assert math.isnan(mean(found, seed=0).low)


def test_documents_too_short_for_some_lengths_do_not_break_the_area():
    # Each document reaches another length, so no two may be exchanged by design.
    length_N = [1024, 1024, 2048, 1024, 2048, 4096]
    found = area(samples([1, 2, 3, 4, 5, 6], [0, 1, 1, 2, 2, 2], length_N=length_N), seed=0)
    assert found.low < found.value < found.high


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean(samples(np.zeros((1, 0))), seed=0), "there is no sample to take a mean of"),
        (lambda: mean(samples([1, 2], weight_N=[0, 0]), seed=0), "weights are all 0"),
        (lambda: area(samples([1, 2], length_N=[4096, NONE]), seed=0), "needs a length of every sample"),
        (lambda: difference(samples([1, 2]), samples([1, 2, 3]), seed=0), "different samples"),
        (lambda: difference(samples([1, 2]), samples([1, 2], [0, 0]), seed=0), "different samples"),
    ],
)
def test_what_says_nothing_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
