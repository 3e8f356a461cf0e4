import math
from dataclasses import asdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.weighting.parts import Weighting
from longspan.weighting.variant import LOSS_VARIANTS, weighting_from_settings
from longspan.weighting.weights import kept_entries, shuffled_weights, token_weights

FULL_SETTINGS = {
    "plain": {},
    "dense": {"interpolation": 0.75},
    "sparse": {"sparsification": 0.2},
    "longce": {"truncation": 5.0},
    "ppmi": {"shift": 1.5, "sparsification": 0.3},
    "npmi": {"shift": 1.5, "sparsification": 0.3},
}


def scores(sequences=3, entries=50, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(2, sequences, entries, generator=generator) * 6).unbind()


def weigh(long_nll, short_nll, weighting, **options):
    return token_weights(long_nll, short_nll, **asdict(weighting), **options)


def naive_weights(long_row, short_row, parts):
    """One sequence in Python floats; ties go to the lowest positions."""
    if parts.comparison == "difference":
        x = [a - b for a, b in zip(long_row, short_row, strict=True)]
    else:
        x = [(a + 1e-5) / (b + 1e-5) for a, b in zip(long_row, short_row, strict=True)]
    n = len(x)
    for transform in parts.transforms:
        name, *argument = transform.split()
        function = {
            "minus": lambda v: -v,
            "absolute": abs,
            "exp": math.exp,
            "shift": lambda v, s=argument: v - math.log(float(s[0])),
            "max": lambda v: max(v, 0.0),
        }[name]
        x = [function(v) for v in x]
    if parts.truncation is not None:
        x = [min(v, parts.truncation) for v in x]
    if parts.sparsification is not None:
        quota = max(1, math.floor(parts.sparsification * n + 1e-9))
        kept = sorted(range(n), key=lambda t: (-x[t], t))[:quota]
        x = [float(t in kept) for t in range(n)]
    if parts.normalization == "L1":
        total = sum(x)
        x = [v * n / total for v in x] if total else [1.0] * n
    elif parts.normalization == "softmax":
        highest = max(x)
        total = sum(math.exp(v - highest) for v in x)
        x = [n * math.exp(v - highest) / total for v in x]
    if parts.interpolation is not None:
        x = [parts.interpolation + (1 - parts.interpolation) * v for v in x]
    return x


@pytest.mark.parametrize("variant", LOSS_VARIANTS.names())
def test_variants_equal_the_naive_form(variant):
    parts = weighting_from_settings({"variant": variant} | FULL_SETTINGS[variant])
    long_nll, short_nll = scores()
    weights = weigh(long_nll, short_nll, parts)
    expected = [
        naive_weights(*rows, parts) for rows in zip(long_nll.tolist(), short_nll.tolist(), strict=True)
    ]
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights, torch.tensor(expected), rtol=1e-6, atol=1e-6)


transforms = st.lists(st.sampled_from(["minus", "absolute", "exp", "shift 2", "max"]), max_size=2)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["difference", "quotient"]),
    transforms,
    st.sampled_from([None, 0.5, 5.0]),
    st.sampled_from([None, 0.01, 0.3, 1.0]),
    st.sampled_from([None, "L1", "softmax"]),
    st.sampled_from([None, 0.0, 0.25, 1.0]),
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=9),
)
def test_any_parts_equal_the_naive_form_ties_included(
    comparison, names, truncation, sparsification, normalization, interpolation, pairs
):
    try:
        parts = Weighting(comparison, tuple(names), truncation, sparsification, normalization, interpolation)
    except ValueError:
        return
    # Multiples of 1/4 leave float32 and float64 with the same ties.
    long_nll, short_nll = torch.tensor([pairs]).movedim(-1, 0).float() / 4
    if interpolation != 1 and "exp" in names and comparison == "quotient":
        short_nll = short_nll + 1
    try:
        expected = naive_weights(long_nll[0].tolist(), short_nll[0].tolist(), parts)
    except OverflowError:
        return
    if interpolation == 1:
        expected = [1.0] * len(pairs)
    if max(expected) > 3e38:
        return
    actual = weigh(long_nll, short_nll, parts)
    torch.testing.assert_close(actual[0], torch.tensor(expected), rtol=1e-5, atol=1e-6)


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(1, 40))
def test_lambda_one_and_kappa_one_are_ones_to_the_bit(interpolation, entries):
    long_nll, short_nll = scores(2, entries)
    ones = torch.ones(2, entries)
    dense = Weighting(transforms=("absolute",), normalization="L1", interpolation=1.0)
    everything = Weighting(
        transforms=("absolute",), normalization="L1", sparsification=1.0, interpolation=interpolation
    )
    assert torch.equal(weigh(long_nll, short_nll, dense), ones)
    assert torch.equal(weigh(long_nll, short_nll, everything), ones)


