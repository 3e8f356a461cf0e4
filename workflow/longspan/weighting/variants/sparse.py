"""Sparse κ: equal weights of the tokens with the largest |long - short| (κ), none of the others."""

from typing import ClassVar

from longspan.plugins.options import Number, option
from longspan.weighting.parts import Weighting
from longspan.weighting.variant import LossVariant


class Sparse(LossVariant):
    """Equal weights of the tokens with the largest |long - short| (κ), none of the others."""

    name: ClassVar[str] = "sparse"
    label: ClassVar[str] = "Sparse κ"

    sparsification: Number = option(description="Share of tokens that get a weight (κ).", gt=0, le=1)

    def weighting(self):
        """Its parts."""
        return Weighting(transforms=("absolute",), normalization="L1", sparsification=self.sparsification)
