import math
import random
from collections import Counter

import pytest

from longspan.weighting.exposure import (
    EPSILON,
    ContextHistogram,
    ContextWeights,
    Exposure,
    bucket_starts,
    bucket_stop,
)
from longspan.weighting.variant import loss_of_settings
from refusals import refused


def naive_bucket(context_tokens):
    """[0, 8), [8, 16), [16, 32), … by halving."""
    start = 0
    while context_tokens >= (8 if start == 0 else 2 * start):
        start = 8 if start == 0 else 2 * start
    return start


def naive_weights(lengths, alpha, gamma, tau):
    """Weight of each target of documents, one after the other; EXACT's formula in Python floats."""
    contexts = [place for length in lengths for place in range(1, length)]
    counts = Counter(map(naive_bucket, contexts))
    shares = {start: count / len(contexts) for start, count in counts.items()}
    rarity = {start: (share + EPSILON) ** -gamma for start, share in shares.items() if start >= tau}
    mean = math.fsum(shares[start] * rarity[start] for start in rarity)
    return [1 + alpha * rarity.get(naive_bucket(context), 0) / mean for context in contexts]


@pytest.mark.parametrize("seed", range(5))
def test_targets_are_counted_as_if_one_by_one(seed):
    draw = random.Random(seed)
    lengths = [draw.choice([1, 2, 8, 9, 16, 17, draw.randint(1, 300)]) for _ in range(30)]
    naive = Counter(naive_bucket(place) for length in lengths for place in range(1, length))
    found = ContextHistogram.of_documents(Counter(lengths))
    assert {start: count for start, count in zip(found.starts, found.targets, strict=True) if count} == naive
    assert sum(found.targets) == sum(length - 1 for length in lengths)
    assert list(found.starts) == bucket_starts(max(lengths) - 1)


@pytest.mark.parametrize("seed", range(5))
def test_weights_equal_the_naive_form_and_add_alpha_in_the_mean(seed):
    draw = random.Random(seed)
    window_tokens = draw.choice([64, 100, 256, 300])
    lengths = [window_tokens] * 3 + [draw.randint(2, window_tokens) for _ in range(20)]
    alpha, gamma, tau = draw.uniform(0, 2), draw.uniform(0, 2), draw.randint(1, window_tokens // 2)
    exposure = Exposure(alpha=alpha, gamma=gamma, min_context_tokens=tau)
    histogram = ContextHistogram.of_documents(Counter(lengths))
    weights = dict(zip(histogram.starts, histogram.weights(exposure, window_tokens), strict=True))
    naive = naive_weights(lengths, alpha, gamma, tau)
    found = [weights[naive_bucket(place)] for length in lengths for place in range(1, length)]
    assert found == pytest.approx(naive, rel=1e-12)
    assert math.fsum(found) / len(found) == pytest.approx(1 + alpha, rel=1e-12)
    assert all(weight == 1 for start, weight in weights.items() if start < tau)


@pytest.mark.parametrize("window_tokens", [4096, 8192, 16384])
def test_the_tail_begins_at_a_quarter_of_a_window(window_tokens):
    assert Exposure().tail_start(window_tokens) == window_tokens // 4
    histogram = ContextHistogram.of_documents({window_tokens: 5})
    # In whole windows a quarter of the targets, of which the first token is none, is below the tail.
    below = sum(
        count
        for start, count in zip(histogram.starts, histogram.targets, strict=True)
        if start < window_tokens // 4
    )
    assert below == 5 * (window_tokens // 4 - 1)
    *_, near, far = histogram.weights(Exposure(), window_tokens)
    # r = q^-1/2 of shares of about a quarter and a half: 2 and 1.414, whose mean is 1.207.
    assert near == pytest.approx(1 + 0.15 * 2 / 1.2071, rel=1e-3)
    assert far == pytest.approx(1 + 0.15 * 1.4142 / 1.2071, rel=1e-3)


def test_buckets_double_and_end_behind_the_last_target():
    assert bucket_starts(7) == [0]
    assert bucket_starts(8) == [0, 8]
    assert bucket_starts(31) == [0, 8, 16]
    assert bucket_starts(32) == [0, 8, 16, 32]
    assert [bucket_stop(start) for start in (0, 8, 16)] == [8, 16, 32]
    assert ContextHistogram.of_documents({1: 3, 2: 1}).targets == (1,)


@pytest.mark.parametrize(
    ("options", "window_tokens", "message"),
    [
        (
            {},
            8,
            "all targets of a window of 8 tokens are in one bucket of context, fewer than 8 tokens, so no "
            "weight tells them apart; take longer windows",
        ),
        (
            {"min_context_tokens": 65},
            128,
            "min_context_tokens: 65 tokens are beyond 64, where the last bucket of context in a window of "
            "128 tokens begins; lower it",
        ),
    ],
)
def test_windows_without_a_tail_are_refused(options, window_tokens, message):
    with refused(message):
        Exposure(**options).tail_start(window_tokens)


def test_a_tail_without_targets_is_refused():
    """A mixture can be of short documents alone, if the training is as short as that."""
    message = (
        "min_context_tokens: no target of this training has 32 tokens of context; lower it, or train on "
    )
    with refused(message + "more long windows"):
        ContextHistogram.of_documents({20: 4}).weights(Exposure(), 128)


def test_exact_weighs_as_published_and_exposure_keeps_a_windows_sum():
    histogram = ContextHistogram.of_documents({64: 1})
    expected = histogram.weights(Exposure(alpha=0.3, gamma=1), 64)
    options = {"alpha": 0.3, "gamma": 1}
    exact = loss_of_settings({"variant": "exact"} | options)
    assert exact.context_weights(histogram, 64) == ContextWeights(histogram.starts, expected, keeps_sum=False)
    for block in ({"variant": "dense"}, {"variant": "plain"}, {"transforms": ["absolute"]}):
        assert loss_of_settings(block).context_weights(histogram, 64) is None
        found = loss_of_settings(block | {"exposure": options}).context_weights(histogram, 64)
        assert found == ContextWeights(histogram.starts, expected, keeps_sum=True)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            {"variant": "exact", "exposure": {}},
            "exposure: this variant weighs by context itself; set its own options instead",
        ),
        (
            {"transforms": ["minus"], "exposure": {}},
            "exposure: keeps the sum of a window's weights, which can end below 0 here; end with 'absolute', "
            "'exp' or 'max', or set sparsification",
        ),
    ],
)
def test_what_does_not_go_with_exposure_is_refused(block, message):
    with refused(message):
        loss_of_settings(block).check()


def test_weights_by_context_have_a_control_and_are_cited():
    for block in ({"variant": "plain", "exposure": {}}, {"variant": "exact"}):
        loss = loss_of_settings(block | {"shuffle_weights": True})
        loss.check()
        assert not loss.is_plain
        assert any("2605.10544" in entry for entry in loss.cited)
    assert not any("2605.10544" in entry for entry in loss_of_settings({"variant": "dense"}).cited)


def test_options_stand_in_the_settings_as_they_were_given():
    block = {"variant": "dense", "exposure": {"alpha": 1, "min_context_tokens": 4}}
    assert loss_of_settings(block).as_settings()["exposure"] == {
        "alpha": 1,
        "gamma": 0.5,
        "min_context_tokens": 4,
    }
    assert loss_of_settings({"variant": "exact"}).as_settings() == {}
