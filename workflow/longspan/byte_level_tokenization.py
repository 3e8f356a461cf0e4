"""Byte-level BPE at the speed of fastokens, with character offsets.

Each token of such a tokenizer stands for certain bytes, and a text's tokens for the text's bytes in their
order, so that the offsets follow from the tokens' lengths.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from longspan.artifacts import RowReader
from longspan.sampling import sample_ids, uniform_by_id
from longspan.tokenization import (
    PIECE_CHARACTERS,
    DocumentTokenizer,
    Piece,
    TokenizedBatch,
    TokenizedDocument,
    encode_in_pieces,
)

# What splitting rules differ on: contractions, runs of spaces and digits, marks, scripts, line ends.
PROBE = (
    "It's  we'LL 1234567 3.14 \t\t x\n\n\n   y\r\n a_b-c::d $5,000.00 ...!!!??? \x1b[0m <s></s><|endoftext|>"
    "e\u0301 \u0915\u094d\u0937 \u65e5\u672c\u8a9e \u2028\u3000\u00a0\u00a0\x85 \u0661\u0662 \u00bd\u01c5"
    " \U0001f469\u200d\U0001f680\U0001f44d\U0001f3fd \ufeff\ufffd   "
)
SAMPLE_DOCUMENTS = 64
SAMPLE_CHARACTERS = 4000


class UnsuitableTokenizerError(ValueError):
    """A tokenizer that fastokens does not stand in for, and why."""


class ByteLevelTokenizer:
    """Tokenizes batches of documents without special tokens, as `DocumentTokenizer` does, many times faster.

    Args:
        folder: a Hugging Face model folder with a tokenizer.json.

    Raises:
        UnsuitableTokenizerError: the tokenizer is of another kind, fastokens refuses it or is not installed.
    """

    def __init__(self, folder: Path | str):
        path = Path(folder, "tokenizer.json")
        content = json.loads(path.read_text())
        _require_byte_level(content)
        try:
            import fastokens
        except ImportError:
            raise UnsuitableTokenizerError("fastokens is not installed") from None
        try:
            self._tokenizer = fastokens.Tokenizer.from_file(str(path))
        except Exception as error:  # whatever it raises, there is another way
            raise UnsuitableTokenizerError(f"fastokens refuses it ({error})") from None
        self._tokenizer.no_truncation()
        self._token_bytes = _token_bytes(content)
        self.ordinary = DocumentTokenizer(folder)

    def encode_batch(self, texts: Sequence[str]) -> TokenizedBatch:
        """Tokenize several texts; long ones in pieces, as `DocumentTokenizer` does."""
        if all(len(text) <= PIECE_CHARACTERS for text in texts):
            return self._encode_whole(texts)
        return TokenizedBatch.of([self._encode_long(text) for text in texts])

    def _encode_long(self, text: str) -> TokenizedDocument:
        def encode_piece(piece: str, first_character: int) -> Piece:
            return Piece.of(self._encode_whole([piece]).documents()[0], first_character)

        return (encode_in_pieces(encode_piece, text) or encode_piece(text, 0)).document()

    def _encode_whole(self, texts: Sequence[str]) -> TokenizedBatch:
        try:
            content, offsets = self._tokenizer.encode_batch_flat(list(texts))
        except ValueError:
            # A byte that the vocabulary lacks: fastokens refuses it, tokenizers passes over it.
            return self._encode_one_by_one(texts)
        input_ids = np.frombuffer(content, np.uint32).view(np.int32)
        stops = np.frombuffer(offsets, np.uint64).astype(np.int64)
        starts, num_tokens = stops[:-1], np.diff(stops)
        text_bytes = [text.encode() for text in texts]
        sizes = self._token_bytes[input_ids]
        edges = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        if (sizes < 1).any() or np.diff(edges[stops]).tolist() != [len(one) for one in text_bytes]:
            # Tokens that are not the text's bytes.
            return self._encode_one_by_one(texts)
        characters, splits = sizes, np.zeros(0, np.int64)
        joined = np.frombuffer(b"".join(text_bytes), np.uint8)
        if joined.size and joined.max() >= 0x80:
            continues = (joined & 0xC0) == 0x80
            characters = np.add.reduceat(~continues, edges[:-1], dtype=np.int32)
            splits = np.flatnonzero(continues[edges[:-1]])
        char_deltas = np.insert(characters, starts, 0)
        row_of_split = np.searchsorted(stops[1:], splits, side="right")
        # A token that begins inside a character begins where that character does.
        char_deltas[splits + row_of_split] -= 1
        char_deltas[splits + row_of_split + 1] += 1
        return TokenizedBatch(
            input_ids=input_ids,
            char_deltas=char_deltas,
            split_positions=(splits - starts[row_of_split]).astype(np.int32),
            num_tokens=num_tokens,
            num_splits=np.bincount(row_of_split, minlength=len(texts)),
        )

    def _encode_one_by_one(self, texts: Sequence[str]) -> TokenizedBatch:
        if len(texts) == 1:
            return self.ordinary.encode_batch(texts)
        return TokenizedBatch.of([self._encode_whole([text]).documents()[0] for text in texts])


def sample_texts(documents: RowReader) -> list[str]:
    """A piece from somewhere in each of some documents, the same ones each time, and the probe."""
    numbers = [str(row) for row in range(len(documents))]
    texts = [PROBE]
    for number in sample_ids(numbers, SAMPLE_DOCUMENTS, seed=0):
        text = documents[int(number)]["text"].as_py()
        start = int(uniform_by_id([number], seed=1)[0] * max(1, len(text) - SAMPLE_CHARACTERS))
        texts.append(text[start : start + SAMPLE_CHARACTERS])
    return texts


def checked_tokenizer(
    folder: Path | str, sample: Sequence[str]
) -> tuple[ByteLevelTokenizer | DocumentTokenizer, str]:
    """The fastest tokenizer that gives what the model's own gives on a sample, and a line that says which.

    Args:
        folder: a Hugging Face model folder with a tokenizer.json.
        sample: texts, or pieces of them, for which both are compared.
    """
    try:
        fast = ByteLevelTokenizer(folder)
    except UnsuitableTokenizerError as error:
        return DocumentTokenizer(folder), f"tokenizing with tokenizers, not fastokens: {error}"
    found, expected = (one.encode_batch(sample).documents() for one in (fast, fast.ordinary))
    for text, one, other in zip(sample, found, expected, strict=True):
        if not all(np.array_equal(values, vars(other)[name]) for name, values in vars(one).items()):
            return fast.ordinary, (
                f"tokenizing with tokenizers, not fastokens: they differ on {text[:80]!r} of the sample"
            )
    characters = sum(map(len, sample))
    return (
        fast,
        f"tokenizing with fastokens: it agrees with tokenizers on a sample of {characters:,} characters",
    )


def _require_byte_level(content: dict) -> None:
    """Refuse a tokenizer.json whose tokens are not the text's bytes in their order."""
    model, splitting = content["model"], content["pre_tokenizer"] or {}
    steps = splitting.get("pretokenizers", [splitting])
    faults = {
        f"its model is {model.get('type')}, not BPE": model.get("type") != "BPE",
        "it has a normalizer": content["normalizer"] is not None,
        "it drops merges at random": bool(model.get("dropout")),
        "it marks the parts of words": bool(
            model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
        ),
        "it is not byte-level": not any(step.get("type") == "ByteLevel" for step in steps),
        "it puts a space before a text": any(step.get("add_prefix_space") for step in steps),
        "its added tokens take spaces with them": any(
            token["lstrip"] or token["rstrip"] for token in content["added_tokens"]
        ),
    }
    if fault := next((fault for fault, holds in faults.items() if holds), None):
        raise UnsuitableTokenizerError(fault)


def _token_bytes(content: dict) -> np.ndarray:
    """Number of bytes that each id stands for, int32 [vocabulary]; 0 for an id without a token."""
    # In byte-level BPE one character stands for one byte; an added token stands for itself.
    lengths = {index: len(token) for token, index in content["model"]["vocab"].items()}
    lengths |= {token["id"]: len(token["content"].encode()) for token in content["added_tokens"]}
    table = np.zeros(max(lengths) + 1, np.int32)
    table[list(lengths)] = list(lengths.values())
    return table
