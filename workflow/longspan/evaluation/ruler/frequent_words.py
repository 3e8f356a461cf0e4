"""Frequent words: which three coded words stand most often in a text, whose words follow a Zipf law."""

import math
import string

import numpy as np

from longspan.evaluation.ruler.drawing import Draw, Drawer
from longspan.evaluation.ruler.prompts import TaskWords

LETTERS = 6
ANSWERS = 3
_NOISE = "..."


class FrequentWordsDrawer(Drawer):
    """Draws vocabularies of coded words; the text of a vocabulary depends on the number of words alone.

    Args:
        words: the task's words.
        length_tokens: nominal length of the prompts.
        seed: what all draws depend on.
        alpha: exponent of the law.
    """

    unit = "coded words"

    def __init__(self, words: TaskWords, *, length_tokens: int, seed: int, alpha: float):
        super().__init__(seed)
        self._words, self._size = words, length_tokens // 50
        if self._size <= ANSWERS:
            raise ValueError(
                f"its vocabulary is one word for each 50 tokens, and fewer than {ANSWERS + 1} would fit"
            )
        self.step, self.first_units = length_tokens // 32, length_tokens // LETTERS
        ranks = np.arange(1, self._size + 1)
        self._powers, self._zeta = ranks**-alpha, zeta(alpha)

    def vocabulary(self) -> list[str]:
        """Draw coded words, the most frequent one first."""
        drawn = [self._word() for _ in range(self._size)]
        while len(set(drawn)) < self._size:
            drawn.append(self._word())
        vocabulary = self.shuffled(sorted(set(drawn)))
        vocabulary[0] = _NOISE
        return vocabulary

    def of_vocabulary(self, vocabulary: list[str], units: int) -> Draw:
        """The text of so many words out of a vocabulary."""

        def write() -> str:
            counts = (units * self._powers / self._zeta).astype(int)
            text = [
                word for word, count in zip(vocabulary, counts, strict=True) for word in [word] * int(count)
            ]
            return self._words.filled(context=" ".join(self.shuffled(text)), query="")

        return Draw(vocabulary[1 : 1 + ANSWERS], write, "")

    def draw(self, units, index=0):
        """A vocabulary and its text."""
        return self.of_vocabulary(self.vocabulary(), units)

    def _word(self) -> str:
        return "".join(self.random.choices(string.ascii_lowercase, k=LETTERS))


def zeta(exponent: float) -> float:
    """Riemann's zeta function, float64, for exponents above 1 (Euler and Maclaurin's sum)."""
    terms = 30
    # B_2k / (2k)!
    coefficients = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000)
    parts = [term**-exponent for term in range(1, terms)]
    parts += [terms ** (1 - exponent) / (exponent - 1), terms**-exponent / 2]
    rising = exponent
    for number, coefficient in enumerate(coefficients, start=1):
        parts.append(coefficient * rising * terms ** (1 - exponent - 2 * number))
        rising *= (exponent + 2 * number - 1) * (exponent + 2 * number)
    return math.fsum(parts)
