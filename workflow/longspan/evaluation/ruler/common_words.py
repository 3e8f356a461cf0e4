"""Common words: which ten of a numbered list stand there most often."""

import random
from collections.abc import Sequence

from longspan.evaluation.ruler.drawing import Draw, Drawer
from longspan.evaluation.ruler.prompts import TaskWords

_SHORT_TOKENS = 4096


class CommonWordsDrawer(Drawer):
    """Draws lists of words, some of which are repeated more often; an example stands before each.

    Args:
        words: the task's words.
        vocabulary: all words.
        length_tokens: nominal length of the prompts.
        seed: what all draws depend on.
        freq_cw, freq_ucw: how often common and other words stand in a list.
        num_cw: number of common words.
    """

    step = 10
    unit = "words"

    def __init__(
        self,
        words: TaskWords,
        vocabulary: Sequence[str],
        *,
        length_tokens: int,
        seed: int,
        freq_cw: int,
        freq_ucw: int,
        num_cw: int,
    ):
        super().__init__(seed)
        self._words, self._common = words, num_cw
        self._vocabulary = sorted(set(vocabulary))
        random.Random(seed).shuffle(self._vocabulary)
        self.most_units = len(self._vocabulary)
        is_short = length_tokens < _SHORT_TOKENS
        self._example = (20, 3, 1) if is_short else (40, 10, 3)
        self._repeats = (6, 1) if is_short else (freq_cw, freq_ucw)

    def draw(self, units, index=0):
        """The example's words, then the list's."""
        shown, example_common, example_other = self._example
        example = self.random.sample(self._vocabulary, shown)
        listed = self.random.sample(self._vocabulary, units)
        answers = listed[: self._common]

        def write() -> str:
            first, second = (
                self._words.filled(context=self._list(chosen, *repeats), query="")
                for chosen, repeats in (
                    (example, (example_common, example_other)),
                    (listed, self._repeats),
                )
            )
            return f"{first}{_numbered(example[: self._common])}\n{second}"

        return Draw(answers, write, f" {_numbered(answers)}")

    def _list(self, chosen: list[str], common_repeats: int, other_repeats: int) -> str:
        common, other = chosen[: self._common], chosen[self._common :]
        return _numbered(self.shuffled(common * common_repeats + other * other_repeats))


def _numbered(words: Sequence[str]) -> str:
    return " ".join(f"{number}. {word}" for number, word in enumerate(words, start=1))
