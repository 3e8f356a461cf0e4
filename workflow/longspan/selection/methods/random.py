"""A draw: the baseline of every comparison."""

from typing import ClassVar

from longspan.selection.method import SelectionMethod
from longspan.store.draws import uniform_by_id


class Random(SelectionMethod):
    """A draw by the seed: a baseline."""

    name: ClassVar[str] = "random"
    label: ClassVar[str] = "random draw"
    is_drawn: ClassVar[bool] = True

    def score(self, windows, *, seed):
        """Uniform in [0, 1), a keyed hash of each window's id."""
        return uniform_by_id(windows["data_id"], seed)
