"""The form in which texts are compared with each other."""

import re
import unicodedata
from collections.abc import Iterator
from hashlib import blake2b

_BLOCK_CHARACTERS = 2**20
_SPACE = re.compile(r"\s")


def comparison_digest(text: str) -> bytes | None:
    """Digest (16 bytes) of what of a text stays the same however it is stored; None if that is nothing.

    Accents are composed (NFC), byte order marks left out, and any white space is one space, so that neither
    line ends nor where lines break count.
    """
    found = blake2b(digest_size=16)
    is_empty = True
    for block in blocks_between_spaces(text):
        block = block if block.isascii() else unicodedata.normalize("NFC", block).replace("\ufeff", "")
        if words := " ".join(block.split()):
            found.update((words if is_empty else " " + words).encode("utf-8", "surrogatepass"))
            is_empty = False
    return None if is_empty else found.digest()


def blocks_between_spaces(text: str) -> Iterator[str]:
    """A text in blocks of about a million characters that end where white space does, or with the text."""
    start = 0
    while start < len(text):
        space = _SPACE.search(text, start + _BLOCK_CHARACTERS)
        stop = space.end() if space else len(text)
        yield text[start:stop]
        start = stop
