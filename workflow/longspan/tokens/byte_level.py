"""Byte-level BPE at the speed of fastokens, with character offsets.

Each token of such a tokenizer stands for certain bytes, and a text's tokens for the text's bytes in their
order, so that the offsets follow from the tokens' lengths.
"""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models

from longspan.store.draws import sample_ids, uniform_by_id
from longspan.store.tables import RowReader
from longspan.tokens.tokenization import (
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
        ordinary: what its tokenizers library makes of it, for texts that fastokens refuses.

    Raises:
        UnsuitableTokenizerError: the tokenizer is of another kind, fastokens refuses it or is not installed.
    """

    def __init__(self, folder: Path | str, ordinary: DocumentTokenizer):
        _require_byte_level(ordinary.tokenizer)
        try:
            import fastokens
        except ImportError:
            raise UnsuitableTokenizerError("fastokens is not installed") from None
        try:
            self._tokenizer = fastokens.Tokenizer.from_file(str(Path(folder, "tokenizer.json")))
        except Exception as error:  # whatever it raises, there is another way
            raise UnsuitableTokenizerError(f"fastokens refuses it ({error})") from None
        self._tokenizer.no_truncation()
        self._token_bytes = _token_bytes(ordinary.tokenizer)
        self.ordinary = ordinary

    def encode_batch(self, texts: Sequence[str]) -> TokenizedBatch:
        """Tokenize several texts; long ones in pieces, as `DocumentTokenizer` does."""
        if all(len(text) <= PIECE_CHARACTERS for text in texts):
            return self._encode_whole(texts)
        documents = []
        for is_long, run in itertools.groupby(texts, key=lambda text: len(text) > PIECE_CHARACTERS):
            same = list(run)
            documents += map(self._encode_long, same) if is_long else self._encode_whole(same).documents()
        return TokenizedBatch.of(documents)

    def _encode_long(self, text: str) -> TokenizedDocument:
        def encode_piece(piece: str, first_character: int) -> Piece:
            return Piece.of(self._encode_whole([piece]).documents()[0], first_character)

        return encode_in_pieces(encode_piece, text)

    def _encode_whole(self, texts: Sequence[str]) -> TokenizedBatch:
        try:
            content, offsets = self._tokenizer.encode_batch_flat(list(texts))
        except ValueError:
            # A byte that the vocabulary lacks: fastokens refuses it, tokenizers passes over it.
            return self._encode_halves(texts)
        input_ids = np.frombuffer(content, np.uint32).view(np.int32)
        stops = np.frombuffer(offsets, np.uint64).astype(np.int64)
        starts, num_tokens = stops[:-1], np.diff(stops)
        others = {row: text.encode() for row, text in enumerate(texts) if not text.isascii()}
        text_bytes = [len(others[row]) if row in others else len(text) for row, text in enumerate(texts)]
        sizes = self._token_bytes[input_ids]
        # Arrays are few, and as narrow as they may be: touching new memory takes most of the time here.
        edges = np.zeros(len(sizes) + 1, np.int32 if sum(text_bytes) < 2**30 else np.int64)
        np.cumsum(sizes, out=edges[1:])
        if sizes.min(initial=1) < 1 or np.diff(edges[stops]).tolist() != text_bytes:
            # Tokens that are not the text's bytes.
            return self._encode_halves(texts)
        # Bytes 0x80 to 0xbf, which continue a character, are far fewer than tokens in most texts.
        found = [
            np.flatnonzero(np.frombuffer(content, np.int8) < -64) + edges[starts[row]]
            for row, content in others.items()
        ]
        continuing = np.concatenate([np.zeros(0, int), *found]).astype(edges.dtype)
        token_of_byte = np.searchsorted(edges, continuing, side="right") - 1
        np.subtract.at(sizes, token_of_byte, 1)
        splits = token_of_byte[edges[token_of_byte] == continuing]
        char_deltas = np.zeros(len(sizes) + len(texts), np.int32)
        for row, (start, stop) in enumerate(itertools.pairwise(stops.tolist())):
            char_deltas[start + row + 1 : stop + row + 1] = sizes[start:stop]
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

    def _encode_halves(self, texts: Sequence[str]) -> TokenizedBatch:
        """Tokenize texts among which one needs the ordinary tokenizer."""
        if len(texts) == 1:
            return self.ordinary.encode_batch(texts)
        middle = len(texts) // 2
        halves = (self._encode_whole(texts[:middle]), self._encode_whole(texts[middle:]))
        return TokenizedBatch.of([document for half in halves for document in half.documents()])


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
    ordinary = DocumentTokenizer(folder)
    try:
        fast = ByteLevelTokenizer(folder, ordinary)
    except UnsuitableTokenizerError as error:
        return ordinary, f"tokenizing with tokenizers, not fastokens: {error}"
    found, expected = (one.encode_batch(sample).documents() for one in (fast, ordinary))
    for text, one, other in zip(sample, found, expected, strict=True):
        if not all(np.array_equal(values, vars(other)[name]) for name, values in vars(one).items()):
            return ordinary, (
                f"tokenizing with tokenizers, not fastokens: they differ on {text[:80]!r} of the sample"
            )
    characters = sum(map(len, sample))
    return (
        fast,
        f"tokenizing with fastokens: it agrees with tokenizers on a sample of {characters:,} characters",
    )


def _require_byte_level(tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer whose tokens are not the text's bytes in their order."""
    model, splitting = tokenizer.model, tokenizer.pre_tokenizer
    settings = json.loads(splitting.__getstate__()) if splitting else {}
    steps = settings.get("pretokenizers", [settings])
    is_bpe = isinstance(model, models.BPE)
    faults = {
        f"its model is {type(model).__name__}, not BPE": not is_bpe,
        "it has a normalizer": tokenizer.normalizer is not None,
        "it drops merges at random": is_bpe and bool(model.dropout),
        "it marks the parts of words": is_bpe
        and bool(model.continuing_subword_prefix or model.end_of_word_suffix),
        "it is not byte-level": not any(step.get("type") == "ByteLevel" for step in steps),
        "it puts a space before a text": any(step.get("add_prefix_space") for step in steps),
        "its added tokens take spaces with them": any(
            token.lstrip or token.rstrip for token in tokenizer.get_added_tokens_decoder().values()
        ),
    }
    if fault := next((fault for fault, holds in faults.items() if holds), None):
        raise UnsuitableTokenizerError(fault)


def _token_bytes(tokenizer: Tokenizer) -> np.ndarray:
    """Number of bytes that each id stands for, int32 [vocabulary]; 0 for an id without a token."""
    # In byte-level BPE one character stands for one byte; an added token stands for itself.
    lengths = {index: len(token) for token, index in tokenizer.get_vocab(with_added_tokens=False).items()}
    lengths |= {
        index: len(token.content.encode()) for index, token in tokenizer.get_added_tokens_decoder().items()
    }
    table = np.zeros(max(lengths) + 1, np.int32)
    table[list(lengths)] = list(lengths.values())
    return table
