"""Token ids and character offsets of documents, by a model's own tokenizer."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from longspan.store.contracts import TOKEN_IDS
from longspan.store.tables import digest_of

# A text of more characters is tokenized in pieces, because an Encoding takes 100 bytes a token and more.
PIECE_CHARACTERS = 2**18
OVERLAP_CHARACTERS = 2**12
_LARGE_BATCH_CHARACTERS = 2**23


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


@dataclass(frozen=True)
class TokenizedBatch:
    """The arrays of several `TokenizedDocument`s, one document's behind another's.

    Attributes:
        input_ids, char_deltas, split_positions: int32, as there.
        num_tokens: int64 [documents].
        num_splits: int64 [documents].
    """

    input_ids: np.ndarray
    char_deltas: np.ndarray
    split_positions: np.ndarray
    num_tokens: np.ndarray
    num_splits: np.ndarray

    @classmethod
    def of(cls, documents: Sequence[TokenizedDocument]) -> "TokenizedBatch":
        """Put documents behind one another."""
        names = ("input_ids", "char_deltas", "split_positions")
        empty = np.zeros(0, np.int32)
        if len(documents) == 1:  # a huge one, maybe: without a copy
            arrays = [getattr(documents[0], name) for name in names]
        else:
            arrays = [np.concatenate([empty, *(getattr(one, name) for one in documents)]) for name in names]
        num_tokens = np.array([len(one.input_ids) for one in documents], np.int64)
        num_splits = np.array([len(one.split_positions) for one in documents], np.int64)
        return cls(*arrays, num_tokens, num_splits)

    def columns(self) -> dict[str, pa.ListArray]:
        """The arrays as columns of the tokens table, one row a document."""
        return {
            "input_ids": _lists(self.input_ids, self.num_tokens),
            "char_deltas": _lists(self.char_deltas, self.num_tokens + 1),
            "split_positions": _lists(self.split_positions, self.num_splits),
        }

    def documents(self) -> list[TokenizedDocument]:
        """The documents one by one."""
        columns = self.columns().values()
        return [
            TokenizedDocument(*(list_.values.to_numpy() for list_ in row))
            for row in zip(*columns, strict=True)
        ]


def _lists(values: np.ndarray, lengths: np.ndarray) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, TOKEN_IDS.value_type))


@dataclass(frozen=True)
class Piece:
    """Tokens of a piece of a text: ids, first characters in the text, which begin inside one, and the end."""

    ids: np.ndarray
    firsts: np.ndarray
    splits: np.ndarray
    end: int

    @classmethod
    def of(cls, document: TokenizedDocument, first_character: int) -> "Piece":
        """The tokens of a text that begins so far into a longer one."""
        boundaries = np.cumsum(document.char_deltas, dtype=np.int32) + np.int32(first_character)
        splits = np.zeros(len(document.input_ids), bool)
        splits[document.split_positions] = True
        return cls(document.input_ids, boundaries[:-1], splits, int(boundaries[-1]))

    def part(self, start: int, stop: int | None) -> "Piece":
        """Some of its tokens."""
        return Piece(self.ids[start:stop], self.firsts[start:stop], self.splits[start:stop], self.end)


class _Tokens:
    """Tokens of pieces behind one another, in buffers that grow in place, so that none is there twice."""

    def __init__(self):
        self._ids, self._deltas, self._splits = bytearray(), bytearray(), bytearray()
        self._last_first = np.int32(0)

    def append(self, piece: Piece) -> None:
        """Append a piece's tokens."""
        if not len(piece.ids):
            return
        before = len(self._ids) // piece.ids.itemsize
        self._ids += piece.ids.tobytes()
        self._deltas += np.diff(piece.firsts, prepend=self._last_first).tobytes()
        self._splits += (np.flatnonzero(piece.splits) + before).astype(np.int32).tobytes()
        self._last_first = piece.firsts[-1]

    def document(self, end: int) -> TokenizedDocument:
        """All tokens as those of a text that ends there."""
        self._deltas += (np.int32(end) - self._last_first).tobytes()
        columns = (self._ids, self._deltas, self._splits)
        return TokenizedDocument(*(np.frombuffer(column, np.int32) for column in columns))


