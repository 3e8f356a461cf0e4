"""Kinds of scorers, one file each; `SCORER_KINDS` of :mod:`longspan.scoring.kind` finds them."""
