"""Refusal of numbers that are none, by the windows that they belong to."""

from collections.abc import Iterable

import numpy as np


def require_finite(name: str, values: np.ndarray, labels: np.ndarray) -> None:
    """Refuse values that are not finite, naming the first windows by their labels."""
    bad = ~np.isfinite(values)
    if bad.any():
        raise ValueError(
            f"{name} is not finite for {bad.sum()} of {len(values)} windows: {first_of(labels[bad])}"
        )


def first_of(values: Iterable, count: int = 3) -> str:
    """The first of some values, in words."""
    values = [str(value) for value in values]
    return ", ".join(values[:count]) + (", …" if len(values) > count else "")
