"""LongAttn: windows whose first layer attends far and evenly (arXiv 2502.16860)."""

import math
import warnings
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from longspan.plugins.citations import LONGATTN
from longspan.plugins.options import Number, option
from longspan.selection.finite import require_finite
from longspan.selection.method import Needs, SelectionMethod, aligned


class LongAttn(SelectionMethod):
    """LongAttn's long-dependency score."""

    name: ClassVar[str] = "longattn"
    label: ClassVar[str] = "long-dependency score (LDS)"
    needs: ClassVar[Needs] = Needs(
        scorer="attention", columns=("strength", "variance_block", "variance_matrix")
    )
    citations: ClassVar[tuple[str, ...]] = (LONGATTN,)

    mode: Literal["paper", "released"] = option(
        "paper", "z-scores in each category (paper), or min-max over all (released code)."
    )
    alpha: Number = option(0.5, "Weight of uniformity against strength (α).", ge=0)

    @property
    def ratio_within_category(self) -> bool:
        """The released code filters all categories together."""
        return self.mode != "released"

    @property
    def _variance(self) -> str:
        return "variance_matrix" if self.mode == "released" else "variance_block"

    @property
    def axes(self):
        """Strength and variance."""
        return {"strength": "dependency strength (DS)", self._variance: "attention variance (low is even)"}

    def measure(self, shard, scores):
        """Dependency strength (DS) and attention variance of each window."""
        table = scores.read(["data_id", "strength", self._variance])
        ids = table.column("data_id").to_pylist()
        return {
            name: aligned(shard.data_ids, ids, table.column(name).to_numpy())
            for name in ("strength", self._variance)
        }

    def score(self, windows, *, seed):
        """The long-dependency score of each window."""
        for name in ("strength", self._variance):
            require_finite(name, windows[name].to_numpy(np.float64), windows["data_id"].to_numpy())
        return lds_scores(
            windows["strength"],
            windows[self._variance],
            alpha=self.alpha,
            mode=self.mode,
            category=windows["category"],
        )


def lds_scores(
    strength: np.ndarray,
    variance: np.ndarray,
    *,
    alpha: float = 0.5,
    mode: str = "paper",
    category: Sequence[str] | None = None,
) -> np.ndarray:
    """LongAttn's long-dependency score (LDS) of each window, float64 [N] (arXiv 2502.16860).

    ``paper``: ``Z(strength) + alpha * Z(-variance)``, Z the z-score (ddof 0) over all windows of one
    category; ``variance`` is then the lower-left block's. A category with one window, or with no
    spread in a statistic, gets Z = 0 there, with a warning.
    ``released``: ``minmax(strength) - alpha * minmax(variance)`` over all windows, whatever their
    category; ``variance`` is then the whole matrix's. No spread gives 0.5.

    Args:
        strength: dependency strength (DS) of each window, [N].
        variance: attention variance of each window, [N]; distribution uniformity (DU) is its negative.
        alpha: weight of uniformity against strength.
        mode: ``paper`` or ``released``.
        category: category of each window, [N]; None is one category. ``released`` ignores it.

    Raises:
        ValueError: unequal lengths, a value that is not finite (named by row), an unknown mode.
    """
    strength = np.asarray(strength, dtype=np.float64)
    variance = np.asarray(variance, dtype=np.float64)
    if strength.ndim != 1 or strength.shape != variance.shape:
        raise ValueError(
            f"strength and variance must be 1-D and equally long, got {strength.shape} and {variance.shape}"
        )
    for name, values in (("strength", strength), ("variance", variance)):
        require_finite(name, values, np.arange(len(values)))
    if not math.isfinite(alpha):
        raise ValueError(f"alpha must be finite, got {alpha}")
    if mode == "released":
        return _min_max(strength) - alpha * _min_max(variance)
    if mode != "paper":
        raise ValueError(f"mode must be 'paper' or 'released', got {mode!r}")

    labels = np.zeros(len(strength), dtype=int) if category is None else np.asarray(category, dtype=object)
    if labels.shape != strength.shape:
        raise ValueError(f"category has {len(labels)} entries for {len(strength)} windows")
    scores = np.empty_like(strength)
    for label in dict.fromkeys(labels.tolist()):
        rows = np.flatnonzero(labels == label)
        where = "all windows" if category is None else f"category {label!r}"
        scores[rows] = _z_scores(strength[rows], "strength", where) + alpha * _z_scores(
            -variance[rows], "variance", where
        )
    return scores


def _z_scores(values: np.ndarray, name: str, where: str) -> np.ndarray:
    # the standard deviation of equal float64 values need not be exactly 0, their range is
    if len(values) < 2 or values.max() == values.min():
        why = "one window" if len(values) < 2 else "no spread"
        warnings.warn(f"{name} has {why} in {where}: its z-score is set to 0 there", stacklevel=3)
        return np.zeros_like(values)
    # scaled by the range first, so that variances near 1e-200 do not underflow when squared
    unit = (values - values.mean()) / (values.max() - values.min())
    return unit / unit.std()


def _min_max(values: np.ndarray) -> np.ndarray:
    if not len(values) or values.max() == values.min():
        return np.full_like(values, 0.5)
    return (values - values.min()) / (values.max() - values.min())
