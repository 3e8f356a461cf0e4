"""Codes put into held-out works, by length and depth."""

import re
from dataclasses import replace
from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator

from longspan.evaluation.codes import draw_codes, draw_names
from longspan.evaluation.generated import Cost, GeneratedTask
from longspan.evaluation.haystack import Haystack, put_into, without_words
from longspan.evaluation.prompts import Prompt
from longspan.evaluation.task import Measure
from longspan.plugins.options import Number, option, unique

# Tokens that a model may write beside the answer's own: a space, a full stop, a line's end.
_SPARE_TOKENS = 4
_PREFACE = "The text below holds special codes. Keep them in mind.\n\n"
_VARIANTS = Literal["single", "multi_key", "multi_value"]


class Needle(GeneratedTask):
    """Codes in held-out works: log-likelihood and greedy exact match by length and depth."""

    name: ClassVar[str] = "needle"
    label: ClassVar[str] = "codes found (share)"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("nll", "NLL of codes (nats a token)", higher_is_better=False),
        Measure("score", "codes found (share)", higher_is_better=True),
    )
    reads_documents: ClassVar[bool] = True
    stops: ClassVar[tuple[str, ...]] = ("\n",)

    variants: Annotated[list[_VARIANTS], AfterValidator(unique)] = option(
        ["single"],
        "single: one code; multi_key: others under other names beside it; multi_value: several under one "
        "name, all of which are asked for.",
        min_length=1,
    )
    depths: Annotated[list[Number], AfterValidator(unique)] = option(
        [0.0, 0.25, 0.5, 0.75, 1.0],
        "Shares of the text before the code; those of multi_value stand anywhere.",
        min_length=1,
    )
    samples: int = option(20, "Samples of each variant, length and depth.", ge=1)
    codes: int = option(4, "Codes in a text of multi_key and multi_value.", ge=2, le=64)
    form: Literal["digits", "words"] = option(
        "digits", "What a code is: a number of five digits, or two words."
    )
    prompt: Literal["base", "chat"] = option(
        "base", "base: a text to go on with; chat: a question by the model's chat template."
    )

    def check_window(self, window_tokens):
        """Refuse depths outside a text."""
        super().check_window(window_tokens)
        outside = [depth for depth in self.depths if not 0 <= depth <= 1]
        if outside:
            raise ValueError(f"depths are shares from 0 to 1, and {outside[0]:g} is none; correct it")

    def make_inputs(self, sources, *, length, seed):
        """A sample for each variant, depth and number; the same names and codes at every length."""
        haystack = Haystack(sources.tokenizer, sources.documents)
        for variant in self.variants:
            for depth in self.depths:
                for number in range(self.samples):
                    draw = Random(f"{seed}/{variant}/{depth:g}/{number}")
                    row = self._sample(sources.tokenizer, haystack, variant, depth, length, draw)
                    yield {"sample_id": f"{variant}-{length}-{depth:g}-{number}", "group": variant, **row}

    def _sample(self, tokenizer, haystack, variant, depth, length, draw):
        names, codes = self._codes(variant, draw)
        sentences = [
            f"The special code of the {name} is {code}." for name, code in zip(names, codes, strict=True)
        ]
        count, is_spread = len(codes), variant == "multi_value"
        depths = [draw.random() for _ in range(count)]
        if is_spread:
            depths.sort()
        else:
            depths[0] = depth
        answers = codes if is_spread else codes[:1]

        bare, _ = self._prompt(tokenizer, " ".join(sentences), names[0], is_spread)
        answer = f" {', '.join(answers)}"
        new_tokens = len(tokenizer.answer(bare, answer)) + _SPARE_TOKENS
        room = length - len(bare.input_ids) - new_tokens
        if room < length // 4:
            raise ValueError(
                f"{length} tokens leave {max(room, 0)} to the text around {count} codes; raise lengths, or "
                "lower codes"
            )
        stretch = self._stretch(haystack, room, draw, [*names, *codes])
        order = sorted(range(count), key=lambda place: depths[place])
        while True:
            whole, spans = put_into(
                stretch.text, [(stretch.seam_at(depths[place]), sentences[place]) for place in order]
            )
            prompt, before = self._prompt(tokenizer, whole, names[0], is_spread)
            over = len(prompt.input_ids) + new_tokens - length
            if over <= 0:
                break
            stretch = replace(stretch, text=without_words(stretch.text, over))
        asked = range(count) if is_spread else [order.index(0)]
        evidence = [prompt.span(*(before + edge for edge in spans[place])) for place in asked]
        return {
            "document_id": stretch.document_id,
            "depth": None if is_spread else float(depth),
            "prompt_ids": prompt.input_ids,
            "candidate_ids": [tokenizer.answer(prompt, answer)],
            "answers": answers,
            "evidence_starts": [start for start, _ in evidence],
            "evidence_stops": [stop for _, stop in evidence],
            "new_tokens": new_tokens,
        }

    def _codes(self, variant: str, draw: Random) -> tuple[list[str], list[str]]:
        """Name and value of each code; what is asked for is the first name."""
        count = 1 if variant == "single" else self.codes
        names = draw_names(draw, count if variant == "multi_key" else 1)
        if self.form == "digits":
            codes = draw_codes(draw, count)
        else:
            codes = draw_names(draw, count, absent_from=" ".join(names))
        return names if variant == "multi_key" else names * count, codes

    def _prompt(self, tokenizer, whole: str, name: str, asks_all: bool) -> tuple[Prompt, int]:
        """The prompt, and the characters before the text in what is asked."""
        codes = f"{'All the' if asks_all else 'The'} special code{'s' if asks_all else ''} of the {name}"
        lead = f"{codes} that the text holds {'are' if asks_all else 'is'}"
        if self.prompt == "base":
            return tokenizer.prompt(f"{_PREFACE}{whole}\n\n{lead}"), len(_PREFACE)
        question = f"What {'are' if asks_all else 'is'} {codes[0].lower()}{codes[1:]} that the text holds?"
        return tokenizer.chat(f"{_PREFACE}{whole}\n\n{question}", lead), len(_PREFACE)

    @staticmethod
    def _stretch(haystack, tokens, draw, absent):
        for _ in range(100):
            stretch = haystack.draw(tokens, draw)
            if not any(name in stretch.text for name in absent):
                return stretch
        raise ValueError("the held-out works hold a code or its name in every stretch; set another seed")

    def score(self, sample, nll, text):
        """Share of the codes that are found; a single one must come first."""
        written = text.strip().lower()
        if len(sample.answers) == 1:
            return float(re.match(rf"\W*{re.escape(sample.answers[0])}(?!\w)", written) is not None)
        found = [re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", written) for answer in sample.answers]
        return sum(match is not None for match in found) / len(found)

    def cost(self, length):
        """One pass for the log-likelihood, and one for what is written."""
        asked = self.codes if "multi_value" in self.variants else 1
        return Cost(
            samples=len(self.variants) * len(self.depths) * self.samples,
            passes=2.0,
            new_tokens=8 * asked + _SPARE_TOKENS,
        )
