"""Token ids and character offsets of documents, by a model's own tokenizer."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from longspan.artifacts import digest_of


@dataclass(frozen=True)
class TokenizedDocument:
    """Token ids of a text and where each token begins in it.

    Attributes:
        input_ids: int32 [n].
        char_deltas: int32 [n+1], differences of the tokens' first characters and, last, of the end.
        split_positions: int32, the tokens that begin inside a character that the one before began.
    """

    input_ids: np.ndarray
    char_deltas: np.ndarray
    split_positions: np.ndarray


class DocumentTokenizer:
    """Tokenizes whole documents without special tokens.

    Args:
        folder: a Hugging Face model folder with a tokenizer.json.
    """

    def __init__(self, folder: Path | str):
        self._tokenizer = Tokenizer.from_file(str(Path(folder, "tokenizer.json")))
        # Offsets shall cover the text without gaps; the post-processor would trim spaces off them.
        self._tokenizer.post_processor = None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def encode(self, text: str) -> TokenizedDocument:
        """Tokenize one text."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        starts, ends = offsets[:, 0], offsets[:, 1]
        split = np.flatnonzero(starts[1:] < ends[:-1]) + 1
        boundaries = np.append(starts, ends[-1] if len(ends) else 0)
        return TokenizedDocument(
            input_ids=np.array(encoding.ids, dtype=np.int32),
            char_deltas=np.diff(boundaries, prepend=0).astype(np.int32),
            split_positions=split.astype(np.int32),
        )


def tokenizer_identity(folder: Path | str) -> str:
    """Digest of the mapping from text to ids: the tokenizer.json's model, normalizer and splitting."""
    content = json.loads(Path(folder, "tokenizer.json").read_text())
    return digest_of({key: content[key] for key in ("added_tokens", "normalizer", "pre_tokenizer", "model")})
