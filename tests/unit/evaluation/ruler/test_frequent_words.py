import math
from collections import Counter

import pytest

from longspan.evaluation.ruler.frequent_words import FrequentWordsDrawer, zeta
from longspan.evaluation.ruler.prompts import TaskWords

KNOWN = {1.1: 10.584448464950801, 1.5: 2.612375348685488, 3.0: 1.2020569031595942, 4.0: math.pi**4 / 90}


@pytest.mark.parametrize("exponent", KNOWN)
def test_zeta_to_the_last_bits(exponent):
    assert math.isclose(zeta(exponent), KNOWN[exponent], rel_tol=4e-16)


def test_zeta_of_the_published_exponent_is_exact():
    assert zeta(2.0) == math.pi**2 / 6


def test_counts_follow_the_law_and_the_most_frequent_word_is_noise():
    drawer = FrequentWordsDrawer(TaskWords("{context}", ""), length_tokens=5000, seed=3, alpha=2.0)
    draw = drawer.draw(2000)
    counts = Counter(draw.prompt.split()).most_common()
    assert counts[0] == ("...", int(2000 / (math.pi**2 / 6)))
    assert [word for word, _ in counts[1:4]] == draw.answers
    assert [count for _, count in counts[1:4]] == [
        int(2000 / rank**2 / (math.pi**2 / 6)) for rank in (2, 3, 4)
    ]