class DocumentTokenizer:
    """Tokenizes whole documents without special tokens.

    A long text goes in overlapping pieces, so that it takes little memory. Two pieces are joined in the
    middle of what they share, where they agree; if they do not, the text goes in one piece after all.

    Args:
        folder: a Hugging Face model folder with a tokenizer.json.
    """

    def __init__(self, folder: Path | str):
        self.tokenizer = Tokenizer.from_file(str(Path(folder, "tokenizer.json")))
        # Offsets shall cover the text without gaps; the post-processor would trim spaces off them.
        self.tokenizer.post_processor = None
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def encode(self, text: str) -> TokenizedDocument:
        """Tokenize one text; its ids are those of one call over the whole text."""
        return encode_in_pieces(self._encode_piece, text)

    def encode_batch(self, texts: Sequence[str]) -> TokenizedBatch:
        """Tokenize several texts."""
        return TokenizedBatch.of([self.encode(text) for text in texts])

    def _encode_piece(self, text: str, first_character: int) -> Piece:
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        offsets = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2) + np.int32(first_character)
        starts, stops = offsets[:, 0], offsets[:, 1]
        splits = np.append(False, starts[1:] < stops[:-1])[: len(starts)]
        end = int(stops[-1]) if len(stops) else first_character
        return Piece(np.array(encoding.ids, dtype=np.int32), starts, splits, end)


def encode_in_pieces(encode_piece: Callable[[str, int], Piece], text: str) -> TokenizedDocument:
    """The tokens of a text, in one piece if its pieces disagree.

    Args:
        encode_piece: takes a piece and where it begins in the text.
        text: any text.
    """
    tokens = _Tokens()
    left = encode_piece(text[:PIECE_CHARACTERS], 0)
    for cut in range(PIECE_CHARACTERS, len(text), PIECE_CHARACTERS):
        start = cut - OVERLAP_CHARACTERS
        right = encode_piece(text[start : cut + PIECE_CHARACTERS], start)
        # What lies near an end of a piece is tokenized without its context.
        seam = _seam(left, right, start + OVERLAP_CHARACTERS // 4, cut - OVERLAP_CHARACTERS // 4)
        if seam is None:
            tokens, left = _Tokens(), encode_piece(text, 0)
            break
        tokens.append(left.part(0, seam[0]))
        left = right.part(seam[1], None)
    tokens.append(left)
    return tokens.document(left.end)


def _seam(left: Piece, right: Piece, start: int, stop: int) -> tuple[int, int] | None:
    """Tokens of two pieces at which they are joined, if they agree on the characters from start to stop."""
    (left_start, left_stop), (right_start, right_stop) = (
        np.searchsorted(piece.firsts, [start, stop]) for piece in (left, right)
    )
    ours, theirs = left.part(left_start, left_stop), right.part(right_start, right_stop)
    whole = np.flatnonzero(~ours.splits)
    if not len(whole) or not all(
        np.array_equal(vars(ours)[name], vars(theirs)[name]) for name in ("ids", "firsts", "splits")
    ):
        return None
    middle = int(whole[len(whole) // 2])
    return left_start + middle, right_start + middle


def tokenizer_identity(folder: Path | str) -> str:
    """Digest of the mapping from text to ids: the tokenizer.json's model, normalizer and splitting."""
    content = json.loads(Path(folder, "tokenizer.json").read_text())
    return digest_of({key: content[key] for key in ("added_tokens", "normalizer", "pre_tokenizer", "model")})


def encode_batches(
    tokenizer: DocumentTokenizer, batches: Iterable[Sequence[str]], workers: int = 2
) -> Iterator[TokenizedBatch]:
    """Tokenize batches of texts in their order, as many at once as there are workers.

    While the words of one are looked up, another one's offsets are counted, and a third is written.

    Args:
        tokenizer: what tokenizes a batch, in several threads at once.
        batches: texts. They are read a few batches ahead; a large one is tokenized alone, so that memory
            holds one.
        workers: threads.
    """
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[TokenizedBatch]] = deque()
        for texts in batches:
            is_large = sum(map(len, texts)) > _LARGE_BATCH_CHARACTERS
            while is_large and ahead:
                yield ahead.popleft().result()
            ahead.append(pool.submit(tokenizer.encode_batch, texts))
            while len(ahead) > (0 if is_large else workers):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
