"""The rows of a training, in the order in which it sees them. Imports no torch.

A row is one sequence. Each source is gone through in an order of its own, drawn anew in each of its epochs,
and sources are interleaved by their shares. So row k is the same however many processes train, and wherever a
training stopped.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol


class Source(Protocol):
    """A map-style dataset of sequences of one length, with their ids."""

    data_ids: Sequence[str]

    def __getitem__(self, index: int) -> dict: ...

    def document_lengths(self, index: int) -> Sequence[int]:
        """Tokens of each document in a sequence, told without reading it."""
        ...


class TrainingRows:
    """A map-style dataset of `count` rows in training order.

    Args:
        sources: the sources by name.
        shares: share of the rows, so of the tokens, of each source; they sum to 1.
        count: rows of the whole training.
        seed: what the order depends on, beside the ids.

    Raises:
        ValueError: a source without a sequence, or shares that are not those of the sources.
    """

    def __init__(self, sources: Mapping[str, Source], shares: Mapping[str, float], count: int, seed: int):
        if sources.keys() != shares.keys() or abs(sum(shares.values()) - 1) > 1e-9:
            raise ValueError(f"shares {dict(shares)} of the sources {list(sources)} do not sum to 1")
        for name, source in sources.items():
            if not len(source.data_ids):
                raise ValueError(f"source '{name}' of the training has no window; keep more, or add text")
        self._sources = sources
        self._seed = seed
        self._order: dict[tuple[str, int], list[int]] = {}
        self._rows: list[tuple[str, int]] = []
        taken = dict.fromkeys(sources, 0)
        for row in range(1, count + 1):
            # The source that lags most behind its share; of equals, the first.
            name = max(sources, key=lambda name: shares[name] * row - taken[name])
            self._rows.append((name, taken[name]))
            taken[name] += 1
        self._taken = taken
        self.epochs = {name: taken[name] / len(sources[name].data_ids) for name in sources}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> dict:
        """The sequence at a place of the training, as its source gives it."""
        name, number = self._rows[row]
        source = self._sources[name]
        epoch, place = divmod(number, len(source.data_ids))
        return source[self._epoch_order(name, epoch)[place]]

    def document_lengths(self) -> Counter[int]:
        """Number of documents by their tokens, over all rows; a whole window is one document."""
        found: Counter[int] = Counter()
        for name, source in self._sources.items():
            epochs, rest = divmod(self._taken[name], len(source.data_ids))
            for place in range(len(source.data_ids)) if epochs else ():
                for length in source.document_lengths(place):
                    found[length] += epochs
            for place in self._epoch_order(name, epochs)[:rest] if rest else ():
                found.update(source.document_lengths(place))
        return found

    def _epoch_order(self, name: str, epoch: int) -> list[int]:
        if (name, epoch) not in self._order:
            ids = self._sources[name].data_ids
            keys = [
                hashlib.sha256(f"{self._seed}\0{name}\0{epoch}\0{data_id}".encode()).digest()
                for data_id in ids
            ]
            self._order[name, epoch] = sorted(range(len(ids)), key=keys.__getitem__)
        return self._order[name, epoch]
