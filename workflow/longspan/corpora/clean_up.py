"""What is found in documents that are no good for training: too short, no text, repetitive, held-out text."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from longspan.corpora.ngrams import overlap_share, short_overlap_share
from longspan.corpora.raw_files import Fault

_BLOCK_CHARACTERS = 2**20


@dataclass(frozen=True)
class CleanUp:
    """What a document must be to be kept.

    Attributes:
        min_characters: fewest characters.
        min_printable_share: smallest share of characters that print or are white space, in [0, 1].
        max_repeated_line_share: largest share of characters of lines in lines that stood before, in [0, 1].
        references: sorted uint64 hashes of n-grams of words, from `reference_ngrams`, or None.
        short_references: of texts of fewer words, by their number, as `references_of` gives them.
        ngram_words: words of an n-gram.
        max_overlap_share: largest share of the n-grams that are among the references, and of the words that
            stand in a whole short reference, in [0, 1].
    """

    min_characters: int = 0
    min_printable_share: float = 0.0
    max_repeated_line_share: float = 1.0
    references: np.ndarray | None = None
    short_references: Mapping[int, np.ndarray] = field(default_factory=dict)
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
            share = short_overlap_share(text, self.short_references)
            if share > self.max_overlap_share:
                return Fault("overlap", f"has {share:.1%} of its words in whole held-out texts")
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


@functools.cache
def _printable() -> np.ndarray:
    characters = map(chr, range(0x110000))
    table = np.fromiter((one.isprintable() or one.isspace() for one in characters), bool, 0x110000)
    table[0xFFFD] = False
    return table
