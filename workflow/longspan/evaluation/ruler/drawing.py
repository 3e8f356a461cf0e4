"""Random draws of samples, as the published generators make them: the same generators, in the same order."""

import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Draw:
    """A sample whose random numbers are drawn, and whose text is written when it is asked for.

    Attributes:
        answers: strings to find.
        write: gives the prompt.
        ending: what the search for the length counts beside the prompt.
    """

    answers: list[str]
    write: Callable[[], str]
    ending: str

    @functools.cached_property
    def prompt(self) -> str:
        """The prompt whose length must fit."""
        return self.write()


class Drawer:
    """Draws the samples of a task.

    Attributes:
        step: units by which the length is searched.
        most_units: how many there are; None if there is no end of them.
        unit: what a unit is, in words.
        shrinks: whether a sample that is too long is drawn again with fewer units.

    Args:
        seed: what all draws depend on.
    """

    step: int
    most_units: int | None = None
    unit: str
    shrinks: bool = True

    def __init__(self, seed: int):
        self.seed, self.random = seed, random.Random(seed)

    def draw(self, units: int, index: int = 0) -> Draw:
        """Draw the next sample.

        Args:
            units: how much of the haystack it holds.
            index: its number, where the sample is not all random.
        """
        raise NotImplementedError

    def finished(self, draw: Draw) -> str:
        """The prompt of a sample that fits, which may take more draws."""
        return draw.prompt

    def state(self) -> Any:
        """All that the next draws depend on."""
        return self.random.getstate()

    def restore(self, state: Any) -> None:
        """Go back to an earlier state."""
        self.random.setstate(state)

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """Items in an order that depends on the seed and their number alone."""
        return [items[place] for place in _order(self.seed, len(items))]


@functools.lru_cache(64)
def _order(seed: int, length: int) -> list[int]:
    order = list(range(length))
    random.Random(seed).shuffle(order)
    return order
