"""LongFilter's token term λ: weights p_long * max(short - long, 0), mixed with plain cross-entropy (λ)."""

from typing import ClassVar

from longspan.plugins.citations import LONGFILTER, TOKEN_WEIGHTING
from longspan.plugins.options import Number, option
from longspan.weighting.parts import Weighting
from longspan.weighting.variant import LossVariant


class LongFilter(LossVariant):
    """Weights p_long * max(short - long, 0), LongFilter's term of a token, mixed with plain loss (λ).

    LongFilter scores windows by the mean of such terms; as weights of a loss they are this project's idea.
    """

    name: ClassVar[str] = "longfilter"
    label: ClassVar[str] = "LongFilter's term λ"
    citations: ClassVar[tuple[str, ...]] = (TOKEN_WEIGHTING, LONGFILTER)

    interpolation: Number = option(0.75, "Share of plain cross-entropy (λ).", ge=0, le=1)

    def weighting(self):
        """Its parts."""
        return Weighting(
            comparison="kl_term",
            transforms=("max",),
            normalization="L1",
            interpolation=self.interpolation,
        )
