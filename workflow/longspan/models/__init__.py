"""Causal language models: folders, loading, layers, output layer, attention."""
