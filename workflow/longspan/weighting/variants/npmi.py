"""NPMI s: negative pointwise mutual information of a token and its far context, shifted (s)."""

from typing import ClassVar

from longspan.plugins.options import Number, option, optional
from longspan.weighting.parts import Weighting
from longspan.weighting.variant import LossVariant


class NPMI(LossVariant):
    """Negative pointwise mutual information of a token and its far context, shifted (s)."""

    name: ClassVar[str] = "npmi"
    label: ClassVar[str] = "NPMI s"

    shift: Number = option(1.0, "s of the shift, x - log s.", gt=0)
    sparsification: Number | None = optional("Share of tokens that get a weight (κ).", gt=0, le=1)

    def weighting(self):
        """Its parts."""
        return Weighting(
            transforms=(f"shift {self.shift!r}", "max"),
            normalization="L1",
            sparsification=self.sparsification,
        )
