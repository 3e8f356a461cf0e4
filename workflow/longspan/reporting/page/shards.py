"""What a shard adds to the page: its texts by category, what was dropped of them, and its tokens' weights."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from longspan.exports.windows import frozen_weights
from longspan.reporting.page.counts import (
    GAIN_EDGES,
    NLL_EDGES,
    TYPES_KEPT,
    TypeSums,
    histogram,
    position_sums,
    weight_histogram,
)
from longspan.scoring.index import nll_batches
from longspan.store.shards import HELD_OUT
from longspan.store.tables import RowReader, read_table
from longspan.weighting.variant import Loss
from longspan.windows.assignment import windowing_of
from longspan.windows.shard import Shard

EXAMPLES = 3  # of each reason
NO_WINDOW = "too short for a window"


def text_counts(shard: Shard, dropped: Path | str) -> dict:
    """Documents, tokens and windows of a shard by category, and what was dropped by reason, with examples.

    Args:
        shard: windows with documents, tokens and their offsets.
        dropped: table of the documents that were left out.

    Raises:
        ValueError: a table that is missing or damaged.
    """
    categories: dict[str, Counter] = defaultdict(Counter)
    reasons: dict[str, Counter] = defaultdict(Counter)
    examples: dict[str, list[dict]] = defaultdict(list)
    drawn = Counter(shard.column("category"))
    windowing = windowing_of(shard.manifest.settings)
    origins = shard.documents.read(["document_id", "category", "title"]).to_pylist()
    for origin, (tokens, characters) in zip(origins, _lengths(shard), strict=True):
        cut = len(windowing.spans(tokens))
        found = {"documents": 1, "tokens": tokens, "characters": characters, "windows_cut": cut}
        categories[origin["category"]].update(found)
        if not cut and shard.name != HELD_OUT:
            reasons[NO_WINDOW].update(documents=1, tokens=tokens, characters=characters)
            if len(examples[NO_WINDOW]) < EXAMPLES:
                detail = f"{tokens:,} tokens; a window has {windowing.window_tokens:,}"
                examples[NO_WINDOW].append(origin | {"detail": detail})
    for category, windows in drawn.items():
        categories[category]["windows"] = windows
    for row in read_table(dropped, "dropped")[0].to_pylist():
        reasons[row["reason"]].update(documents=1, characters=row["characters"] or 0)
        if len(examples[row["reason"]]) < EXAMPLES:
            names = ("document_id", "category", "title", "detail")
            examples[row["reason"]].append({name: row[name] for name in names})
    return {
        "categories": {name: dict(counts) for name, counts in sorted(categories.items())},
        "reasons": {name: dict(counts) for name, counts in sorted(reasons.items())},
        "examples": dict(sorted(examples.items())),
    }


def _lengths(shard: Shard) -> Iterator[tuple[int, int]]:
    """Tokens and characters of each document."""
    for batch in shard.tokens.row_batches(16, ["char_deltas"]):
        for deltas in batch["char_deltas"]:
            yield len(deltas) - 1, int(np.sum(deltas.values.to_numpy(), dtype=np.int64))


def nll_counts(shard: Shard, scores: RowReader, losses: Mapping[str, Loss]) -> dict:
    """Counts of short and long NLL, of the gain, and of the weights under each loss.

    The gain is short - long, nats. A window's effective share is (Σw)² / (N Σw²), Kish's effective sample
    size over its tokens.

    Args:
        shard: windows with documents, tokens and their offsets.
        scores: the shard's NLL store.
        losses: losses by name.

    Returns:
        Empty if the store has no long NLL, or scores of none of the windows.
    """
    if "long_nll" not in scores.column_names:
        return {}
    _require_current(shard, scores)
    known = shard.rows.keys()
    found: dict = {}
    types = {name: TypeSums("count", "weight", "gain") for name in losses}
    seen = _Occurrences()
    for data_ids, nll in nll_batches(scores):
        rows = [row for row, data_id in enumerate(data_ids) if data_id in known]
        if not rows:
            continue
        data_ids = [data_ids[row] for row in rows]
        short_BN, long_BN = nll["short_nll"][rows], nll["long_nll"][rows]
        gain_BN = short_BN - long_BN
        ids_BN = np.stack([shard.input_ids(data_id)[1:] for data_id in data_ids])
        seen.add(data_ids, ids_BN)
        part = {
            "windows": len(rows),
            "entries": short_BN.size,
            "short": histogram(short_BN, NLL_EDGES),
            "long": histogram(long_BN, NLL_EDGES),
            "gain": histogram(gain_BN, GAIN_EDGES),
            "short_sum": short_BN.sum(),
            "long_sum": long_BN.sum(),
            "position_entries": position_sums(np.ones_like(short_BN)),
            "position_gain": position_sums(gain_BN),
            "hurt_entries": int((gain_BN < 0).sum()),
            "losses": {},
        }
        for name, loss in losses.items():
            rows_BN = zip(data_ids, short_BN, long_BN, strict=True)
            weights_BN = np.stack([weights_of(loss, *row) for row in rows_BN])
            part["losses"][name] = _weight_counts(weights_BN, gain_BN)
            types[name].add(
                ids_BN.ravel(),
                count=np.ones(ids_BN.size),
                weight=weights_BN.ravel(),
                gain=gain_BN.ravel(),
            )
        _add(found, part)
    if not found:
        return {}
    largest = {name: sums.largest("weight", TYPES_KEPT) for name, sums in types.items()}
    texts = seen.texts(shard, {kind for kinds in largest.values() for kind in kinds})
    for name, kinds in largest.items():
        found["losses"][name]["types"] = {
            str(kind): sums | {"text": texts[kind]} for kind, sums in kinds.items()
        }
    return _plain(found)


def _require_current(shard: Shard, scores: RowReader) -> None:
    table = scores.read(["data_id", "tokens_digest"])
    for data_id, digest in zip(*(column.to_pylist() for column in table.columns), strict=True):
        if data_id in shard.rows and shard.rows[data_id]["tokens_digest"] != digest:
            raise ValueError(
                f"{scores.path} holds a score of {data_id} for other tokens than it has now; delete it "
                "and run the same target again"
            )


def weights_of(
    loss: Loss, data_id: str, short_N: np.ndarray, long_N: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Weights of a window's tokens under a loss, as exports have them, float64 [N].

    Args:
        loss: the loss.
        data_id: the window.
        short_N, long_N: NLL, nats.
        seed: key of draws, where a loss has such; each training has its own.

    Raises:
        ValueError: as `token_weights`.
    """
    nll = {"short_nll": np.asarray(short_N, np.float32), "long_nll": np.asarray(long_N, np.float32)}
    return frozen_weights({data_id: nll}, loss, seed, len(short_N) + 1, data_id)[1:].astype(np.float64)


