"""How much haystack fits a length, and samples that fit: found as the published search does, counting less.

The published search adds a step of haystack, draws a sample and tokenizes it, until one is too long. Here the
same samples are drawn, but those that are far too short are not written out and not tokenized: the number of
tokens grows with the haystack. Where that was trusted too far, the search goes back and counts them all.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from longspan.evaluation.ruler.drawing import Draw, Drawer

# What tokenizes several texts: int32 [tokens] of each.
Encode = Callable[[Sequence[str]], list[np.ndarray]]

# How much of the way that is left is gone at once; and how near the end, in steps and as a share of the
# length, each sample is counted.
_STRIDE = 0.9
_MARGIN_STEPS = 2
_MARGIN = 0.01
# The published generators draw again without end.
MOST_DRAWS = 2000
_LARGEST_BATCH = 32
_BATCH_TOKENS = 2**21


@dataclass(frozen=True)
class RulerSample:
    """A finished sample.

    Attributes:
        prompt: the text that a model sees.
        input_ids: int32 [tokens], the prompt's.
        answers: strings to find in what it writes.
    """

    prompt: str
    input_ids: np.ndarray
    answers: list[str]


def units_that_fit(drawer: Drawer, encode: Encode, limit_tokens: int) -> int:
    """Units of haystack with which the published search ends; its draws are made.

    Args:
        drawer: draws samples.
        encode: tokenizes.
        limit_tokens: tokens that a prompt with its ending may have.

    Raises:
        ValueError: not even one step fits, or there is not enough haystack.
    """
    step, units = drawer.step, 0
    # The last one that was counted: units, tokens, and the state after its draws.
    counted: list[tuple[int, int]] = []
    last_state, next_counted, skips = drawer.state(), step, True
    while True:
        units += step
        if drawer.most_units is not None and units > drawer.most_units:
            raise ValueError(f"there are {drawer.most_units:,} {drawer.unit}, and more would fit")
        draw = drawer.draw(units)
        if units < next_counted:
            continue
        tokens = len(encode([draw.prompt + draw.ending])[0])
        if tokens < limit_tokens:
            counted.append((units, tokens))
            last_state = drawer.state()
            next_counted = units + step
            if skips and len(counted) > 1:
                ahead = _skipped_units(counted, step, limit_tokens)
                if drawer.most_units is not None:
                    ahead = min(ahead, max(0, (drawer.most_units - units) // step - 1) * step)
                next_counted += ahead
            continue
        before = counted[-1][0] if counted else 0
        if units - step != before:
            drawer.restore(last_state)
            units, next_counted, skips = before, before + step, False
            continue
        found = units - step
        if tokens == limit_tokens:
            # The published loop ends one step too far here, and its samples shrink again, or none ever fits.
            found = units + step if drawer.shrinks else units
        if found < step:
            raise ValueError(
                f"with {step} {drawer.unit}, the fewest there are, a prompt has {tokens:,} tokens, and "
                f"{limit_tokens:,} fit"
            )
        return found


def _skipped_units(counted: Sequence[tuple[int, int]], step: int, limit_tokens: int) -> int:
    (units, tokens), (later_units, later_tokens) = counted[-2:]
    rate = (later_tokens - tokens) / (later_units - units)
    if rate <= 0:
        return 0
    left = (limit_tokens * (1 - _MARGIN) - later_tokens) / rate
    return max(0, int(left * _STRIDE / step) - _MARGIN_STEPS) * step


def largest_batch(prompt_tokens: int) -> int:
    """How many prompts of so many tokens are tokenized at once."""
    return max(1, min(_LARGEST_BATCH, _BATCH_TOKENS // max(1, prompt_tokens)))


def drawn_samples(
    drawer: Drawer, encode: Encode, units: int, samples: int, limit_tokens: int, prompt_tokens: int | None
) -> Iterator[RulerSample]:
    """Samples that fit, as the published generators draw them: one that is too long is drawn again.

    Several are drawn and tokenized at once. Where one does not fit, the draws behind it are taken back.

    Args:
        drawer: draws samples.
        encode: tokenizes.
        units: units of haystack of each.
        samples: how many.
        limit_tokens: tokens that a prompt may have before it is finished.
        prompt_tokens: tokens that it may have when it is finished; None does not ask.

    Raises:
        ValueError: none fits.
    """
    index, batch, drawn = 0, 1, 0
    used = units
    while index < samples:
        # A sample that shrank is drawn alone; the one behind it begins with all units again.
        batch = min(batch, samples - index) if used == units else 1
        draws: list[tuple[Draw, str, Any]] = []
        for number in range(batch):
            draw = drawer.draw(used, index + number)
            state = drawer.state()
            draws.append((draw, drawer.finished(draw), state))
        texts = [text for draw, finished, _ in draws for text in {draw.prompt: None, finished: None}]
        ids_of = dict(zip(texts, encode(texts), strict=True))
        for draw, finished, state in draws:
            ids = ids_of[finished]
            is_whole = len(ids_of[draw.prompt]) <= limit_tokens
            if is_whole and (prompt_tokens is None or len(ids) <= prompt_tokens):
                yield RulerSample(finished, ids, draw.answers)
                index, used, drawn = index + 1, units, 0
                batch = min(2 * batch, largest_batch(limit_tokens))
                continue
            drawer.restore(state)
            drawn, batch = drawn + 1, 1
            if drawn > MOST_DRAWS:
                raise ValueError(
                    f"sample {index} has {len(ids):,} tokens with {used} {drawer.unit}, and "
                    f"{limit_tokens:,} fit, however often it is drawn"
                )
            if drawer.shrinks and used > drawer.step:
                used -= drawer.step
            break
