"""plain cross-entropy: plain cross-entropy, without weights."""

from typing import ClassVar

from longspan.weighting.parts import Weighting
from longspan.weighting.variant import LossVariant


class Plain(LossVariant):
    """Plain cross-entropy, without weights."""

    name: ClassVar[str] = "plain"
    label: ClassVar[str] = "plain cross-entropy"
    citations: ClassVar[tuple[str, ...]] = ()

    def weighting(self):
        """Its parts."""
        return Weighting(interpolation=1.0)
