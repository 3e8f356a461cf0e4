"""Sentences of a text by Punkt (Kiss and Strunk, Computational Linguistics 32(4), 2006), as NLTK splits them.

A period ends a sentence unless it belongs to an abbreviation, an initial or an ordinal number; where that
does not decide, what follows does. What was learned beforehand, of English, comes from the caller.
"""

import itertools
import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

# How a word was seen in the corpus: bits of `orthography`.
_UPPER_INSIDE = 1 << 2
_UPPER = 1 << 1 | _UPPER_INSIDE | 1 << 3
_LOWER_FIRST = 1 << 4
_LOWER = _LOWER_FIRST | 1 << 5 | 1 << 6

_ENDS = frozenset(".?!")
_NO_BEGINNING = frozenset(";:,.!?")
_NUMBER = "##number##"
_CLOSING_QUOTES = "‘’“”«»"
_AFTER_WORD = rf"[)\";}}\]*:@'({{\[?!{_CLOSING_QUOTES}]"
_RUN = r"(?:-{2,}|\.{2,}|(?:\.\s){2,}\.)"
_POSSIBLE_END = re.compile(rf"[.?!](?=(?P<after>{_AFTER_WORD}|\s+(?P<next>\S+)))")
_WORD = re.compile(
    rf"{_RUN}"
    rf"|(?=[^(\"`{{\[:;&#*@)}}\]\-,])\S+?(?=\s|$|{_AFTER_WORD}|{_RUN}|,(?=$|\s|{_AFTER_WORD}|{_RUN}))"
    r"|\S"
)
_CLOSING = re.compile(rf"[\"')\]}}{_CLOSING_QUOTES}]+?(?:\s+|(?=--)|$)", re.MULTILINE)
_IS_NUMBER = re.compile(r"^-?[.,]?\d[\d,.-]*\.?$")
_IS_INITIAL = re.compile(r"[^\W\d]\.$")
_IS_ELLIPSIS = re.compile(r"\.\.+$")


@dataclass(frozen=True)
class PunktParameters:
    """What Punkt learned from a corpus.

    Attributes:
        abbreviations: in lower case, without their last period.
        collocations: pairs of words with a period between them that ends no sentence.
        starters: words that often begin a sentence.
        orthography: for each word bits that say where it was seen in upper and in lower case.
    """

    abbreviations: frozenset[str]
    collocations: frozenset[tuple[str, str]]
    starters: frozenset[str]
    orthography: Mapping[str, int] = field(repr=False)


class _Word:
    """A word and what is known of the period at its end."""

    def __init__(self, text: str, abbreviations: frozenset[str]):
        self.text = text
        self.is_ellipsis = bool(_IS_ELLIPSIS.match(text))
        self.is_abbreviation = self.ends_sentence = False
        if text in _ENDS:
            self.ends_sentence = True
        elif not self.is_ellipsis and text.endswith(".") and not text.endswith(".."):
            stem = text[:-1].lower()
            self.is_abbreviation = bool({stem, stem.rpartition("-")[2]} & abbreviations)
            self.ends_sentence = not self.is_abbreviation
        self._kind = _IS_NUMBER.sub(_NUMBER, text.lower())

    @property
    def without_period(self) -> str:
        return self._kind[:-1] if len(self._kind) > 1 and self._kind[-1] == "." else self._kind

    @property
    def as_seen(self) -> str:
        """As it was learned: without a period that ends a sentence."""
        return self.without_period if self.ends_sentence else self._kind


class SentenceSplitter:
    """Splits texts into sentences.

    Args:
        parameters: what was learned beforehand.
    """

    def __init__(self, parameters: PunktParameters):
        self._known = parameters

    def split(self, text: str) -> list[str]:
        """The sentences of a text, without the spaces between them."""
        sentences, moved = [], 0
        spans = list(self._spans(text))
        for (start, stop), following in zip(spans, [*spans[1:], None], strict=True):
            start += moved
            closing = following and _CLOSING.match(text[slice(*following)])
            moved = closing.end() if closing else 0
            if closing:
                # A closing quote or bracket belongs to the sentence before it.
                stop = following[0] + len(closing.group().rstrip())
            if closing or text[start:stop]:
                sentences.append(text[start:stop])
        return sentences

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        start = 0
        for end, context in _contexts(text):
            if self._has_break(context):
                yield start, end.end()
                start = end.start("next") if end.group("next") else end.end()
        yield start, len(text.rstrip())

    def _has_break(self, context: str) -> bool:
        """Whether a sentence ends before the last word."""
        words = [
            _Word(word, self._known.abbreviations)
            for line in context.split("\n")
            for word in _WORD.findall(line)
        ]
        for word, following in itertools.pairwise(words):
            self._look_again(word, following)
            if word.ends_sentence:
                return True
        return False

    def _look_again(self, word: _Word, following: _Word) -> None:
        """Decide by the word that follows."""
        if not word.text.endswith("."):
            return
        known = self._known
        is_initial = bool(_IS_INITIAL.match(word.text))
        kind, next_kind = word.without_period, following.as_seen
        is_upper = following.text[0].isupper()
        if (kind, next_kind) in known.collocations:
            word.ends_sentence = False
            return
        starts = self._starts_sentence(following)
        is_starter = starts or (is_upper and next_kind in known.starters)
        if is_starter and not is_initial and (word.is_abbreviation or word.is_ellipsis):
            word.ends_sentence = True
            return
        if is_initial or kind == _NUMBER:
            never_lower = not known.orthography.get(next_kind, 0) & _LOWER
            if starts is False or (starts is None and is_initial and is_upper and never_lower):
                word.ends_sentence = False

    def _starts_sentence(self, word: _Word) -> bool | None:
        """Whether a word begins a sentence, by the letters it was seen with; None where that is not known."""
        if word.text in _NO_BEGINNING:
            return False
        seen = self._known.orthography.get(word.as_seen, 0)
        first = word.text[0]
        if first.isupper() and seen & _LOWER and not seen & _UPPER_INSIDE:
            return True
        if first.islower() and (seen & _UPPER or not seen & _LOWER_FIRST):
            return False
        return None


def _contexts(text: str) -> Iterator[tuple[re.Match, str]]:
    """Places where a sentence may end, each with the word before it and what follows.

    Of several in one word the last one counts, unless the word is nothing else.
    """
    word_start, last = 0, None
    for end in _POSSIBLE_END.finditer(text):
        since = last.start() if last else 0
        between = text[since : end.start()]
        space = max(between.rfind(character) for character in string.whitespace)
        start = since + space + 1 if space > 0 else word_start
        if last and last.start() <= start:
            yield last, text[word_start : last.end()] + last.group("after")
        word_start = start
        last = end
    if last:
        yield last, text[word_start : last.end()] + last.group("after")
