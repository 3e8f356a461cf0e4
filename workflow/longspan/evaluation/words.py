"""Words of a work and where they stand: names, which are never written small, and common words."""

import re
from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np

from longspan.corpora.documents import Document
from longspan.evaluation.prompts import PromptTokenizer

# A word of four letters or more behind a single space, so that " word" is a piece of the text.
_WORD = re.compile(r"(?<=\S )[^\W\d_]{4,}(?![\w’'-])")
_ANY_WORD = re.compile(r"[^\W\d_]+")
# A word behind one of these begins with a capital anyway.
_ENDS = frozenset(".!?:;—–-\"'”’“‘()[]")


class Work:
    """A work's words and passages.

    Args:
        document: the work.
        tokenizer: what counts the tokens of passages.
    """

    def __init__(self, document: Document, tokenizer: PromptTokenizer):
        self.document, self._tokenizer = document, tokenizer

    @cached_property
    def _all_words(self) -> frozenset[str]:
        return frozenset(_ANY_WORD.findall(self.document.text))

    @cached_property
    def _lowered(self) -> frozenset[str]:
        return frozenset(word.lower() for word in self._all_words)

    @cached_property
    def _firsts(self) -> np.ndarray:
        return self._tokenizer.encode(self.document.text)[1]

    @cached_property
    def places(self) -> Mapping[str, list[int]]:
        """First character of each word of four letters or more that stands behind a single space.

        Words at which a sentence, a line or a speech begins are left out.
        """
        text, found = self.document.text, {}
        for match in _WORD.finditer(text):
            if text[match.start() - 2] not in _ENDS:
                found.setdefault(match[0], []).append(match.start())
        return found

    def names_apart_from(self, works: Iterable["Work"]) -> Mapping[str, list[int]]:
        """Places of names that come again and stand in none of the other works.

        A name is a word with one capital that the work never writes without it.
        """
        others = frozenset().union(*(work._lowered for work in works if work is not self))
        return {
            word: places
            for word, places in self.places.items()
            if word.istitle()
            and len(places) > 1
            and word.lower() not in self._all_words
            and word.lower() not in others
        }

    @cached_property
    def common(self) -> Mapping[str, list[int]]:
        """Places of words that are written small."""
        return {word: places for word, places in self.places.items() if word.islower()}

    def _token_at(self, character: int) -> int:
        return int(np.searchsorted(self._firsts, character, side="right")) - 1

    def before(self, character: int, tokens: int) -> tuple[str, int]:
        """About so many tokens before a word, without the space, and their first character."""
        first = int(self._firsts[max(self._token_at(character) - tokens, 0)])
        first = _next_word(self.document.text, first)
        return self.document.text[first : character - 1], first

    def around(self, character: int, tokens: int, *, stop: int) -> str:
        """About so many tokens around a word, two thirds of them before it, and none from `stop` on."""
        text, token = self.document.text, self._token_at(character)
        first = _next_word(text, int(self._firsts[max(token - 2 * tokens // 3, 0)]))
        last = token + tokens // 3
        end = len(text) if last >= len(self._firsts) else int(self._firsts[last])
        end = min(end, stop)
        if end < len(text):
            end = max(text.rfind(" ", 0, end + 1), text.rfind("\n", 0, end + 1))
        return text[first:end].strip()


def _next_word(text: str, character: int) -> int:
    """Where the next word begins, if this is inside one."""
    if character == 0 or text[character - 1].isspace():
        return character
    found = re.compile(r"\s+").search(text, character)
    return found.end() if found else len(text)


def holds_word(text: str, word: str) -> bool:
    """Whether a text holds a word, with or without a capital."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def nearest_by_count(counts: Mapping[str, int], word: str) -> list[str]:
    """The other words, those first that are about as frequent; ties by the alphabet."""
    own = counts[word]

    def distance(other: str) -> tuple[float, str]:
        low, high = sorted((own, counts[other]))
        return high / low, other

    return sorted((other for other in counts if other != word), key=distance)
