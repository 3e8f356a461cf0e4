"""Methods of selection, one file each; `SELECTION_METHODS` of :mod:`longspan.selection.method` finds them."""
