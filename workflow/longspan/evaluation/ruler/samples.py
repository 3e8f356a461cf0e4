"""All samples of a RULER task at a length."""

import functools
from dataclasses import dataclass
from typing import Any

from longspan.evaluation.ruler.common_words import CommonWordsDrawer
from longspan.evaluation.ruler.drawing import Drawer
from longspan.evaluation.ruler.fitting import (
    MOST_DRAWS,
    Encode,
    RulerSample,
    drawn_samples,
    largest_batch,
    units_that_fit,
)
from longspan.evaluation.ruler.frequent_words import FrequentWordsDrawer
from longspan.evaluation.ruler.niah import NeedleDrawer, PairsOfWords, SentenceHaystack
from longspan.evaluation.ruler.prompts import BASE_FORM, PromptForm, TaskWords
from longspan.evaluation.ruler.published import (
    COMMON_WORDS,
    FREQUENT_WORDS,
    NEEDLE,
    TRACKING,
    Published,
    RulerTask,
)
from longspan.evaluation.ruler.questions import READERS, QuestionDrawer
from longspan.evaluation.ruler.sentences import SentenceSplitter
from longspan.evaluation.ruler.variable_tracking import EXAMPLE_TOKENS, TrackingDrawer

BOOKS, ESSAYS, NOISE = HAYSTACKS = ("books", "essays", "noise")


@dataclass(frozen=True)
class Room:
    """What must fit a length.

    Attributes:
        length_tokens: prompt and answer together.
        beginning_tokens: what the tokenizer puts in front of a prompt.
        is_published: count as the published generators do: without the beginning, for frequent words without
            the answer, and for variable tracking with other names in the example than stand there.
    """

    length_tokens: int
    beginning_tokens: int = 0
    is_published: bool = False

    def limit(self, answer_tokens: int) -> int:
        """Tokens of a prompt before an answer of so many."""
        beginning = 0 if self.is_published else self.beginning_tokens
        return self.length_tokens - answer_tokens - beginning


