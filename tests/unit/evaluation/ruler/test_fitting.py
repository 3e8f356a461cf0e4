import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.evaluation.ruler.drawing import Draw, Drawer
from longspan.evaluation.ruler.fitting import drawn_samples, units_that_fit


class RandomLengths(Drawer):
    """Prompts whose lengths grow with their units, by random numbers a unit."""

    unit = "units"

    def __init__(self, seed, step, overhead, spread, most_units=None, shrinks=True):
        super().__init__(seed)
        self.step, self.most_units, self.shrinks = step, most_units, shrinks
        self._overhead, self._spread = overhead, spread
        self.drawn = 0

    def draw(self, units, index=0):
        self.drawn += 1
        tokens = self._overhead + 5 * units + self.random.randint(0, self._spread)
        return Draw([str(tokens)], lambda: "x" * tokens, "yy")

    def finished(self, draw):
        return draw.prompt + "z" * self.random.randint(0, 3)


class Encoder:
    def __init__(self):
        self.texts = 0

    def __call__(self, texts):
        self.texts += len(texts)
        return [np.zeros(len(text), np.int32) for text in texts]


def published_units(drawer, encode, limit):
    """The published loop: every sample is tokenized."""
    units, total = drawer.step, 0
    while total < limit:
        draw = drawer.draw(units)
        total = len(encode([draw.prompt + draw.ending])[0])
        if total > limit:
            units -= drawer.step
            break
        units += drawer.step
    return units


def published_samples(drawer, encode, units, samples, limit):
    """The published loop: one sample after the other, drawn again while it is too long."""
    found = []
    for index in range(samples):
        used = units
        while True:
            draw = drawer.draw(used, index)
            if len(encode([draw.prompt])[0]) <= limit:
                break
            if drawer.shrinks and used > drawer.step:
                used -= drawer.step
        found.append((drawer.finished(draw), draw.answers))
    return found


LENGTHS = {
    "seed": st.integers(0, 10**6),
    "step": st.integers(3, 30),
    "overhead": st.integers(0, 60),
    "limit": st.integers(300, 4000),
}


@settings(deadline=None, max_examples=60)
@given(**LENGTHS)
def test_the_search_ends_where_the_published_one_does_after_the_same_draws(seed, step, overhead, limit):
    # Spread within a step, as in the tasks: a sample of more units is longer.
    options = (seed, step, overhead, 5 * step)
    ours, theirs = RandomLengths(*options), RandomLengths(*options)
    expected = published_units(theirs, Encoder(), limit)
    if expected < step:
        with pytest.raises(ValueError, match="the fewest there are"):
            units_that_fit(ours, Encoder(), limit)
        return
    assert units_that_fit(ours, Encoder(), limit) == expected
    assert ours.state() == theirs.state()


def test_the_search_tokenizes_a_few():
    ours, few = RandomLengths(0, 1, 40, 5), Encoder()
    units_that_fit(ours, few, 10_000)
    assert ours.drawn > 1900
    assert few.texts < 40


class Bent(RandomLengths):
    """Prompts that grow faster and faster, so that a line through two of them trusts too much."""

    def draw(self, units, index=0):
        draw = super().draw(units)
        tokens = len(draw.prompt) + units * units // 3
        return Draw([str(tokens)], lambda: "x" * tokens, "yy")


@pytest.mark.parametrize("limit", [200, 1000, 3333, 20_000])
def test_the_search_goes_back_where_lengths_are_not_on_a_line(limit):
    ours, theirs = Bent(1, 2, 10, 3), Bent(1, 2, 10, 3)
    assert units_that_fit(ours, Encoder(), limit) == published_units(theirs, Encoder(), limit)
    assert ours.state() == theirs.state()


def test_a_length_that_is_met_exactly_goes_one_step_on_as_published():
    ours, theirs = RandomLengths(0, 3, 10, 0), RandomLengths(0, 3, 10, 0)
    limit = 10 + 5 * 30 + len("yy")
    assert units_that_fit(ours, Encoder(), limit) == published_units(theirs, Encoder(), limit) == 33


def test_a_length_that_is_met_exactly_is_kept_where_samples_do_not_shrink():
    drawer = RandomLengths(0, 3, 10, 0, shrinks=False)
    assert units_that_fit(drawer, Encoder(), 10 + 5 * 30 + len("yy")) == 30


def test_what_is_too_short_for_one_step_is_refused():
    with pytest.raises(
        ValueError, match="with 50 units, the fewest there are, a prompt has 262 tokens, and 261 fit"
    ):
        units_that_fit(RandomLengths(0, 50, 10, 0), Encoder(), 261)


def test_a_haystack_that_ends_is_refused():
    with pytest.raises(ValueError, match="there are 95 units, and more would fit"):
        units_that_fit(RandomLengths(0, 10, 10, 0, most_units=95), Encoder(), 5000)


@settings(deadline=None, max_examples=60)
@given(**LENGTHS, units=st.integers(1, 12), samples=st.integers(0, 40), shrinks=st.booleans())
def test_samples_are_those_of_the_published_loop(seed, step, overhead, limit, units, samples, shrinks):
    spread = max(1, min(limit - overhead - 5 * step, 9 * step))
    units = step * units
    if not shrinks:
        units = max(step, (limit - overhead - spread // 2) // 5)
    if overhead + 5 * (units if not shrinks else step) > limit:
        return
    options = (seed, step, overhead, spread, None, shrinks)
    ours, theirs = RandomLengths(*options), RandomLengths(*options)
    found = list(drawn_samples(ours, Encoder(), units, samples, limit, None))
    expected = published_samples(theirs, Encoder(), units, samples, limit)
    assert [(sample.prompt, sample.answers) for sample in found] == expected


def test_finished_prompts_fit_where_that_is_asked_for():
    drawer = RandomLengths(0, 1, 10, 20)
    found = list(drawn_samples(drawer, Encoder(), 100, 50, limit_tokens=515, prompt_tokens=515))
    assert len(found) == 50
    assert max(len(sample.input_ids) for sample in found) <= 515


def test_samples_that_never_fit_are_refused():
    drawer = RandomLengths(0, 10, 10, 0, shrinks=False)
    with pytest.raises(
        ValueError, match="sample 0 has 510 tokens with 100 units, and 400 fit, however often"
    ):
        list(drawn_samples(drawer, lambda texts: [np.zeros(510, np.int32) for _ in texts], 100, 1, 400, None))
