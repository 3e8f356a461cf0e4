"""What is found in documents that are no good for training: too short, no text, repetitive, held-out text."""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from longspan.corpora.raw_files import Fault

_WORD = re.compile(r"\w+")
_BLOCK_CHARACTERS = 2**20
# Odd, so that no word is multiplied away.
_BASE = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class CleanUp:
    """What a document must be to be kept.

    Attributes:
        min_characters: fewest characters.
        min_printable_share: smallest share of characters that print or are white space, in [0, 1].
        max_repeated_line_share: largest share of characters of lines in lines that stood before, in [0, 1].
        references: sorted uint64 hashes of n-grams of words, from `word_ngrams`, or None.
        ngram_words: words of an n-gram.
        max_overlap_share: largest share of the n-grams that are among the references, in [0, 1].
    """

    min_characters: int = 0
    min_printable_share: float = 0.0
    max_repeated_line_share: float = 1.0
    references: np.ndarray | None = None
    ngram_words: int = 13
    max_overlap_share: float = 1.0

    def fault_of(self, text: str) -> Fault | None:
        """Why a text is left out, if it is."""
        if len(text) < self.min_characters:
            return Fault("too short", f"has {len(text):,} characters, fewer than {self.min_characters:,}")
        if self.min_printable_share > 0 and (share := printable_share(text)) < self.min_printable_share:
            return Fault("unprintable", f"prints {share:.1%} of its characters")
        if self.max_repeated_line_share < 1:
            share = repeated_line_share(text)
            if share > self.max_repeated_line_share:
                return Fault("repeated lines", f"has {share:.1%} of its text in lines that stood before")
        if self.references is not None and self.max_overlap_share < 1:
            share = overlap_share(text, self.references, self.ngram_words)
            if share > self.max_overlap_share:
                return Fault(
                    "overlap", f"shares {share:.1%} of its {self.ngram_words}-grams with held-out text"
                )
        return None


def printable_share(text: str) -> float:
    """Share of the characters that print or are white space; replacement characters (U+FFFD) do not count."""
    table = _printable()
    found = 0
    for start in range(0, len(text), _BLOCK_CHARACTERS):
        block = text[start : start + _BLOCK_CHARACTERS].encode("utf-32-le")
        found += int(table[np.frombuffer(block, np.uint32)].sum())
    return found / len(text) if text else 1.0


def repeated_line_share(text: str) -> float:
    """Share of the characters of non-blank lines that are in lines which stood before."""
    seen: set[str] = set()
    total = repeated = 0
    for line in map(str.strip, text.splitlines()):
        total += len(line)
        if line and line in seen:
            repeated += len(line)
        seen.add(line)
    return repeated / total if total else 0.0


def overlap_share(text: str, references: np.ndarray, ngram_words: int) -> float:
    """Share of a text's n-grams of words that are among the references; 0 for a text of fewer words."""
    found = word_ngrams(text, ngram_words)
    if not len(found) or not len(references):
        return 0.0
    places = np.minimum(np.searchsorted(references, found), len(references) - 1)
    return float((references[places] == found).mean())


def word_ngrams(text: str, ngram_words: int) -> np.ndarray:
    """A hash of each n-gram of words (letters' case aside), uint64 [words - n + 1], in the text's order."""
    words = np.fromiter((_word_hash(match[0]) for match in _WORD.finditer(text)), np.uint64)
    count = len(words) - ngram_words + 1
    if count < 1:
        return np.zeros(0, np.uint64)
    hashes = np.zeros(count, np.uint64)
    for place in range(ngram_words):
        hashes = hashes * _BASE + words[place : place + count]
    return hashes


def reference_ngrams(texts: Iterable[str], ngram_words: int) -> np.ndarray:
    """The n-grams of all texts, each once, sorted; uint64."""
    return np.unique(
        np.concatenate([np.zeros(0, np.uint64), *(word_ngrams(text, ngram_words) for text in texts)])
    )


@functools.lru_cache(maxsize=2**18)
def _word_hash(word: str) -> int:
    return int.from_bytes(blake2b(word.casefold().encode(), digest_size=8).digest(), "little")


@functools.cache
def _printable() -> np.ndarray:
    characters = map(chr, range(0x110000))
    table = np.fromiter((one.isprintable() or one.isspace() for one in characters), bool, 0x110000)
    table[0xFFFD] = False
    return table
