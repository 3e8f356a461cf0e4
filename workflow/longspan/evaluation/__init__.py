"""Measures of base and trained models on what is held out."""
