"""Dense λ: weights |long - short| of all tokens, mixed with plain cross-entropy (λ)."""

from typing import ClassVar

from longspan.plugins.options import Number, option
from longspan.weighting.parts import Weighting
from longspan.weighting.variant import LossVariant


class Dense(LossVariant):
    """Weights |long - short| of all tokens, mixed with plain cross-entropy (λ)."""

    name: ClassVar[str] = "dense"
    label: ClassVar[str] = "Dense λ"

    interpolation: Number = option(0.75, "Share of plain cross-entropy (λ).", ge=0, le=1)

    def weighting(self):
        """Its parts."""
        return Weighting(transforms=("absolute",), normalization="L1", interpolation=self.interpolation)
