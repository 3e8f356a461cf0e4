"""Published losses, one file each; `LOSS_VARIANTS` of :mod:`longspan.weighting.variant` finds them."""
