"""Haystacks: stretches of held-out works, and the places at which something may be put into them."""

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np

from longspan.corpora.documents import Document
from longspan.evaluation.prompts import PromptTokenizer

# Behind a sentence or a line.
_SEAM = re.compile(r"[.!?][\"'”’)\]]*\s+|\n+")
_BETWEEN_WORKS = "\n\n"
# So far from where a stretch is drawn to begin its first sentence does, if one does.
_SEARCHED_CHARACTERS = 400


@dataclass(frozen=True)
class Stretch:
    """A part of the held-out works.

    Attributes:
        document_id: the work in which it begins.
        text: it begins and ends between words.
    """

    document_id: str
    text: str

    @cached_property
    def seams(self) -> list[int]:
        """Characters behind which a sentence begins, the beginning and the end among them."""
        inner = [match.end() for match in _SEAM.finditer(self.text)]
        return sorted({0, *inner, len(self.text)})

    def seam_at(self, depth: float) -> int:
        """The seam next to this share of the text."""
        wanted = depth * len(self.text)
        place = bisect.bisect_left(self.seams, wanted)
        return min(self.seams[max(place - 1, 0) : place + 1], key=lambda seam: abs(seam - wanted))


def put_into(text: str, insertions: Sequence[tuple[int, str]]) -> tuple[str, list[tuple[int, int]]]:
    """Put sentences into a text.

    Args:
        text: the text.
        insertions: character of the text and sentence, by growing characters.

    Returns:
        The whole, and the first character and the end of each sentence in it.
    """
    parts, spans, before, size = [], [], 0, 0
    for character, sentence in insertions:
        parts.append(text[before:character])
        size += len(parts[-1])
        last = next((part[-1] for part in reversed(parts) if part), "\n")
        lead, behind = ("" if last.isspace() else " "), ("\n" if last == "\n" else " ")
        spans.append((size + len(lead), size + len(lead) + len(sentence)))
        parts.append(f"{lead}{sentence}{behind}")
        size += len(parts[-1])
        before = character
    parts.append(text[before:])
    return "".join(parts), spans


class Haystack:
    """Draws stretches of held-out works by their tokens; no text stands in one twice.

    Args:
        tokenizer: what counts the tokens.
        documents: the works.

    Raises:
        ValueError: there is none.
    """

    def __init__(self, tokenizer: PromptTokenizer, documents: Sequence[Document]):
        if not documents:
            raise ValueError("there is no held-out work; name works under hold_out of a source")
        self._tokenizer, self._documents = tokenizer, documents
        self._firsts: dict[int, np.ndarray] = {}

    def _first_characters(self, number: int) -> np.ndarray:
        if number not in self._firsts:
            self._firsts[number] = self._tokenizer.encode(self._documents[number].text)[1]
        return self._firsts[number]

    @cached_property
    def tokens(self) -> list[int]:
        """Tokens of each work."""
        return [len(self._first_characters(number)) for number in range(len(self._documents))]

    def draw(self, tokens: int, draw: Random, *, apart_from: str | None = None) -> Stretch:
        """A stretch of about so many tokens: of one work if one is as long, else of several.

        Args:
            tokens: its length.
            draw: what draws it.
            apart_from: a work that it is not taken from.

        Raises:
            ValueError: all works together are shorter.
        """
        works = [
            number for number, document in enumerate(self._documents) if document.document_id != apart_from
        ]
        there = sum(self.tokens[number] for number in works)
        if there < tokens or not works:
            which = "the held-out works" if apart_from is None else f"the held-out works beside {apart_from}"
            raise ValueError(
                f"{which} have {there} tokens together, and {tokens} are asked for: shorten lengths, or hold "
                "out more works"
            )
        long_enough = [number for number in works if self.tokens[number] >= tokens]
        if long_enough:
            starts = [self.tokens[number] - tokens + 1 for number in long_enough]
            number = draw.choices(long_enough, starts)[0]
            start = draw.randrange(self.tokens[number] - tokens + 1)
            return Stretch(self._documents[number].document_id, self._part(number, start, tokens))
        draw.shuffle(works)
        parts, left = [], tokens
        for number in works:
            parts.append(self._part(number, 0, min(left, self.tokens[number])))
            left -= self.tokens[number]
            if left <= 0:
                break
        text = _BETWEEN_WORKS.join(part.strip() for part in parts)
        return Stretch(self._documents[works[0]].document_id, text)

    def _part(self, number: int, start: int, tokens: int) -> str:
        firsts, text = self._first_characters(number), self._documents[number].text
        begin = int(firsts[start])
        if start:
            seam = _SEAM.search(text, begin, begin + _SEARCHED_CHARACTERS)
            begin = seam.end() if seam else text.find(" ", begin) + 1
        last = int(np.searchsorted(firsts, begin)) + tokens
        stop = len(text) if last >= len(firsts) else int(firsts[last])
        part = text[begin:stop]
        # The last word may be cut.
        whole = part if stop == len(text) else part[: max(part.rfind(" "), part.rfind("\n")) + 1]
        return (whole or part).strip()


def without_words(text: str, tokens: int) -> str:
    """A text without about so many tokens' words at its end."""
    words = list(re.finditer(r"\S+\s*", text))
    keep = max(len(words) - max(tokens, 1), 0)
    return text[: words[keep - 1].end()].rstrip() if keep else ""
