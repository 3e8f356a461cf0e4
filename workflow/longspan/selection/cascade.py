"""Cascades: stages of methods, each of which chooses only among the windows that the one before kept.

Each stage has a selection table of its own, over all windows, so that the last one tells of each window in
which stage it was dropped, and why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from longspan.selection.table import TABLE_COLUMNS
from longspan.store.tables import Manifest, read_table
from longspan.windows.store import require_windows


@dataclass(frozen=True)
class EarlierStage:
    """The table of a stage, for the stage behind it.

    Attributes:
        path: where it is.
        table: its rows, one a window.
        manifest: what it was made from.
    """

    path: Path | str
    table: pd.DataFrame
    manifest: Manifest

    @classmethod
    def read(cls, path: Path | str) -> "EarlierStage":
        """Read the table.

        Raises:
            ValueError: as `read_table`, or it keeps no window.
        """
        table, manifest = read_table(path, "selection")
        found = cls(path, table.to_pandas(), manifest)
        if not found.kept:
            raise ValueError(
                f"{path} keeps no window, so the stage behind it has none to choose from; keep more in stage "
                f"{manifest.settings['stage']}"
            )
        return found

    @cached_property
    def kept(self) -> frozenset[str]:
        """Ids of the windows that it keeps."""
        return frozenset(self.table["data_id"][self.table["kept"]])

    def require_windows(self, inputs: Mapping[str, str]) -> None:
        """Refuse a table of other windows than those at hand, by their digests, `windows/{shard}`."""
        prefix = "windows/"
        digests = {
            name.removeprefix(prefix): digest for name, digest in inputs.items() if name.startswith(prefix)
        }
        require_windows(self.manifest, digests, where=self.path, rule="select_windows")


def stage_table(table: pd.DataFrame, *, stage: int, method: str, before: pd.DataFrame | None) -> pd.DataFrame:
    """The table of a stage over all windows, from one over the windows that it chose from.

    Windows that were dropped before keep the reason. They have no score here, since a score of another method
    does not compare with these, and they rank behind, in the order that they had.

    Args:
        table: as `selection_table` gives it.
        stage: place of the stage, from 1.
        method: its method's name, for the reasons.
        before: rows of the table of the stage before, if there is one.

    Returns:
        Rows in the order of `before`, or of `table` without it.
    """
    reasons = table["reason"].str.split(": ", n=1)
    table = table.assign(reason=[f"{fate} at stage {stage} ({method}): {why}" for fate, why in reasons])
    if before is None:
        return table
    # Without a score is null in the table; NaN would be a number.
    table = table.assign(score=table["score"].astype(object))
    dropped = before[~before["kept"]].sort_values("rank")
    dropped = dropped.assign(score=None, rank=np.arange(len(table), len(before)) + 1)
    joined = pd.concat([table, dropped], ignore_index=True)
    ranked = joined.sort_values("rank").groupby("category", sort=False)
    size = ranked["data_id"].transform("size")
    joined["percentile"] = 100.0 * (size - ranked.cumcount()) / size
    return joined.set_index("data_id").loc[before["data_id"]].reset_index()[list(TABLE_COLUMNS)]