def test_lambda_one_is_ones_whatever_the_scores_hold():
    nan = torch.full((1, 3), torch.nan)
    assert torch.equal(weigh(nan, nan, Weighting(interpolation=1)), torch.ones(1, 3))


@pytest.mark.parametrize(("variant"), ["dense", "sparse", "ppmi", "npmi"])
def test_l1_weights_average_to_one(variant):
    parts = weighting_from_settings({"variant": variant} | FULL_SETTINGS[variant])
    weights = weigh(*scores(4, 333), parts)
    torch.testing.assert_close(
        weights.double().mean(1), torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-6
    )


def test_interpolation_without_normalization_is_applied():
    # The released code ignores it silently.
    long_nll, short_nll = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 1.0]])
    weights = token_weights(long_nll, short_nll, interpolation=0.5)
    assert weights.tolist() == [[1.0, 1.5]]


def test_a_kappa_below_one_token_keeps_one_token():
    # The released code keeps all of them.
    long_nll, short_nll = torch.tensor([[0.0, 2.0, 1.0]]), torch.zeros(1, 3)
    assert token_weights(long_nll, short_nll, sparsification=0.01).tolist() == [[0.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("kappa", "entries", "kept"),
    [(0.29, 100, 29), (0.1, 32767, 3276), (1.0, 7, 7), (0.7, 10, 7), (1e-9, 5, 1), (0.57, 100, 57)],
)
def test_quota_is_counted_in_float64(kappa, entries, kept):
    # 0.29 * 100 is 28.999… and 0.57 * 100 is 56.999… in float64.
    assert kept_entries(kappa, entries) == kept
    long_nll, short_nll = scores(1, entries)
    assert token_weights(long_nll, short_nll, sparsification=kappa).sum() == kept


def test_sparsification_drops_the_magnitudes():
    long_nll, short_nll = scores(2, 40)
    assert set(token_weights(long_nll, short_nll, sparsification=0.3).unique().tolist()) == {0.0, 1.0}


def zeros_quota(sequences=4, entries=64, **options):
    """PPMI of equal scores: every entry is zero and half of them must be drawn."""
    zeros = torch.zeros(sequences, entries)
    return token_weights(zeros, zeros, transforms=("minus", "max"), sparsification=0.5, **options)


def test_without_ids_the_lowest_positions_fill_the_quota():
    assert torch.equal(zeros_quota()[2], torch.tensor([1.0] * 32 + [0.0] * 32))


def test_the_draw_among_zeros_repeats_and_depends_on_seed_and_id_only():
    # In the released code two calls with one seed differ.
    names = ["a-00000_0000001", "a-00000_0000002", "a-00001_0000001", "b-00000_0000001"]
    drawn = zeros_quota(sequence_ids=names)
    assert torch.equal(drawn, zeros_quota(sequence_ids=names))
    assert torch.equal(drawn.flip(0), zeros_quota(sequence_ids=names[::-1]))
    assert torch.equal(drawn[2:3], zeros_quota(1, sequence_ids=names[2:3]))
    assert (drawn.sum(1) == 32).all()
    assert len({tuple(row) for row in drawn.tolist()}) == 4
    assert not torch.equal(drawn, zeros_quota(sequence_ids=names, seed=1))


def test_the_draw_is_this_one_everywhere():
    drawn = zeros_quota(1, 16, sequence_ids=["books-00042_0000001"], seed=7)[0]
    assert drawn.nonzero().flatten().tolist() == [1, 2, 6, 7, 9, 10, 12, 14]


def test_the_draw_is_even_over_positions():
    share = zeros_quota(400, 32, sequence_ids=range(400)).mean(0)
    assert (share - 0.5).abs().max() < 0.12  # 4.8 standard deviations


def test_drawn_zeros_never_displace_a_larger_entry():
    long_nll = torch.zeros(1, 20)
    short_nll = torch.zeros(1, 20)
    short_nll[0, [3, 11]] = 2.0
    weights = token_weights(
        long_nll, short_nll, transforms=("minus", "max"), sparsification=0.25, sequence_ids=["x"]
    )
    assert weights.sum() == 5
    assert weights[0, 3] == weights[0, 11] == 1


def test_negative_zero_ties_with_zero():
    long_nll = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    short_nll = torch.tensor([[2.0, 1.0, 1.0, 1.0]])
    # minus turns the three zeros into -0.0, exp and shift 1 bring 0.0 back.
    kept = token_weights(long_nll, short_nll, transforms=("minus",), sparsification=0.5)
    assert kept.tolist() == [[1.0, 1.0, 0.0, 0.0]]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=30), st.floats(0.01, 1))
