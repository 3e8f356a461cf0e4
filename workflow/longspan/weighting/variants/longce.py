"""LongCE γ: weights p_long / p_short, bounded (γ)."""

from typing import ClassVar

from longspan.plugins.options import Number, option
from longspan.weighting.parts import Weighting
from longspan.weighting.variant import LossVariant


class LongCE(LossVariant):
    """Weights p_long / p_short, bounded (γ)."""

    name: ClassVar[str] = "longce"
    label: ClassVar[str] = "LongCE γ"

    truncation: Number = option(5.0, "Upper bound of a weight (γ).")

    def weighting(self):
        """Its parts."""
        return Weighting(transforms=("minus", "exp"), truncation=self.truncation)
