"""Kinds of sources, one file each; `SOURCE_KINDS` of :mod:`longspan.corpora.source` finds them."""
