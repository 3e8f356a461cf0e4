"""Windows and models for others: files, cards, uploads."""
