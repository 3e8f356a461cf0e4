"""RULER's metrics: whether the expected strings stand in what a model wrote."""

import re
from collections.abc import Sequence

_UNPRINTABLE = re.compile(r"[\x00-\x1f]")


def as_scored(text: str) -> str:
    """What a model wrote, without spaces around it, with line ends for what cannot be printed."""
    return _UNPRINTABLE.sub("\n", text.strip()).strip()


def string_match_all(text: str, answers: Sequence[str]) -> float:
    """Share of the answers that stand in a text, in any case."""
    found = text.lower()
    return sum(answer.lower() in found for answer in answers) / len(answers)


def string_match_part(text: str, answers: Sequence[str]) -> float:
    """1 if any of the answers stands in a text, in any case; else 0."""
    found = text.lower()
    return float(any(answer.lower() in found for answer in answers))