def _weight_counts(weights_BN: np.ndarray, gain_BN: np.ndarray) -> dict:
    square_B = (weights_BN**2).sum(axis=1)
    effective_B = np.divide(
        weights_BN.sum(axis=1) ** 2,
        weights_BN.shape[1] * square_B,
        out=np.zeros(len(square_B)),
        where=square_B > 0,
    )
    return {
        "weights": weight_histogram(weights_BN),
        "position_weights": position_sums(weights_BN),
        "weight_sum": weights_BN.sum(),
        "hurt_weight": weights_BN[gain_BN < 0].sum(),
        "effective": effective_B.sum(),
    }


class _Occurrences:
    """Where each token type occurs first, to show its text."""

    def __init__(self):
        self._place: dict[int, tuple[str, int]] = {}

    def add(self, data_ids: list[str], ids_BN: np.ndarray) -> None:
        for data_id, ids_N in zip(data_ids, ids_BN, strict=True):
            for kind, entry in zip(*np.unique(ids_N, return_index=True), strict=True):
                self._place.setdefault(int(kind), (data_id, int(entry) + 1))

    def texts(self, shard: Shard, kinds: set[int]) -> dict[int, str]:
        """Text of each type; a part of a character is "�"."""
        wanted: dict[str, list[int]] = defaultdict(list)
        for kind in kinds:
            wanted[self._place[kind][0]].append(kind)
        found = {}
        for data_id in (data_id for data_id in shard.data_ids if data_id in wanted):
            text, offsets = shard.text(data_id), shard.char_offsets(data_id)
            for kind in wanted[data_id]:
                token = self._place[kind][1]
                found[kind] = text[offsets[token] : offsets[token + 1]] or "�"
        return found


def _add(found: dict, part: dict) -> None:
    for name, value in part.items():
        if isinstance(value, dict):
            _add(found.setdefault(name, {}), value)
        else:
            found[name] = value if name not in found else found[name] + value


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value