def test_selection_equals_a_full_sort(values, kappa):
    long_nll = torch.tensor([values])
    kept = token_weights(long_nll, torch.zeros_like(long_nll), sparsification=kappa)[0]
    quota = kept_entries(kappa, len(values))
    order = sorted(range(len(values)), key=lambda t: (-values[t], t))[:quota]
    assert sorted(order) == kept.nonzero().flatten().tolist()


@pytest.mark.parametrize("variant", LOSS_VARIANTS.names())
def test_two_tokens_are_one_entry(variant):
    parts = weighting_from_settings({"variant": variant} | FULL_SETTINGS[variant])
    weights = weigh(torch.tensor([[1.0]]), torch.tensor([[3.0]]), parts)
    assert weights.tolist() == [[5.0]] if variant == "longce" else [[1.0]]


@pytest.mark.parametrize("variant", ["dense", "ppmi", "npmi"])
def test_all_zeros_become_uniform_weights(variant):
    parts = weighting_from_settings({"variant": variant})
    assert torch.equal(weigh(torch.ones(2, 5), torch.ones(2, 5), parts), torch.ones(2, 5))


def test_weights_carry_no_gradient():
    long_nll = torch.rand(1, 4, requires_grad=True)
    assert not token_weights(long_nll, torch.zeros(1, 4)).requires_grad


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", ["long_nll", "short_nll"])
def test_scores_that_are_not_finite_are_refused_with_their_place(name, value):
    nll = {"long_nll": torch.ones(2, 4), "short_nll": torch.ones(2, 4)}
    nll[name][1, 2] = value
    with pytest.raises(ValueError, match=f"{name} holds 1 values that are not finite, the first {value}"):
        token_weights(**nll)
    with pytest.raises(ValueError, match="sequence 1, entry 2"):
        token_weights(**nll)


def test_overflow_is_named_and_truncation_cures_it():
    long_nll, short_nll = torch.zeros(1, 2), torch.tensor([[1000.0, 0.0]])
    with pytest.raises(ValueError, match=r"weights overflow .* set truncation"):
        token_weights(long_nll, short_nll, transforms=("minus", "exp"))
    cured = token_weights(long_nll, short_nll, transforms=("minus", "exp"), truncation=5)
    assert cured.tolist() == [[5.0, 1.0]]


