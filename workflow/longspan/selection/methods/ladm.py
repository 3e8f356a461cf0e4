"""LADM: windows whose spans attend to spans far before them (arXiv 2503.02502)."""

from typing import ClassVar

import numpy as np

from longspan.plugins.citations import LADM
from longspan.selection.finite import require_finite
from longspan.selection.method import Needs, SelectionMethod, aligned


class Ladm(SelectionMethod):
    """LADM's contextual dependency score, in the mean over the scorer's layers."""

    name: ClassVar[str] = "ladm"
    label: ClassVar[str] = "contextual dependency score (CDS)"
    needs: ClassVar[Needs] = Needs(scorer="ladm", columns=("layer_scores",))
    citations: ClassVar[tuple[str, ...]] = (LADM,)

    def measure(self, shard, scores):
        """Mean score of each window's layers."""
        table = scores.read(["data_id", "layer_scores"])
        ids = table.column("data_id").to_pylist()
        means = [float(np.mean(values)) for values in table.column("layer_scores").to_pylist()]
        return {"contextual_dependency": aligned(shard.data_ids, ids, np.array(means, np.float64))}

    def score(self, windows, *, seed):
        """The contextual dependency score itself."""
        scores = windows["contextual_dependency"].to_numpy(np.float64)
        require_finite("contextual_dependency", scores, windows["data_id"].to_numpy())
        return scores
