"""Windows to read in the page: text, both NLL and the weights under each loss, token by token, in few bytes.

A window is packed as one compressed block of arrays, which the page unpacks when the window is chosen. NLL
are rounded to hundredths of a nat; weights to steps of 3% or so on a scale of logarithms, zero apart.

Shape suffixes: T tokens of a window; N = T - 1 entries, entry t of token t + 1.
"""

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from longspan.reporting.page.shards import weights_of
from longspan.weighting.variant import Loss
from longspan.windows.shard import Shard

NLL_STEP = 0.01  # nats
_LARGEST_NLL = 65535 * NLL_STEP
# Levels of a weight: 0 is zero, the others go from the smallest to the largest weight of the window.
_LEVELS = 255


@dataclass(frozen=True)
class PackedWindow:
    """A window as the page's data has it.

    Attributes:
        block: base64 of the compressed arrays.
        header: what the page must know to unpack them, and numbers of the window.
    """

    block: str
    header: dict

    @property
    def size(self) -> int:
        """Bytes in the page."""
        return len(self.block) + len(json.dumps(self.header, ensure_ascii=False).encode())


def pack_window(
    shard: Shard, data_id: str, nll: Mapping[str, np.ndarray] | None, losses: Mapping[str, Loss]
) -> PackedWindow:
    """Pack a window.

    Args:
        shard: windows with documents, tokens and their offsets.
        data_id: the window.
        nll: `short_nll` and `long_nll`, float [N]; None shows the text alone.
        losses: losses by name, whose weights are shown.

    Raises:
        ValueError: NLL that are not finite.
    """
    text, offsets = shard.text(data_id), shard.char_offsets(data_id)
    lengths = np.diff(_utf16_places(text)[offsets])
    if lengths.min(initial=0) < 0:
        raise ValueError(f"window {data_id} has a token that ends before it begins; rerun assign_windows")
    content = text.encode("utf-8", "replace")
    arrays = [content, _planes(lengths)]
    header: dict = {"text": len(content), "tokens": len(lengths), "losses": []}
    if nll is not None:
        short_N, long_N = (np.asarray(nll[name], np.float64) for name in ("short_nll", "long_nll"))
        for name, nll_N in (("short", short_N), ("long", long_N)):
            if not np.isfinite(nll_N).all():
                raise ValueError(f"{name} NLL of window {data_id} are not finite; rerun score_short")
            arrays.append(_planes(np.clip(nll_N, 0, _LARGEST_NLL) / NLL_STEP))
        header |= {"short": float(short_N.mean()), "long": float(long_N.mean()), "scored": True}
        for name, loss in losses.items():
            weights_N = weights_of(loss, data_id, short_N, long_N)
            levels_N, scale = _levels(weights_N)
            arrays.append(levels_N.tobytes())
            square = float((weights_N**2).sum())
            effective = float(weights_N.sum()) ** 2 / (len(weights_N) * square) if square else 0.0
            header["losses"].append({"name": name, "scale": scale, "effective": effective})
    block = gzip.compress(b"".join(arrays), 9, mtime=0)
    return PackedWindow(base64.b64encode(block).decode(), header)


def _utf16_places(text: str) -> np.ndarray:
    """Place of each character, and of the end, in the units in which a browser counts, int64."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return np.concatenate([[0], np.cumsum(1 + (codes > 0xFFFF), dtype=np.int64)])


def _planes(values: np.ndarray) -> bytes:
    """Whole numbers below 2^16, all high bytes before all low ones, which compresses well."""
    whole = np.round(values).astype(np.int64)
    if len(whole) and whole.max() > 65535:
        raise ValueError(f"{whole.max()} is too large to be packed into 16 bits")
    return (whole >> 8).astype(np.uint8).tobytes() + (whole & 255).astype(np.uint8).tobytes()


def _levels(weights_N: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Levels uint8 [N], and the logarithms of the weights of the first and the last level."""
    positive = weights_N > 0
    if not positive.any():
        return np.zeros(len(weights_N), np.uint8), [0.0, 0.0]
    logs = np.log(np.where(positive, weights_N, 1.0))
    low, high = float(logs[positive].min()), float(logs[positive].max())
    span = high - low or 1.0
    levels_N = np.round(1 + (logs - low) / span * (_LEVELS - 1))
    return np.where(positive, levels_N, 0).astype(np.uint8), [low, high]
