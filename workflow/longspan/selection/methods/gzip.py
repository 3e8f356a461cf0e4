"""How well a window's text compresses: a baseline."""

import zlib
from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from longspan.selection.method import Needs, SelectionMethod


class Gzip(SelectionMethod):
    """Compressibility of the text: a baseline."""

    name: ClassVar[str] = "gzip"
    label: ClassVar[str] = "compressibility"
    needs: ClassVar[Needs] = Needs(documents=True)

    def measure(self, shard, scores):
        """Compressibility of each window's text."""
        return {"compressibility": compressibility(shard.texts())}

    def score(self, windows, *, seed):
        """The compressibility itself."""
        return windows["compressibility"].to_numpy()


def compressibility(texts: Iterable[str]) -> np.ndarray:
    """How much smaller DEFLATE makes each text: ``1 - compressed bytes / bytes``, float64 [N].

    The ``gzip`` baseline: high for text that repeats itself within 32 kB (DEFLATE's window). gzip's
    header holds a time and is left out. An empty text has 0.
    """
    shares = []
    for text in texts:
        raw = text.encode()
        shares.append(1 - len(zlib.compress(raw, 9)) / len(raw) if raw else 0.0)
    return np.array(shares, np.float64)
