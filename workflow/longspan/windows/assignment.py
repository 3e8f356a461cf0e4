"""Windows of a shard: spans over its documents' tokens, with ids by document order."""

import bisect
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from longspan.store.draws import sample_ids, uniform_by_id
from longspan.store.tables import RowReader
from longspan.windows.policies import both_ends, strided

TOKEN_COLUMNS = ("document_id", "input_ids", "char_deltas", "split_positions")


@dataclass(frozen=True)
class Windowing:
    """How documents are cut into windows.

    Attributes:
        window_tokens: tokens of a window (T), a BOS token among them.
        policy: "both_ends" (LongAttn) or "stride" (token weighting).
        bos_token_id: the token put before each window's text, or None.
        stride_tokens: step over text tokens under "stride"; at most the text of a window is stepped
            over, so that no token is lost.
    """

    window_tokens: int
    policy: str
    bos_token_id: int | None = None
    stride_tokens: int | None = None
    max_overlap_tokens: int | None = None
    discard_first: bool = False

    @property
    def text_tokens(self) -> int:
        """Tokens of a window's text."""
        return self.window_tokens - (self.bos_token_id is not None)

    def spans(self, num_tokens: int) -> list[tuple[int, int]]:
        """(start, stop) over a document's text tokens."""
        if self.policy == "both_ends":
            return both_ends(num_tokens, self.text_tokens, max_overlap_tokens=self.max_overlap_tokens)
        stride = min(self.stride_tokens or self.text_tokens, self.text_tokens)
        return strided(num_tokens, self.text_tokens, stride, discard_first=self.discard_first)


def windowing_of(settings: Mapping) -> Windowing:
    """How windows were cut whose manifest has these settings."""
    others = ("corpus", "sampling", "seed")
    return Windowing(**{key: value for key, value in settings.items() if key not in others})


def tokenized_documents(categories: Sequence[str], tokens: RowReader) -> Iterator[dict]:
    """A shard's documents as `windows_of` takes them, one at a time in memory.

    Args:
        categories: category of each document.
        tokens: the table of their tokens, with `TOKEN_COLUMNS`.
    """
    for row, category in enumerate(categories):
        values = tokens[row]
        document = {"document_id": values.pop("document_id").as_py(), "category": category}
        yield document | {name: array.values.to_numpy() for name, array in values.items()}


def bos_token_of(add_bos: bool | str, tokenizer: dict, model: str) -> int | None:
    """Token that is put before each window's text.

    Args:
        add_bos: True, False, or "auto" to do as the tokenizer does.
        tokenizer: the `tokenizer` block of a model's manifest.
        model: its name, for errors.

    Raises:
        ValueError: a BOS token is asked for, and the tokenizer has none; or the tokenizer puts several tokens
            in front of a text.
    """
    prefix = tokenizer.get("prefix_token_ids", [])
    if add_bos == "auto" and len(prefix) > 1:
        raise ValueError(
            f"the tokenizer of {model} puts {len(prefix)} tokens in front of a text "
            f"({', '.join(map(str, prefix))}), and a window holds one at most; set add_bos: true for its BOS "
            "token alone, or false for none"
        )
    if not (tokenizer["adds_bos"] if add_bos == "auto" else add_bos):
        return None
    if tokenizer["bos_token_id"] is None:
        raise ValueError(f"add_bos is set, but the tokenizer of {model} has no BOS token")
    return tokenizer["bos_token_id"]


def windows_of(documents: Iterable[dict], windowing: Windowing, id_prefix: str) -> Iterator[dict]:
    """Rows of the windows table for rows of the tokens table, numbered in document order.

    Args:
        documents: rows with `document_id`, `category`, and `input_ids`, `char_deltas` and
            `split_positions` as in `tokenization.TokenizedDocument`.
        windowing: how to cut.
        id_prefix: what stands before `_0000001` in the ids; names the corpus and the shard.
    """
    number = 0
    for document in documents:
        boundaries = np.cumsum(document["char_deltas"], dtype=np.int32)
        splits = document["split_positions"]
        for start, stop in windowing.spans(len(boundaries) - 1):
            number += 1
            place = bisect.bisect_left(splits, stop)
            # A character that the window's edge cuts belongs to the windows on both sides.
            cuts_character = place < len(splits) and splits[place] == stop
            input_ids = document["input_ids"][start:stop]
            if windowing.bos_token_id is not None:
                input_ids = np.append(windowing.bos_token_id, input_ids)
            yield {
                "data_id": f"{id_prefix}_{number:07d}",
                "document_id": document["document_id"],
                "category": document["category"],
                "token_start": start,
                "token_stop": stop,
                "char_start": int(boundaries[start]),
                "char_stop": int(boundaries[stop]) + cuts_character,
                "tokens_digest": tokens_digest(input_ids),
            }


def tokens_digest(input_ids_T: np.ndarray) -> int:
    """A 64-bit digest (signed) of a window's token ids, by which its scores know it."""
    content = np.ascontiguousarray(input_ids_T, dtype="<i8").tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)


def sample_windows(
    windows: list[dict], seed: int, *, windows_per_category: int | None = None, fraction: float | None = None
) -> list[dict]:
    """A part of a shard's windows, drawn by a hash of their ids, in their old order.

    A larger sample holds every smaller one of the same seed, so scores stay of use when it grows.

    Args:
        windows: rows with `data_id` and `category`.
        seed: what the draw depends on, beside the ids.
        windows_per_category: how many of each category the shard keeps.
        fraction: share of windows kept, in (0, 1], each drawn on its own.
    """
    if fraction is not None:
        draws = uniform_by_id((window["data_id"] for window in windows), seed)
        return [window for window, draw in zip(windows, draws, strict=True) if draw < fraction]
    if windows_per_category is None:
        return windows
    by_category: dict[str, list[str]] = {}
    for window in windows:
        by_category.setdefault(window["category"], []).append(window["data_id"])
    kept = {
        data_id for ids in by_category.values() for data_id in sample_ids(ids, windows_per_category, seed)
    }
    return [window for window in windows if window["data_id"] in kept]
