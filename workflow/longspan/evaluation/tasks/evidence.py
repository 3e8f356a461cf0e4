"""Names of held-out works, with and without an earlier passage that holds them, by its distance."""

from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, StrictInt

from longspan.corpora.documents import Document
from longspan.evaluation.generated import Cost, GeneratedTask
from longspan.evaluation.haystack import Haystack, without_words
from longspan.evaluation.task import Measure
from longspan.evaluation.words import Work, holds_word, nearest_by_count
from longspan.plugins.options import option, unique

# Tokens of the longest answer, and what seams between passages may add.
_ANSWER_TOKENS = 16
_SHORTEST_DISTANCE = 128
_SEAM = "\n\n"
# So many turns without a new sample, and there are no more.
_IDLE_TURNS = 20


@dataclass(frozen=True)
class Question:
    """A name, a passage that ends before it, and an earlier passage of the same work that holds it.

    Attributes:
        document: the work.
        name: the answer.
        foil: another name of the work, about as frequent.
        passage: what stands before the name.
        evidence: the earlier passage.
    """

    document: Document
    name: str
    foil: str
    passage: str
    evidence: str


class Evidence(GeneratedTask):
    """Log-likelihood of names in held-out works with and without their evidence, by its distance."""

    name: ClassVar[str] = "evidence"
    label: ClassVar[str] = "right name preferred (share)"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("gain", "what evidence adds to the log-likelihood (nats a token)", higher_is_better=True),
        Measure("margin", "log-likelihood over the foil's (nats)", higher_is_better=True),
        Measure("score", "right name preferred (share)", higher_is_better=True),
    )
    grid: ClassVar[str] = "distance"
    reads_documents: ClassVar[bool] = True

    distances: (
        Annotated[
            list[Annotated[StrictInt, Field(ge=_SHORTEST_DISTANCE)]],
            AfterValidator(unique),
            Field(min_length=1),
        ]
        | None
    ) = option(
        None,
        "Tokens from the evidence to the answer, at most; null takes all powers of two from 128 on that fit "
        "into lengths.",
    )
    samples: int = option(50, "Samples of each distance; the same names at every distance.", ge=1)
    passage_tokens: int = option(64, "Tokens of the passage that ends before the name, about.", ge=8)
    evidence_tokens: int = option(96, "Tokens of the passage with the evidence, about.", ge=8)

    def check_window(self, window_tokens):
        """Refuse an evidence that fits into no length."""
        super().check_window(window_tokens)
        if self.passage_tokens >= _SHORTEST_DISTANCE:
            raise ValueError(
                f"passage_tokens {self.passage_tokens} leaves nothing between the evidence and the passage "
                f"at a distance of {_SHORTEST_DISTANCE}; lower it"
            )
        longest = max(self.input_lengths(window_tokens))
        for distance in self.distances or [_SHORTEST_DISTANCE]:
            if self._needed(distance) > longest:
                raise ValueError(
                    f"evidence of {self.evidence_tokens} tokens at a distance of {distance} does not fit "
                    f"into {longest} tokens; lower distances, or raise lengths to {self._needed(distance)}"
                )

    def _needed(self, distance: int) -> int:
        """Tokens of a prompt with its answer; passages end with whole sentences, so are twice as long."""
        return distance + 2 * self.evidence_tokens + _ANSWER_TOKENS

    def _distances_of(self, length: int) -> list[int]:
        """Distances of the samples of one length: each goes with the shortest length that it fits into."""
        if self.distances is None:
            found = [2**power for power in range(7, 40) if self._needed(2**power) <= length]
        else:
            found = [distance for distance in self.distances if self._needed(distance) <= length]
        shorter = [other for other in self.lengths or [] if other < length]
        taken = {distance for other in shorter for distance in self._distances_of(other)}
        return [distance for distance in sorted(found) if distance not in taken]

    def input_lengths(self, window_tokens):
        """Lengths at which there is a distance."""
        lengths = super().input_lengths(window_tokens)
        return [length for length in lengths if self._distances_of(length)] or lengths[-1:]

    def make_inputs(self, sources, *, length, seed):
        """A sample for each distance and number; the same names at every distance."""
        haystack = Haystack(sources.tokenizer, sources.documents)
        works = [Work(document, sources.tokenizer) for document in sources.documents]
        questions = self._questions(works, seed)
        for distance in self._distances_of(length):
            for number, question in enumerate(questions):
                draw = Random(f"{seed}/{number}/{distance}")
                row = self._sample(sources.tokenizer, haystack, question, distance, draw)
                yield {"sample_id": f"{distance}-{number}", "group": "names", "distance": distance, **row}

    def _questions(self, works: list[Work], seed: int) -> list[Question]:
        counts = {
            work: {name: len(places) for name, places in work.names_apart_from(works).items()}
            for work in works
        }
        order = [(work, name) for work in works for name in sorted(counts[work])]
        Random(f"{seed}/names").shuffle(order)
        found: dict[tuple[str, int], Question] = {}
        # Names in turn, so that none has all samples.
        turn = last = 0
        while turn - last < _IDLE_TURNS:
            before = len(found)
            for work, name in order:
                draw = Random(f"{seed}/{work.document.document_id}/{name}/{turn}")
                asked = self._question(work, name, counts[work], draw)
                if asked is not None:
                    found.setdefault(asked[0], asked[1])
                if len(found) == self.samples:
                    return list(found.values())
            turn += 1
            last = turn if len(found) > before else last
        raise ValueError(
            f"the held-out works give {len(found)} of {self.samples} samples: names that come again far from "
            "where they were, and stand in no other held-out work; lower samples, or hold out more works"
        )

    def _question(
        self, work: Work, name: str, counts: dict[str, int], draw: Random
    ) -> tuple[tuple[str, int], Question] | None:
        """Where a name is asked for and the question, if a drawn place of it will do."""
        place = draw.choice(work.places[name])
        passage, first = work.before(place, self.passage_tokens)
        earlier = [other for other in work.places[name] if other + len(name) < first]
        if holds_word(passage, name) or not earlier:
            return None
        evidence = work.around(draw.choice(earlier), self.evidence_tokens, stop=first)
        if not holds_word(evidence, name):
            return None
        both = f"{passage} {evidence}"
        foils = (foil for foil in nearest_by_count(counts, name) if not holds_word(both, foil))
        foil = next(foils, None)
        if foil is None:
            return None
        return (work.document.document_id, place), Question(work.document, name, foil, passage, evidence)

    def _sample(self, tokenizer, haystack: Haystack, question: Question, distance: int, draw: Random) -> dict:
        own = question.document.document_id
        evidence, passage = (len(tokenizer.encode(text)[0]) for text in (question.evidence, question.passage))
        other = haystack.draw(evidence, draw, apart_from=own).text
        filler = haystack.draw(distance - passage, draw, apart_from=own).text
        while True:
            behind = f"{_SEAM}{filler}{_SEAM}{question.passage}"
            prompt = tokenizer.prompt(f"{question.evidence}{behind}")
            start, stop = prompt.span(0, len(question.evidence))
            over = len(prompt.input_ids) - stop - distance
            if over <= 0:
                break
            filler = without_words(filler, over)
        candidates = [f" {name}" for name in (question.name, question.foil)]
        return {
            "document_id": question.document.document_id,
            "prompt_ids": prompt.input_ids,
            "control_ids": tokenizer.prompt(f"{other}{behind}").input_ids,
            "candidate_ids": [tokenizer.answer(prompt, candidate) for candidate in candidates],
            "answers": [question.name],
            "evidence_starts": [start],
            "evidence_stops": [stop],
        }

    def score(self, sample, nll, text):
        """Whether the name is likelier than its foil."""
        return float(nll[0] < nll[1])

    def cost(self, length):
        """Two names behind each of two prompts."""
        distances = self._distances_of(length)
        share = sum(map(self._needed, distances)) / max(len(distances), 1) / length
        return Cost(samples=self.samples * len(distances), passes=4 * share)
