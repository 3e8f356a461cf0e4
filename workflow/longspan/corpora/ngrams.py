"""N-grams of words, by which texts are compared.

Words are compared in one form (NFKC, whatever their case). Where a script has no spaces between words, each
character is one.
"""

import functools
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b

import numpy as np

from longspan.corpora.compared_text import blocks_between_spaces

# Scripts without spaces between words, as ranges of characters; their letters, marks and digits are words.
_UNSPACED = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19FF),  # Tai Le, New Tai Lue, Khmer
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x1B00, 0x1B7F),  # Balinese
    (0x3005, 0x3007),
    (0x3021, 0x3029),
    (0x3031, 0x312F),  # kana, Bopomofo
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),  # Han
    (0xA000, 0xA4CF),  # Yi
    (0xA980, 0xA9FF),  # Javanese, Myanmar
    (0xAA60, 0xAADF),  # Myanmar, Tai Viet
    (0xF900, 0xFAFF),
    (0x16FE0, 0x1B2FF),  # Tangut, Khitan, Nushu, kana
    (0x20000, 0x323AF),
)
_FIRST_UNSPACED = _UNSPACED[0][0]
_SPACED_WORD = re.compile(r"\w+")
# Odd, so that no word is multiplied away.
_BASE = np.uint64(0x9E3779B97F4A7C15)
# A text of fewer words than this, as "Yes.", is in many texts: it counts where it is a line.
FEWEST_WORDS_INSIDE = 5


def word_ngrams(text: str, ngram_words: int) -> np.ndarray:
    """A hash of each n-gram of words, uint64 [words - n + 1], in the text's order."""
    return _ngrams(_word_hashes(text), ngram_words)


def reference_ngrams(texts: Iterable[str], ngram_words: int) -> np.ndarray:
    """The n-grams of all texts, each once, sorted; uint64."""
    return references_of(texts, ngram_words)[ngram_words]


def references_of(texts: Iterable[str], ngram_words: int) -> dict[int, np.ndarray]:
    """What texts are compared by: their n-grams, and each text of fewer words whole.

    Returns:
        by number of words (`ngram_words` and fewer): hashes, each once, sorted; uint64.
    """
    found: dict[int, list[np.ndarray]] = {ngram_words: []}
    for text in texts:
        words = _word_hashes(text)
        size = min(len(words), ngram_words)
        if size:
            found.setdefault(size, []).append(_ngrams(words, size))
    empty = np.zeros(0, np.uint64)
    return {size: np.unique(np.concatenate([empty, *found[size]])) for size in sorted(found)}


def overlap_share(text: str, references: np.ndarray, ngram_words: int) -> float:
    """Share of a text's n-grams of words that are among the references; 0 for a text of fewer words."""
    found = word_ngrams(text, ngram_words)
    return float(_among(found, references).mean()) if len(found) else 0.0


def short_overlap_share(text: str, references: Mapping[int, np.ndarray]) -> float:
    """Share of a text's words that stand in a whole reference; one of very few words must be a whole line.

    Args:
        text: any text.
        references: by their number of words, hashes as `references_of` gives them.
    """
    words = _word_hashes(text)
    if not len(words) or not references:
        return 0.0
    covered = np.zeros(len(words) + 1, np.int64)
    edges = None
    for size, hashes in references.items():
        is_found = _among(_ngrams(words, size), hashes)
        if size < FEWEST_WORDS_INSIDE and is_found.any():
            edges = _line_edges(text, len(words)) if edges is None else edges
            is_found &= edges[: len(is_found)] & edges[size:]
        starts = np.flatnonzero(is_found)
        np.add.at(covered, starts, 1)
        np.add.at(covered, starts + size, -1)
    return float((np.cumsum(covered[:-1]) > 0).mean())


def _line_edges(text: str, num_words: int) -> np.ndarray:
    """Whether a line begins before each word, or ends behind the one before; bool [words + 1]."""
    edges = np.zeros(num_words + 1, bool)
    place = 0
    for line in text.splitlines():
        edges[place] = True
        place += sum(1 for _ in _words(line))
    edges[place] = True
    return edges


def _ngrams(words: np.ndarray, size: int) -> np.ndarray:
    count = max(len(words) - size + 1, 0)
    hashes = np.zeros(count, np.uint64)
    for place in range(size if count else 0):
        hashes = hashes * _BASE + words[place : place + count]
    return hashes


def _among(found: np.ndarray, references: np.ndarray) -> np.ndarray:
    if not len(references):
        return np.zeros(len(found), bool)
    places = np.minimum(np.searchsorted(references, found), len(references) - 1)
    return references[places] == found


def _word_hashes(text: str) -> np.ndarray:
    return np.fromiter(map(_word_hash, _words(text)), np.uint64)


def _words(text: str) -> Iterator[str]:
    for block in blocks_between_spaces(text):
        pattern = _SPACED_WORD
        if not block.isascii():
            block = unicodedata.normalize("NFKC", block)
            points = np.frombuffer(block.encode("utf-32-le", "surrogatepass"), np.uint32)
            if points.max() >= _FIRST_UNSPACED:
                pattern = _word_pattern()
        for match in pattern.finditer(block):
            yield match[0]


@functools.lru_cache(maxsize=2**18)
def _word_hash(word: str) -> int:
    return int.from_bytes(blake2b(word.casefold().encode(), digest_size=8).digest(), "little")


@functools.cache
def _word_pattern() -> re.Pattern:
    unspaced = "".join(f"{chr(first)}-{chr(last)}" for first, last in _unspaced_runs())
    return re.compile(rf"[{unspaced}]|[^\W{unspaced}]+")


def _unspaced_runs() -> Iterator[tuple[int, int]]:
    """Runs of letters, marks and digits in scripts without spaces."""
    for first, last in _UNSPACED:
        start = None
        for place in range(first, min(last, sys.maxunicode) + 2):
            is_word = place <= last and unicodedata.category(chr(place))[0] in "LMN"
            if is_word and start is None:
                start = place
            elif not is_word and start is not None:
                yield start, place - 1
                start = None