class RulerSamples:
    """Makes samples, with what the tasks and lengths share made once.

    Args:
        published: what RULER publishes.
        encode: tokenizes texts, without special tokens in front.
        form: how a model is addressed.
        haystack: `essays`, `books` or `noise`, of the tasks with a text as their haystack.
        books: the text of the books, if they are the haystack.
        seed: what all draws depend on; 42 is the published one.
    """

    def __init__(
        self,
        published: Published,
        encode: Encode,
        *,
        form: PromptForm = BASE_FORM,
        haystack: str = ESSAYS,
        books: str = "",
        seed: int = 42,
    ):
        self._published, self._encode, self._form, self._seed = published, encode, form, seed
        self._haystack_name, self._books = haystack, books

    def make(self, name: str, samples: int, room: Room) -> list[RulerSample]:
        """Samples of a task.

        Args:
            name: the task.
            samples: how many.
            room: what must fit.

        Raises:
            ValueError: they cannot be made; it says of which task, at which length and why.
        """
        task = self._published.tasks[name]
        try:
            if task.kind == FREQUENT_WORDS:
                return self._frequent_words(task, samples, room)
            return self._searched(task, samples, room)
        except ValueError as error:
            raise ValueError(
                f"{name} at {room.length_tokens:,} tokens: {error}; leave the task or the length out"
            ) from None

    def _searched(self, task: RulerTask, samples: int, room: Room) -> list[RulerSample]:
        drawer = self._drawer(task, room.length_tokens)
        limit = room.limit(task.tokens_to_generate)
        if isinstance(drawer, TrackingDrawer):
            drawer.shrinks = not room.is_published
            # The example must fit a length of its own.
            example_limit = EXAMPLE_TOKENS - task.tokens_to_generate
            units = units_that_fit(drawer, self._encode, example_limit)
            limit -= self._use_example(drawer, units, example_limit)
        if isinstance(drawer, QuestionDrawer) and samples > drawer.most_samples:
            raise ValueError(f"there are {drawer.most_samples:,} questions, and samples is {samples:,}")
        units = units_that_fit(drawer, self._encode, limit)
        prompt_tokens = None if room.is_published else room.limit(task.tokens_to_generate)
        return list(drawn_samples(drawer, self._encode, units, samples, limit, prompt_tokens))

    def _use_example(self, drawer: TrackingDrawer, units: int, limit_tokens: int) -> int:
        """Tokens of the example that is used from now on."""
        for _ in range(MOST_DRAWS):
            draw = drawer.draw(units)
            if self._tokens(draw.prompt) <= limit_tokens:
                return self._tokens(drawer.use_example(draw))
        raise ValueError(f"no example of {units} {drawer.unit} has {limit_tokens} tokens or fewer")

    def _frequent_words(self, task: RulerTask, samples: int, room: Room) -> list[RulerSample]:
        words = TaskWords(task.template, task.answer_prefix, self._form)
        drawer = FrequentWordsDrawer(
            words, length_tokens=room.length_tokens, seed=self._seed, **task.arguments
        )
        limit = room.length_tokens if room.is_published else room.limit(task.tokens_to_generate)
        vocabulary, units = drawer.vocabulary(), drawer.first_units
        while self._tokens(drawer.of_vocabulary(vocabulary, units).prompt) < limit:
            units += drawer.step
        units -= drawer.step
        made, batch = [], largest_batch(limit)
        for start in range(0, samples, batch):
            vocabularies = [drawer.vocabulary() for _ in range(start, min(start + batch, samples))]
            draws = [drawer.of_vocabulary(vocabulary, units) for vocabulary in vocabularies]
            for vocabulary, draw, ids in zip(
                vocabularies, draws, self._encode([draw.prompt for draw in draws]), strict=True
            ):
                fewer = units
                while len(ids) > limit:
                    fewer -= drawer.step
                    if fewer < drawer.step:
                        raise ValueError(
                            f"{fewer + drawer.step} {drawer.unit} have {len(ids):,} tokens, and {limit:,} fit"
                        )
                    draw = drawer.of_vocabulary(vocabulary, fewer)
                    (ids,) = self._encode([draw.prompt])
                made.append(RulerSample(draw.prompt, ids, draw.answers))
        return made

    def _tokens(self, text: str) -> int:
        return len(self._encode([text])[0])

    def _drawer(self, task: RulerTask, length_tokens: int) -> Drawer:
        words = TaskWords(task.template, task.answer_prefix, self._form)
        arguments: dict[str, Any] = {"seed": self._seed, **task.arguments}
        if task.kind == NEEDLE:
            haystack = None
            if arguments["type_haystack"] == "essay":
                haystack = self._text
                arguments["type_haystack"] = "repeat" if haystack is None else "essay"
            return NeedleDrawer(words, self._pairs, haystack, length_tokens=length_tokens, **arguments)
        if task.kind == TRACKING:
            return TrackingDrawer(words, **arguments)
        if task.kind == COMMON_WORDS:
            return CommonWordsDrawer(words, self._vocabulary, length_tokens=length_tokens, **arguments)
        return QuestionDrawer(words, self._questions(arguments.pop("dataset")), **arguments)

    @functools.cached_property
    def _text(self) -> SentenceHaystack | None:
        if self._haystack_name == NOISE:
            return None
        splitter = SentenceSplitter(self._published.punkt)
        if self._haystack_name == ESSAYS:
            return SentenceHaystack(self._published.essays, splitter, "the essays")
        return SentenceHaystack(self._books, splitter, "the held-out works")

    @functools.cached_property
    def _pairs(self) -> PairsOfWords:
        return PairsOfWords(self._published.words("adjective"), self._published.words("noun"))

    @functools.cached_property
    def _vocabulary(self) -> list[str]:
        return [word for kind in ("noun", "adjective", "verb") for word in self._published.words(kind)]

    @functools.lru_cache(2)  # noqa: B019 - an instance makes the samples of one job
    def _questions(self, dataset: str):
        return READERS[dataset](self._published.questions(dataset))
