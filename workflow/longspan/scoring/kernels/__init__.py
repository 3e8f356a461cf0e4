"""Kernels of the attention sums."""
