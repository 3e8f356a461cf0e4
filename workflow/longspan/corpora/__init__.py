"""Texts: sources, raw files and formats, plans, samples, clean-up, documents."""
