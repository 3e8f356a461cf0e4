"""Needles in a haystack: eight tasks, by the number and the kinds of keys and values."""

import bisect
import functools
import itertools
import re
import uuid
from collections.abc import Sequence

import numpy as np

from longspan.evaluation.ruler.drawing import Draw, Drawer
from longspan.evaluation.ruler.prompts import TaskWords
from longspan.evaluation.ruler.sentences import SentenceSplitter

NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
NEEDLE = "One of the special magic {type_needle_v} for {key} is: {value}."

# Where needles may lie, in percent of the haystack.
_DEPTHS = [int(depth) for depth in np.round(np.linspace(0, 100, num=40))]
_ONE_ANSWER = (("Some", "A"), ("are all", "is"), ("are", "is"), ("answers", "answer"))


class SentenceHaystack:
    """A text in which needles are put between sentences.

    Args:
        text: any text; its spaces and line ends become one space each.
        splitter: what finds its sentences.
        name: where it is from, for errors.
    """

    def __init__(self, text: str, splitter: SentenceSplitter, name: str):
        self.words = re.sub(r"\s+", " ", text).split(" ")
        self.name = name
        self._splitter = splitter
        self.sentences = functools.lru_cache(16)(self._sentences)

    def _sentences(self, words: int) -> list[str]:
        """The sentences of so many words from the beginning."""
        return self._splitter.split(" ".join(self.words[:words]).strip())


class PairsOfWords:
    """All pairs adjective-noun in the order of the alphabet, without a list of the millions that they are.

    Args:
        adjectives, nouns: words; those that are there twice count once.
    """

    def __init__(self, adjectives: Sequence[str], nouns: Sequence[str]):
        nouns = sorted(set(nouns))
        starts = sorted({f"{adjective}-" for adjective in adjectives})
        self._blocks: list[tuple[str, list[str]]] = []
        for _, group in itertools.groupby(starts, key=_first_of_group(starts)):
            names = list(group)
            if len(names) == 1:
                self._blocks.append((names[0], nouns))
            else:
                # One adjective is the beginning of another ("far", "far-flung"): their pairs mingle.
                self._blocks.append(("", sorted({name + noun for name in names for noun in nouns})))
        self._stops = list(itertools.accumulate(len(block) for _, block in self._blocks))

    def __len__(self) -> int:
        """Number of pairs."""
        return self._stops[-1]

    def __getitem__(self, index: int) -> str:
        """The pair at a place."""
        number = bisect.bisect_right(self._stops, index)
        start, block = self._blocks[number]
        return start + block[index - self._stops[number] + len(block)]


class NeedleDrawer(Drawer):
    """Draws samples of a needle task.

    Args:
        words: the task's words.
        pairs: keys that are words.
        haystack: a text, or None for the noise or needles that `type_haystack` names.
        length_tokens: nominal length of the prompts.
        seed: what all draws depend on.
        type_haystack: `essay`, `repeat` or `needle`.
        type_needle_k, type_needle_v: `words`, `numbers` or `uuids`.
        num_needle_k, num_needle_v, num_needle_q: keys, values of each, and keys that are asked for.
    """

    def __init__(
        self,
        words: TaskWords,
        pairs: PairsOfWords,
        haystack: SentenceHaystack | None,
        *,
        length_tokens: int,
        seed: int,
        type_haystack: str,
        type_needle_k: str,
        type_needle_v: str,
        num_needle_k: int,
        num_needle_v: int,
        num_needle_q: int,
    ):
        super().__init__(seed)
        self._pairs, self._haystack, self._kind = pairs, haystack, type_haystack
        self._key_kind, self._value_kind = type_needle_k, type_needle_v
        self._keys, self._values = max(num_needle_k, num_needle_q), num_needle_v
        self._queries = num_needle_q
        if haystack is not None:
            self.step, self.unit, self.most_units = 500, f"words of {haystack.name}", len(haystack.words)
        else:
            self.step, self.unit = (5 if length_tokens < 4096 else 25), "sentences"
        has_one_answer = num_needle_q * num_needle_v == 1
        self._words = words.replaced(*_ONE_ANSWER) if has_one_answer else words
        self._asked_kind = type_needle_v[:-1] if has_one_answer else type_needle_v

    def draw(self, units, index=0):
        """Keys and values, then the haystack, then what is asked for."""
        needles, answers_of = [], []
        for _ in range(self._keys):
            key = self._random(self._key_kind)
            values = [self._random(self._value_kind) for _ in range(self._values)]
            answers_of.append((key, values))
            needles += [(key, value) for value in values]
        needles = self.shuffled(needles)

        places: list[int | float]
        if self._haystack is not None:
            hay, places = [], sorted(depth / 100 for depth in self.random.sample(_DEPTHS, len(needles)))
        else:
            hay = []
            if self._kind == "needle":
                hay = [(self._random(self._key_kind), self._random(self._value_kind)) for _ in range(units)]
            places = sorted(self.random.sample(range(units), len(needles)), reverse=True)
        asked = [answers_of[place] for place in self.random.sample(range(self._keys), self._queries)]
        keys = [str(key) for key, _ in asked]
        query = f"{', '.join(keys[:-1])}, and {keys[-1]}" if len(keys) > 1 else keys[0]
        answers = [str(value) for _, values in asked for value in values]

        def write() -> str:
            sentences = [self._sentence(*needle) for needle in needles]
            if self._haystack is not None:
                context = _between(self._haystack.sentences(units), sentences, places)
            else:
                lines = [self._sentence(*needle) for needle in hay] or [NOISE] * units
                for place, sentence in zip(places, sentences, strict=True):
                    lines.insert(place, sentence)
                context = "\n".join(lines)
            return self._words.filled(type_needle_v=self._asked_kind, context=context, query=query)

        return Draw(answers, write, " ".join(answers))

    def _sentence(self, key: object, value: object) -> str:
        return NEEDLE.format(type_needle_v=self._value_kind, key=key, value=value)

    def _random(self, kind: str) -> object:
        """A key or value; its text is `str` of it."""
        if kind == "numbers":
            return self.random.randint(10**6, 10**7 - 1)
        if kind == "words":
            return self.random.choice(self._pairs)
        return uuid.UUID(int=self.random.getrandbits(128), version=4)


def _between(sentences: Sequence[str], needles: Sequence[str], depths: Sequence[float]) -> str:
    """A text with needles between its sentences."""
    edges = [0, *(int(len(sentences) * depth) for depth in depths), len(sentences)]
    parts = []
    for number, (start, stop) in enumerate(itertools.pairwise(edges)):
        parts.append(" ".join(sentences[start:stop]))
        parts += needles[number : number + 1]
    return " ".join(parts)


def _first_of_group(starts: Sequence[str]):
    """A key under which a start goes with the one before that begins it."""
    first = ""

    def key(start: str) -> str:
        nonlocal first
        if not first or not start.startswith(first):
            first = start
        return first

    return key
