"""What a method of selection is: a plug-in that gives each window a score, the higher the better."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from longspan.plugins.registry import PlugIn, PlugInKind

if TYPE_CHECKING:
    import pandas as pd

    from longspan.store.tables import RowReader
    from longspan.windows.shard import Shard


@dataclass(frozen=True)
class Needs:
    """What a method looks at beside the windows.

    Attributes:
        scorer: kind of the scorer whose store it reads.
        columns: columns that the store must hold.
        documents: the windows' texts.
        tokens: the windows' token ids.
    """

    scorer: str | None = None
    columns: tuple[str, ...] = ()
    documents: bool = False
    tokens: bool = False


class SelectionMethod(PlugIn):
    """A way to score windows; its fields are its options.

    A method works in two steps, so that only numbers of a window travel from shard to shard: `measure` looks
    at one shard, `score` at all windows together. Scores that were normalized in each shard could not be
    compared across shards.

    Attributes:
        label: what a score is, with its unit, as the label of an axis.
        needs: what it looks at.
        is_drawn: whether it depends on a seed.
        window_seconds: CPU seconds of a window on one core, for the estimate.
    """

    label: ClassVar[str]
    needs: ClassVar[Needs] = Needs()
    is_drawn: ClassVar[bool] = False
    window_seconds: ClassVar[float] = 2e-4

    @property
    def axes(self) -> Mapping[str, str]:
        """Labels of two numbers of `measure`, by their names; they must come from the scorer's store."""
        return {}

    @property
    def ratio_within_category(self) -> bool:
        """Whether a ratio to keep holds in each category, or over all windows."""
        return True

    def measure(self, shard: "Shard", scores: "RowReader | None") -> Mapping[str, np.ndarray]:
        """Numbers of each window of a shard, by name, [N] in the order of `shard.data_ids`.

        Args:
            shard: the windows, with documents or tokens as `needs` says.
            scores: the shard's table of scores, if `needs` names a scorer.
        """
        return {}

    @abstractmethod
    def score(self, windows: "pd.DataFrame", *, seed: int | None) -> np.ndarray:
        """Score of each window, float64 [N].

        Args:
            windows: of all shards: data_id, category, and a column for each number of `measure`.
            seed: what a draw depends on, beside the ids; None unless `is_drawn`.
        """
        raise NotImplementedError


SELECTION_METHODS = PlugInKind(
    what="selection method",
    package="longspan.selection.methods",
    group="longspan.selection_methods",
    base=SelectionMethod,
)


def aligned(data_ids: list[str], scored_ids: list[str], values: np.ndarray) -> np.ndarray:
    """Values of a store in the order of some windows; NaN where there is none."""
    place = {data_id: row for row, data_id in enumerate(scored_ids)}
    rows = np.array([place.get(data_id, -1) for data_id in data_ids], dtype=np.int64)
    if not len(values):
        return np.full(len(rows), np.nan)
    return np.where(rows < 0, np.nan, values[rows])
