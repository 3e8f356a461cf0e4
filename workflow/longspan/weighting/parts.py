"""What makes up a token weighting: its parts, and the checks of them.

Token weighting for long-context training (Helm, Daheim and Gurevych 2025, arXiv 2503.09202). This module
holds names and numbers only and imports no torch, so that settings can be checked anywhere; the arithmetic
is in :mod:`longspan.weighting.weights`.
"""

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

COMPARISONS = ("difference", "quotient", "kl_term")
TRANSFORMS = ("minus", "absolute", "exp", "shift", "max")
NORMALIZATIONS = ("L1", "softmax")


@dataclass(frozen=True)
class Weighting:
    """The parts of a token weighting, checked; the paper's symbols stand beside them.

    They apply in the order of the fields. A part that is None (or an empty ``transforms``) is skipped.

    Raises:
        ValueError: a part has an impossible value; the message names it, the value and the valid ones.
    """

    comparison: str = "difference"
    transforms: tuple[str, ...] = ()
    truncation: float | None = None  # gamma
    sparsification: float | None = None  # kappa
    normalization: str | None = None
    interpolation: float | None = None  # lambda

    def __post_init__(self):
        """Refuse impossible parts."""
        _check_name("comparison", self.comparison, COMPARISONS)
        if isinstance(self.transforms, str) or not isinstance(self.transforms, Iterable):
            raise ValueError(
                f"transforms: {self.transforms!r} is not a list; valid entries: {_transform_names()}"
            )
        object.__setattr__(self, "transforms", tuple(self.transforms))
        for transform in self.transforms:
            split_transform(transform)
        if self.truncation is not None:
            _check_number("truncation", self.truncation, "a finite number")
        if self.sparsification is not None:
            kappa = _check_number("sparsification", self.sparsification, "a number in (0, 1]")
            if not 0 < kappa <= 1:
                raise ValueError(
                    f"sparsification: {kappa!r} keeps no token or more than all; it must lie in (0, 1] "
                    "(1 keeps every token, which is plain cross-entropy under L1)"
                )
        if self.normalization is not None:
            _check_name("normalization", self.normalization, NORMALIZATIONS)
        if self.interpolation is not None:
            lam = _check_number("interpolation", self.interpolation, "a number in [0, 1]")
            if not 0 <= lam <= 1:
                raise ValueError(
                    f"interpolation: {lam!r} is not in [0, 1] (0 keeps the weights, 1 is plain cross-entropy)"
                )
        if self.normalization == "L1" and not self.is_non_negative:
            raise ValueError(
                "normalization: 'L1' needs entries that cannot be negative, but the "
                f"{self.comparison} under {list(self.transforms)} and truncation {self.truncation} "
                "can end below 0; end with 'absolute', 'exp' or 'max', or set sparsification"
            )

    @property
    def is_plain(self) -> bool:
        """Whether lambda is 1: plain cross-entropy whatever the scores are, so none are needed."""
        return self.interpolation == 1

    @property
    def is_non_negative(self) -> bool:
        """Whether no weight can be below 0, whatever the scores are."""
        if self.is_plain or self.normalization == "softmax" or self.sparsification is not None:
            return True
        non_negative = self.comparison == "quotient"
        for transform in self.transforms:
            name, shift = split_transform(transform)
            if name in ("absolute", "exp", "max"):
                non_negative = True
            elif name == "minus":
                non_negative = False
            else:
                non_negative = non_negative and shift <= 1
        return non_negative and (self.truncation is None or self.truncation >= 0)


def split_transform(transform: str) -> tuple[str, float | None]:
    """Return a transform's name and, for ``"shift s"``, its number s (else None).

    Raises:
        ValueError: the transform is unknown (the nearest known one is named), or its number is missing,
            foreign or not above 0.
    """
    if not isinstance(transform, str) or not transform.split():
        raise ValueError(f"transforms: {transform!r} is not a transform; valid: {_transform_names()}")
    name, *arguments = transform.split()
    if name not in TRANSFORMS:
        raise ValueError(
            f"transforms: unknown transform {transform!r}{_nearest(name, TRANSFORMS)}; "
            f"valid: {_transform_names()}"
        )
    if name != "shift":
        if arguments:
            raise ValueError(f"transforms: {transform!r}: only 'shift' takes a number; write {name!r}")
        return name, None
    try:
        (argument,) = arguments
        shift = float(argument)
    except ValueError:
        raise ValueError(
            f"transforms: {transform!r} must be 'shift s' with one number s > 0, e.g. 'shift 2'"
        ) from None
    if not (math.isfinite(shift) and shift > 0):
        raise ValueError(f"transforms: {transform!r}: the shift must be a finite number above 0 (x - log s)")
    return name, shift


def _check_name(key: str, value: Any, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise ValueError(f"{key}: unknown value {value!r}{_nearest(value, valid)}; valid: {', '.join(valid)}")


def _check_number(key: str, value: Any, wanted: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{key}: {value!r} is not {wanted}")
    return value


def _nearest(name: Any, valid: Iterable[str]) -> str:
    matches = difflib.get_close_matches(str(name), list(valid), n=1, cutoff=0.5)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


def _transform_names() -> str:
    return ", ".join("'shift s' (s > 0)" if name == "shift" else repr(name) for name in TRANSFORMS)
