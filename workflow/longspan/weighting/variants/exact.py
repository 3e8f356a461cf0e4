"""EXACT α: extra weight of targets with much context, the rarer its length the more."""

from typing import ClassVar

from longspan.plugins.citations import EXACT
from longspan.weighting.exposure import Exposure
from longspan.weighting.parts import Weighting
from longspan.weighting.variant import LossVariant


class Exact(Exposure, LossVariant):
    """Extra weight of targets with much context, the more the rarer its length (α); needs no scores."""

    name: ClassVar[str] = "exact"
    label: ClassVar[str] = "EXACT α"
    citations: ClassVar[tuple[str, ...]] = (EXACT,)

    def weighting(self):
        """Plain cross-entropy, which the weights by context multiply."""
        return Weighting(interpolation=1.0)

    def context_exposure(self):
        """Its own options."""
        return self
