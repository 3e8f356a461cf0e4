"""Common words of held-out works that their sentence alone gives away, against foils: a guard."""

from random import Random
from typing import ClassVar

from longspan.evaluation.generated import Cost, GeneratedTask, Length
from longspan.evaluation.task import Measure
from longspan.evaluation.words import Work, holds_word, nearest_by_count
from longspan.plugins.options import option

# Tokens of the longest word, and what a word's boundary may add to a passage.
_ANSWER_TOKENS = 24


class Cloze(GeneratedTask):
    """Common words of held-out works behind a short passage, against foils: what needs no long context."""

    name: ClassVar[str] = "cloze"
    label: ClassVar[str] = "right word likeliest (share)"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("score", "right word likeliest (share)", higher_is_better=True),
        Measure("margin", "log-likelihood over the likeliest foil's (nats)", higher_is_better=True),
    )
    lengths_are_a_grid: ClassVar[bool] = False
    is_guard: ClassVar[bool] = True
    reads_documents: ClassVar[bool] = True

    lengths: list[Length] | None = option(
        [128],
        "Lengths of passages, the word included (tokens); short ones, since it is a guard.",
        min_length=1,
    )
    samples: int = option(200, "Samples of each length, spread over the works.", ge=1)
    foils: int = option(3, "Foils of each word: words of the work that are about as frequent.", ge=1)

    def check_window(self, window_tokens):
        """Refuse passages without room for a word."""
        super().check_window(window_tokens)
        shortest = min(self.input_lengths(window_tokens))
        if shortest < 2 * _ANSWER_TOKENS:
            raise ValueError(
                f"a length of {shortest} tokens leaves no passage before a word; take at least "
                f"{2 * _ANSWER_TOKENS}"
            )

    def make_inputs(self, sources, *, length, seed):
        """A sample for each number: a word of the works in turn."""
        if not sources.documents:
            raise ValueError("there is no held-out work; name works under hold_out of a source")
        works = [Work(document, sources.tokenizer) for document in sources.documents]
        counts = [{word: len(places) for word, places in work.common.items()} for work in works]
        # Frequent words are what sentences give away, and not grammar alone.
        words = [sorted(word for word, count in found.items() if count > 1) for found in counts]
        taken: set[tuple[int, int]] = set()
        for number in range(self.samples):
            draw = Random(f"{seed}/{number}")
            place = number % len(works)
            row = self._sample(
                sources.tokenizer, works[place], words[place], counts[place], length, draw, taken
            )
            if row is None:
                raise ValueError(
                    f"work {works[place].document.document_id} gives no {number // len(works) + 1} words for "
                    "samples; lower samples, or hold out longer works"
                )
            yield {"sample_id": f"{length}-{number}", "group": works[place].document.category, **row}

    def _sample(self, tokenizer, work, words, counts, length, draw, taken) -> dict | None:
        tokens = length - _ANSWER_TOKENS - len(tokenizer.prefix_ids)
        for _ in range(50 if words else 0):
            word = draw.choice(words)
            character = draw.choice(work.common[word])
            passage, _ = work.before(character, tokens)
            if (id(work), character) in taken or holds_word(passage, word) or not passage:
                continue
            foils = [foil for foil in nearest_by_count(counts, word) if not holds_word(passage, foil)]
            if len(foils) < self.foils:
                continue
            prompt = tokenizer.prompt(passage)
            if 2 * len(prompt.input_ids) < length:  # near the work's beginning
                continue
            taken.add((id(work), character))
            return {
                "document_id": work.document.document_id,
                "prompt_ids": prompt.input_ids,
                "candidate_ids": [
                    tokenizer.answer(prompt, f" {candidate}") for candidate in (word, *foils[: self.foils])
                ],
                "answers": [word],
            }
        return None

    def score(self, sample, nll, text):
        """Whether the word is likelier than each foil."""
        return float(nll[0] < min(nll[1:]))

    def cost(self, length):
        """A pass for the word and for each foil."""
        return Cost(samples=self.samples, passes=1.0 + self.foils)
