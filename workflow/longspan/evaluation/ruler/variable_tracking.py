"""Variable tracking: which variables have a value, over assignments of one to the other."""

import itertools
import string

import numpy as np

from longspan.evaluation.ruler.drawing import Draw, Drawer
from longspan.evaluation.ruler.niah import NOISE
from longspan.evaluation.ruler.prompts import BASE_FORM, TaskWords

EXAMPLE_TOKENS = 500


class TrackingDrawer(Drawer):
    """Draws samples of variable tracking, or of the example that stands before each.

    Args:
        words: the task's words.
        seed: what all draws depend on.
        num_chains, num_hops: chains of assignments, and assignments in each behind the first.
    """

    unit = "lines of noise"
    shrinks = False

    def __init__(self, words: TaskWords, *, seed: int, num_chains: int, num_hops: int):
        super().__init__(seed)
        if num_chains != 1:
            raise ValueError(f"variable tracking of {num_chains} chains is not published; give num_chains 1")
        self._numbers = np.random.RandomState(seed)
        self._words, self._hops = words, num_hops
        self._example: tuple[str, list[str]] | None = None
        self.step, self._letters = 5, 3
        # The example stands before the user's words, without what a chat puts around them.
        self._shown = (
            words
            if words.form == BASE_FORM
            else TaskWords(" ".join(words.template.split()), words.answer_prefix)
        )

    def use_example(self, draw: Draw) -> str:
        """Draw from now on whole samples, before each of which a sample stands with its answers; its text."""
        text = f"{draw.prompt} {' '.join(draw.answers)}\n\n"
        self._example, self._shown = (text, draw.answers), self._words
        self.step, self._letters = 10, 5
        return text

    def draw(self, units, index=0):
        """Names, then the value, then the places of the assignments."""
        names = self._names()
        while len(set(names)) < len(names):
            # The published generator notices too late that a name is there twice, and draws all again.
            while len(set(names)) < self._hops + 1:
                names.append(self._name(self._letters))
            for _ in range(0, len(names), self._hops + 1):
                self._value()
            names = self._names()
        value = self._value()
        chain = [f"VAR {names[0]} = {value}"]
        chain += [f"VAR {new} = VAR {old} " for old, new in itertools.pairwise(names)]
        pieces = [NOISE + "\n"] * units
        if len(pieces) <= len(chain):
            parts = [part for piece in pieces for part in piece.split(".")]
            pieces = [part + "." if part.strip() else part for part in parts]
        places = sorted(self.random.sample(range(len(pieces)), len(chain)))
        shown = self._shown

        def write() -> str:
            lines = list(pieces)
            for number, (place, assignment) in enumerate(zip(places, chain, strict=True)):
                lines.insert(place + number, assignment)
            context = " ".join(lines).replace(". \n", ".\n")
            return shown.filled(context=context, query=value, num_v=self._hops + 1)

        return Draw(names, write, f" {names}")

    def finished(self, draw):
        """The prompt behind an example of its own names."""
        text, names = self._example
        for name in names:
            text = text.replace(name, self._name(len(name)))
        before = len(self._words.form.before)
        return f"{draw.prompt[:before]} {text}\n\n{draw.prompt[before:]}"

    def state(self):
        """The states of both generators."""
        return super().state(), self._numbers.get_state()

    def restore(self, state):
        """Go back to an earlier state of both."""
        super().restore(state[0])
        self._numbers.set_state(state[1])

    def _names(self) -> list[str]:
        return [self._name(self._letters) for _ in range(self._hops + 1)]

    def _name(self, letters: int) -> str:
        return "".join(self.random.choices(string.ascii_uppercase, k=letters))

    def _value(self) -> int:
        return int(self._numbers.randint(10000, 99999))