def test_shapes_and_ids_must_agree():
    with pytest.raises(ValueError, match=r"long_nll \[1, 3\] and short_nll \[1, 4\]"):
        token_weights(torch.zeros(1, 3), torch.zeros(1, 4))
    with pytest.raises(ValueError, match=r"at least one entry"):
        token_weights(torch.zeros(1, 0), torch.zeros(1, 0))
    with pytest.raises(ValueError, match="2 sequence_ids for 1 sequences"):
        token_weights(torch.zeros(1, 3), torch.zeros(1, 3), sequence_ids=["a", "b"])


# The control: the same weights in a random order


def naive_order(draws, groups):
    """Where each entry's weight comes from: within its group, the k-th entry takes that of the k-th draw."""
    source = [None] * len(draws)
    for group in set(groups):
        places = [place for place, other in enumerate(groups) if other == group]
        for to, taken in zip(places, sorted(places, key=lambda place: draws[place]), strict=True):
            source[to] = taken
    return source


def test_shuffled_weights_are_the_same_ones_elsewhere():
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(3, 500, generator=generator)
    names = ["a-00000_0000001", "a-00000_0000002", "b-00000_0000001"]
    found = shuffled_weights(weights, seed=3, sequence_ids=names)
    assert torch.equal(found.sort(1).values, weights.sort(1).values)
    assert (found == weights).float().mean() < 0.05
    # By seed and id alone, whatever stands beside a sequence.
    assert torch.equal(shuffled_weights(weights[1:2], seed=3, sequence_ids=names[1:2]), found[1:2])
    assert not torch.equal(shuffled_weights(weights, seed=4, sequence_ids=names), found)
    same = shuffled_weights(weights[:1].expand(3, -1), seed=3, sequence_ids=names)
    assert len({tuple(row) for row in same.tolist()}) == 3


def test_weights_stay_in_their_document_and_what_does_not_count_stays_where_it_is():
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(2, 60, generator=generator)
    counted = torch.rand(2, 60, generator=generator) > 0.2
    documents = torch.tensor([[0] * 20 + [1] * 5 + [2] * 35, [0] * 59 + [1]])
    found = shuffled_weights(weights, seed=0, sequence_ids=["a", "b"], counted=counted, documents=documents)
    assert torch.equal(found[~counted], weights[~counted])
    draws = shuffled_weights(torch.arange(60.0).expand(2, -1), seed=0, sequence_ids=["a", "b"]).argsort(
        1
    )  # the place of each entry in an order of the whole sequence: its draw's rank
    for row in range(2):
        groups = [
            (document, None if counts else place)
            for place, (document, counts) in enumerate(
                zip(documents[row].tolist(), counted[row].tolist(), strict=True)
            )
        ]
        source = naive_order(draws[row].tolist(), groups)
        assert torch.equal(found[row], weights[row, source])


def test_the_order_is_this_one_everywhere():
    order = shuffled_weights(torch.arange(8.0)[None], seed=7, sequence_ids=["books-00042_0000001"])
    assert order.int().tolist() == [[7, 4, 6, 2, 3, 0, 5, 1]]


def test_every_weight_comes_to_every_place():
    names = [f"a-00000_{number:07d}" for number in range(4000)]
    found = shuffled_weights(torch.arange(8.0).expand(4000, -1), seed=0, sequence_ids=names)
    shares = torch.stack([(found == value).double().mean(0) for value in range(8)])
    # Ten standard deviations of a share of 1/8 in 4000 draws are 0.052.
    assert (shares - 1 / 8).abs().max() < 0.052


def test_an_order_needs_an_id_for_each_sequence():
    with pytest.raises(ValueError, match="1 sequence_ids for 2 sequences"):
        shuffled_weights(torch.ones(2, 3), seed=0, sequence_ids=["a"])
